"""DICOM whole-slide images: the files of one slide, checks of their headers, and their reader."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from openslide.lowlevel import OpenSlideError

from mupd.base.messages import warnings_with_name
from mupd.errors import UnusableError
from mupd.slides.limits import check_slide_size, check_tile_size
from mupd.slides.openslide_formats import OpenSlideReader
from mupd.slides.slide_reader import SlideReader

_PREFIX_BYTES = 128
_MOST_FILES = 10_000
_MOST_FRAMES = 20_000_000
_TAIL_BYTES = 1 << 16
_SEQUENCE_DELIMITER = b"\xfe\xff\xdd\xe0"
_TAGS = [
    "SOPClassUID",
    "ImageType",
    "SeriesInstanceUID",
    "SeriesNumber",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "BitsAllocated",
    "NumberOfFrames",
    "TotalPixelMatrixRows",
    "TotalPixelMatrixColumns",
    "PhotometricInterpretation",
]
_WSI = "1.2.840.10008.5.1.4.1.1.77.1.6"


def _has_preamble(path: Path) -> bool:
    """Whether a file has the DICOM preamble (PS3.10 7.1)."""
    with path.open("rb") as stream:
        return stream.read(_PREFIX_BYTES + 4)[_PREFIX_BYTES:] == b"DICM"


@contextmanager
def _as_value_errors(wsidicom: bool = False) -> Iterator[None]:
    """Raise errors of pydicom and wsidicom, which only share the base Exception, as ValueError."""
    from pydicom.errors import BytesLengthException, InvalidDicomError

    own: list[type[Exception]] = [BytesLengthException, InvalidDicomError]
    if wsidicom:
        from wsidicom import errors

        own += [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    try:
        yield
    except tuple(own) as error:
        raise ValueError(str(error)) from error


def _header(path: Path) -> Any:
    import pydicom

    with warnings_with_name(path):
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)
        for _ in header:
            pass  # Values are parsed, and warned of, when they are asked for.
    return header


def is_dicom(path: Path) -> bool:
    """Whether a path is a folder, which can only be a DICOM slide, or a DICOM file."""
    return path.is_dir() or _has_preamble(path)


def _files_with_preamble(folder: Path) -> list[Path]:
    files = [item for item in sorted(folder.iterdir()) if not item.name.startswith(".") and item.is_file()]
    if len(files) > _MOST_FILES:
        raise UnusableError(f"the folder holds {len(files)} files, over {_MOST_FILES}: one folder for each slide")
    return [file for file in files if _has_preamble(file)]


@dataclass(frozen=True)
class _Series:
    """The files of one series of whole-slide images."""

    uid: str
    number: str
    files: tuple[Path, ...]
    size_px: tuple[int, int]


def _volume_series(folder: Path) -> list[_Series]:
    """The series in a folder with images of Image Type VOLUME (the pyramid), without their other images."""
    by_uid: dict[str, list[tuple[Path, Any]]] = {}
    for file in _files_with_preamble(folder):
        header = _header(file)
        if "VOLUME" in (header.get("ImageType") or []):
            by_uid.setdefault(str(header.get("SeriesInstanceUID")), []).append((file, header))
    return [
        _Series(
            uid,
            str(members[0][1].get("SeriesNumber") or ""),
            tuple(file for file, _ in members),
            max((_matrix_size(header) for _, header in members), key=lambda size: size[0] * size[1]),
        )
        for uid, members in by_uid.items()
    ]


def _matrix_size(header: Any) -> tuple[int, int]:
    return int(header.get("TotalPixelMatrixColumns") or 0), int(header.get("TotalPixelMatrixRows") or 0)


def _words(series: _Series) -> str:
    # File names may name patients. The end of the UID distinguishes series without them.
    name = f"series {series.number}" if series.number else "a series"
    width, height = series.size_px
    return f"{name} (UID ends in {series.uid[-8:]}; {len(series.files)} files, {width} x {height} px)"


@_as_value_errors()
def slide_files(path: Path) -> tuple[Path, ...]:
    """The files of the pyramid in a folder, or of the pyramid that a file belongs to.

    Raises
    ------
    UnusableError
        If a folder holds no whole-slide image or several. The message lists them.
    """
    if not path.is_dir():
        uid = str(_header(path).get("SeriesInstanceUID"))
        own = [series.files for series in _volume_series(path.parent) if series.uid == uid]
        return own[0] if own else (path,)
    series = _volume_series(path)
    if len(series) == 1:
        return series[0].files
    if series:
        raise UnusableError(
            f"the folder holds {len(series)} DICOM series of whole-slide images: "
            f"{'; '.join(_words(one) for one in series[:4])}{'; ...' if len(series) > 4 else ''}; "
            "give one file of the series you mean as he"
        )
    below = sum(1 for item in path.iterdir() if item.is_dir())
    raise UnusableError(
        "the folder holds no DICOM whole-slide image (Image Type VOLUME)"
        + (f"; there are {below} folders in it: give the folder of the slide" if below else "")
    )


@_as_value_errors()
def _check_headers(files: tuple[Path, ...]) -> None:
    """Raise UnusableError for headers over the limits, a single channel, or pixel data that ends early."""
    for file in files:
        header = _header(file)
        sop_class = str(header.get("SOPClassUID") or "")
        if sop_class != _WSI:
            raise UnusableError(f"DICOM of SOP class {sop_class or 'unknown'}: expected a whole-slide image ({_WSI})")
        width, height = _matrix_size(header)
        check_slide_size(width, height)
        columns, rows = int(header.get("Columns") or 0), int(header.get("Rows") or 0)
        check_tile_size(columns, rows)
        frames = int(header.get("NumberOfFrames") or 1)
        if not 0 < frames <= _MOST_FRAMES:
            raise UnusableError(f"declares {frames} frames: expected 1 to {_MOST_FRAMES}")
        samples, bits = int(header.get("SamplesPerPixel") or 1), int(header.get("BitsAllocated") or 8)
        if samples != 3:
            kind = header.get("PhotometricInterpretation")
            raise UnusableError(f"not H&E: one channel ({kind}, {bits} bits), as fluorescence has; expected RGB")
        _check_whole(file, header, frames * columns * rows * samples * max(1, bits // 8))


def _check_whole(file: Path, header: Any, native_bytes: int) -> None:
    size = file.stat().st_size
    syntax = header.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated:
        if not syntax.is_deflated and size < native_bytes:
            raise UnusableError(f"truncated: {size} bytes, but {native_bytes} of pixels declared; copy the file again")
        return
    with file.open("rb") as stream:
        stream.seek(max(0, size - _TAIL_BYTES))
        # Encapsulated pixel data ends with this item (PS3.5 A.4); little follows it.
        if _SEQUENCE_DELIMITER not in stream.read():
            raise UnusableError("truncated: the pixel data has no end; copy the file again from its source")


class WsidicomReader(SlideReader):
    """A DICOM slide that OpenSlide does not read: JPEG-LS, HTJ2K, JPEG XL, sparse tiling with several planes."""

    format = "dicom"

    def __init__(self, files: tuple[Path, ...], mpp: float | None) -> None:
        from wsidicom import WsiDicom

        try:
            with _as_value_errors(wsidicom=True), warnings_with_name(files[0]):
                self._slide = WsiDicom.open(files)
        except ValueError as error:
            if "Level files" not in str(error):
                raise
            raise UnusableError(
                f"none of the slide's {len(files)} DICOM files holds a level that can be read (Image Type "
                "VOLUME, tiled, with a pixel spacing): export the whole series again, or convert it with Bio-Formats "
                "or QuPath to a pyramidal OME-TIFF"
            ) from error
        levels = list(self._slide.levels)
        self._numbers = [level.level for level in levels]
        self.level_sizes_px = tuple((level.size.width, level.size.height) for level in levels)
        scale = levels[0].mpp
        self._set_scale(mpp, (scale.width, scale.height) if scale is not None else (None, None))

    def _inside(self, level: int, x: int, y: int, w: int, h: int) -> NDArray[np.uint8]:
        with _as_value_errors(wsidicom=True):
            region = self._slide.read_region((x, y), self._numbers[level], (w, h), threads=1)
        return np.asarray(region.convert("RGB"))

    def close(self) -> None:
        """See :class:`SlideReader`."""
        self._slide.close()


def open_dicom(path: Path, mpp: float | None) -> SlideReader:
    """Open the DICOM slide in a folder, or the one that a file belongs to; with wsidicom if OpenSlide cannot.

    Raises
    ------
    UnusableError
        If there is no slide or several, or if a header is over the limits.
    """
    files = slide_files(path)
    _check_headers(files)
    try:
        return OpenSlideReader(files[0], mpp)
    except OpenSlideError:
        # OpenSlide does not know every codec and tiling.
        return WsidicomReader(files, mpp)


def dicom_files(path: Path) -> tuple[Path, ...]:
    """The files of the pyramid that a file belongs to; a folder itself."""
    return (path,) if path.is_dir() else slide_files(path)
