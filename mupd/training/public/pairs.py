"""Training data of vectors: spots with tiles, patients with texts, tiles with classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mupd.base.progress import track
from mupd.model.encoders import TileEncoder
from mupd.model.pathway_scores import PathwayScorer
from mupd.model.rna_codec import RnaCodec, panel_values
from mupd.reports.record.fields import render_record
from mupd.training.public.labels import labelled_counts, tcga_records, tile_record
from mupd.training.public.read import TCGA_COHORTS, log_cp10k, read_reports, read_tcga, read_tiles
from mupd.training.public.splits import Split, split_of
from mupd.training.public.spots import RawFeatures, Spots


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
    """One TCGA patient with RNA and a record.

    Attributes
    ----------
    components, condition
        (dim,) RNA components, and (dim + 1,) the same as a condition.
    pathways
        (sets,) standardised pathway scores.
    values
        (genes,) measured values of the bulk panel, NaN where the profile lacks a gene.
    report
        The pathology report; "" if there is none.
    texts
        Embeddings (chunks, 384) of the forms of the patient's text; see :func:`with_texts`.
    """

    case_id: str
    components: NDArray[np.float32]
    condition: NDArray[np.float32]
    pathways: NDArray[np.float32]
    values: NDArray[np.float32]
    record: dict[str, str]
    report: str = ""
    texts: list[NDArray[np.float32]] = field(default_factory=list)

    @property
    def sentences(self) -> str:
        """The record as sentences."""
        return render_record(self.record)


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
    """RNA of the spots that a pathologist has labelled, by section; sections without counts are left out."""
    sections = []
    for path in sorted((her2st / "labels").glob("*_labeled_coordinates.tsv")):
        name = path.name.split("_")[0]
        if not (her2st / "counts" / f"{name}.tsv.gz").exists():
            continue
        counts, tissue = labelled_counts(her2st, name)
        values, genes = log_cp10k(counts.to_numpy(np.float32)), list(counts.columns)
        conditions = codec.condition(codec.encode(values, genes, "spot"), "spot")
        scores, _ = scorer.score(values, genes, "spot")
        sections.append(LabelledSpots(name, conditions, scores, tissue))
    return sections


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


def read_patients(folder: Path, codec: RnaCodec, scorer: PathwayScorer, split: Split) -> list[Patient]:
    """TCGA patients of one split with RNA and a record."""
    patients = []
    for cohort in TCGA_COHORTS:
        table = read_tcga(folder, cohort)
        records, reports = tcga_records(folder, cohort), read_reports(folder, cohort)
        cases = [case for case in table.index if case in records and split_of(case) == split]
        values, genes = log_cp10k(table.loc[cases].to_numpy(np.float32)), list(table.columns)
        components = codec.encode(values, genes, "bulk")
        scores, _ = scorer.score(values, genes, "bulk")
        conditions = codec.condition(components, "bulk")
        measured = panel_values(values, genes, codec.panels["bulk"].genes)
        for row, case in enumerate(cases):
            vectors = components[row], conditions[row], scores[row], measured[row]
            patients.append(Patient(case, *vectors, records[case], reports.get(case, "").strip()))
    return patients


def with_texts(
    patients: Sequence[Patient], encoder: Callable[[str], NDArray[np.float32]], *, reports: bool = True
) -> list[Patient]:
    """Patients with embeddings of the sentences of their records and, with `reports`, of their reports."""
    return [
        replace(p, texts=[encoder(text) for text in (p.sentences, p.report if reports else "") if text])
        for p in track(patients, "texts of patients")
    ]
