"""Tables of the benchmarks in pages of the docs, each between two marks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mupd.base.files import write_text
from mupd.errors import MupdError

Marks = tuple[str, str]
"""The lines that a block stands between."""


def fill(page: Path, blocks: Mapping[Marks, str]) -> None:
    """Replace what stands between pairs of marks of a Markdown page; all of it or, where a mark is absent, nothing.

    Raises
    ------
    MupdError
        If the page does not have both marks of a pair in their order.
    """
    text = page.read_text(encoding="utf-8")
    for (begin, end), block in blocks.items():
        before, found, rest = text.partition(begin)
        _, found_end, after = rest.partition(end)
        if not (found and found_end):
            raise MupdError(f"{page}: found no place for figures; expected the lines {begin} and {end}")
        text = f"{before}{begin}\n{block}\n{end}{after}"
    write_text(page, text)
