"""Messages of other libraries made fit to publish: reasons stand in manifests, paths may name patients."""

from __future__ import annotations

import re
from pathlib import Path

_MOST_CHARACTERS = 300


def reason_of(error: Exception, path: Path) -> str:
    """An error's message on one line, without the file's path or name."""
    words = str(error.strerror) if isinstance(error, OSError) and error.strerror else str(error)
    forms = [str(path.resolve()), str(path.absolute()), str(path)]
    # A bare name without a suffix may be a plain word of the message.
    forms += [path.name] if path.suffix else []
    for form in forms:
        words = re.sub(rf"(?<!\w){re.escape(form)}(?!\w)", "the file", words)
    return " ".join(words.split())[:_MOST_CHARACTERS] or type(error).__name__
