"""Hostile slides and pictures."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from tests.fixtures.basic import he_pixels
from tests.fixtures.he_files import dicom_level, ome_tiff
from tests.hostile.item import TENTHS, Hostile, bytes_of, data, flipped, part

_ANY = "."
_DAMAGED = "truncat|damag|open|read|decod|slide|tile|cut"


def svs(path: Path, mpp: str = "0.5", **options: Any) -> None:
    """A small Aperio SVS: tiled, with its description."""
    pixels = he_pixels(1024, 768)
    words = f"Aperio Image Library v1\n1024x768 [0,0 1024x768] (256x256) JPEG/RGB Q=80|AppMag = 20|MPP = {mpp}"
    with tifffile.TiffWriter(path) as writer:
        shared = {"tile": (256, 256), "photometric": "rgb", "compression": "jpeg", "metadata": None} | options
        writer.write(pixels, description=words, **shared)
        writer.write(pixels[::4, ::4], description="Aperio Image Library v1\n", photometric="rgb", metadata=None)


def png(path: Path) -> None:
    Image.fromarray(he_pixels()).save(path)


def jpeg(path: Path) -> None:
    Image.fromarray(he_pixels()).save(path, quality=90)


def tiff(path: Path) -> None:
    ome_tiff(path, he_pixels(512, 384), 0.78)


def dicom(path: Path) -> None:
    dicom_level(path, he_pixels(512, 384), "1.2.3.4", mpp=0.78)


def _plain(pixels: np.ndarray) -> Callable[[Path], object]:
    return lambda path: Image.fromarray(pixels).save(path)


def png_header(width: int, height: int, body: bytes = b"") -> bytes:
    """A PNG that declares a size and holds whatever `body` inflates to."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def tiff_header(width: int, height: int, tile: int = 256) -> bytes:
    """A tiled TIFF that declares a size and has one tile."""
    entries = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (277, 3, 1, 3),
        (322, 4, 1, tile),
        (323, 4, 1, tile),
        (324, 4, 1, 200),
        (325, 4, 1, min(tile * tile * 3, 2**32 - 1)),
    ]
    content = b"II*\0" + struct.pack("<IH", 8, len(entries))
    content += b"".join(struct.pack("<HHII", *entry) for entry in entries) + struct.pack("<I", 0)
    return content.ljust(200, b"\0") + b"\xc8" * 3000


def _dicom_of(folder: Path, change: Callable[[Any], None]) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        import pydicom

        dicom_level(path, he_pixels(256, 256), "1.2.3.4", mpp=0.78)
        header = pydicom.dcmread(path)
        change(header)
        header.save_as(path)

    return write


def _loop(path: Path) -> None:
    path.mkdir()
    (path / "again").symlink_to(path)


def _own_link(path: Path) -> None:
    # A folder with a link to itself. The sheet's check needs a path that exists.
    path.mkdir()
    (path / "self.dcm").symlink_to(path / "self.dcm")


