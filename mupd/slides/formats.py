"""The table of slide formats. To add one, write a :class:`SlideReader` for it and a row here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mupd.slides.dicom import dicom_files, is_dicom, open_dicom
from mupd.slides.openslide_formats import OpenSlideReader, is_mirax, mirax_files, open_mirax, openslide_vendor
from mupd.slides.plain import PictureReader
from mupd.slides.slide_reader import SlideReader
from mupd.slides.tiff import is_tiff, open_tiff


def _itself(path: Path) -> tuple[Path, ...]:
    return (path,)


@dataclass(frozen=True)
class SlideFormat:
    """A format of slides.

    Attributes
    ----------
    name
        What it is called.
    recognise
        Whether a file or folder has this format, by its name or its first bytes.
    open
        Opens a path; the second argument is the caller's micrometres per pixel, or None.
    files
        The files and folders that make up the slide at a path. A content hash has to cover them.
    """

    name: str
    recognise: Callable[[Path], bool]
    open: Callable[[Path, float | None], SlideReader]
    files: Callable[[Path], tuple[Path, ...]] = _itself


FORMATS = (
    SlideFormat("DICOM", is_dicom, open_dicom, dicom_files),
    SlideFormat("MIRAX", is_mirax, open_mirax, mirax_files),
    SlideFormat("TIFF", is_tiff, open_tiff),
    SlideFormat("other formats of OpenSlide", lambda path: openslide_vendor(path) is not None, OpenSlideReader),
)
"""In the order in which they are tried."""

PICTURE = SlideFormat("plain picture", lambda _: True, PictureReader)
"""PNG, JPEG or BMP: what no other format recognises. Pillow refuses everything else."""


def format_of(path: Path) -> SlideFormat:
    """The first format that recognises a file or folder."""
    return next((one for one in FORMATS if one.recognise(path)), PICTURE)
