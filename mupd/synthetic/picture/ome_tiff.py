"""Writes a virtual stain as OME-TIFF: a pyramid of tiles without loss, for QuPath, napari and Bio-Formats.

The OME-XML (2016-06) holds the marks: Image Name and Description that begin with SYNTHETIC, the statement as a comment
annotation, and the provenance as a map annotation with the digest of the pixels.
"""

from __future__ import annotations

import uuid
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mupd.base.files import atomic_path
from mupd.base.ids import stain_name
from mupd.contracts.draws import DrawMeta
from mupd.synthetic.dicom.image import SlidePixels
from mupd.synthetic.dicom.pyramid import halve, level_sizes
from mupd.synthetic.picture.ome_marks import NAMESPACE, OME, PIXELS_DIGEST, PROVENANCE, digest_of_rows
from mupd.synthetic.picture.pseudo_colours import colours_of
from mupd.synthetic.statement import WORD, plain_statement, synthetic_id

TILE_PX = 512
Pixels = NDArray[np.uint8]


def _colour(rgb: tuple[int, int, int]) -> str:
    """A colour as OME has it: RGBA in a signed integer of 32 bits."""
    value = int.from_bytes(bytes((*rgb, 255)), "big")
    return str(value - (1 << 32) if value >= 1 << 31 else value)


def ome_xml(meta: DrawMeta, size: tuple[int, int, int], provenance: dict[str, str]) -> bytes:
    """The OME-XML of a stain.

    Parameters
    ----------
    size
        Width, height and channels of level 0.
    provenance
        Keys and values of the map annotation.
    """
    width, height, count = size
    in_colour = meta.settings["stain"] == "ihc"
    name = f"{WORD} {stain_name(meta.target)} of {synthetic_id(meta.case_id, meta.draw, meta.target)}"
    root = ET.Element("OME", {"xmlns": OME, "Creator": f"mupd {meta.mupd_version}"})
    image = ET.SubElement(root, "Image", {"ID": "Image:0", "Name": name})
    ET.SubElement(image, "Description").text = plain_statement(meta)
    pixels = ET.SubElement(
        image,
        "Pixels",
        {
            "ID": "Pixels:0",
            "DimensionOrder": "XYCZT",
            "Type": "uint8",
            "SizeX": str(width),
            "SizeY": str(height),
            "SizeC": str(count),
            "SizeZ": "1",
            "SizeT": "1",
            "PhysicalSizeX": f"{meta.mpp:g}",
            "PhysicalSizeXUnit": "\u00b5m",
            "PhysicalSizeY": f"{meta.mpp:g}",
            "PhysicalSizeYUnit": "\u00b5m",
            "Interleaved": str(in_colour).lower(),
        },
    )
    names = ["RGB"] if in_colour else list(meta.settings["channels"])
    for index, (channel, colour) in enumerate(zip(names, colours_of(names), strict=True)):
        attributes = {"ID": f"Channel:0:{index}", "Name": channel, "SamplesPerPixel": "3" if in_colour else "1"}
        ET.SubElement(pixels, "Channel", attributes if in_colour else attributes | {"Color": _colour(colour)})
    for index in range(len(names)):
        place = {"FirstC": str(index), "FirstZ": "0", "FirstT": "0", "IFD": str(index), "PlaneCount": "1"}
        ET.SubElement(pixels, "TiffData", place)
    ET.SubElement(image, "AnnotationRef", {"ID": "Annotation:0"})
    ET.SubElement(image, "AnnotationRef", {"ID": "Annotation:1"})
    notes = ET.SubElement(root, "StructuredAnnotations")
    comment = ET.SubElement(notes, "CommentAnnotation", {"ID": "Annotation:0", "Namespace": NAMESPACE})
    ET.SubElement(comment, "Value").text = plain_statement(meta)
    pairs = ET.SubElement(notes, "MapAnnotation", {"ID": "Annotation:1", "Namespace": PROVENANCE})
    value = ET.SubElement(pairs, "Value")
    for key, text in provenance.items():
        ET.SubElement(value, "M", {"K": key}).text = text
    declared = b'<?xml version="1.0" encoding="UTF-8"?>'
    return declared + ET.tostring(root, encoding="utf-8", short_empty_elements=True)


def _provenance(meta: DrawMeta, artifact_key: str, digest: str) -> dict[str, str]:
    region = meta.settings["region"]
    return {
        "synthetic": "true",
        "case": meta.case_id,
        "target": meta.target,
        "draw": str(meta.draw),
        "seed": str(meta.seed),
        "given": "+".join(meta.given),
        **{f"{name}_sha256": value for name, value in meta.given_sha256.items()},
        "model_id": meta.model_id,
        "model_sha256": meta.model_sha256,
        "mupd_version": meta.mupd_version,
        "created": meta.created,
        "region_of_slide": f"x {region['x_px']}, y {region['y_px']} px of level 0",
        "content_sha256": meta.content_sha256,
        "artifact_key": artifact_key,
        PIXELS_DIGEST: digest,
    }


