"""Pairs for the RNA and the record transformer: spots with tiles, patients with texts, tiles with classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from mupd.modalities.records import render_record
from mupd.model.encoders import TextEncoder, TileEncoder
from mupd.model.record_codec import RecordCodec
from mupd.model.rna_codec import RnaCodec
from mupd.model.training.labels import tcga_records, tile_record
from mupd.model.training.prepare import (
    TCGA_COHORTS,
    RawFeatures,
    Spots,
    is_held_out,
    log_cp10k,
    read_tcga,
)
from mupd.model.training.sources import read_tiles
from mupd.progress import track


@dataclass(frozen=True)
class SpotSet:
    """Spots of one section: tile features by orientation (list of (n, dim)), components, conditions."""

    name: str
    features: list[NDArray[np.float32]]
    components: NDArray[np.float32]
    conditions: NDArray[np.float32]


@dataclass(frozen=True)
class Patient:
    """One TCGA patient: components (dim,), condition (dim + 1,), record, embeddings of each of its texts."""

    case_id: str
    components: NDArray[np.float32]
    condition: NDArray[np.float32]
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
        SpotSet(s.name, [encoder.project(rows) for rows in raw.spots(s)], s.components, s.conditions) for s in sections
    ]


def tile_classes(folder: Path, raw: RawFeatures, encoder: TileEncoder, *, held_out: bool) -> list[TileClass]:
    """Features of tiles of other organs, by class and group: a fixed tenth of the groups, or all others."""
    table = read_tiles(folder)
    features = encoder.project(raw.organs(table))
    classes = []
    for (group, organ, diagnosis), rows in table.groupby(["group", "organ", "diagnosis"]):
        if is_held_out(str(group)) == held_out:
            record = tile_record(str(organ), str(diagnosis))
            classes.append(TileClass(str(group), features[rows.index.to_numpy()], record))
    return classes


def read_reports(folder: Path, cohort: str) -> dict[str, str]:
    """Report of each patient; a text that two patients share is left out of both."""
    table = pd.read_csv(folder / f"{cohort}_reports.csv.gz", dtype=str, keep_default_na=False)
    table = table[~table["text"].duplicated(keep=False) & ~table["case_id"].duplicated(keep=False)]
    return dict(zip(table["case_id"], table["text"], strict=True))


def patients(
    folder: Path, codec: RnaCodec, encoder: TextEncoder, *, held_out: bool, reports: bool = True
) -> list[Patient]:
    """TCGA patients with RNA and a record; those held out, or all the others."""
    found = []
    for cohort in TCGA_COHORTS:
        table = read_tcga(folder, cohort)
        records = tcga_records(folder, cohort)
        texts = read_reports(folder, cohort) if reports else {}
        cases = [case for case in table.index if case in records and is_held_out(case) == held_out]
        components = codec.encode(log_cp10k(table.loc[cases].to_numpy(np.float32)), list(table.columns), "bulk")
        conditions = codec.condition(components, "bulk")
        for row, case in enumerate(track(cases, f"texts of {cohort}")):
            forms = [render_record(records[case])]
            if case in texts and texts[case].split():
                forms.append(texts[case])
            embedded = [encoder(form) for form in forms]
            found.append(Patient(case, components[row], conditions[row], records[case], embedded))
    return found


def bag(rows: NDArray[np.float32], most: int, rng: np.random.Generator) -> NDArray[np.float32]:
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


def record_targets(records: list[dict[str, str]], codec: RecordCodec) -> tuple[Tensor, Tensor]:
    """One-hot blocks (batch, fields, block) and known fields (batch, fields)."""
    pairs = [codec.encode(record) for record in records]
    return torch.stack([values for values, _ in pairs]), torch.stack([known for _, known in pairs])
