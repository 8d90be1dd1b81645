"""Pixels of a synthetic slide as wsidicom reads them: tile by tile, so memory does not grow with the slide."""

from __future__ import annotations

import numpy as np
from pydicom.uid import UID, JPEGBaseline8Bit
from wsidicom.codec import Encoder
from wsidicom.codec.settings import Channels, JpegSettings, Subsampling
from wsidicom.geometry import Point, Size, SizeMm
from wsidicom.instance import ImageData
from wsidicom.metadata import LossyCompression
from wsidicom.metadata.image import ImageCoordinateSystem


def read_rows(pixels: np.ndarray, start: int, stop: int) -> np.ndarray:
    """Rows start to stop of a slide, (rows, width, 3) uint8.

    A memory-mapped array is mapped anew for just these rows and unmapped with the result: pages
    once touched through one long-lived mapping would count as this process's memory for good.
    """
    stop = min(stop, pixels.shape[0])
    if not isinstance(pixels, np.memmap) or not pixels.flags.c_contiguous or pixels.filename is None:
        return pixels[start:stop]
    row_bytes = pixels.shape[1] * pixels.shape[2]
    shape = (stop - start, *pixels.shape[1:])
    return np.memmap(pixels.filename, np.uint8, "r", offset=pixels.offset + start * row_bytes, shape=shape)


class PixelImageData(ImageData):
    """JPEG-baseline image data over an (height, width, 3) uint8 RGB array, memory-mapped or not.

    Edge tiles are filled up by repeating the last row and column, so that JPEG blocks on the border
    do not ring against a colour that is not there.
    """

    def __init__(
        self,
        pixels: np.ndarray,
        spacing_mm: float,
        coordinates: ImageCoordinateSystem,
        tile_px: int | None,
        jpeg_quality: int,
    ) -> None:
        """Wrap `pixels`; `tile_px` None makes the whole image one frame."""
        super().__init__(Encoder.create_for_settings(JpegSettings(jpeg_quality, 8, Channels.YBR, Subsampling.R422)))
        self._pixels = pixels
        self._spacing = SizeMm(spacing_mm, spacing_mm)
        self._coordinates = coordinates
        height, width = pixels.shape[:2]
        self._size = Size(width, height)
        self._tile = Size(tile_px, tile_px) if tile_px else self._size

    @property
    def transfer_syntax(self) -> UID:
        """JPEG baseline, 8 bit."""
        return JPEGBaseline8Bit

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
    def samples_per_pixel(self) -> int:
        """Three: RGB, stored as YBR."""
        return 3

    @property
    def bits(self) -> int:
        """Bits a sample."""
        return 8

    @property
    def photometric_interpretation(self) -> str:
        """As the encoder writes it."""
        return "YBR_FULL_422"

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
        """None, with a transcoder set: wsidicom then writes method and true ratio of each level.

        Without a transcoder it would mark JPEG frames as never lossily compressed.
        """
        return None

    @property
    def transcoder(self) -> Encoder:
        """The encoder: wsidicom takes decoded tiles and encodes them in its own threads."""
        return self.encoder

    def get_decoded_tile(self, tile_point: Point, z: float, path: str, cache: bool = True) -> np.ndarray:  # noqa: ARG002
        """One tile, (tile height, tile width, 3) uint8."""
        height, width = self._tile.height, self._tile.width
        rows = read_rows(self._pixels, tile_point.y * height, (tile_point.y + 1) * height)
        tile = np.array(rows[:, tile_point.x * width : (tile_point.x + 1) * width], dtype=np.uint8)
        missing = (height - tile.shape[0], width - tile.shape[1])
        if any(missing):
            tile = np.pad(tile, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
        return np.ascontiguousarray(tile)

    def get_encoded_tile(self, tile: Point, z: float, path: str) -> bytes:
        """One tile as JPEG."""
        return self.encoder.encode(self.get_decoded_tile(tile, z, path))


def shrink(pixels: np.ndarray, max_px: int) -> tuple[np.ndarray, int]:
    """Small copy of a slide whose longer side is at most `max_px`, by averaging square blocks.

    Returns
    -------
    small
        (height, width, 3) uint8; blocks that hang over the edge average what is there.
    factor
        Side of a block in pixels of the slide.
    """
    height, width = pixels.shape[:2]
    factor = max(1, -(-max(height, width) // max_px))
    columns = np.arange(0, width, factor)
    counts = np.diff(np.append(columns, width)).astype(np.float64)
    rows = []
    for start in range(0, height, factor):
        band = np.asarray(read_rows(pixels, start, start + factor))
        sums = np.add.reduceat(band.sum(axis=0, dtype=np.uint64), columns, axis=0)
        rows.append(sums / (counts[:, None] * band.shape[0]))
    return np.rint(np.stack(rows)).astype(np.uint8), factor
