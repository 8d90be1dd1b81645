"""The run configuration: its keys, and how a file is read.

Imported by the Snakefile, which every cluster job parses: no heavy imports here.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from functools import cache, reduce
from operator import getitem
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, TypeAdapter

from mupd.config.faults import read_yaml, validated
from mupd.config.section import Text, section
from mupd.config.sections import (
    CheckLimits,
    Draws,
    Expectations,
    IntakeLimits,
    ReportSettings,
    Sampler,
    Signing,
    Slide,
    Suites,
    Tables,
)
from mupd.config.stains import StainSettings, against_models
from mupd.config.suite_columns import TABLES
from mupd.config.suites import read_suites
from mupd.errors import Fault, InputFaults


@section
class Config:
    """A whole run configuration. Paths are as written, relative to the working folder."""

    cases: Text = Field(
        title="sample sheet, a row per case (.tsv, .csv or .xlsx)", description="Path of the sample sheet."
    )
    roots: tuple[Text, ...] = Field(
        default=(),
        title="further folders in which the sheet's files may lie",
        description="Further folders in which the files of the sheet may lie, beside the sheet's folder and the "
        "working folder; links are followed first. If any is named, absolute paths must lie in one of these folders "
        "too.",
    )
    tables: Tables = Field(
        default_factory=Tables,
        title="cohort tables with a row per case_id, for cases whose own cell is empty",
        description="Cohort tables. They serve cases whose own cell is empty; rows with an id that the sheet does not "
        "have are ignored.",
    )
    outdir: Text = Field(
        default="results",
        title="where everything is written",
        description="Folder that everything is written to.",
    )
    model: Text = Field(
        default="resources/models/mupd-mini",
        title="folder of the trained model",
        description="Folder of the trained model.",
    )
    seed: int = Field(
        default=1,
        ge=0,
        le=2**63 - 1,
        title="another seed gives other draws, the same seed the same draws",
        description="Seed of the run. A draw's own seed follows from it, the case id, the modality and the draw's "
        "number, so that adding cases does not change the others.",
    )
    shards: int = Field(
        default=4,
        ge=1,
        le=4000,
        title="jobs that the cohort is divided into; 64 cases per shard is a good size",
        description="Number of jobs that the cases are spread over, by their ids; each loads the model once. Take "
        "about one per 64 cases. Another number changes no artifact.",
    )
    draws: Draws = Field(
        default_factory=Draws,
        title="samples of each missing modality: they differ as much as the model is unsure",
        description="Number of samples of a missing modality. They differ as much as the model is unsure: draw several "
        "if you want to propagate the uncertainty.",
    )
    slide: Slide = Field(default_factory=Slide, title="generated slides", description="Generated slides.")
    sampler: Sampler = Field(
        default_factory=Sampler, title="how samples are drawn", description="How samples are drawn."
    )
    intake: IntakeLimits = Field(
        default_factory=IntakeLimits,
        title="what an input must reach to count as measured",
        description="What an input must reach to count as measured; below it, it is `unusable`, with the reason, and "
        "treated as missing.",
    )
    check: CheckLimits = Field(
        default_factory=CheckLimits,
        title="what a generated draw must reach to be accepted",
        description="What a generated draw must reach to be accepted.",
    )
    report: ReportSettings = Field(
        default_factory=ReportSettings, title="what report.html shows", description="What report.html shows."
    )
    expectations: Expectations = Field(
        default_factory=Expectations,
        title="what the tables of a run should look like, docs/expectations.md",
        description="Expectation suites: what the tables of a run should look like "
        "([docs/expectations.md](../docs/expectations.md)).",
    )
    sign: Signing = Field(
        default_factory=Signing,
        title="signature of the manifest and the crate",
        description="Signature of the manifest and the crate (see [docs/provenance.md](../docs/provenance.md)).",
    )
    on_case_error: Literal["continue", "stop"] = Field(
        default="continue",
        title="continue: a case that fails is a row in the manifest; stop: the run fails too",
        description="A case that fails is a row in the manifest and never ends its shard. `stop`: the run fails too, "
        "after the shard's other cases are done.",
    )
    train: Text | None = Field(
        default=None,
        title="training configuration of `snakemake train`, e.g. config/train/tiny.yaml; null = none",
        description="Training configuration that `snakemake train` follows ([docs/training.md](../docs/training.md)); "
        "a run of the cohort never trains.",
    )
    stains: tuple[StainSettings, ...] = Field(
        default=(),
        title="virtual stains of measured slides, e.g. [{name: mif, model: FOLDER}]; config/README.md",
        description="List of virtual stains that each measured slide gets; [below](#virtual-stains-stains). A slide "
        "that is missing, unusable or synthetic gets none.",
    )

    @property
    def out(self) -> Path:
        """The output folder."""
        return Path(self.outdir)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as they would stand in a configuration file."""
        return json.loads(json.dumps(asdict(self)))

    def digest(self, *sections: str) -> str:
        """Short SHA-256 of the named sections, or of single keys (``check.abstain_below``): what a rule depends on."""
        whole = self.to_dict()
        values = {name: reduce(getitem, name.split("."), whole) for name in sections}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


@cache
def config_schema() -> dict[str, Any]:
    """JSON schema of the run configuration, without references."""
    schema = TypeAdapter(Config).json_schema()
    definitions = schema.pop("$defs")

    def inlined(part: Any) -> Any:
        if isinstance(part, list):
            return [inlined(item) for item in part]
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            part = definitions[part["$ref"].rsplit("/", 1)[-1]] | {k: v for k, v in part.items() if k != "$ref"}
        return {name: inlined(inner) for name, inner in part.items()}

    return inlined(schema)


def _suite_faults(suites: Suites) -> list[Fault]:
    """Faults in the form of the user's own suite files. Great Expectations is not imported."""
    if not any(asdict(suites).values()):
        return []
    faults: list[Fault] = []
    for table in TABLES:
        try:
            read_suites(table, getattr(suites, table))
        except InputFaults as error:
            faults += error.faults
    return faults


def parse_config(values: dict[str, Any], source: str) -> Config:
    """Validate and type a configuration.

    Parameters
    ----------
    values
        Plain values as read from YAML.
    source
        Name of the file, for messages.

    Raises
    ------
    InputFaults
        With every fault at once.
    """
    config, faults = validated(Config, values, source)
    if config is not None:
        stains, faults = against_models(config.stains, source)
        faults += _suite_faults(config.expectations.suites)
        if not faults:
            return replace(config, stains=stains)
    raise InputFaults(f"configuration {source}", faults)


def load_config(path: Path) -> Config:
    """Read, validate and type a YAML or JSON configuration file.

    Raises
    ------
    InputFaults
        If the file is not there, is not YAML, or has faults.
    """
    values = read_yaml(path, "configuration")
    if not isinstance(values, dict):
        raise InputFaults(f"configuration {path}", [Fault(str(path), type(values).__name__, "a mapping")])
    return parse_config(values, str(path))
