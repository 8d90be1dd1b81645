"""Marks in the OME-XML of an OME-TIFF: how they read, how they are looked for, whether the pixels are as written."""

from __future__ import annotations

import hashlib
import struct
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mupd.errors import UnusableError
from mupd.synthetic.statement import BANNER, WORD

OME = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
NAMESPACE = "urn:mupd:synthetic"
PROVENANCE = "urn:mupd:provenance"
PIXELS_DIGEST = "pixels_sha256"

IMAGE_NAME = "OME Image Name begins with SYNTHETIC"
DESCRIPTION = f"OME Image Description begins with {BANNER}"
COMMENT = f"OME StructuredAnnotations hold the statement ({NAMESPACE})"
PAIRS = f"OME StructuredAnnotations hold the provenance ({PROVENANCE})"
OME_MARKS = (IMAGE_NAME, DESCRIPTION, COMMENT, PAIRS)

_MOST_XML = 1 << 22


@dataclass(frozen=True)
class OmeLook:
    """What the OME-XML of a file says: marks found, and the provenance's keys and values."""

    found: tuple[str, ...]
    provenance: dict[str, Any] = field(default_factory=dict)


def digest_of_rows(bands: Iterable[NDArray[np.uint8]]) -> str:
    """SHA-256 of bands of rows (rows, columns, channels) of a picture, as its bytes in C order."""
    digest = hashlib.sha256()
    for band in bands:
        digest.update(np.ascontiguousarray(band).tobytes())
    return digest.hexdigest()


def _xml_of(path: Path) -> str | None:
    """The OME-XML of a TIFF, None if it is another file or holds none."""
    import tifffile

    try:
        with path.open("rb") as stream:
            if stream.read(4) not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
                return None
        with tifffile.TiffFile(path) as file:
            text = str(file.pages.first.description or "")
    except (OSError, ValueError, IndexError, KeyError, TypeError, struct.error, AttributeError):
        return None  # whoever reads it as a picture says what is wrong with it
    # No document type: entities that grow without bound need one (and OME-XML has none).
    is_ome = "OME" in text[:512] and "<Image" in text and "<!DOCTYPE" not in text and len(text) <= _MOST_XML
    return text if is_ome else None


def look_at_ome(path: Path) -> OmeLook | None:
    """Marks of an OME-TIFF; None if the file is none."""
    text = _xml_of(path)
    if text is None:
        return None
    try:
        root = ET.fromstring(text.encode("utf-8"))
    except ET.ParseError:
        return OmeLook((DESCRIPTION,) if BANNER in text else ())
    marks: dict[str, None] = {}
    for image in root.iterfind("{*}Image"):
        if image.get("Name", "").startswith(WORD):
            marks[IMAGE_NAME] = None
        if (image.findtext("{*}Description") or "").startswith(BANNER):
            marks[DESCRIPTION] = None
    provenance: dict[str, Any] = {}
    for note in root.iterfind("{*}StructuredAnnotations/*"):
        if note.get("Namespace") == NAMESPACE and BANNER in "".join(note.itertext()):
            marks[COMMENT] = None
        if note.get("Namespace") == PROVENANCE:
            marks[PAIRS] = None
            provenance = {pair.get("K", ""): pair.text or "" for pair in note.iterfind("{*}Value/{*}M")}
    return OmeLook(tuple(mark for mark in OME_MARKS if mark in marks), provenance)


def _bands(path: Path) -> Iterator[NDArray[np.uint8]]:
    """Rows of tiles of all planes of level 0, (rows, columns, channels), decoded one after the other."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        pages = [page for page in file.pages if isinstance(page, tifffile.TiffPage)]
        height, width = pages[0].imagelength, pages[0].imagewidth
        tall, wide = pages[0].tilelength, pages[0].tilewidth
        if not tall or not wide or any(page.shape[:2] != (height, width) for page in pages):
            raise ValueError("planes of one size, in tiles, were expected")
        streams = [page.segments() for page in pages]
        for y in range(0, height, tall):
            rows = min(tall, height - y)
            band = np.empty((rows, width, sum(page.samplesperpixel for page in pages)), np.uint8)
            at = 0
            for page, stream in zip(pages, streams, strict=True):
                for x in range(0, width, wide):
                    tile = next(stream)[0]
                    if tile is None:
                        raise ValueError("a tile is not there")
                    part = band[:, x : x + wide, at : at + page.samplesperpixel]
                    part[...] = tile.reshape(-1, tile.shape[-2], tile.shape[-1])[: part.shape[0], : part.shape[1]]
                at += page.samplesperpixel
            yield band


def pixels_intact(path: Path, stated: str) -> bool:
    """Whether the pixels of level 0 have the digest that the file states.

    Raises
    ------
    UnusableError
        If they cannot be read.
    """
    try:
        return digest_of_rows(_bands(path)) == stated
    except (OSError, ValueError, IndexError, KeyError, TypeError, StopIteration, RuntimeError) as error:
        raise UnusableError(f"{path.name}: found pixels that cannot be read ({error}); expected a picture") from error
