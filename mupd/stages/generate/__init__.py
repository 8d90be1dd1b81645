"""Generate: runs a shard's tasks; every finished draw is kept at once, so a killed shard goes on."""

from mupd.stages.generate.run import run_shard

__all__ = ["run_shard"]
