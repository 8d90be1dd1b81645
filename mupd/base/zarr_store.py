"""Zarr stores (format 2 and 3) opened without trusting them: no pickles, no foreign code, no files outside."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mupd.errors import UnusableError

ROOT_FILES = ("zarr.json", ".zgroup", ".zarray", ".zmetadata")
_METADATA = ("zarr.json", ".zarray")
_MOST_FILES = 200_000
_MOST_METADATA_BYTES = 64 << 20
# Codecs that unpack numbers and strings. Others, pickle above all, may run code or need a plug-in.
_NUMCODECS = ("zlib", "gzip", "blosc", "zstd", "lz4", "lzma", "bz2", "shuffle", "delta", "fixedscaleoffset", "packbits")
_CODECS = frozenset(
    (
        *_NUMCODECS,
        *(f"numcodecs.{name}" for name in _NUMCODECS),
        *("bytes", "endian", "transpose", "sharding_indexed", "crc32c", "crc32", "adler32", "fletcher32"),
        *("vlen-utf8", "vlen-bytes", "bitround", "quantize", "astype", "json2"),
    )
)


def is_zarr(path: Path) -> bool:
    """Whether a folder is the root of a zarr store (format 3 or 2)."""
    return path.is_dir() and any((path / name).is_file() for name in ROOT_FILES)


def _codecs(metadata: Any) -> Iterator[str]:
    """Names of all codecs in the metadata of an array, those inside a shard too."""
    if isinstance(metadata, dict):
        for key in ("compressor", "filters", "codecs", "index_codecs"):
            value = metadata.get(key)
            for codec in value if isinstance(value, list) else [value]:
                if isinstance(codec, dict):
                    yield str(codec.get("id", codec.get("name", "")))
                    yield from _codecs(codec.get("configuration"))
        consolidated = metadata.get("consolidated_metadata")
        held = consolidated.get("metadata") if isinstance(consolidated, dict) else metadata.get("metadata")
        for part in held.values() if isinstance(held, dict) else ():
            yield from _codecs(part)


def _check(path: Path) -> None:
    root, files = path.resolve(), 0
    for folder, folders, names in os.walk(path):
        files += len(names)
        if files > _MOST_FILES:
            raise UnusableError(f"over {_MOST_FILES:,} files in the zarr store")
        for name in (*folders, *names):
            item = Path(folder, name)
            if item.is_symlink() and not item.resolve().is_relative_to(root):
                raise UnusableError("a link in the zarr store leads elsewhere: expected all data inside")
        for name in {*_METADATA, ".zmetadata"} & set(names):
            item = Path(folder, name)
            if item.stat().st_size > _MOST_METADATA_BYTES:
                raise UnusableError(f"{name} of the zarr store has over {_MOST_METADATA_BYTES >> 20} MiB")
            try:
                metadata = json.loads(item.read_text(encoding="utf-8"))
            except (ValueError, RecursionError) as error:
                raise UnusableError(f"{name} of the zarr store is no JSON") from error
            if other := sorted(set(_codecs(metadata)) - _CODECS):
                raise UnusableError(
                    f"the zarr store is packed with {', '.join(other)}: write it with zstd, blosc or gzip"
                )


def open_zarr(path: Path) -> Any:
    """The root of a zarr store, a zarr.Group or zarr.Array, for reading.

    Raises
    ------
    UnusableError
        For codecs that may run code or are not built in, links that lead elsewhere, or damaged metadata.
    """
    import zarr

    _check(path)
    return zarr.open(str(path), mode="r")
