"""The workflow's own files, put beside the results so that they say by what they were made."""

from __future__ import annotations

from pathlib import Path

from mupd.base.files import write_text
from mupd.base.package_files import shipped_file

_SNAKEFILE = "Snakefile"


def workflow_root() -> Path:
    """Folder of the Snakefile: in the installed package, or the repository.

    Raises
    ------
    FileNotFoundError
        If it is in neither.
    """
    return shipped_file("workflow", _SNAKEFILE).parent


def copy_workflow(folder: Path) -> tuple[Path, ...]:
    """Write the Snakefile and its rules under `folder`; returns their paths, the Snakefile first."""
    root = workflow_root()
    sources = [root / _SNAKEFILE, *sorted((root / "workflow" / "rules").glob("*.smk"))]
    copies = tuple(folder / source.relative_to(root) for source in sources)
    for source, copy in zip(sources, copies, strict=True):
        write_text(copy, source.read_text(encoding="utf-8"))
    return copies
