"""The workflow's own files, put beside the results so that they say by what they were made."""

from __future__ import annotations

from pathlib import Path

import mupd
from mupd.files import write_text

_PACKAGE = Path(mupd.__file__).resolve().parent
_SNAKEFILE = "Snakefile"


def workflow_root() -> Path:
    """Folder of the Snakefile: in the installed package, or the repository.

    Raises
    ------
    FileNotFoundError
        If it is in neither.
    """
    for folder in (_PACKAGE / "_workflow", _PACKAGE.parent):
        if (folder / _SNAKEFILE).is_file():
            return folder
    raise FileNotFoundError("Snakefile: not in the package nor in the repository")


def copy_workflow(folder: Path) -> tuple[Path, ...]:
    """Write the Snakefile and its rules under `folder`; returns their paths, the Snakefile first."""
    root = workflow_root()
    sources = [root / _SNAKEFILE, *sorted((root / "workflow" / "rules").glob("*.smk"))]
    copies = tuple(folder / source.relative_to(root) for source in sources)
    for source, copy in zip(sources, copies, strict=True):
        write_text(copy, source.read_text(encoding="utf-8"))
    return copies
