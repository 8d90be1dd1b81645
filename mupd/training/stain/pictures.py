"""The pictures of a pair, in each of the layouts of a stain's channels."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from mupd.base.messages import first_line
from mupd.errors import UnusableError
from mupd.training.stain.plan import StainPlan
from mupd.training.stain.table import TableRow

_TO_RGB = {"P", "CMYK", "YCbCr", "RGBA"}


def open_picture(path: Path) -> NDArray[np.generic]:
    """Pixels of a picture, planes last; (h, w) for a grey one.

    Raises
    ------
    UnusableError
        If it does not exist, is synthetic or cannot be read.
    """
    from mupd.synthetic.verify.recognise import synthetic_marks

    if not path.is_file():
        raise UnusableError(f"no file {path.name}")
    if marks := synthetic_marks(path):
        raise UnusableError(f"{path.name} is synthetic ({marks[0]}): never read as measured")
    try:
        if path.suffix.lower() in {".tif", ".tiff"}:
            return _open_tiff(path)
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                return np.asarray(picture.convert("RGB") if picture.mode in _TO_RGB else picture)
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombWarning) as error:
        raise UnusableError(f"{path.name} cannot be read: {first_line(error)}") from error


def _open_tiff(path: Path) -> NDArray[np.generic]:
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            series = file.series[0]
            pixels, axes = series.asarray(), series.axes
    except (tifffile.TiffFileError, IndexError, RuntimeError, KeyError) as error:
        raise ValueError(str(error)) from error
    if pixels.ndim == 3 and axes.index("Y") == 1:  # planes first
        pixels = np.moveaxis(pixels, 0, -1)
    if pixels.ndim not in {2, 3}:
        raise ValueError(f"axes {axes}; expected one picture, with or without channels")
    return pixels


def _as_uint8(plane: NDArray[np.generic], name: str, limits: tuple[float, float] | None) -> NDArray[np.uint8]:
    if limits is None:
        if plane.dtype != np.uint8:
            expected = "uint8, or the values that become 0 and 255 in [pairs.range]"
            raise UnusableError(f"channel {name} is {plane.dtype}; expected {expected}")
        return plane.astype(np.uint8, copy=False)
    low, high = limits
    scaled = (plane.astype(np.float64) - low) / (high - low)
    return np.rint(255 * np.clip(np.nan_to_num(scaled), 0, 1)).astype(np.uint8)


def stain_planes(row: TableRow, plan: StainPlan, folder: Path) -> NDArray[np.uint8]:
    """(h, w, channels) uint8 of a row's stain, in the model's order.

    Raises
    ------
    UnusableError
        If a picture cannot be read, or is not what the layout says.
    """
    settings, channels = plan.pairs, plan.channels
    if settings.layout == "files":
        pictures = [open_picture(folder / row[name]) for name in channels]
        for name, picture in zip(channels, pictures, strict=True):
            if picture.ndim != 2:
                raise UnusableError(f"channel {name} has shape {picture.shape}; expected a grey picture")
            if picture.shape != pictures[0].shape:
                raise UnusableError(f"channel {name} has {picture.shape} px, {channels[0]} {pictures[0].shape}")
        by_name = dict(zip(channels, pictures, strict=True))
    elif settings.layout == "mosaic":
        picture = open_picture(folder / row[settings.stain])
        if picture.ndim != 2 or picture.shape[0] % 2 or picture.shape[1] % 2:
            raise UnusableError(f"the mosaic has shape {picture.shape}; expected a grey picture of even sides")
        h, w = picture.shape[0] // 2, picture.shape[1] // 2
        quadrants = picture[:h, :w], picture[:h, w:], picture[h:, :w], picture[h:, w:]
        by_name = dict(zip(settings.planes, quadrants, strict=True))
    else:
        picture = open_picture(folder / row[settings.stain])
        picture = picture[..., None] if picture.ndim == 2 else picture
        if plan.stain == "ihc" and picture.shape[2] == 4:
            picture = picture[..., :3]
        if picture.shape[2] != len(settings.planes):
            raise UnusableError(f"the stain has {picture.shape[2]} planes; expected {len(settings.planes)}")
        by_name = {name: picture[..., number] for number, name in enumerate(settings.planes)}
    return np.stack([_as_uint8(by_name[name], name, settings.range.get(name)) for name in channels], axis=-1)


def rescaled(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Planes resampled to (width, height)."""
    planes = [Image.fromarray(pixels[..., n]) for n in range(pixels.shape[2])]
    return np.stack([np.asarray(plane.resize(size, Image.Resampling.LANCZOS)) for plane in planes], axis=-1)
