"""Pixels of a synthetic slide, read tile by tile, and their description as wsidicom asks for it."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import UID
from wsidicom.codec import Encoder
from wsidicom.geometry import Point, Size, SizeMm
from wsidicom.instance import ImageData
from wsidicom.metadata import LossyCompression
from wsidicom.metadata.image import ImageCoordinateSystem

Pixels = NDArray[np.uint8]

_KEPT_TILES = 64
"""Tiles after which the pages of a mapped file are let go."""


def pad_tile(tile: Pixels, width: int, height: int) -> Pixels:
    """A tile filled up to full size by repeating its last row and column, C-contiguous.

    JPEG blocks on the border then do not ring against a colour that is not there.
    """
    missing = (height - tile.shape[0], width - tile.shape[1])
    if any(missing):
        tile = np.pad(tile, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
    return np.ascontiguousarray(tile)


class SlidePixels:
    """An (height, width, 3) uint8 RGB picture, or one channel of many, read in tiles; safe to use from several threads.

    A memory-mapped file is mapped anew here and its pages are let go every few tiles: pages that were
    touched once would count as this process's memory for good.
    """

    def __init__(
        self,
        pixels: np.ndarray,
        mark: Callable[[Pixels], Pixels] | None = None,
        channel: int | None = None,
    ) -> None:
        """Wrap `pixels`.

        Parameters
        ----------
        pixels
            (height, width, 3) uint8; with a `channel`, (height, width, channels).
        mark
            Changes each tile as it is read, e.g. weaves in the watermark.
        channel
            The one that is read, as a picture (height, width, 1).

        Raises
        ------
        ValueError
            If `pixels` has another shape or type.
        """
        if pixels.ndim != 3 or (channel is None and pixels.shape[2] != 3) or pixels.dtype != np.uint8:
            raise ValueError(f"pixels: found {pixels.shape} {pixels.dtype}; expected (height, width, 3) uint8")
        self.height, self.width = pixels.shape[:2]
        self.samples = 3 if channel is None else 1
        self._chosen = slice(None) if channel is None else slice(channel, channel + 1)
        self._mark = mark
        self._pixels, self._map = pixels, None
        self._read = 0
        if isinstance(pixels, np.memmap) and pixels.flags.c_contiguous and pixels.filename is not None:
            with open(pixels.filename, "rb") as stream:
                self._map = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            flat = np.frombuffer(self._map, np.uint8, pixels.size, pixels.offset)
            self._pixels = flat.reshape(pixels.shape)

    def whole(self) -> Pixels:
        """All of it, (height, width, samples) uint8: for small pictures."""
        return np.ascontiguousarray(self._pixels[..., self._chosen])

    def tile(self, x: int, y: int, tile_px: int) -> Pixels:
        """Tile in column `x` and row `y`, (tile_px, tile_px, samples) uint8, filled up at the border."""
        part = self._pixels[y * tile_px : (y + 1) * tile_px, x * tile_px : (x + 1) * tile_px, self._chosen]
        if self._mark is not None:
            height, width = part.shape[:2]
            missing = ((0, tile_px - height), (0, tile_px - width), (0, 0))
            block = np.ascontiguousarray(np.pad(part, missing, mode="reflect") if part.size < tile_px**2 * 3 else part)
            part = self._mark(block)[:height, :width]
        tile = pad_tile(part, tile_px, tile_px)
        if self._map is not None:
            self._read += 1
            if self._read % _KEPT_TILES == 0:
                self._map.madvise(mmap.MADV_DONTNEED)
        return tile


class PixelImageData(ImageData):
    """What wsidicom asks of an image: geometry, colour and compression, and its tiles."""

    def __init__(
        self,
        pixels: SlidePixels,
        spacing_mm: tuple[float, float],
        coordinates: ImageCoordinateSystem,
        tile_px: int | None,
        encoder: Encoder,
        channels: Sequence[str] = (),
    ) -> None:
        """Describe `pixels`; `spacing_mm` is x and y, `tile_px` None makes the whole image one frame.

        Of an image with several optical paths, `channels` are their identifiers and `pixels` is the first of them.
        """
        super().__init__(encoder)
        self._channels = list(channels) or ["0"]
        self._pixels = pixels
        self._spacing = SizeMm(*spacing_mm)
        self._coordinates = coordinates
        self._size = Size(pixels.width, pixels.height)
        self._tile = Size(tile_px, tile_px) if tile_px else self._size

    @property
    def transfer_syntax(self) -> UID:
        """That of the encoder."""
        return self.encoder.transfer_syntax

    @property
    def image_size(self) -> Size:
        """Width and height in pixels."""
        return self._size

    @property
    def tile_size(self) -> Size:
        """Width and height of a tile in pixels."""
        return self._tile

    @property
    def pixel_spacing(self) -> SizeMm:
        """Millimetres a pixel."""
        return self._spacing

    @property
    def imaged_size(self) -> SizeMm | None:
        """None: pixels times spacing."""
        return None

    @property
    def optical_paths(self) -> list[str]:
        """Identifiers of the optical paths."""
        return self._channels

    @property
    def samples_per_pixel(self) -> int:
        """Three of a picture in colour, one of a channel."""
        return self._pixels.samples

    @property
    def bits(self) -> int:
        """Bits a sample."""
        return 8

    @property
    def photometric_interpretation(self) -> str:
        """As the encoder writes it."""
        return self.encoder.photometric_interpretation

    @property
    def thread_safe(self) -> bool:
        """Tiles may be read by several threads."""
        return True

    @property
    def image_coordinate_system(self) -> ImageCoordinateSystem:
        """Where the image lies on the slide."""
        return self._coordinates

    @property
    def lossy_compression(self) -> list[LossyCompression] | None:
        """None: generated pixels were never compressed before; the encoder's own loss is written with it."""
        return None

    @property
    def transcoder(self) -> Encoder:
        """The encoder: tiles are handed over decoded."""
        return self.encoder

    def get_decoded_tile(self, tile_point: Point, z: float, path: str, cache: bool = True) -> Pixels:  # noqa: ARG002
        """One tile, (tile height, tile width, 3) uint8."""
        if self._tile == self._size:
            return self._pixels.whole()
        return self._pixels.tile(tile_point.x, tile_point.y, self._tile.width)

    def get_encoded_tile(self, tile: Point, z: float, path: str) -> bytes:
        """One tile, compressed."""
        return self.encoder.encode(self.get_decoded_tile(tile, z, path))
