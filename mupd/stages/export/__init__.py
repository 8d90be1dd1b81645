"""The export stage: accepted draws of a shard in, marked artifacts of each case out."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from mupd.config import Config


def run_shard(config: Config, shard: int) -> Path:
    """See :func:`mupd.stages.export.run.run_shard`; imported when called, so that the command line starts fast."""
    from mupd.stages.export.run import run_shard as run

    return run(config, shard)


__all__ = ["run_shard"]
