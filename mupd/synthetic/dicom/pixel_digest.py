"""Digest of a DICOM image's frames, kept in the image itself: an edit of pixels shows without a manifest.

The digest can only be known when the frames are written, and stands in a header before them: the header is
written with a placeholder of the same length, which is overwritten afterwards.
"""

from __future__ import annotations

import hashlib
import mmap
from pathlib import Path
from typing import BinaryIO

from mupd.errors import CaseError, UnusableError

FIELD = "pixels_sha256"
"""Name of the digest in the provenance (Contribution Description, JSON)."""

PLACEHOLDER = "0" * 64
_PIXEL_DATA = 0x7FE00010
_UNDEFINED_LENGTH = 0xFFFFFFFF
_CHUNK_BYTES = 1 << 20


def _digest_rest(stream: BinaryIO, length: int) -> str:
    digest = hashlib.sha256()
    while length > 0 and (chunk := stream.read(min(length, _CHUNK_BYTES))):
        digest.update(chunk)
        length -= len(chunk)
    return digest.hexdigest()


def frames_digest(path: Path) -> str:
    """SHA-256 of the frames of Pixel Data as they are encoded, in their order.

    Item tags and offset tables (PS3.5 A.4) are left out: an archive may write its own and keeps the frames.

    Raises
    ------
    UnusableError
        If the file holds no pixel data that can be read; names the file.
    """
    import pydicom
    from pydicom.encaps import generate_fragments, parse_basic_offsets
    from pydicom.errors import InvalidDicomError

    try:
        with path.open("rb") as stream:
            header = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=["Rows"])
            explicit = not header.file_meta.TransferSyntaxUID.is_implicit_VR
            # The stream stands at the tag of Pixel Data: tag (4), VR and reserved bytes (4), length (4); PS3.5 7.1.
            prefix = stream.read(12 if explicit else 8)
            group, element = int.from_bytes(prefix[:2], "little"), int.from_bytes(prefix[2:4], "little")
            if group << 16 | element != _PIXEL_DATA:
                raise UnusableError(f"{path.name} [PixelData (7FE0,0010)]: found none; expected frames")
            length = int.from_bytes(prefix[-4:], "little")
            if length != _UNDEFINED_LENGTH:
                return _digest_rest(stream, length)
            parse_basic_offsets(stream)
            digest = hashlib.sha256()
            for fragment in generate_fragments(stream):
                digest.update(fragment)
            return digest.hexdigest()
    except (InvalidDicomError, OSError, EOFError, ValueError, AttributeError) as error:
        raise UnusableError(f"{path.name}: found pixel data that cannot be read ({error}); expected frames") from error


def stamp_digest(path: Path) -> str:
    """Overwrite the placeholder in a written image's provenance with the digest of its frames.

    Raises
    ------
    CaseError
        If the header holds no placeholder.
    """
    digest = frames_digest(path)
    sought = f'"{FIELD}": "{PLACEHOLDER}"'.encode("ascii")
    with path.open("r+b") as stream, mmap.mmap(stream.fileno(), 0) as content:
        position = content.find(sought)
        if position < 0:
            raise CaseError(f"{path.name} [{FIELD}]: found no placeholder in the provenance; expected one")
        content[position : position + len(sought)] = f'"{FIELD}": "{digest}"'.encode("ascii")
    return digest
