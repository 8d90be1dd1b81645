"""Looks for marks in slides and pictures: the banner in a text field, the watermark in a few regions of tissue."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mupd.errors import UnusableError
from mupd.synthetic.picture.png_marks import is_png, png_marks
from mupd.synthetic.statement import BANNER

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mupd.synthetic.picture.watermark import Detection

WATERMARK = "watermark in the pixels"
TEXT_FIELD = "a text field of the picture holds the banner"

REGION_PX = 768
"""Side of a region: enough for pixels that were saved as JPEG, halved and saved again (docs/marks.md)."""

MOST_REGIONS = 3
"""Regions that are looked at where time matters less; one finds it in a slide as it was written."""

_ENDS_BYTES = 1 << 16
_PICTURE_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_SLIDE_SUFFIXES = frozenset({".mrxs", ".vms", ".vmu", ".czi"})


def is_picture(path: Path) -> bool:
    """Whether a file begins as PNG, JPEG, BMP or TIFF (most scanners' formats are TIFF), or is named as a slide is."""
    with path.open("rb") as stream:
        return stream.read(8).startswith(_PICTURE_MAGIC) or path.suffix.lower() in _SLIDE_SUFFIXES


def _corners(size: tuple[int, int], thumbnail: NDArray[np.uint8], most: int) -> list[tuple[int, int]]:
    """Upper left corners (x, y) of the regions with the most tissue, the best first; the middle if there is none."""
    from mupd.slides.tissue import tissue_mask

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


def find_watermark(path: Path, regions: int = MOST_REGIONS) -> Detection:
    """The strongest sign of the watermark in a slide or picture.

    Parameters
    ----------
    path
        What :func:`mupd.slides.reader.open_slide` reads.
    regions
        How many regions of level 0 are looked at, those with the most tissue.

    Raises
    ------
    UnusableError
        If it cannot be read. Its cause (``__cause__``) is None where the file is whole but of a kind
        in which there can be no such mark, e.g. 16 bits a pixel.
    """
    from mupd.slides.reader import READ_ERRORS, THUMBNAIL_PX, open_slide, thumbnail_once
    from mupd.synthetic.picture.watermark import Detection, detect

    best = Detection(0.0, False, 1.0)
    try:
        with open_slide(path) as reader:
            # Every second pixel of the thumbnail that the slide is examined on afterwards: it is made once.
            thumbnail = thumbnail_once(path, reader, THUMBNAIL_PX)[::2, ::2]
            for x, y in _corners(reader.size_px, thumbnail, regions):
                width, height = (
                    min(REGION_PX, size - start) for size, start in zip(reader.size_px, (x, y), strict=True)
                )
                of_region = detect(reader.read(x, y, width, height))
                best = max(best, of_region, key=lambda detection: detection.score)
                if best.present:
                    break
    except READ_ERRORS as error:
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


def watermark_words(detection: Detection) -> str:
    """How a found watermark reads among the marks."""
    size = "" if detection.scale == 1 else f", the picture {detection.scale:.2g} times the size of the slide"
    return f"{WATERMARK} (score {detection.score:.1f}{size})"


def picture_marks(path: Path) -> list[str]:
    """Marks of a picture or a plain slide file; the pixels are looked at only if its text fields hold none.

    A picture that cannot be read has none: whoever reads it next says what is wrong with it.
    """
    marks = header_marks(path)
    return marks or pixel_marks(path)


def pixel_marks(path: Path) -> list[str]:
    """The watermark as a mark, looked for in one region; an empty list if the pixels cannot be read."""
    try:
        detection = find_watermark(path, regions=1)
    except UnusableError:
        return []
    return [watermark_words(detection)] if detection.present else []


def is_slide_image(header: Any) -> bool:
    """Whether a DICOM header is of a level of a slide, in which a watermark can be."""
    image_type = header.get("ImageType") or []
    slide = str(header.get("SOPClassUID") or "") == "1.2.840.10008.5.1.4.1.1.77.1.6"
    slide = slide and str(header.get("PhotometricInterpretation") or "") != "MONOCHROME2"
    return slide and not {"LABEL", "OVERVIEW", "THUMBNAIL"} & {str(part) for part in image_type}
