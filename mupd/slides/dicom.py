"""DICOM whole-slide images: which files of a folder are one slide, what their headers declare, wsidicom's reader."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mupd.errors import UnusableError
from mupd.slides.arrays import LevelReader
from mupd.slides.limits import check_slide_size, check_tile_size
from mupd.slides.scale import one_scale

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


def looks_like_dicom(path: Path) -> bool:
    """Whether a file has the DICOM preamble (PS3.10 7.1)."""
    with path.open("rb") as stream:
        return stream.read(_PREFIX_BYTES + 4)[_PREFIX_BYTES:] == b"DICM"


@contextmanager
def _as_value_errors(wsidicom: bool = False) -> Iterator[None]:
    """Errors of pydicom and wsidicom, which have no base but Exception, as ValueError."""
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

    return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)


def _dicom_files(folder: Path) -> list[Path]:
    files = [item for item in sorted(folder.iterdir()) if not item.name.startswith(".") and item.is_file()]
    if len(files) > _MOST_FILES:
        raise UnusableError(f"the folder holds {len(files)} files, over {_MOST_FILES}: one folder for each slide")
    return [file for file in files if looks_like_dicom(file)]


@dataclass(frozen=True)
class _Series:
    """The files of one series of whole-slide images."""

    uid: str
    number: str
    files: tuple[Path, ...]
    size_px: tuple[int, int]


def _volume_series(folder: Path) -> list[_Series]:
    """Series of a folder with images of Image Type VOLUME (the pyramid), their other images left out."""
    found: dict[str, list[tuple[Path, Any]]] = {}
    for file in _dicom_files(folder):
        header = _header(file)
        if "VOLUME" in (header.get("ImageType") or []):
            found.setdefault(str(header.get("SeriesInstanceUID")), []).append((file, header))
    return [
        _Series(
            uid,
            str(members[0][1].get("SeriesNumber") or ""),
            tuple(file for file, _ in members),
            max((_matrix_size(header) for _, header in members), key=lambda size: size[0] * size[1]),
        )
        for uid, members in found.items()
    ]


def _matrix_size(header: Any) -> tuple[int, int]:
    return int(header.get("TotalPixelMatrixColumns") or 0), int(header.get("TotalPixelMatrixRows") or 0)


def _words(series: _Series) -> str:
    # Names of files may name patients: the end of the UID tells series apart without them.
    name = f"series {series.number}" if series.number else "a series"
    width, height = series.size_px
    return f"{name} (UID ends in {series.uid[-8:]}; {len(series.files)} files, {width} x {height} px)"


@_as_value_errors()
def slide_files(path: Path) -> tuple[Path, ...]:
    """The files of the pyramid that a folder or a file of it stands for.

    Raises
    ------
    UnusableError
        If a folder holds no whole-slide image, or several: the message says which there are.
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
            "give one file of the series that is meant as he"
        )
    below = sum(1 for item in path.iterdir() if item.is_dir())
    raise UnusableError(
        "the folder holds no DICOM whole-slide image (Image Type VOLUME)"
        + (f"; there are {below} folders in it: name the one of the slide" if below else "")
    )


@_as_value_errors()
def check_dicom(files: tuple[Path, ...]) -> None:
    """Raise UnusableError for headers over the limits, one channel, or pixel data that ends early."""
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
            raise UnusableError(f"truncated: {size} bytes, {native_bytes} of pixels are declared; copy the file anew")
        return
    with file.open("rb") as stream:
        stream.seek(max(0, size - _TAIL_BYTES))
        # Encapsulated pixel data ends with this item (PS3.5 A.4); little follows it.
        if _SEQUENCE_DELIMITER not in stream.read():
            raise UnusableError("truncated: the pixel data has no end; copy the file anew from its source")


class WsidicomReader(LevelReader):
    """A DICOM slide that OpenSlide does not read: JPEG-LS, HTJ2K, JPEG XL, sparse tiling of several planes."""

    format = "dicom"

    def __init__(self, files: tuple[Path, ...], mpp: float | None) -> None:
        from wsidicom import WsiDicom

        with _as_value_errors(wsidicom=True):
            self._slide = WsiDicom.open(files)
        levels = list(self._slide.levels)
        self._numbers = [level.level for level in levels]
        self.level_sizes_px = tuple((level.size.width, level.size.height) for level in levels)
        self.size_px = self.level_sizes_px[0]
        scale = levels[0].mpp
        self.file_mpp = one_scale(scale.width, scale.height) if scale is not None else None
        self.mpp = mpp if mpp is not None else self.file_mpp
        self.mpp_source = "sheet" if mpp is not None else "file" if self.file_mpp else "none"

    def _inside(self, level: int, x: int, y: int, w: int, h: int) -> NDArray[np.uint8]:
        with _as_value_errors(wsidicom=True):
            region = self._slide.read_region((x, y), self._numbers[level], (w, h), threads=1)
        return np.asarray(region.convert("RGB"))

    def close(self) -> None:
        """See :class:`mupd.slides.reader.SlideReader`."""
        self._slide.close()
