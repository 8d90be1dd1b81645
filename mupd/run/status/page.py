"""The status page with its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mupd.config import Config
from mupd.contracts.inventory import CaseInventory
from mupd.inputs.runners import cores, in_workers
from mupd.run.status.html import write_status_html
from mupd.run.status.pictures import pictures_of
from mupd.sheet import read_sheet


def write_page(path: Path, cases: Sequence[CaseInventory], config: Config, thumbnails: int) -> None:
    """Write the page with pictures of at most `thumbnails` slides."""
    mpps = {case.case_id: case.he_mpp for case in read_sheet(config, check_files=False).cases}
    run = in_workers(config, (), cores())
    write_status_html(path, cases, config, pictures_of(cases, mpps, thumbnails, run))
