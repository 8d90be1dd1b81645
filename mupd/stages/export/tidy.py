"""Removes what no longer belongs among a case's artifacts, and nothing that is not provably ours."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from mupd.errors import UnusableError
from mupd.stages.export.rna import RNA_FILE
from mupd.stages.export.sr import SR_FILE
from mupd.stages.export.stain import STAINS
from mupd.stages.export.text import JSON_FILE, TEXT_FILE
from mupd.stages.export.uncertainty import MAP_FOLDER
from mupd.synthetic.verify.recognise import content_marks

_LEFTOVER = re.compile(r"^\.(tmp|old)-[0-9a-f]{8}-.*synthetic")


def _stain_folders(case_folder: Path) -> list[Path]:
    return sorted(path for path in (case_folder / STAINS).glob("*") if path.is_dir())


def _candidates(case_folder: Path) -> list[Path]:
    he = case_folder / "he"
    slides = sorted(he.glob("synthetic-draw*")) if he.is_dir() else []
    stains = sorted((case_folder / STAINS).glob("*/synthetic-draw*")) if (case_folder / STAINS).is_dir() else []
    return [
        *slides,
        he / MAP_FOLDER,
        *stains,
        *(case_folder / name for name in (RNA_FILE, JSON_FILE, TEXT_FILE, SR_FILE)),
    ]


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def remove_leftovers(case_folder: Path) -> None:
    """Remove the temporaries that a killed export left (see :func:`mupd.base.files.atomic_path`)."""
    for folder in (case_folder, case_folder / "he", *_stain_folders(case_folder)):
        if folder.is_dir():
            for path in [path for path in folder.iterdir() if _LEFTOVER.match(path.name)]:
                _delete(path)


def remove_stale(case_folder: Path, belonging: Iterable[Path]) -> list[Path]:
    """Remove artifacts at our own names that are not among `belonging` and carry synthetic marks inside.

    Returns
    -------
    list of Path
        What was removed. A file without marks, or one that cannot be read, stays: it may be
        somebody's measurement.
    """
    kept = set(belonging)
    removed = []
    for path in _candidates(case_folder):
        if path in kept or not path.exists():
            continue
        try:
            marked = bool(content_marks(path))
        except UnusableError:
            marked = False
        if marked:
            _delete(path)
            removed.append(path)
    for folder in (case_folder / "he", *_stain_folders(case_folder), case_folder / STAINS, case_folder):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    return removed
