"""Every path of an output folder. No heavy imports: the Snakefile asks for them at parse time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Stage = Literal["intake", "generate", "check", "export", "cohort"]
STAGES: tuple[Stage, ...] = ("intake", "generate", "check", "export", "cohort")
"""In the order in which data flows; all but the last run once a shard."""

Gate = Literal["inputs", "draws", "cohort"]
"""Where expectations are evaluated: before generation, before export, and over the whole cohort."""


@dataclass(frozen=True)
class Layout:
    """The files of one output folder.

    Methods that take a shard take its name (:func:`mupd.base.ids.shard_name`), or a wildcard of Snakemake's.
    """

    out: Path

    @property
    def settings(self) -> Path:
        """The effective configuration, which every stage reads."""
        return self.out / "config.json"

    def inventory(self, shard: str) -> Path:
        """Intake: what each case of a shard has."""
        return self.out / "intake" / f"{shard}.parquet"

    @property
    def intake_cache(self) -> Path:
        """Folder of what intake remembers of inputs that did not change."""
        return self.out / "intake" / "cache"

    def generated(self, shard: str) -> Path:
        """Generate: index of a shard's draws."""
        return self.out / "generated" / f"{shard}.json"

    def stored(self, key: str) -> Path:
        """Generate: folder of a draw in the content-addressed store."""
        return self.out / "generated" / "store" / key[:2] / key

    def checked(self, shard: str) -> Path:
        """Check: verdicts of a shard's draws."""
        return self.out / "checked" / f"{shard}.parquet"

    @property
    def artifacts(self) -> Path:
        """Export: folder of all artifacts."""
        return self.out / "artifacts"

    def artifacts_of(self, case_id: str) -> Path:
        """Export: folder of a case's artifacts."""
        return self.artifacts / case_id

    def exported(self, shard: str) -> Path:
        """Export: index of a shard's artifacts."""
        return self.out / "exported" / f"{shard}.json"

    @property
    def manifest(self) -> Path:
        """Cohort: table of all modalities of all cases with their artifacts."""
        return self.out / "manifest.tsv"

    @property
    def case_ids(self) -> Path:
        """Cohort: sheet ids of cases that have another name; for the cohort's owner alone."""
        return self.out / "case_ids.tsv"

    @property
    def cohort(self) -> Path:
        """Cohort: the completed cohort as MuData."""
        return self.out / "cohort" / "cohort.h5mu"

    @property
    def report(self) -> Path:
        """Cohort: the page for people."""
        return self.out / "report.html"

    @property
    def data_card(self) -> Path:
        """Cohort: the synthetic data judged by seven criteria."""
        return self.out / "data_card.md"

    @property
    def crate(self) -> Path:
        """Cohort: the run as an RO-Crate."""
        return self.out / "ro-crate-metadata.json"

    @property
    def provenance(self) -> Path:
        """Cohort: folder with the workflow's own files."""
        return self.out / "provenance"

    def expectations(self, gate: Gate | str) -> Path:
        """Results of the expectation suites at a gate."""
        return self.out / "expectations" / f"{gate}.json"

    @property
    def met(self) -> Path:
        """Written where all expectations that may stop a run are met."""
        return self.out / "expectations" / "met.json"

    def expectations_settings(self, stage: str) -> Path:
        """What a stage behind a gate depends on of the configuration."""
        return self.out / "expectations" / "settings" / f"{stage}.json"

    def stage_record(self, stage: str, shard: str) -> Path:
        """When a stage ran on a shard, and by what."""
        return self.out / "stages" / stage / f"{shard}.json"

    @property
    def forecast(self) -> Path:
        """What the run was forecast to take."""
        return self.out / "forecast.json"

    def log(self, *names: str) -> Path:
        """Log of a job: of a stage and a shard, or of one job over all shards."""
        return self.out.joinpath("logs", *names[:-1], f"{names[-1]}.log")
