"""A row of a sample sheet, read from a file of any format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

MAX_BYTES = 256 << 20
"""Most bytes of a sheet, compressed or not. 10,000 cases take about 2 MB."""


@dataclass(frozen=True)
class RawRow:
    """One row that is not blank.

    Attributes
    ----------
    where
        Place for messages, e.g. ``cases.tsv:4``.
    line
        Line of the file or row of the worksheet.
    cells
        Text of each cell, without spaces around it.
    odd
        Cells with a value that a sheet cannot hold, by index: what was found and what was expected.
    """

    where: str
    line: int
    cells: Sequence[str]
    odd: dict[int, tuple[str, str]] = field(default_factory=dict)
