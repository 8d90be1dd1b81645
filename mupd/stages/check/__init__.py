"""Checks of what was generated: each draw is accepted, or rejected with the reason."""

from mupd.stages.check.run import run_shard

__all__ = ["run_shard"]
