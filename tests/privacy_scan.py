"""Looks for words in whatever a run left: bytes, and what is compressed or encoded inside them."""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

_DATA_URI = re.compile(rb"data:[a-z/+.-]+;base64,([A-Za-z0-9+/=]+)")


def _strings(value: Any) -> Iterator[str]:
    """Every string of a nested value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, bytes):
        yield value.decode("latin-1")
    elif isinstance(value, dict):
        for name, part in value.items():
            yield str(name)
            yield from _strings(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _strings(part)


def _hdf5(path: Path) -> Iterator[bytes]:
    """Names, attributes and datasets, decompressed."""
    import h5py
    import numpy as np

    found: list[bytes] = []

    def take(value: Any) -> None:
        array = np.asarray(value)
        if array.dtype.kind in "OSU":
            found.extend(
                str(part.decode("latin-1") if isinstance(part, bytes) else part).encode() for part in array.ravel()
            )
        elif array.dtype.kind == "V":
            found.extend(str(part).encode() for part in array.ravel())
        else:
            found.append(array.tobytes())

    def visit(name: str, item: Any) -> None:
        found.append(name.encode())
        for key, value in item.attrs.items():
            found.append(key.encode())
            take(value)
        if isinstance(item, h5py.Dataset):
            take(item[()])

    with h5py.File(path) as file:
        visit("/", file)
        file.visititems(visit)
    yield from found


def _parquet(path: Path) -> Iterator[bytes]:
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    yield str(table.schema).encode() + repr(table.schema.metadata).encode()
    yield "\n".join(_strings(table.to_pydict())).encode()


def _picture(data: bytes) -> Iterator[bytes]:
    """Text chunks and EXIF, also compressed ones."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        image.load()
        yield "\n".join(_strings({str(name): value for name, value in image.info.items()})).encode("utf-8", "replace")
        yield "\n".join(str(value) for value in image.getexif().values()).encode("utf-8", "replace")


def _dicom(path: Path) -> Iterator[bytes]:
    """Every element's value, sequences included, whatever its transfer syntax."""
    import pydicom

    for element in pydicom.dcmread(path, stop_before_pixels=True).iterall():
        if element.VR != "SQ":
            yield f"{element.name} {element.value}".encode("utf-8", "replace")


def _inner(data: bytes) -> Iterator[bytes]:
    """What is encoded inside some bytes."""
    for encoded in _DATA_URI.findall(data):
        picture = base64.b64decode(encoded)
        yield picture
        yield from _picture(picture)
    if data[:2] == b"\x1f\x8b":
        yield gzip.decompress(data)
    if data[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                yield name.encode()
                yield archive.read(name)
    if data[:1] in b"{[":
        try:
            yield "\n".join(_strings(json.loads(data))).encode("utf-8", "replace")
        except ValueError:
            return
    if data[:1] == b"\x78":
        try:
            yield zlib.decompress(data)
        except zlib.error:
            return


def contents(path: Path) -> Iterator[bytes]:
    """The file's name, its bytes, and all that is compressed or encoded in it."""
    data = path.read_bytes()
    yield path.name.encode()
    yield data
    yield from _inner(data)
    if data[:8] == b"\x89HDF\r\n\x1a\n" or path.suffix in (".h5mu", ".h5ad"):
        yield from _hdf5(path)
    elif path.suffix == ".parquet":
        yield from _parquet(path)
    elif data[:8] == b"\x89PNG\r\n\x1a\n" or data[:2] == b"\xff\xd8":
        yield from _picture(data)
    elif data[128:132] == b"DICM":
        yield from _dicom(path)


def words_in(path: Path, words: Iterable[str]) -> set[str]:
    """Which of some words a file holds, in any case of letters, as UTF-8 or UTF-16."""
    found: set[str] = set()
    wanted = list(words)
    for piece in contents(path):
        lower = piece.lower()
        for word in wanted:
            forms = (word.lower().encode(), word.lower().encode("utf-16-le"))
            if any(form in lower for form in forms):
                found.add(word)
    return found


def leaks(folder: Path, words: Iterable[str]) -> dict[str, set[str]]:
    """{file: words} of every file under a folder that holds any, by its path in the folder (which is searched too)."""
    wanted, found = list(words), {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder).as_posix()
        own = {word for word in wanted if word.lower() in relative.lower()}
        own |= words_in(path, wanted) if path.is_file() else set()
        if own:
            found[relative] = own
    return found
