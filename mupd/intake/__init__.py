"""Intake: decides for each case and modality whether it is measured, missing or unusable, and why."""

from mupd.intake.run import run_shard, status_rows
from mupd.intake.status import render_status

__all__ = ["render_status", "run_shard", "status_rows"]