def _mapped(folder: Path, name: str, shape: tuple[int, ...]) -> Pixels:
    return np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=np.uint8, shape=shape)


def _marked(pixels: Pixels, mark: Callable[[Pixels], Pixels], folder: Path) -> Pixels:
    """A copy of a picture in colour with the watermark in it, tile by tile as in the DICOM slide."""
    slide = SlidePixels(pixels, mark)
    made = _mapped(folder, "marked", pixels.shape)
    for y in range(-(-slide.height // TILE_PX)):
        for x in range(-(-slide.width // TILE_PX)):
            part = made[y * TILE_PX : (y + 1) * TILE_PX, x * TILE_PX : (x + 1) * TILE_PX]
            part[...] = slide.tile(x, y, TILE_PX)[: part.shape[0], : part.shape[1]]
    return made


def _levels(pixels: Pixels, folder: Path) -> list[Pixels]:
    """The pyramid, each level half the one before, in files of a folder; a band of rows is held at a time."""
    levels = [pixels]
    for index, (width, height) in enumerate(level_sizes(pixels.shape[1], pixels.shape[0], TILE_PX)[1:], start=1):
        above = _mapped(folder, f"level{index}", (height, width, pixels.shape[2]))
        for y in range(0, height, TILE_PX):
            above[y : y + TILE_PX] = halve(levels[-1][2 * y : 2 * (y + TILE_PX)])
        levels.append(above)
    return levels


def _tiles(level: Pixels, channel: int | None) -> Iterator[Pixels]:
    """Tiles of a level, of one channel (tile, tile) or in colour (tile, tile, 3), row by row."""
    chosen = level if channel is None else level[..., channel]
    for y in range(0, level.shape[0], TILE_PX):
        for x in range(0, level.shape[1], TILE_PX):
            yield np.ascontiguousarray(chosen[y : y + TILE_PX, x : x + TILE_PX])


def _write_levels(path: Path, levels: Sequence[Pixels], meta: DrawMeta, description: bytes) -> None:
    import tifffile

    in_colour = meta.settings["stain"] == "ihc"
    planes: list[int | None] = [None] if in_colour else list(range(levels[0].shape[2]))
    size = sum(level.size for level in levels)
    common: dict[str, Any] = {
        "tile": (TILE_PX, TILE_PX),
        "dtype": np.uint8,
        "compression": "zlib",
        "predictor": True,
        "photometric": "rgb" if in_colour else "minisblack",
        "metadata": None,
        "software": f"mupd {meta.mupd_version}",
    }
    with tifffile.TiffWriter(path, bigtiff=size > 3 << 30) as writer:
        for plane in planes:
            for index, level in enumerate(levels):
                per_cm = 1e4 / ((meta.mpp or 1.0) * levels[0].shape[1] / level.shape[1] if index else (meta.mpp or 1.0))
                writer.write(
                    _tiles(level, plane),
                    shape=level.shape if plane is None else level.shape[:2],
                    subifds=len(levels) - 1 if index == 0 else 0,
                    subfiletype=1 if index else 0,
                    description=description if index == 0 and not plane else None,
                    resolution=(per_cm, per_cm),
                    resolutionunit="CENTIMETER",
                    **common,
                )


def write_ome_tiff(
    pixels: Pixels,
    path: Path,
    meta: DrawMeta,
    *,
    artifact_key: str,
    mark: Callable[[Pixels], Pixels] | None = None,
) -> Path:
    """Write a stain as OME-TIFF, atomically.

    Parameters
    ----------
    pixels
        (height, width, channels) uint8, RGB for ihc; a memory-mapped array is read a band of rows at a time.
    path
        Final path, ``...ome.tiff``.
    meta
        Of the draw, with settings ``stain``, ``channels`` and ``region``.
    artifact_key
        Digest of what the file depends on; kept in the file.
    mark
        Weaves the watermark into a tile in colour.

    Raises
    ------
    ValueError
        If the pixels are of another shape than the draw's settings say.
    """
    count = len(meta.settings["channels"])
    if pixels.ndim != 3 or pixels.shape[2] != count or pixels.dtype != np.uint8:
        raise ValueError(f"pixels: found {pixels.shape} {pixels.dtype}; expected (height, width, {count}) uint8")
    with (
        atomic_path(path) as temporary,
        TemporaryDirectory(prefix=f".tmp-{uuid.uuid4().hex[:8]}-synthetic-", dir=path.parent) as scratch,
    ):
        base = pixels if mark is None else _marked(pixels, mark, Path(scratch))
        digest = digest_of_rows(base[y : y + TILE_PX] for y in range(0, base.shape[0], TILE_PX))
        size = (base.shape[1], base.shape[0], count)
        description = ome_xml(meta, size, _provenance(meta, artifact_key, digest))
        _write_levels(temporary, _levels(base, Path(scratch)), meta, description)
    return path
