"""How the frames of a slide are compressed: one encoder a codec, in the form wsidicom takes, and one decoder.

imagecodecs does the work. wsidicom's own encoders copy each tile twice, and its HTJ2K encoder hands the
tiles to OpenJPEG, which writes plain JPEG 2000 under the name of HTJ2K.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom.uid import UID, HTJ2KLossless, JPEG2000Lossless, JPEGBaseline8Bit
from wsidicom.codec import Encoder
from wsidicom.codec.settings import (
    Channels,
    HTJpeg2000Settings,
    Jpeg2kSettings,
    JpegSettings,
    JpegXlSettings,
    Settings,
    Subsampling,
)
from wsidicom.uid import JPEGXLLossless

Pixels = NDArray[np.uint8]
CodecName = Literal["jpeg", "jpeg2000", "htj2k", "jpegxl"]

_JPEGXL_EFFORT = 3
"""Of 1 to 9: the least that packs tissue tighter than JPEG 2000 does; 5 takes five times as long for 3 %."""


class FrameEncoder(Encoder[Any]):
    """An encoder of one codec: settings say how DICOM describes it, a function does it."""

    def __init__(self, settings: Settings, lossy: bool, function: Callable[[Pixels], bytes | bytearray]) -> None:
        super().__init__(settings)
        self._lossy = lossy
        self._function = function

    @property
    def lossy(self) -> bool:
        """Whether pixels change."""
        return self._lossy

    def encode(self, pixels: Pixels) -> bytes:
        """One frame, (height, width, samples) uint8, C-contiguous."""
        return bytes(self._function(pixels))

    @classmethod
    def supports_settings(cls, settings: Settings) -> bool:
        """Never asked: wsidicom is handed the encoder itself."""
        return isinstance(settings, Settings)

    @classmethod
    def is_available(cls) -> bool:
        """Whether it can be used: imagecodecs is a dependency."""
        return True


def _grey_encoder(codec: CodecName, jpeg_quality: int) -> FrameEncoder:
    """The encoder of one channel (MONOCHROME2)."""
    if codec == "jpeg":
        return FrameEncoder(
            JpegSettings(jpeg_quality, 8, Channels.GRAYSCALE),
            True,
            lambda pixels: imagecodecs.jpeg8_encode(pixels[..., 0], level=jpeg_quality),
        )
    if codec == "jpeg2000":
        return FrameEncoder(
            Jpeg2kSettings(0, 8, Channels.GRAYSCALE),
            False,
            lambda pixels: imagecodecs.jpeg2k_encode(
                pixels[..., 0], level=0, reversible=True, codecformat="J2K", bitspersample=8
            ),
        )
    if codec == "htj2k":
        return FrameEncoder(
            HTJpeg2000Settings(0, 8, Channels.GRAYSCALE),
            False,
            lambda pixels: imagecodecs.htj2k_encode(pixels[..., 0], reversible=True),
        )
    return FrameEncoder(
        JpegXlSettings(100, 8, Channels.GRAYSCALE),
        False,
        lambda pixels: imagecodecs.jpegxl_encode(pixels[..., 0], lossless=True, effort=_JPEGXL_EFFORT, numthreads=1),
    )


def frame_encoder(codec: CodecName, jpeg_quality: int, grey: bool = False) -> FrameEncoder:
    """The encoder of a codec; with `grey` of single channels, (height, width, 1) each.

    JPEG is baseline with chroma halved horizontally (YBR_FULL_422, PS3.3 C.8.12.4.1.5). The others keep
    every bit: JPEG 2000 without colour transform (RGB), because OpenSlide 4.0 knows no YBR_RCT; HTJ2K
    with it (YBR_RCT); JPEG XL as RGB (PS3.5 8.2.15).
    """
    if grey:
        return _grey_encoder(codec, jpeg_quality)
    if codec == "jpeg":
        settings = JpegSettings(jpeg_quality, 8, Channels.YBR, Subsampling.R422)
        return FrameEncoder(
            settings, True, lambda pixels: imagecodecs.jpeg8_encode(pixels, level=jpeg_quality, subsampling="422")
        )
    if codec == "jpeg2000":
        return FrameEncoder(
            Jpeg2kSettings(0, 8, Channels.RGB),
            False,
            lambda pixels: imagecodecs.jpeg2k_encode(
                pixels, level=0, reversible=True, codecformat="J2K", mct=False, bitspersample=8
            ),
        )
    if codec == "htj2k":
        return FrameEncoder(
            HTJpeg2000Settings(0, 8, Channels.YBR),
            False,
            lambda pixels: imagecodecs.htj2k_encode(pixels, reversible=True, rgb=True),
        )
    return FrameEncoder(
        JpegXlSettings(100, 8, Channels.RGB),
        False,
        lambda pixels: imagecodecs.jpegxl_encode(pixels, lossless=True, effort=_JPEGXL_EFFORT, numthreads=1),
    )


_DECODERS: dict[UID, Callable[[bytes], Pixels]] = {
    JPEGBaseline8Bit: imagecodecs.jpeg8_decode,
    JPEG2000Lossless: imagecodecs.jpeg2k_decode,
    HTJ2KLossless: imagecodecs.htj2k_decode,
    JPEGXLLossless: imagecodecs.jpegxl_decode,
}


def decode_frame(frame: bytes, transfer_syntax: str) -> Pixels:
    """Pixels of one frame, (height, width, samples) uint8.

    Raises
    ------
    ValueError
        If the transfer syntax is not one that :func:`frame_encoder` writes, or the bytes are not in it.
    """
    decoder = _DECODERS.get(UID(transfer_syntax))
    if decoder is None:
        raise ValueError(f"frame: found transfer syntax {transfer_syntax}; expected one of {sorted(_DECODERS)}")
    try:
        pixels = np.asarray(decoder(frame))
        return pixels[..., None] if pixels.ndim == 2 else pixels
    except (RuntimeError, ValueError) as error:  # imagecodecs' errors are either
        raise ValueError(f"frame: found bytes that are not {UID(transfer_syntax).name} ({error})") from error
