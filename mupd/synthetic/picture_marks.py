"""Looks for marks in slides and pictures: the banner in a text field, the watermark in a few regions of tissue."""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mupd.errors import UnusableError
from mupd.synthetic.png_marks import is_png, png_marks
from mupd.synthetic.statement import BANNER

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mupd.synthetic.watermark import Detection

WATERMARK = "watermark in the pixels"
TEXT_FIELD = "a text field of the picture holds the banner"

REGION_PX = 768
"""Side of a region: enough for pixels that were saved as JPEG, halved and saved again (docs/marks.md)."""

MOST_REGIONS = 3
"""Regions that are looked at where time matters less; one finds it in a slide as it was written."""

_THUMBNAIL_PX = 512
_ENDS_BYTES = 1 << 16
_PICTURE_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_SLIDE_SUFFIXES = frozenset({".mrxs", ".vms", ".vmu", ".czi"})


class _Reader(Protocol):
    """What is needed of an open slide; see :class:`mupd.modalities.slides.SlideReader`."""

    size_px: tuple[int, int]

    def read(self, x: int, y: int, w: int, h: int) -> NDArray[np.uint8]: ...

    def thumbnail(self, max_px: int) -> NDArray[np.uint8]: ...


def is_picture(path: Path) -> bool:
    """Whether a file begins as PNG, JPEG, BMP or TIFF (most scanners' formats are TIFF), or is named as a slide is."""
    with path.open("rb") as stream:
        return stream.read(8).startswith(_PICTURE_MAGIC) or path.suffix.lower() in _SLIDE_SUFFIXES


class _WsidicomReader:
    """A DICOM slide in a codec that OpenSlide does not know (HTJ2K, JPEG XL, JPEG-LS)."""

    def __init__(self, path: Path) -> None:
        from wsidicom import WsiDicom

        self._slide = WsiDicom.open(path)
        self.size_px = (self._slide.size.width, self._slide.size.height)

    def read(self, x: int, y: int, w: int, h: int) -> NDArray[np.uint8]:
        import numpy as np

        width, height = min(w, self.size_px[0] - x), min(h, self.size_px[1] - y)
        return np.asarray(self._slide.read_region((x, y), 0, (width, height)).convert("RGB"))

    def thumbnail(self, max_px: int) -> NDArray[np.uint8]:
        import numpy as np

        most = min(max_px, *self.size_px)
        return np.asarray(self._slide.read_thumbnail((most, most)).convert("RGB"))

    def close(self) -> None:
        self._slide.close()


def _open(path: Path, stack: ExitStack, dicom: bool) -> _Reader:
    from mupd.modalities.slides import open_slide

    try:
        return stack.enter_context(open_slide(path))
    except UnusableError:
        if not dicom:
            raise
        return stack.enter_context(closing(_WsidicomReader(path)))


def _corners(size: tuple[int, int], thumbnail: NDArray[np.uint8], most: int) -> list[tuple[int, int]]:
    """Upper left corners (x, y) of the regions with the most tissue, the best first; the middle if there is none."""
    from mupd.modalities.tissue import tissue_mask

    counts = [max(1, -(-side // REGION_PX)) for side in size]
    lefts, tops = (
        [round(index * max(0, side - REGION_PX) / max(1, count - 1)) for index in range(count)]
        for side, count in zip(size, counts, strict=True)
    )
    mask = tissue_mask(thumbnail)
    scale = thumbnail.shape[1] / size[0]
    side = max(1, round(REGION_PX * scale))
    tissue: dict[tuple[int, int], float] = {}
    for top in tops:
        for left in lefts:
            y, x = (min(int(start * scale), length - 1) for start, length in zip((top, left), mask.shape, strict=True))
            tissue[left, top] = float(mask[y : y + side, x : x + side].mean())
    ordered = sorted(tissue, key=lambda corner: (-tissue[corner], corner))
    return [corner for corner in ordered if tissue[corner] > 0][:most] or [
        (lefts[len(lefts) // 2], tops[len(tops) // 2])
    ]


def find_watermark(path: Path, dicom: bool = False, regions: int = MOST_REGIONS) -> Detection:
    """The strongest sign of the watermark in a slide or picture.

    Parameters
    ----------
    path
        A file that OpenSlide or Pillow reads, or the folder of a DICOM slide.
    dicom
        Whether it is DICOM: then wsidicom is asked too.
    regions
        How many regions of level 0 are looked at, those with the most tissue.

    Raises
    ------
    UnusableError
        If it cannot be read. Its cause (``__cause__``) is None where the file is whole but of a kind
        in which there can be no such mark, e.g. 16 bits a pixel.
    """
    from wsidicom import errors

    from mupd.modalities.slides import READ_ERRORS
    from mupd.synthetic.watermark import Detection, detect

    # wsidicom's errors have no common base.
    wsidicom_errors = [
        value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)
    ]
    unreadable: tuple[type[Exception], ...] = (
        *READ_ERRORS,
        *wsidicom_errors,
        NotImplementedError,
        KeyError,
        AttributeError,
        StopIteration,
    )
    best = Detection(0.0, False, 1.0)
    try:
        with ExitStack() as stack:
            reader = _open(path, stack, dicom)
            for x, y in _corners(reader.size_px, reader.thumbnail(_THUMBNAIL_PX), regions):
                width, height = (
                    min(REGION_PX, size - start) for size, start in zip(reader.size_px, (x, y), strict=True)
                )
                found = detect(reader.read(x, y, width, height))
                best = max(best, found, key=lambda detection: detection.score)
                if best.present:
                    break
    except unreadable as error:
        raise UnusableError(f"{path.name}: found pixels that cannot be read ({error}); expected a picture") from error
    return best


def _text_field_marks(path: Path) -> list[str]:
    """The banner in the first or last 64 KiB, where TIFF descriptions and JPEG comments stand."""
    with path.open("rb") as stream:
        head = stream.read(_ENDS_BYTES)
        size = stream.seek(0, 2)
        stream.seek(max(0, size - _ENDS_BYTES))
        return [TEXT_FIELD] if BANNER.encode() in head + stream.read() else []


def header_marks(path: Path) -> list[str]:
    """Marks of a picture file outside its pixels."""
    return png_marks(path) if is_png(path) else _text_field_marks(path)


def watermark_words(found: Detection) -> str:
    """How a found watermark reads among the marks."""
    size = "" if found.scale == 1 else f", the picture {found.scale:.2g} times the size of the slide"
    return f"{WATERMARK} (score {found.score:.1f}{size})"


def picture_marks(path: Path) -> list[str]:
    """Marks of a picture or a plain slide file; the pixels are looked at only if its text fields hold none.

    A picture that cannot be read has none: whoever reads it next says what is wrong with it.
    """
    marks = header_marks(path)
    return marks or pixel_marks(path)


def pixel_marks(path: Path, dicom: bool = False) -> list[str]:
    """The watermark as a mark, looked for in one region; an empty list if the pixels cannot be read."""
    try:
        found = find_watermark(path, dicom, regions=1)
    except UnusableError:
        return []
    return [watermark_words(found)] if found.present else []


def is_slide_image(header: Any) -> bool:
    """Whether a DICOM header is of a level of a slide, in which a watermark can be."""
    image_type = header.get("ImageType") or []
    slide = str(header.get("SOPClassUID") or "") == "1.2.840.10008.5.1.4.1.1.77.1.6"
    return slide and not {"LABEL", "OVERVIEW", "THUMBNAIL"} & {str(part) for part in image_type}
