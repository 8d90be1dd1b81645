"""Intake: decides for each case and modality whether it is measured, missing or unusable, and why."""

from mupd.stages.intake.run import run_shard, status_rows

__all__ = ["run_shard", "status_rows"]
