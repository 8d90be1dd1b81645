"""The mark of a synthetic PNG: tEXt chunks before the pixels (PNG specification, 11.3.3.2)."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING

from mupd.synthetic.statement import BANNER

if TYPE_CHECKING:
    from PIL.PngImagePlugin import PngInfo

PNG_TEXT = "a PNG text chunk holds the banner"
KEYWORD = "Synthetic"

_MAGIC = b"\x89PNG\r\n\x1a\n"
_TEXT_CHUNKS = (b"tEXt", b"iTXt")
_MOST_TEXT_BYTES = 1 << 16


def is_png(path: Path) -> bool:
    """Whether a file begins as PNG."""
    with path.open("rb") as stream:
        return stream.read(len(_MAGIC)) == _MAGIC


def png_info(statement: str) -> PngInfo:
    """Text chunks that mark a picture; give them to Pillow as ``save(..., pnginfo=...)``."""
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text(KEYWORD, BANNER)
    info.add_text("Description", statement)
    return info


def png_marks(path: Path) -> list[str]:
    """The mark if a text chunk ahead of the pixels holds the banner; reads no pixel, so a cut file has it too."""
    with path.open("rb") as stream:
        stream.seek(len(_MAGIC))
        while len(header := stream.read(8)) == 8:
            length, kind = struct.unpack(">I4s", header)
            if kind in (b"IDAT", b"IEND"):
                break
            if kind in _TEXT_CHUNKS and length <= _MOST_TEXT_BYTES:
                if BANNER.encode() in stream.read(length):
                    return [PNG_TEXT]
                stream.seek(4, 1)
            else:
                stream.seek(length + 4, 1)
    return []
