"""Limits on the sizes that a picture file declares, checked before any pixel is decoded.

A header of a few bytes can declare billions of pixels or tiles of gigabytes. Libraries trust such fields.
"""

from __future__ import annotations

from mupd.errors import UnusableError

MOST_SIDE_PX = 1_000_000
"""Longest side of level 0: 100 mm at 0.1 um/px. A slide is shorter."""

MOST_SLIDE_PIXELS = 200_000_000_000
"""A whole glass of 25 x 75 mm at 0.1 um/px has 187 gigapixels."""

MOST_PLAIN_PIXELS = 400_000_000
"""Largest plain picture. It is decoded whole, at 7 bytes per pixel; larger ones must be tiled."""

MOST_TILE_PIXELS = 4096 * 4096
"""Largest tile or strip. Scanners write 240 to 2,048 px per side."""

MOST_FLAT_PIXELS = 600_000_000
"""Largest level that is read whole for a thumbnail. Larger ones are sampled."""

_LEAST_JPEG_BYTES = 1 / 512  # per pixel: a block of 8 x 8 px takes at least a bit


def _millions(pixels: int) -> str:
    return f"{pixels / 1e6:,.0f} megapixels"


def check_slide_size(width: int, height: int) -> None:
    """Raise UnusableError if level 0 cannot have this size."""
    if width < 1 or height < 1:
        raise UnusableError(f"declares {width} x {height} px: expected a picture")
    if max(width, height) > MOST_SIDE_PX or width * height > MOST_SLIDE_PIXELS:
        raise UnusableError(
            f"declares {width} x {height} px, more than a whole glass at 0.1 um/px "
            f"({MOST_SLIDE_PIXELS / 1e9:g} gigapixels, {MOST_SIDE_PX} px a side): a damaged or made-up header"
        )


def check_plain_size(width: int, height: int, kind: str) -> None:
    """Raise UnusableError if a picture is too large to be decoded whole."""
    if width < 1 or height < 1:
        raise UnusableError(f"declares {width} x {height} px: expected a picture")
    if width * height > MOST_PLAIN_PIXELS:
        raise UnusableError(
            f"a plain {kind} of {_millions(width * height)}, over {MOST_PLAIN_PIXELS // 1_000_000}: it must be "
            "decoded whole; convert it to a pyramid (tiled TIFF, SVS or DICOM)"
        )


def check_jpeg_bytes(width: int, height: int, size: int) -> None:
    """Raise UnusableError if `size` bytes are too few for the declared JPEG. A decoder would fill in grey."""
    if size < width * height * _LEAST_JPEG_BYTES:
        raise UnusableError(f"truncated: {size} bytes are too few for a JPEG of {width} x {height} px")


def check_tile_size(width: int, height: int) -> None:
    """Raise UnusableError if one tile or strip is too large to decode."""
    if width < 1 or height < 1 or width * height > MOST_TILE_PIXELS:
        raise UnusableError(
            f"tiles of {width} x {height} px: expected 1 px to {_millions(MOST_TILE_PIXELS)}; write the slide again "
            "with tiles of 256 to 1,024 px"
        )
