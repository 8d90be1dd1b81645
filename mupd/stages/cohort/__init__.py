"""All shards together: the manifest, the completed cohort and the report with pictures."""

from mupd.stages.cohort.run import run

__all__ = ["run"]
