"""Limits on the size of RNA inputs, checked before memory is allocated, and HDF5 without links to other files."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from mupd.errors import UnusableError

MOST_CASE_BYTES = 1 << 30
"""Text of one case's table, unpacked."""
MOST_TABLE_BYTES = 1 << 33
"""Text of a cohort table, unpacked."""
MOST_HEADER_BYTES = 1 << 26
MOST_VALUES = 400_000_000
"""Observations x genes of a dense matrix (1.6 GB as float32)."""
MOST_STORED = 400_000_000
"""Stored values of a sparse matrix."""
MOST_NAMES = 20_000_000
MOST_CHUNK_BYTES = 1 << 29

# Real counts of single cells compress about 30-fold, a table of zeros 1,000-fold.
_MOST_RATIO = 200
RATIO_COUNTS_FROM = 1 << 27
# Deflate compresses at most 1,032-fold. What is declared beyond that was never written.
_MOST_H5_RATIO = 1100
_H5_RATIO_COUNTS_FROM = 1 << 26
_MOST_LINKS = 200_000
_LZF = 32000
_BUILT_IN_FILTERS = (*range(1, 7), _LZF)
"""Filters that HDF5 or h5py bring along: the values of others are unpacked by code from elsewhere."""

READ_ERRORS = (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, RuntimeError, OverflowError, IndexError)
"""What the readers in this package raise for damaged or hostile files."""


class _Capped(io.RawIOBase):
    """A stream that refuses to yield more than a limit, or more than a ratio of its packed size."""

    def __init__(self, stream: IO[bytes], packed_bytes: int, most_bytes: int) -> None:
        self._stream, self._packed, self._most, self._read_bytes = stream, packed_bytes, most_bytes, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        part = self._stream.read(len(buffer))
        buffer[: len(part)] = part
        self._read_bytes += len(part)
        if self._read_bytes > self._most:
            raise UnusableError(f"unpacks to over {self._most >> 20:,} MiB of text: expected less")
        if self._read_bytes > max(RATIO_COUNTS_FROM, _MOST_RATIO * self._packed):
            raise UnusableError(
                f"{self._packed:,} bytes unpack to over {self._read_bytes >> 20:,} MiB: "
                f"expected at most {_MOST_RATIO}-fold"
            )
        return len(part)

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()


def open_bytes(path: Path, most_bytes: int = MOST_CASE_BYTES) -> io.BufferedReader:
    """A file's bytes, unpacked if its first bytes are those of gzip, whatever its name.

    Raises
    ------
    UnusableError
        While reading: if the file unpacks to more than `most_bytes`, or more than 200-fold.
    """
    plain = path.open("rb")
    packed = plain.read(2) == b"\x1f\x8b"
    plain.seek(0)
    size = path.stat().st_size
    if not packed:
        return io.BufferedReader(_Capped(plain, max(size, 1), most_bytes), 1 << 18)
    plain.close()
    stream = cast("IO[bytes]", gzip.open(path, "rb"))  # noqa: SIM115 - closed with what is returned
    return io.BufferedReader(_Capped(stream, size, most_bytes), 1 << 18)


def open_text(path: Path, most_bytes: int = MOST_CASE_BYTES) -> io.TextIOWrapper:
    """A text file, unpacked if it is gzip: UTF-8 with or without a byte order mark, or UTF-16 with one.

    Raises
    ------
    UnusableError
        If there are NUL bytes at its beginning: it is no text.
    """
    stream = open_bytes(path, most_bytes)
    try:
        head = stream.peek(4096)[:4096]
    except BaseException:
        stream.close()
        raise
    wide = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if not wide and b"\0" in head:
        stream.close()
        raise UnusableError("NUL bytes in it: not a text table")
    return io.TextIOWrapper(stream, encoding="utf-16" if wide else "utf-8-sig", newline=None)


def first_line(stream: io.TextIOBase) -> str:
    """The next line. Raises UnusableError for one of over 64 MiB."""
    line = stream.readline(MOST_HEADER_BYTES)
    if len(line) >= MOST_HEADER_BYTES:
        raise UnusableError(f"a first line of over {MOST_HEADER_BYTES >> 20} MiB: expected a table's header")
    return line


def refuse_if_large(observations: int, genes: int) -> None:
    """Raise UnusableError for an empty matrix, or one that is too large as dense float32."""
    if observations <= 0 or genes <= 0:
        raise UnusableError(f"an empty table: {observations} observations, {genes} genes")
    if observations * genes > MOST_VALUES:
        raise UnusableError(
            f"{observations:,} observations of {genes:,} genes: bin the spots, or aggregate cells, first "
            f"(at most {MOST_VALUES:,} values)"
        )


