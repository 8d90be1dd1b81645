"""Embeddings of texts, kept in the work folder: a thousand reports take minutes. The file holds no text."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mupd.base.files import atomic_path
from mupd.model.encoders import TextEncoder

_SAVE_EVERY = 100


def kept_texts_path(work: Path) -> Path:
    """The file in a training's work folder."""
    return work / "features" / "texts.npz"


class KeptTexts:
    """A text encoder that keeps what it has encoded in a file: reports take a while."""

    def __init__(self, encoder: TextEncoder, path: Path) -> None:
        self.encoder, self.path = encoder, path
        self.rows: dict[str, NDArray[np.float32]] = {}
        self.new = 0
        if path.exists():
            with np.load(path, allow_pickle=False) as stored:
                self.rows = {name: stored[name] for name in stored.files}

    def __call__(self, text: str) -> NDArray[np.float32]:
        """Embeddings (chunks, 384) of a text."""
        name = hashlib.sha256(text.encode()).hexdigest()
        if name not in self.rows:
            self.rows[name] = self.encoder(text)
            self.new += 1
            if self.new >= _SAVE_EVERY:
                self.save()
        return self.rows[name]

    def save(self) -> None:
        """Write what is new."""
        if self.new:
            with atomic_path(self.path) as temporary:
                np.savez(temporary, **self.rows)  # type: ignore[arg-type]
            self.new = 0
