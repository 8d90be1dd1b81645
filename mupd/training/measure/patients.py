"""TCGA patients as the figures need them: profiles, records, reports, and kept embeddings of texts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mupd.model.rna_codec import panel_values
from mupd.reports.record.fields import render_record
from mupd.training.kept_texts import KeptTexts, kept_texts_path
from mupd.training.labels import tcga_records
from mupd.training.measure.bench import Bench
from mupd.training.prepare import TCGA_COHORTS, Split, log_cp10k, read_tcga, split_of
from mupd.training.vector_pairs import read_reports


@dataclass(frozen=True)
class Person:
    """A patient: conditions (dim + 1,) and pathway scores (sets,) of the profile, record, its sentences, its report."""

    case_id: str
    condition: NDArray[np.float32]
    pathways: NDArray[np.float32]
    record: dict[str, str]
    sentences: str
    report: str


class Cohort:
    """All TCGA patients with RNA and a record."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    @cached_property
    def _people(self) -> tuple[list[Person], NDArray[np.float32]]:
        bench = self.bench
        codec, scorer = bench.pipeline.rna_codec, bench.pipeline.pathway_scorer
        people: list[Person] = []
        measured = []
        for cohort in TCGA_COHORTS:
            table = read_tcga(bench.plan.tcga, cohort)
            records = tcga_records(bench.plan.tcga, cohort)
            reports = read_reports(bench.plan.tcga, cohort)
            cases = [case for case in table.index if case in records]
            values, genes = log_cp10k(table.loc[cases].to_numpy(np.float32)), list(table.columns)
            conditions = codec.condition(codec.encode(values, genes, "bulk"), "bulk")
            scores, _ = scorer.score(values, genes, "bulk")
            measured.append(panel_values(values, genes, codec.panels["bulk"].genes))
            for row, case in enumerate(cases):
                record = records[case]
                report = reports.get(case, "").strip()
                people.append(Person(case, conditions[row], scores[row], record, render_record(record), report))
        return people, np.concatenate(measured)

    def people(self, split: Split) -> list[Person]:
        """Patients of one split."""
        return [person for person in self._people[0] if split_of(person.case_id) == split]

    def measured(self, case_ids: list[str]) -> NDArray[np.float32]:
        """Measured panel values (patients, genes), NaN where a profile lacks a gene."""
        where = {person.case_id: row for row, person in enumerate(self._people[0])}
        return self._people[1][[where[case] for case in case_ids]]


def text_embeddings(bench: Bench) -> KeptTexts:
    """The pipeline's text encoder, kept in the work folder."""
    return KeptTexts(bench.pipeline.text_encoder, kept_texts_path(bench.plan.work))
