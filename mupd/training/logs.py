"""Logs of a training: log.jsonl always, TensorBoard where it is installed."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mupd.base.files import write_text

_LOG = logging.getLogger(__name__)
_EVERY_NUMBER = "training"


@cache
def _writer_class() -> Any:
    """TensorBoard's writer, None where it is not installed; said once a process."""
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError:
        _LOG.info("tensorboard is not installed: figures go to log.jsonl alone (pip install tensorboard)")
        return None
    return SummaryWriter


def read_log(path: Path) -> list[dict[str, Any]]:
    """Lines of a log.jsonl; a last one that was cut off by a kill is left out."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1] if line]


class TrainingLog:
    """Where the figures of a training go.

    Parameters
    ----------
    folder
        Gets ``log.jsonl`` and ``tensorboard/``.
    first
        Step that the training goes on from: what a killed run had written of later ones is dropped.
    """

    def __init__(self, folder: Path, first: int) -> None:
        self.folder = folder
        path = folder / "log.jsonl"
        kept = [line for line in read_log(path) if line["step"] <= first]
        write_text(path, "".join(json.dumps(line) + "\n" for line in kept))
        self._stream = path.open("a", encoding="utf-8")
        writer = _writer_class()
        self._board = None if writer is None else writer(str(folder / "tensorboard"), purge_step=first + 1)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """One line of figures."""
        self._stream.write(json.dumps({"step": step} | dict(values)) + "\n")
        self._stream.flush()
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(f"{_EVERY_NUMBER}/{name}", value, step)

    def picture(self, step: int) -> None:
        """Show preview.png of the folder in TensorBoard, if there is one."""
        path = self.folder / "preview.png"
        if self._board is not None and path.exists():
            pixels = np.asarray(Image.open(path).convert("RGB"))
            self._board.add_image("preview", pixels, step, dataformats="HWC")
            self._board.flush()

    def close(self) -> None:
        """Let go of the files."""
        self._stream.close()
        if self._board is not None:
            self._board.close()


@contextmanager
def training_log(folder: Path, first: int) -> Iterator[TrainingLog]:
    """A log that is closed in the end."""
    log = TrainingLog(folder, first)
    try:
        yield log
    finally:
        log.close()
