"""Pairs for the RNA and the record transformer: spots with tiles, patients with texts, tiles with classes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from mupd.base.progress import track
from mupd.model.encoders import TileEncoder
from mupd.model.pathway_scores import PathwayScorer
from mupd.model.rna_codec import RnaCodec
from mupd.reports.record.fields import render_record
from mupd.training.labels import spot_tissue, tcga_records, tile_record
from mupd.training.prepare import (
    TCGA_COHORTS,
    RawFeatures,
    Split,
    Spots,
    log_cp10k,
    read_tcga,
    split_of,
)
from mupd.training.sources import read_her2st_counts, read_tiles


@dataclass(frozen=True)
class SpotSet:
    """Spots of one section: tile features by orientation (list of (n, dim)), components, conditions."""

    name: str
    features: list[NDArray[np.float32]]
    components: NDArray[np.float32]
    conditions: NDArray[np.float32]
    pathways: NDArray[np.float32]


@dataclass(frozen=True)
class LabelledSpots:
    """Spots of one section with a pathologist's label: conditions (n, dim + 1), pathways (n, sets), tissue."""

    name: str
    conditions: NDArray[np.float32]
    pathways: NDArray[np.float32]
    tissue: list[str]


@dataclass(frozen=True)
class Patient:
    """One TCGA patient: components (dim,), condition (dim + 1,), pathways (sets,), record, embeddings of its texts."""

    case_id: str
    components: NDArray[np.float32]
    condition: NDArray[np.float32]
    pathways: NDArray[np.float32]
    record: dict[str, str]
    texts: list[NDArray[np.float32]]


@dataclass(frozen=True)
class TileClass:
    """Tiles of one group of one class: features (n, dim) and the record."""

    group: str
    features: NDArray[np.float32]
    record: dict[str, str]


def spot_sets(sections: list[Spots], raw: RawFeatures, encoder: TileEncoder) -> list[SpotSet]:
    """Sections with the features of the tiles around their spots."""
    return [
        SpotSet(s.name, [encoder.project(rows) for rows in raw.spots(s)], s.components, s.conditions, s.pathways)
        for s in sections
    ]


def labelled_spots(her2st: Path, codec: RnaCodec, scorer: PathwayScorer) -> list[LabelledSpots]:
    """RNA of the spots that a pathologist has labelled, by section; sections without counts left out."""
    found = []
    for path in sorted((her2st / "labels").glob("*_labeled_coordinates.tsv")):
        name = path.name.split("_")[0]
        if not (her2st / "counts" / f"{name}.tsv.gz").exists():
            continue
        tissue = spot_tissue(her2st, name)
        counts = read_her2st_counts(her2st, name)[1]
        counts = counts.loc[[spot for spot in counts.index if spot in tissue]]
        values, genes = log_cp10k(counts.to_numpy(np.float32)), list(counts.columns)
        conditions = codec.condition(codec.encode(values, genes, "spot"), "spot")
        scores, _ = scorer.score(values, genes, "spot")
        found.append(LabelledSpots(name, conditions, scores, [tissue[spot] for spot in counts.index]))
    return found


def tile_classes(folder: Path, raw: RawFeatures, encoder: TileEncoder, split: Split) -> list[TileClass]:
    """Features of tiles of other organs, by class and group, of the groups of one split."""
    table = read_tiles(folder)
    features = encoder.project(raw.organs(table))
    classes = []
    for (group, organ, diagnosis), rows in table.groupby(["group", "organ", "diagnosis"]):
        if split_of(str(group)) == split:
            record = tile_record(str(organ), str(diagnosis))
            classes.append(TileClass(str(group), features[rows.index.to_numpy()], record))
    return classes


def organs_of_tiles(folder: Path) -> frozenset[str]:
    """Organs of the tiles that are trained on, as their records name them; no picture is opened."""
    table = read_tiles(folder)
    rows = zip(table["group"], table["organ"], table["diagnosis"], strict=True)
    return frozenset(
        tile_record(str(organ), str(diagnosis))["organ"]
        for group, organ, diagnosis in rows
        if split_of(str(group)) == "train"
    )


def organs_of_patients(folder: Path) -> frozenset[str]:
    """Organs of the TCGA patients that are trained on; no profile is read."""
    found = set()
    for cohort in TCGA_COHORTS:
        ids = pd.read_csv(folder / f"{cohort}_log2tpm.csv.gz", usecols=[0]).iloc[:, 0]
        records = tcga_records(folder, cohort)
        cases = _cases_of(ids[~ids.duplicated(keep=False)], records, "train")
        found |= {records[case]["organ"] for case in cases}
    return frozenset(found)


def _cases_of(ids: Iterable[str], records: Mapping[str, dict[str, str]], split: Split) -> list[str]:
    """Those with a record that belong to a split, in their order."""
    return [case for case in ids if case in records and split_of(case) == split]


def read_reports(folder: Path, cohort: str) -> dict[str, str]:
    """Report of each patient; a text that two patients share is left out of both."""
    table = pd.read_csv(folder / f"{cohort}_reports.csv.gz", dtype=str, keep_default_na=False)
    table = table[~table["text"].duplicated(keep=False) & ~table["case_id"].duplicated(keep=False)]
    return dict(zip(table["case_id"], table["text"], strict=True))


def patients(
    folder: Path,
    codec: RnaCodec,
    scorer: PathwayScorer,
    encoder: Callable[[str], NDArray[np.float32]],
    split: Split,
    *,
    reports: bool = True,
) -> list[Patient]:
    """TCGA patients of one split with RNA and a record."""
    found = []
    for cohort in TCGA_COHORTS:
        table = read_tcga(folder, cohort)
        records = tcga_records(folder, cohort)
        texts = read_reports(folder, cohort) if reports else {}
        cases = _cases_of(table.index, records, split)
        values = log_cp10k(table.loc[cases].to_numpy(np.float32))
        components = codec.encode(values, list(table.columns), "bulk")
        scores, _ = scorer.score(values, list(table.columns), "bulk")
        conditions = codec.condition(components, "bulk")
        for row, case in enumerate(track(cases, f"texts of {cohort}")):
            forms = [render_record(records[case])]
            if case in texts and texts[case].split():
                forms.append(texts[case])
            embedded = [encoder(form) for form in forms]
            found.append(Patient(case, components[row], conditions[row], scores[row], records[case], embedded))
    return found


def bag(rows: NDArray[Any], most: int, rng: np.random.Generator) -> NDArray[Any]:
    """Between 1 and `most` rows, drawn without repetition."""
    count = int(rng.integers(1, min(most, len(rows)) + 1))
    return rows[rng.choice(len(rows), count, replace=False)]


def padded(rows: list[NDArray[np.float32] | None], dim: int) -> tuple[Tensor, Tensor]:
    """Token sets of different sizes as (batch, most, dim) and their mask; None = absent."""
    most = max([1, *(len(row) for row in rows if row is not None)])
    tokens, mask = torch.zeros(len(rows), most, dim), torch.zeros(len(rows), most, dtype=torch.bool)
    for index, row in enumerate(rows):
        if row is not None:
            tokens[index, : len(row)] = torch.from_numpy(row)
            mask[index, : len(row)] = True
    return tokens, mask
