"""Pairs of H&E and stain: checked, brought to the model's scale, kept in the work folder.

A pair that cannot be used is left out with its reason. The stain of every other pair is shifted by whole pixels to lie
on its H&E, and the pair is written as one array, which training maps into memory.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mupd.base.files import atomic_path, write_json
from mupd.errors import Fault, InputFaults, UnusableError
from mupd.training.stain.pictures import open_picture, rescaled, stain_planes
from mupd.training.stain.plan import StainPlan
from mupd.training.stain.register import LEAST_STRUCTURE, Registration, haematoxylin, register, shifted
from mupd.training.stain.table import TableRow, held_out_groups, read_table

CUT_VERSION = 1
MOST_RESCALING = 4.0
LIST_FILE = "pairs.json"


@dataclass(frozen=True)
class PairRow:
    """What became of one row of the table.

    Attributes
    ----------
    row
        Its line in the table; the header is line 1.
    used
        Whether it is used, to train on or as a held-out pair.
    reason
        Why it is not used.
    array
        Name of its array in the work folder.
    """

    row: int
    group: str
    used: bool
    held_out: bool
    reason: str
    array: str
    correlation: float | None
    shift_px: tuple[int, int]


def _read_pair(row: TableRow, plan: StainPlan) -> tuple[NDArray[np.uint8], Registration | None]:
    """(h, w, 3 + channels) uint8 of a row at the model's scale, and how it registers.

    Raises
    ------
    UnusableError
        If it cannot be used.
    """
    settings, mpp, folder = plan.pairs, plan.mpp, plan.pairs.table.parent
    picture = open_picture(folder / row[settings.he])
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] not in {3, 4}:
        raise UnusableError(f"the H&E is {picture.dtype} of shape {picture.shape}; expected an 8-bit RGB picture")
    he, stain = picture[..., :3].astype(np.uint8, copy=False), stain_planes(row, plan, folder)
    if he.shape[:2] != stain.shape[:2]:
        raise UnusableError(
            f"the H&E has {he.shape[1]} x {he.shape[0]} px, the stain {stain.shape[1]} x {stain.shape[0]}"
        )
    try:
        own = float(row["mpp"]) if row.get("mpp") else float(settings.mpp or "")
    except ValueError:
        raise UnusableError(f"mpp is {row.get('mpp', '')!r}; expected a number") from None
    if not 1 / MOST_RESCALING <= own / mpp <= MOST_RESCALING:
        raise UnusableError(f"mpp is {own:g}; expected within {MOST_RESCALING:g} times of the model's {mpp:g}")
    if abs(own / mpp - 1) > 0.02:
        size = round(he.shape[1] * own / mpp), round(he.shape[0] * own / mpp)
        he, stain = rescaled(he, size), rescaled(stain, size)
    registration = _registered(he, stain, plan)
    if registration is not None:
        rows, columns, stain = shifted(stain, registration.shift_px)
        he = he[rows, columns]
    # Training crops whole windows: pixels that a pair lost to its shift are filled by reflection.
    lacking = [max(0, plan.window_px - side) for side in he.shape[:2]]
    reach = 0 if registration is None else max(map(abs, registration.shift_px))
    if max(lacking) > reach:
        raise UnusableError(f"{he.shape[1]} x {he.shape[0]} px at {mpp:g} um/px; expected at least {plan.window_px}")
    both = np.concatenate([he, stain], axis=-1)
    return np.pad(both, ((0, lacking[0]), (0, lacking[1]), (0, 0)), mode="reflect"), registration


def _registered(he: NDArray[np.uint8], stain: NDArray[np.uint8], plan: StainPlan) -> Registration | None:
    nuclei = plan.pairs.nuclei
    if nuclei is None:
        return None
    of_he = haematoxylin(he)
    of_stain = haematoxylin(stain) if plan.stain == "ihc" else stain[..., plan.channels.index(nuclei)]
    for name, picture, least in (("the H&E", of_he, LEAST_STRUCTURE), ("the stain", of_stain, 0.0)):
        if float(picture.std()) <= least:
            raise UnusableError(f"{name} shows no nuclei, so registration cannot be checked")
    try:
        registration = register(of_he, of_stain.astype(np.float32), plan.mpp)
    except ValueError as error:
        raise UnusableError(str(error)) from error
    if registration.correlation < plan.pairs.least_correlation:
        raise UnusableError(
            f"does not register: nuclei correlate by {registration.correlation:.2f}; "
            f"expected at least {plan.pairs.least_correlation:g}"
        )
    return registration


def _key(row: TableRow, plan: StainPlan) -> str:
    """Hash of everything that the array of a row depends on."""
    settings, folder = plan.pairs, plan.pairs.table.parent
    names = [settings.he, *(plan.channels if settings.layout == "files" else [settings.stain])]
    files = []
    for name in names:
        path = folder / row[name]
        state = path.stat() if path.is_file() else None
        files.append([row[name], state and state.st_size, state and state.st_mtime_ns])
    content = [CUT_VERSION, files, row.get("mpp"), asdict(settings) | {"table": ""}, asdict(plan.facts) | {"name": ""}]
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:20]


def prepare_pairs(plan: StainPlan) -> list[PairRow]:
    """Check every pair, write the arrays of those that can be used, and the list of all.

    A pair that an earlier call with the same settings has written is not read again.

    Raises
    ------
    InputFaults
        If the table is wrong, or the usable pairs are of fewer than two groups.
    """
    rows = read_table(plan.pairs, plan.channels)
    folder = plan.work / "pairs"
    folder.mkdir(parents=True, exist_ok=True)
    prepared: list[PairRow] = []
    for number, row in enumerate(rows):
        prepared.append(_prepared(number + 2, row, plan, folder))
    usable = {row.group for row in prepared if row.used}
    where = str(plan.pairs.table)
    if len(usable) < 2:
        reasons = "; ".join(sorted({row.reason for row in prepared if row.reason})[:3])
        fault = Fault(where, f"usable pairs of {len(usable)} groups ({reasons})", "of at least two: one is held out")
        raise InputFaults("pairs", [fault])
    try:
        held = held_out_groups(usable, plan.held_out)
    except ValueError as error:
        fault = Fault(f"{where} [held_out]", str(error), f"some of {', '.join(sorted(usable))}")
        raise InputFaults("pairs", [fault]) from error
    prepared = [PairRow(**{**asdict(row), "held_out": row.used and row.group in held}) for row in prepared]
    write_json(folder / LIST_FILE, {"pairs": [asdict(row) for row in prepared]})
    return prepared


def _prepared(line: int, row: TableRow, plan: StainPlan, folder: Path) -> PairRow:
    group = row[plan.pairs.group]
    array = folder / f"{_key(row, plan)}.npy"
    note = array.with_suffix(".json")
    if array.is_file() and note.is_file():
        kept = json.loads(note.read_text(encoding="utf-8"))
        return PairRow(line, group, True, False, "", array.name, kept["correlation"], tuple(kept["shift_px"]))
    try:
        if not group:
            raise UnusableError(f"no {plan.pairs.group}; expected the patient or slide that the pair is from")
        pixels, registration = _read_pair(row, plan)
    except UnusableError as error:
        return PairRow(line, group, False, False, str(error), "", None, (0, 0))
    correlation = None if registration is None else round(registration.correlation, 4)
    shift = (0, 0) if registration is None else registration.shift_px
    with atomic_path(array) as temporary:
        np.save(temporary, pixels)
    write_json(note, {"correlation": correlation, "shift_px": list(shift)})
    return PairRow(line, group, True, False, "", array.name, correlation, shift)


def kept_pairs(plan: StainPlan) -> list[PairRow]:
    """The list that :func:`prepare_pairs` has written.

    Raises
    ------
    InputFaults
        If it has not run.
    """
    path = plan.work / "pairs" / LIST_FILE
    if not path.is_file():
        raise InputFaults("mupd train", [Fault(str(path), "no such file", "the part pairs to be run first")])
    rows = json.loads(path.read_text(encoding="utf-8"))["pairs"]
    return [PairRow(**{**row, "shift_px": tuple(row["shift_px"])}) for row in rows]
