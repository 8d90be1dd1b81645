"""The table of the pairs, and which of its groups are held out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import pandas as pd

from mupd.base.messages import first_line
from mupd.errors import Fault, InputFaults
from mupd.training.stain.plan import PairSettings

TableRow = Mapping[str, str]
"""Cells of a row by column."""


def held_out_groups(groups: set[str], held_out: float | tuple[str, ...]) -> set[str]:
    """The groups that are kept out of the training.

    A share is chosen by a hash of the name, so that groups added later do not move the others. If the share hits no
    group, the first by this hash is held out; if it hits all, the last is trained on.

    Raises
    ------
    ValueError
        If a named group does not exist, or nothing would be left to train on.
    """
    if isinstance(held_out, tuple):
        unknown = sorted(set(held_out) - groups)
        if unknown:
            raise ValueError(f"unknown group {unknown[0]!r}")
        chosen = set(held_out)
    else:
        place = {
            name: int.from_bytes(hashlib.sha256(f"stain\0{name}".encode()).digest()[:8], "big") / 2**64
            for name in groups
        }
        ordered = sorted(groups, key=lambda name: place[name])
        hit = sum(place[name] < held_out for name in groups)
        chosen = set(ordered[: max(1, min(hit, len(groups) - 1))])
    if chosen == groups:
        raise ValueError(f"all {len(groups)} groups")
    return chosen


def read_table(settings: PairSettings, channels: tuple[str, ...]) -> list[TableRow]:
    """Rows of the table of the pairs, all cells as text.

    Raises
    ------
    InputFaults
        If it cannot be read, is empty or lacks a column.
    """
    where = str(settings.table)
    try:
        table = pd.read_csv(settings.table, dtype=str, keep_default_na=False)
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputFaults("pairs", [Fault(where, first_line(error), "a CSV table")]) from error
    stains = list(channels) if settings.layout == "files" else [settings.stain]
    needed = [settings.he, *stains, settings.group, *([] if settings.mpp is not None else ["mpp"])]
    faults = [
        Fault(where, f"no column {name!r} (columns: {', '.join(table.columns)})", "a column, or its name under [pairs]")
        for name in needed
        if name not in table.columns
    ]
    if not faults and table.empty:
        faults.append(Fault(where, "no row", "a row for each pair"))
    if faults:
        raise InputFaults("pairs", faults)
    return table.to_dict("records")
