"""Reasons for manifests, without the paths and contents of inputs, which may name patients."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mupd.errors import MupdError

_MOST_CHARACTERS = 300
# 'Jane Doe', "Jane Doe", `Jane Doe`, but not 'utf-8'
_QUOTED = re.compile(r"""(?!'utf-8')'[^']*'|"[^"]*"|`[^`]*`""")


def first_line(error: Exception) -> str:
    """First line of an error's message; the name of its class if it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def without_path(words: str, path: Path) -> str:
    """A message on one line, without the path or name of a file or of the files in a folder."""
    inside = [file.name for file in path.iterdir()] if path.is_dir() else []
    forms = [os.path.realpath(path), str(path.absolute()), str(path)]
    # Files in a folder first, else their names would remain.
    forms = [*(f"{form}/{name}" for form in forms for name in inside), *inside, *forms]
    # A name without a suffix may be an ordinary word of the message.
    forms += [path.name] if path.suffix else []
    for form in forms:
        words = re.sub(rf"(?<!\w){re.escape(form)}(?!\w)", "the file", words)
    return " ".join(words.split())


def reason_of(error: Exception, path: Path) -> str:
    """An error's message on one line, without the file's path or name.

    Quotations in messages of libraries are removed, because they may be content of the file.
    """
    words = str(error.strerror) if isinstance(error, OSError) and error.strerror else str(error)
    words = without_path(words, path)
    if not isinstance(error, MupdError):
        words = _QUOTED.sub("(...)", words)
    return words[:_MOST_CHARACTERS] or type(error).__name__


@contextmanager
def warnings_with_name(path: Path) -> Iterator[None]:
    """Give warnings of libraries the name of the file that they are about; each distinct one once."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for category, text in dict.fromkeys((warning.category, str(warning.message)) for warning in caught):
        warnings.warn(f"{path.name}: {text}", category, stacklevel=3)