def open_h5(path: Path) -> Any:
    """Open an HDF5 file without links to other files for reading.

    Raises
    ------
    UnusableError
        For an external link, a name that is not UTF-8, or too many links.
    OSError
        If it is no HDF5.
    """
    import h5py

    file = h5py.File(path, "r")
    seen = 0

    # h5py does not survive an error raised in this callback, so it returns the problem. For the same reason it takes
    # names as bytes: h5py's own decoding may raise one.
    def problem_of(name: bytes, link: Any) -> str | None:
        nonlocal seen
        seen += 1
        if link.type == h5py.h5l.TYPE_EXTERNAL:
            return "an HDF5 link to another file: expected all data inside"
        try:
            name.decode("utf-8")
        except UnicodeDecodeError:
            return "a name in the HDF5 file that is not UTF-8"
        return f"over {_MOST_LINKS:,} groups and arrays in the HDF5 file" if seen > _MOST_LINKS else None

    try:
        if problem := file.id.links.visit(problem_of, info=True):
            raise UnusableError(problem)
    except BaseException:
        file.close()
        raise
    return file


def h5_array(node: Any, where: str) -> Any:
    """Check that an HDF5 node is an array inside its file and that its values were written.

    Raises
    ------
    UnusableError
        For a group, a virtual or external array, too large chunks, filters that are not built in, or a declared size
        that the stored bytes cannot hold.
    """
    import h5py

    if not isinstance(node, h5py.Dataset):
        raise UnusableError(f"{where} is no array of the HDF5 file")
    if node.is_virtual or node.external:
        raise UnusableError(f"{where} takes its values from other files: expected all data inside")
    layout = node.id.get_create_plist()
    for index in range(layout.get_nfilters()):
        if (code := layout.get_filter(index)[0]) not in _BUILT_IN_FILTERS:
            raise UnusableError(f"{where} is packed with HDF5 plugin {code}: write it with gzip or without")
    item = node.dtype.itemsize
    if node.chunks and (chunk := int(np.prod(node.chunks, dtype=object)) * item) > MOST_CHUNK_BYTES:
        raise UnusableError(f"{where} has chunks of {chunk >> 20:,} MiB: expected at most {MOST_CHUNK_BYTES >> 20}")
    declared, stored = int(np.prod(node.shape, dtype=object)) * item, node.id.get_storage_size()
    if declared > max(_H5_RATIO_COUNTS_FROM, _MOST_H5_RATIO * stored):
        raise UnusableError(f"{where} declares {declared:,} bytes, and {stored:,} are stored: the values are missing")
    return node


def h5_numbers(node: Any, where: str) -> Any:
    """Check that an HDF5 node is an array of plain numbers. Object arrays may hold pickles."""
    if h5_array(node, where).dtype.kind not in "iufb":
        raise UnusableError(f"{where} holds values of type {node.dtype}: expected plain numbers")
    return node


def h5_strings(node: Any, where: str) -> list[str]:
    """The texts in an HDF5 array, a categorical or a nullable string array, as AnnData and 10x write them."""
    import h5py

    if isinstance(node, h5py.Group):
        if "categories" in node and "codes" in node:
            words = h5_strings(node["categories"], where)
            codes = h5_numbers(node["codes"], where)[()]
            if len(codes) and (codes.max() >= len(words) or codes.dtype.kind not in "iu"):
                raise UnusableError(f"{where}: codes beyond its {len(words)} categories")
            return [words[int(code)] if code >= 0 else "" for code in codes]
        if "values" in node:
            words = h5_strings(node["values"], where)
            mask = h5_numbers(node["mask"], where)[()] if "mask" in node else np.zeros(len(words), bool)
            return ["" if gone else word for word, gone in zip(words, mask, strict=True)]
    array = h5_array(node, where)
    if len(array.shape) != 1 or array.shape[0] > MOST_NAMES:
        raise UnusableError(f"{where} has the shape {array.shape}: expected a list of names")
    if array.dtype.kind in "iu":
        return [str(value) for value in array[()]]
    if h5py.check_string_dtype(array.dtype) is None:
        raise UnusableError(f"{where} holds values of type {array.dtype}: expected names")
    return [value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in array[()]]


def checked_compressed(
    data: NDArray[Any], indices: NDArray[Any], indptr: NDArray[Any], width: int, where: str
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Check the three arrays of a CSR or CSC matrix. scipy trusts them and would write out of bounds."""
    pointers = indptr.astype(np.int64)
    inside = len(pointers) and pointers[0] == 0 and pointers[-1] == len(data) == len(indices)
    if not inside or (np.diff(pointers) < 0).any():
        raise UnusableError(f"{where}: row pointers that do not fit its {len(data):,} values")
    if len(indices) and (int(indices.min()) < 0 or int(indices.max()) >= width):
        raise UnusableError(f"{where}: a column beyond the {width:,} it declares")
    # scipy does not support half precision.
    return data.astype(np.float32) if data.dtype == np.float16 else data, indices, pointers