def hostile_slides(folder: Path) -> list[Hostile]:
    """All items. `folder` is for the valid files from which they are made."""
    items: list[Hostile] = []

    def add(what: str, suffix: str, write: Callable[[Path], object], word: str = _ANY, **more: Any) -> None:
        items.append(Hostile(what, "he", suffix, write, word=word, **more))

    whole = {
        ".svs": bytes_of(svs, ".svs", folder),
        ".png": bytes_of(png, ".png", folder),
        ".jpg": bytes_of(jpeg, ".jpg", folder),
        ".ome.tif": bytes_of(tiff, ".ome.tif", folder),
        ".dcm": bytes_of(dicom, ".dcm", folder),
    }
    for suffix, content in whole.items():
        for tenths in TENTHS:
            add(f"{suffix} cut off after {tenths} tenths", suffix, part(content, tenths), _DAMAGED, mpp="0.78")
        add(f"{suffix} of zero bytes", suffix, data(b""), mpp="0.78")
        add(f"{suffix} of 4,096 NUL bytes", suffix, data(bytes(4096)), mpp="0.78")
        add(f"{suffix} with every 50th byte inverted", suffix, data(flipped(content, 50)), mpp="0.78")
    add("words named .svs", ".svs", data(b"Invasive carcinoma.\n" * 50), mpp="0.5")
    add("a gzip named .svs", ".svs", data(b"\x1f\x8b" + whole[".png"][:2000]), mpp="0.5")
    add(
        "the header of an SVS with other data",
        ".svs",
        data(whole[".svs"][:8] + np.random.default_rng(0).bytes(20_000)),
        mpp="0.5",
    )
    add("a PNG without a scale", ".png", data(whole[".png"]), "he_mpp")
    for stated in ("0", "-1", "0.0001", "1e9", "nan", "inf", "words"):
        add(f"an SVS that states MPP = {stated}", ".svs", lambda path, stated=stated: svs(path, stated), "micromet|mpp")
    add("a picture of 1 pixel", ".png", _plain(np.full((1, 1, 3), 150, np.uint8)), mpp="0.5")
    add("a picture of 1 x 5,000 pixels", ".png", _plain(he_pixels(640, 480)[:1].repeat(8, 1)), mpp="0.5")
    add("a slide of 1 pixel", ".tif", lambda path: tifffile.imwrite(path, np.full((1, 1, 3), 99, np.uint8)), mpp="0.5")
    add("white everywhere", ".png", _plain(np.full((400, 400, 3), 250, np.uint8)), "tissue|white", mpp="0.5")
    add("black everywhere", ".png", _plain(np.zeros((400, 400, 3), np.uint8)), "black|not H&E", mpp="0.5")
    add("noise", ".png", _plain(np.random.default_rng(0).integers(0, 256, (500, 500, 3), np.uint8)), mpp="0.5")
    add("16-bit grey", ".png", _plain(np.arange(90_000, dtype=np.uint16).reshape(300, 300)), mpp="0.5")
    bomb = zlib.compress(bytes(50_000_000), 9)
    add("a PNG that declares 2,000 megapixels", ".png", data(png_header(50_000, 40_000, bomb)), mpp="0.5")
    add("a PNG that declares 2^31 x 2^31", ".png", data(png_header(2**31 - 1, 2**31 - 1)), mpp="0.5")
    add("a PNG that declares 0 x 0", ".png", data(png_header(0, 0)), mpp="0.5")
    add("a PNG whose pixels inflate beyond its size", ".png", data(png_header(300, 300, bomb)), mpp="0.5")
    add("a TIFF that declares 4 x 10^9 pixels a side", ".tif", data(tiff_header(2**32 - 1, 2**32 - 1)), mpp="0.5")
    add("a TIFF with tiles of 2^30 pixels a side", ".tif", data(tiff_header(2**30, 2**30, 2**30)), mpp="0.5")
    add("a TIFF whose directory leads to itself", ".tif", data(_ifd_loop()), mpp="0.5")
    add("a TIFF in floats", ".tif", _float_tiff, mpp="0.5")
    add("a picture behind another format's suffix", ".jpg", data(whole[".png"]), status="measured", word="", mpp="0.78")
    add("an SVS behind the suffix .tif", ".tif", data(whole[".svs"]), status="measured", word="")
    add("a DICOM file that is no picture", ".dcm", _dicom_of(folder, lambda d: d.__setattr__("SOPClassUID", "1.2")))
    add("a DICOM slide that lies about its size", ".dcm", _dicom_of(folder, _huge))
    add("a DICOM slide with fewer frames than it says", ".dcm", _dicom_of(folder, _few_frames))
    add("a DICOM slide with a pixel spacing of 0", ".dcm", _dicom_of(folder, _no_spacing))
    add("an empty folder", "", lambda path: path.mkdir(), "folder|DICOM")
    add("a folder that a link leads back into", "", _loop)
    add("a folder with a link to itself", "", _own_link)
    add("a folder of words", "", lambda path: (path.mkdir(), (path / "a.dcm").write_text("words")))
    add("an animated GIF", ".gif", _gif, mpp="0.5")
    add(
        "an SVG with a script",
        ".svg",
        data(b"<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>"),
        mpp="1",
    )
    add("a MIRAX file without its folder", ".mrxs", data(whole[".jpg"][:3000]), mpp="0.5")
    return items


def _ifd_loop() -> bytes:
    content = bytearray(tiff_header(512, 512))
    struct.pack_into("<I", content, 10 + 10 * 12, 8)
    return bytes(content)


def _huge(header: Any) -> None:
    header.TotalPixelMatrixColumns = header.TotalPixelMatrixRows = 2**31 - 1


def _few_frames(header: Any) -> None:
    header.PixelData = header.PixelData[: len(header.PixelData) // 3 // 2 * 2]


def _no_spacing(header: Any) -> None:
    header.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [0, 0]


def _float_tiff(path: Path) -> None:
    tifffile.imwrite(path, np.ones((300, 300, 3), np.float32), photometric="rgb")


def _gif(path: Path) -> None:
    frames = [Image.fromarray(he_pixels(200, 200, seed)) for seed in range(3)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    path.write_bytes(buffer.getvalue())
