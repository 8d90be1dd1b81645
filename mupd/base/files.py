"""Atomic writes and content hashes: a file never has its final name before it is complete."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_CHUNK_BYTES = 1 << 20


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def atomic_path(final: Path) -> Iterator[Path]:
    """Yield a temporary path beside `final`, and rename it to `final` if the block succeeds.

    The block creates a file or a folder. On an exception the temporary path is removed and `final` does not change.
    The temporary path has the suffixes of `final`, by which writers choose their format.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = final.with_name(f".tmp-{uuid.uuid4().hex[:8]}-{final.name}")
    try:
        yield temporary
        if final.is_dir():
            # os.replace cannot replace a folder with content: move the old one aside first.
            aside = final.with_name(f".old-{uuid.uuid4().hex[:8]}-{final.name}")
            os.replace(final, aside)
            os.replace(temporary, final)
            shutil.rmtree(aside)
        else:
            _fsync(temporary)
            os.replace(temporary, final)
    finally:
        _remove(temporary)


def _fsync(path: Path) -> None:
    if path.is_file():
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 to `path`, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON with sorted keys to `path`, atomically."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def _do_nothing() -> None:
    return None


def sha256_file(path: Path, on_chunk: Callable[[], None] = _do_nothing) -> str:
    """SHA-256 of a file's bytes in hexadecimal. `on_chunk` is called after each MiB."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
            on_chunk()
    return digest.hexdigest()


def sha256_path(path: Path, on_chunk: Callable[[], None] = _do_nothing) -> str:
    """SHA-256 of a file, or of a folder's relative paths and contents in sorted order."""
    if path.is_file():
        return sha256_file(path, on_chunk)
    digest = hashlib.sha256()
    for file in sorted(item for item in path.rglob("*") if item.is_file()):
        digest.update(f"{file.relative_to(path).as_posix()}\0{sha256_file(file, on_chunk)}\n".encode())
    return digest.hexdigest()
