"""Which organs the data of a training have in each direction: the content of ``trained_on.json``.

A direction counts an organ if some training sample has that target, that condition and that organ.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from mupd.base.organs import in_vocabulary
from mupd.model_folder.trained_on import DIRECTIONS, TrainedOn
from mupd.training.cohort.cases import TrainingCase
from mupd.training.public.labels import HER2ST_RECORD, tcga_records, tile_record
from mupd.training.public.read import TCGA_COHORTS, read_tiles
from mupd.training.public.splits import split_of

Organs = dict[str, frozenset[str | None]]
"""{direction: organs}. None stands for samples whose organ is unknown or not in the vocabulary."""

_TARGETS = {"he": "he", "bulk": "rna", "spot": "rna", "text": "text"}


def _of_trained_targets(organs: Mapping[str, Iterable[str | None]], targets: Collection[str]) -> Organs:
    return {
        direction: frozenset(own)
        for direction, own in organs.items()
        if _TARGETS[direction.partition("->")[2]] in targets
    }


def organs_of_tiles(folder: Path) -> frozenset[str]:
    """Organs of the tiles that are trained on, by the names in their records; no picture is opened."""
    table = read_tiles(folder)
    rows = zip(table["group"], table["organ"], table["diagnosis"], strict=True)
    return frozenset(
        tile_record(str(organ), str(diagnosis))["organ"]
        for group, organ, diagnosis in rows
        if split_of(str(group)) == "train"
    )


def organs_of_patients(folder: Path) -> frozenset[str]:
    """Organs of the TCGA patients that are trained on; no profile is read."""
    organs = set()
    for cohort in TCGA_COHORTS:
        ids = pd.read_csv(folder / f"{cohort}_log2tpm.csv.gz", usecols=[0]).iloc[:, 0]
        records = tcga_records(folder, cohort)
        once = ids[~ids.duplicated(keep=False)]
        organs |= {records[case]["organ"] for case in once if case in records and split_of(case) == "train"}
    return frozenset(organs)


def organs_of_public(
    tiles: Collection[str], patients: Collection[str], targets: Collection[str], tile_share: float
) -> Organs:
    """What the public data teach: HER2ST's spots with their H&E, tiles with texts, patients' bulk RNA with texts.

    Parameters
    ----------
    tiles, patients
        Their organs.
    targets
        Those of ``he``, ``rna`` and ``text`` that are trained.
    tile_share
        Share of the H&E windows that are tiles.
    """
    sections = {HER2ST_RECORD["organ"]}
    organs = {
        "spot->he": sections,
        "text->he": sections | (set(tiles) if tile_share > 0 else set()),
        "he->spot": sections,
        "text->spot": sections,
        "text->bulk": set(patients),
        "he->text": sections | set(tiles),
        "spot->text": sections,
        "bulk->text": set(patients),
    }
    return _of_trained_targets(organs, targets)


def _directions(case: TrainingCase, fields: Mapping[str, Sequence[str]]) -> set[str]:
    """What a case of a cohort teaches, as :mod:`mupd.training.cohort.batches` draws from it."""
    kind = None if case.profile is None else case.profile.kind
    directions = set()
    if case.he is not None:
        directions |= {"text->he"} if case.text is not None else set()
        directions |= {f"{kind}->he"} if kind is not None else set()
    if kind is not None:
        directions |= {"he->spot"} if kind == "spot" and case.he is not None else set()
        directions |= {f"text->{kind}"} if case.text is not None else set()
    if any(value in fields.get(field, ()) for field, value in case.record.items()):
        directions |= {"he->text"} if case.he is not None else set()
        directions |= {f"{kind}->text"} if kind is not None else set()
    return directions


def organs_of_cases(
    cases: Iterable[TrainingCase], fields: Mapping[str, Sequence[str]], targets: Collection[str]
) -> Organs:
    """What a user's own cases teach.

    Parameters
    ----------
    fields
        {field: values} of the model's records: a case whose text states none of them teaches no record.
    """
    organs: dict[str, set[str | None]] = {}
    for case in cases:
        organ = case.organ if case.organ is not None and in_vocabulary(case.organ) else None
        for direction in _directions(case, fields):
            organs.setdefault(direction, set()).add(organ)
    return _of_trained_targets(organs, targets)


def trained_on(parts: Iterable[Organs], start: TrainedOn | None = None) -> TrainedOn:
    """Organs by direction over all parts of the data; a direction with an unknown organ is left out.

    Parameters
    ----------
    start
        What the weights that the trunk began with had been trained on, which they keep. A direction that is
        missing there is left out.
    """
    known = dict.fromkeys(DIRECTIONS, frozenset[str]()) if start is None else start
    merged: dict[str, frozenset[str | None]] = {direction: frozenset(organs) for direction, organs in known.items()}
    for part in parts:
        for direction, organs in part.items():
            if direction in merged:
                merged[direction] |= organs
    return {
        direction: frozenset(organ for organ in organs if organ is not None)
        for direction, organs in merged.items()
        if None not in organs
    }
