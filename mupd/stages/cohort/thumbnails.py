"""Thumbnails for the report; a synthetic one carries its mark in its pixels, wherever it is copied to."""

from __future__ import annotations

import base64
import io
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

MAGENTA = (194, 24, 122)
_LEAST_SIDE_PX = 256
_FRAME_PX = 9
_STRIPE_PX = 14
_BAND_OPACITY = 165
_JPEG_QUALITY = 78
_WORD = "SYNTHETIC"


def _stripes(width: int, height: int) -> Image.Image:
    """Magenta and white stripes at 45 degrees."""
    y, x = np.mgrid[:height, :width]
    magenta = ((x + y) // _STRIPE_PX) % 2 == 0
    return Image.fromarray(np.where(magenta[..., None], np.array(MAGENTA), 255).astype(np.uint8))


def _font(words: str, width: int, largest: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The largest font in which `words` are at most `width` px wide."""
    for size in range(largest, 8, -1):
        font = ImageFont.load_default(size)
        if font.getlength(words) <= width:
            return font
    return ImageFont.load_default(8)


_HEAT = ((0.0, 0.4, 0.75, 1.0), ((18, 12, 50), (170, 30, 95), (245, 145, 40), (252, 250, 200)))


def heat(values: NDArray[np.float32], largest: float) -> NDArray[np.uint8]:
    """Values (height, width) from 0 to `largest` as colours from dark to light, (height, width, 3)."""
    places, colours = _HEAT
    shares = np.clip(values / largest, 0, 1) if largest > 0 else np.zeros_like(values)
    channels = [np.interp(shares, places, [colour[channel] for colour in colours]) for channel in range(3)]
    return np.stack(channels, axis=-1).astype(np.uint8)


def mark_synthetic(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Draw a striped magenta frame and a diagonal band that reads SYNTHETIC into a picture.

    A picture with sides under 256 px is enlarged first, so that the word can be read.
    """
    image = Image.fromarray(pixels)
    if max(image.size) < _LEAST_SIDE_PX:
        scale = _LEAST_SIDE_PX / max(image.size)
        image = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    width, height = image.size
    diagonal = math.ceil(math.hypot(width, height))
    thickness = max(18, round(diagonal * 0.085))
    band = Image.new("RGBA", (diagonal, thickness), (*MAGENTA, _BAND_OPACITY))
    draw = ImageDraw.Draw(band)
    white, font = (255, 255, 255, 255), _font(_WORD, round(diagonal * 0.5), round(thickness * 0.78))
    # The built-in font has no bold: a thin stroke makes it one.
    draw.text((diagonal / 2, thickness / 2), _WORD, white, font, anchor="mm", stroke_width=1, stroke_fill=white)
    turned = band.rotate(math.degrees(math.atan2(height, width)), expand=True, resample=Image.Resampling.BICUBIC)
    image.paste(turned, ((width - turned.width) // 2, (height - turned.height) // 2), turned)
    frame = Image.new("L", image.size, 255)
    ImageDraw.Draw(frame).rectangle((_FRAME_PX, _FRAME_PX, width - 1 - _FRAME_PX, height - 1 - _FRAME_PX), fill=0)
    image.paste(_stripes(width, height), (0, 0), frame)
    return np.asarray(image)


def data_uri(pixels: NDArray[np.uint8]) -> str:
    """A JPEG of (height, width, 3) uint8 as a data URI."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
