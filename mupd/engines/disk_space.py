"""How much disk a draw takes, and the error that says so where there is none left."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from mupd.base.ids import stain_name
from mupd.config import Config
from mupd.contracts.inventory import Task
from mupd.errors import MupdError
from mupd.model_folder.geometry import DOWNSAMPLE, read_geometry

FULL = (errno.ENOSPC, errno.EDQUOT)
"""Error numbers of a full disk and of a quota that is used up."""

_OTHER_BYTES = 4_000_000
"""Bound of a draw of RNA (32 profiles of a few thousand genes, twice) or of a record."""

_LATENT_BYTES = 4 * 8 * 4
"""Of the journal, for each place of the latents: 8 channels of float32, twice the latents and 1.8 of velocities."""


class DiskFullError(MupdError):
    """No space is left for what a shard still has to generate; what is finished is kept."""


def slide_size_px(config: Config) -> tuple[int, int]:
    """Width and height of a generated slide at the model's own scale, multiples of a latent."""
    size_px = config.slide.width_px, config.slide.height_px
    return read_geometry(Path(config.model)).native_size_px(size_px, config.slide.mpp)


def stain_bytes(width_px: int, height_px: int, channels: int) -> int:
    """Bytes that a stain takes at most while it is made: its pixels and its journal."""
    return width_px * height_px * channels + width_px * height_px // DOWNSAMPLE**2 * _LATENT_BYTES


def _stain_bound(task: Task, config: Config) -> tuple[int, int]:
    """Longest side in pixels, and channels, of a stain whose slide is not opened yet."""
    stain = next(stain for stain in config.stains if stain.name == stain_name(task.target))
    return stain.max_side_px, len(stain.channels)


def kept_bytes(task: Task, config: Config) -> int:
    """Bytes that a finished draw of a task takes, of a stain at most."""
    if stain_name(task.target):
        side, channels = _stain_bound(task, config)
        return side * side * channels
    return config.slide.width_px * config.slide.height_px * 3 if task.target == "he" else _OTHER_BYTES


def working_bytes(task: Task, config: Config) -> int:
    """Bytes that a draw of a task takes at most while it is made, what is kept of it included."""
    if stain_name(task.target):
        side, channels = _stain_bound(task, config)
        return stain_bytes(side, side, channels)
    if task.target != "he":
        return kept_bytes(task, config)
    width, height = slide_size_px(config)
    native = width * height * 3
    resampled = 0 if (width, height) == (config.slide.width_px, config.slide.height_px) else kept_bytes(task, config)
    return native + resampled + width * height // DOWNSAMPLE**2 * _LATENT_BYTES


def needed_bytes(tasks: Iterable[Task], config: Config) -> int:
    """Bytes that tasks need: all their draws, and what the largest takes while it is made."""
    listed = list(tasks)
    kept = sum(kept_bytes(task, config) * len(task.seeds) for task in listed)
    return kept + max((working_bytes(task, config) - kept_bytes(task, config) for task in listed), default=0)


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def disk_full(config: Config, left: Iterable[Task]) -> DiskFullError:
    """The error for tasks of a shard that are not all drawn yet: what is free, and what they need."""
    free = shutil.disk_usage(config.out).free
    needed = needed_bytes(left, config)
    return DiskFullError(
        f"{config.outdir}: no space left on its disk, or a quota is used up: {_size(free)} free; what this shard still "
        f"has to generate needs up to {_size(needed)}. What is finished is kept: make space, then start again."
    )


def refuse_full_disk(config: Config, needed: int, begun: Path) -> None:
    """Refuse a picture that does not fit onto the disk, before hours go into it.

    Parameters
    ----------
    needed
        Bytes that it takes at most while it is made.
    begun
        Its unfinished file: one that was begun has its space already.

    Raises
    ------
    OSError
        ENOSPC.
    """
    if not begun.exists() and shutil.disk_usage(config.out).free < needed:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(config.out))
