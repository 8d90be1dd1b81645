"""Bytes of a text file to characters, with the evidence for the encoding; bounded reading of plain and gzip files."""

from __future__ import annotations

import codecs
import gzip
import re
import zlib
from pathlib import Path

from mupd.base.messages import reason_of
from mupd.errors import UnusableError

GZIP_MAGIC = b"\x1f\x8b"
_CHUNK = 1 << 20
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig", "UTF-8 with BOM"),
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)
_CANDIDATES = ("cp1252", "latin_1", "cp1250", "cp1251", "cp437", "mac_roman")
_MULTIBYTE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe1-\xef][\x80-\xbf]{2}")
# Characters of Western reports beyond ASCII: letters, units, typographic quotes and dashes.
_USUAL = re.compile(r"[À-ÖØ-öø-ÿŒœŠšŽžŸµ°±×÷²³¹¼½¾·…–—‘’‚“”„†•€£§©®™«»¡¿ªº¨´¸\xa0<>≤≥]")  # noqa: RUF001
_MOST_UNUSUAL, _MOST_BEYOND_ASCII = 0, 0.15


def read_bounded(path: Path, most: int) -> bytes:
    """The bytes of a file, those of a gzip file decompressed; never more than `most` are held.

    Raises
    ------
    UnusableError
        If there are more, or it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            is_gzip = stream.read(2) == GZIP_MAGIC
        if not is_gzip:
            if (size := path.stat().st_size) > most:
                raise UnusableError(f"{size} bytes, over {most}: not a report or a table of reports")
            return path.read_bytes()
        out = bytearray()
        with gzip.open(path) as packed:
            while chunk := packed.read(_CHUNK):
                out += chunk
                if len(out) > most:
                    raise UnusableError(f"over {most} bytes when decompressed: refused as a decompression bomb")
        return bytes(out)
    except (OSError, EOFError, zlib.error) as error:
        raise UnusableError(f"cannot be read: {reason_of(error, path)}") from error


def _western(data: bytes, position: int) -> tuple[str, str]:
    fix = "save it as UTF-8"
    where = f"not UTF-8 (byte 0x{data[position]:02x} at {position})"
    if _MULTIBYTE.search(data):
        raise UnusableError(f"{where}, but UTF-8 elsewhere: cut off or mixed encodings; {fix}")
    from charset_normalizer import from_bytes

    best = from_bytes(data[: 1 << 18], cp_isolation=list(_CANDIDATES)).best()
    try:
        text = data.decode("cp1252")
        # charset-normalizer may name a related code page in which the text reads the same.
        is_western = best is not None and (best.encoding == "latin_1" or data.decode(best.encoding) == text)
    except UnicodeDecodeError as error:
        raise UnusableError(f"{where} and not cp1252 either: {fix}") from error
    if not is_western:
        encoding = best.encoding if best else "no encoding"
        raise UnusableError(f"{where}; found {encoding} by charset-normalizer, expected UTF-8 or cp1252: {fix}")
    beyond = [letter for letter in text if ord(letter) > 127]
    unusual = sum(not _USUAL.match(letter) for letter in beyond)
    if unusual > _MOST_UNUSUAL or len(beyond) > _MOST_BEYOND_ASCII * len(text):
        raise UnusableError(f"{where}; as cp1252 {unusual or len(beyond)} characters make no sense: {fix}")
    return text, f"cp1252 (by charset-normalizer; {len(beyond)} characters beyond ASCII, all usual ones)"


def decode(data: bytes) -> tuple[str, str]:
    """Text, and the encoding in words: UTF-8, what a byte order mark says, or cp1252 where that is evident.

    Raises
    ------
    UnusableError
        For NUL bytes without a byte order mark, and for what is neither UTF-8 nor evidently Western.
    """
    for mark, encoding, name in _BOMS:
        if data.startswith(mark):
            try:
                return data.decode(encoding).removeprefix("\ufeff"), name
            except UnicodeDecodeError as error:
                raise UnusableError(f"a byte order mark says {name}, but it does not decode: cut off?") from error
    if b"\0" in data:
        raise UnusableError("holds NUL bytes: a binary file, or UTF-16 without a byte order mark; save it as UTF-8")
    try:
        return data.decode("utf-8"), "UTF-8"
    except UnicodeDecodeError as error:
        return _western(data, error.start)
