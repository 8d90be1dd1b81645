"""The table of slide formats. To add one, write a :class:`SlideReader` for it and a row here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mupd.slides.dicom import dicom_files, is_dicom, open_dicom
from mupd.slides.foreign import foreign_format, refuse_foreign
from mupd.slides.openslide_formats import OpenSlideReader, is_mirax, mirax_files, open_mirax, openslide_vendor
from mupd.slides.plain import PictureReader, is_picture
from mupd.slides.slide_reader import SlideReader
from mupd.slides.tiff import is_tiff, open_tiff


def _itself(path: Path) -> tuple[Path, ...]:
    return (path,)


def _is_foreign(path: Path) -> bool:
    """Whether a path has a format that must be converted, by its name or first bytes, and cannot be read after all."""
    foreign = foreign_format(path)
    if foreign is None or foreign.like_tiff or path.is_dir():
        return foreign is not None
    # A readable file may have any name, and OpenSlide reads some CZI.
    return not (is_dicom(path) or is_tiff(path) or is_picture(path) or openslide_vendor(path) is not None)


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
    SlideFormat("formats that must be converted", _is_foreign, refuse_foreign),
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
