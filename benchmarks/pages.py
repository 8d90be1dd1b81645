"""Markdown: tables, and blocks of pages of the docs, each between two marks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mupd.base.files import write_text
from mupd.errors import MupdError

Marks = tuple[str, str]
"""The lines that a block stands between."""


def table(head: Sequence[str], rows: Iterable[Sequence[object]], numbers: int = 0) -> str:
    """A Markdown table.

    Parameters
    ----------
    numbers
        This many columns, the last ones, are aligned to the right.
    """
    rules = ["---"] * (len(head) - numbers) + ["---:"] * numbers
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in (head, rules, *rows))


def with_interval(value: float, interval: Sequence[float], digits: int = 2, scale: float = 1.0) -> str:
    """A value and its interval, e.g. ``0.84 (0.81 to 0.87)``."""
    low, high = interval
    return f"{scale * value:.{digits}f} ({scale * low:.{digits}f} to {scale * high:.{digits}f})"


def fill(page: Path, blocks: Mapping[Marks, str]) -> None:
    """Replace the blocks between pairs of marks of a Markdown page; if a mark is missing, nothing is changed.

    Raises
    ------
    MupdError
        If the page does not have both marks of a pair in their order.
    """
    text = page.read_text(encoding="utf-8")
    for (begin, end), block in blocks.items():
        before, has_begin, rest = text.partition(begin)
        _, has_end, after = rest.partition(end)
        if not (has_begin and has_end):
            raise MupdError(f"{page}: found no place for figures; expected the lines {begin} and {end}")
        text = f"{before}{begin}\n{block}\n{end}{after}"
    write_text(page, text)
