"""Small pictures of slides with the outline of their tissue, for reports."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from mupd.base.messages import reason_of
from mupd.errors import UnusableError
from mupd.slides.checks import find_tissue
from mupd.slides.reader import READ_ERRORS, open_slide

_OUTLINE_RGB = (0, 140, 60)
_JPEG_QUALITY = 82


def picture_of(path: Path, mpp: float | None, max_px: int = 512) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A reduced slide, and where it shows tissue. Pen marks are not tissue.

    Parameters
    ----------
    path, mpp
        As :func:`mupd.slides.reader.open_slide` takes them.
    max_px
        The longer side of the result is at most this.

    Returns
    -------
    (rows, columns, 3) uint8 and (rows, columns) bool.

    Raises
    ------
    UnusableError
        If it does not open or cannot be decoded. Slides that intake refuses for their content have pictures too.
    """
    with open_slide(path, mpp) as reader:
        try:
            thumb = reader.thumbnail(max_px)
        except READ_ERRORS as error:
            raise UnusableError(f"truncated or damaged: {reason_of(error, path)}") from error
        return thumb, find_tissue(thumb, reader.size_px, reader.mpp).mask


def outlined(rgb: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The picture with the outline of the tissue in green, two pixels wide, and the rest faded.

    Parameters
    ----------
    rgb, mask
        (rows, columns, 3) uint8 and (rows, columns) bool, as :func:`picture_of` returns them.
    """
    # Close holes and remove specks of a few pixels, which would turn the outline into a net.
    area = ndimage.binary_opening(ndimage.binary_closing(np.pad(mask, 3), iterations=3), iterations=1)[3:-3, 3:-3]
    edge = ndimage.binary_dilation(area, iterations=2) & ~area
    pale = (rgb.astype(np.uint16) + 2 * 255) // 3
    drawn = np.where((area | edge)[..., None], rgb, pale).astype(np.uint8)
    drawn[edge] = _OUTLINE_RGB
    return drawn


def encoded(rgb: NDArray[np.uint8], kind: str = "JPEG") -> bytes:
    """(rows, columns, 3) uint8 as the bytes of a ``JPEG`` or ``PNG`` file."""
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, kind, quality=_JPEG_QUALITY, optimize=True)
    return stream.getvalue()


def outlined_picture(path: Path, mpp: float | None, max_px: int = 512, kind: str = "JPEG") -> bytes:
    """A small picture of a slide with the outline of its tissue, encoded; raises as :func:`picture_of` does."""
    return encoded(outlined(*picture_of(path, mpp, max_px)), kind)
