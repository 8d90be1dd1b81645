"""Messages made fit to publish: reasons stand in manifests, and paths and contents of inputs may name patients."""

from __future__ import annotations

import os
import re
from pathlib import Path

from mupd.errors import MupdError

_MOST_CHARACTERS = 300
_QUOTED = re.compile(r"""(?!'utf-8')'[^']*'|"[^"]*"|`[^`]*`""")


def without_path(words: str, path: Path) -> str:
    """A message on one line without a file's path or name, nor those of the files in a folder."""
    inside = [file.name for file in path.iterdir()] if path.is_dir() else []
    forms = [os.path.realpath(path), str(path.absolute()), str(path)]
    # Files of a folder first: what is left of their paths would still hold their names.
    forms = [*(f"{form}/{name}" for form in forms for name in inside), *inside, *forms]
    # A bare name without a suffix may be a plain word of the message.
    forms += [path.name] if path.suffix else []
    for form in forms:
        words = re.sub(rf"(?<!\w){re.escape(form)}(?!\w)", "the file", words)
    return " ".join(words.split())


def reason_of(error: Exception, path: Path) -> str:
    """An error's message on one line, without the file's path or name.

    What a library quotes is left out: it may be the content of the file.
    """
    words = str(error.strerror) if isinstance(error, OSError) and error.strerror else str(error)
    words = without_path(words, path)
    if not isinstance(error, MupdError):
        words = _QUOTED.sub("(...)", words)
    return words[:_MOST_CHARACTERS] or type(error).__name__
