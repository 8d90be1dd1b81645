"""What is computed once and then read from the work folder: arrays, and embeddings of texts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mupd.base.files import atomic_path
from mupd.model.encoders import TextEncoder

_SAVE_EVERY = 100
Number = TypeVar("Number", bound=np.generic)


def cached_array(path: Path, make: Callable[[], NDArray[Number]]) -> NDArray[Number]:
    """The array of a .npy file; if there is no such file, what `make` returns is written to it first."""
    if path.exists():
        return np.load(path, allow_pickle=False)
    array = make()
    with atomic_path(path) as temporary:
        np.save(temporary, array, allow_pickle=False)
    return array


class TextCache:
    """A text encoder that keeps its embeddings in the work folder: a thousand reports take minutes.

    The file holds embeddings and hashes of texts, no text.
    """

    def __init__(self, encoder: TextEncoder, work: Path) -> None:
        self.encoder, self.path = encoder, work / "features" / "texts.npz"
        self.rows: dict[str, NDArray[np.float32]] = {}
        self.unsaved = 0
        if self.path.exists():
            with np.load(self.path, allow_pickle=False) as stored:
                self.rows = {name: stored[name] for name in stored.files}

    def __call__(self, text: str) -> NDArray[np.float32]:
        """Embeddings (chunks, 384) of a text."""
        name = hashlib.sha256(text.encode()).hexdigest()
        if name not in self.rows:
            self.rows[name] = self.encoder(text)
            self.unsaved += 1
            if self.unsaved >= _SAVE_EVERY:
                self.save()
        return self.rows[name]

    def save(self) -> None:
        """Write new embeddings to the file."""
        if self.unsaved:
            with atomic_path(self.path) as temporary:
                np.savez(temporary, **self.rows)  # type: ignore[arg-type]
            self.unsaved = 0
