"""Logs of a training: log.jsonl, and TensorBoard where it is installed."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from mupd.base.files import write_text

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter

_LOG = logging.getLogger(__name__)
_EVERY_NUMBER = "training"


@cache
def _writer_class() -> type[SummaryWriter] | None:
    """TensorBoard's writer; None, with one message per process, where it is not installed."""
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError:
        _LOG.info("tensorboard is not installed: figures go only to log.jsonl (pip install tensorboard)")
        return None
    return SummaryWriter


def read_log(path: Path) -> list[dict[str, float]]:
    """Lines of a log.jsonl, without a last one that a kill has truncated."""
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
        Step at which the training starts or resumes; lines of later steps, written by a killed run, are dropped.
    """

    def __init__(self, folder: Path, first: int) -> None:
        self.folder = folder
        path = folder / "log.jsonl"
        lines = [line for line in read_log(path) if line["step"] <= first]
        write_text(path, "".join(json.dumps(line) + "\n" for line in lines))
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
        """Close the files."""
        self._stream.close()
        if self._board is not None:
            self._board.close()


@contextmanager
def training_log(folder: Path, first: int) -> Iterator[TrainingLog]:
    """A log that is closed at the end."""
    log = TrainingLog(folder, first)
    try:
        yield log
    finally:
        log.close()
