"""A row of a sample sheet as it stands in a file of any format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

MAX_BYTES = 256 << 20
"""Most bytes of a sheet, packed or not: 10,000 cases take about 2 MB."""


@dataclass(frozen=True)
class RawRow:
    """One row that is not blank.

    Attributes
    ----------
    where
        Place for messages, e.g. ``cases.tsv:4``.
    line
        Line of the file, row of the workbook, or number of the sample.
    cells
        Text of each cell, spaces around it dropped.
    odd
        Cells whose value is none that a sheet can hold, by their index: what was found and what was expected.
    """

    where: str
    line: int
    cells: Sequence[str]
    odd: dict[int, tuple[str, str]] = field(default_factory=dict)
