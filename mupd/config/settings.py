"""The run configuration: validated by workflow/schemas/config.schema.yaml, then typed.

Imported by the Snakefile, which every cluster job parses: no heavy imports here.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
from dataclasses import asdict, dataclass
from functools import cache, reduce
from operator import getitem
from pathlib import Path
from typing import Any, Literal

import yaml
from jsonschema import Draft202012Validator, TypeChecker
from jsonschema.validators import extend

from mupd.base.package_files import shipped_file
from mupd.config.stains import StainSettings, parse_stains
from mupd.config.suite_columns import TABLES
from mupd.config.suites import read_suites
from mupd.errors import Fault, InputFaults


@dataclass(frozen=True)
class Tables:
    """Cohort tables with a row per case_id, used for cases whose own cell is empty."""

    rna: str | None
    text: str | None


@dataclass(frozen=True)
class Draws:
    """How many samples of a missing modality are generated."""

    he: int
    rna: int
    text: int


@dataclass(frozen=True)
class Slide:
    """Generated slides: pixels, micrometres per pixel; and how their files are written."""

    width_px: int
    height_px: int
    mpp: float
    codec: Literal["jpeg", "jpeg2000", "htj2k", "jpegxl"]
    jpeg_quality: int
    watermark: bool


@dataclass(frozen=True)
class Guidance:
    """Scale of classifier-free guidance of H&E by each condition; 1 = as trained."""

    text: float
    rna: float


@dataclass(frozen=True)
class Sampler:
    """How samples are drawn: solver and its steps, guidance scales, windows per batch, device, compilation."""

    steps: int
    solver: Literal["euler", "heun"]
    guidance: Guidance
    batch_size: int
    device: Literal["auto", "cpu", "cuda"]
    compile: bool


@dataclass(frozen=True)
class IntakeLimits:
    """What an input must reach to count as measured, and what reading one file may cost (seconds, megabytes)."""

    min_tissue_mm2: float
    min_text_words: int
    min_gene_overlap: float
    rna_values: Literal["auto", "counts", "tpm", "log"]
    allow_synthetic: tuple[str, ...]
    file_seconds: float = 120.0
    file_mb: int = 4096
    min_library_size: float = 100
    min_detected_fraction: float = 0.05


@dataclass(frozen=True)
class CheckLimits:
    """What a generated draw must reach to be accepted."""

    min_tissue_fraction: float
    abstain_below: float
    untrained_organ: Literal["note", "reject"] = "note"


@dataclass(frozen=True)
class ReportSettings:
    """What report.html shows."""

    title: str
    show_measured_text: bool
    show_free_columns: bool


@dataclass(frozen=True)
class Suites:
    """Expectation suites of the user's own, by the table that they are for (paths)."""

    sheet: tuple[str, ...]
    inventory: tuple[str, ...]
    rna_profiles: tuple[str, ...]
    generated_rna: tuple[str, ...]
    manifest: tuple[str, ...]


@dataclass(frozen=True)
class Expectations:
    """What follows from an expectation that is not met, and further suites."""

    on_failure: Literal["report", "stop"]
    suites: Suites


@dataclass(frozen=True)
class Signing:
    """Ed25519 private key (PEM) that signs manifest and crate, None = unsigned; where its passphrase comes from."""

    key: str | None
    passphrase_env: str


@dataclass(frozen=True)
class Config:
    """A whole run configuration; paths are as given, relative to the working folder."""

    cases: str
    roots: tuple[str, ...]
    tables: Tables
    outdir: str
    model: str
    seed: int
    shards: int
    draws: Draws
    slide: Slide
    sampler: Sampler
    intake: IntakeLimits
    check: CheckLimits
    report: ReportSettings
    expectations: Expectations
    sign: Signing
    on_case_error: Literal["continue", "stop"]
    train: str | None
    stains: tuple[StainSettings, ...] = ()

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
def load_schema(name: str) -> dict[str, Any]:
    """The schema ``NAME.schema.yaml``, from the installed package or from the repository."""
    return yaml.safe_load(shipped_file("schemas", f"{name}.schema.yaml").read_text(encoding="utf-8"))


def _is_integer(_checker: TypeChecker, value: object) -> bool:
    # JSON Schema takes 20.0 for an integer; range(20.0) does not.
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(_checker: TypeChecker, value: object) -> bool:
    # Not a number passes every minimum and maximum.
    return (isinstance(value, float) and math.isfinite(value)) or _is_integer(_checker, value)


_Validator = extend(
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine_many({"integer": _is_integer, "number": _is_number}),
)


def schema_faults(value: Any, schema: dict[str, Any], where: str) -> list[Fault]:
    """Every violation of `schema` in `value`, each with its place, what was found and expected."""
    faults = []
    for error in sorted(_Validator(schema).iter_errors(value), key=lambda e: [str(part) for part in e.path]):
        field = ".".join(str(part) for part in error.path)
        place = f"{where} [{field}]" if field else where
        if error.validator == "additionalProperties":
            known = ", ".join(error.schema.get("properties", {}))
            faults.append(Fault(place, error.message.split("(", 1)[-1].rstrip(")"), f"only: {known}"))
        else:
            faults.append(Fault(place, repr(error.instance)[:80], f"{error.validator}: {error.validator_value}"))
    return faults


def with_defaults(value: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """`value` with the schema's default where a key is not given, in nested mappings too."""
    filled = dict(value)
    for name, part in schema.get("properties", {}).items():
        if name not in filled and "default" in part:
            filled[name] = copy.deepcopy(part["default"])
        if isinstance(filled.get(name), dict):
            filled[name] = with_defaults(filled[name], part)
    return filled


def _suite_faults(suites: Suites) -> list[Fault]:
    """What is wrong with the user's own suite files, by their form alone: Great Expectations is not imported."""
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
    schema = load_schema("config")
    if faults := schema_faults(values, schema, source):
        raise InputFaults(f"configuration {source}", faults)
    full = with_defaults(values, schema)
    intake = full["intake"] | {"allow_synthetic": tuple(full["intake"]["allow_synthetic"])}
    suites = Suites(**{table: tuple(paths) for table, paths in full["expectations"]["suites"].items()})
    stain_schema = schema["properties"]["stains"]["items"]
    stains, faults = parse_stains([with_defaults(item, stain_schema) for item in full["stains"]], source)
    if faults := faults + _suite_faults(suites):
        raise InputFaults(f"configuration {source}", faults)
    return Config(
        cases=full["cases"],
        roots=tuple(full["roots"]),
        tables=Tables(**full["tables"]),
        outdir=full["outdir"],
        model=full["model"],
        seed=full["seed"],
        shards=full["shards"],
        draws=Draws(**full["draws"]),
        slide=Slide(**full["slide"]),
        sampler=Sampler(**(full["sampler"] | {"guidance": Guidance(**full["sampler"]["guidance"])})),
        intake=IntakeLimits(**intake),
        check=CheckLimits(**full["check"]),
        report=ReportSettings(**full["report"]),
        expectations=Expectations(full["expectations"]["on_failure"], suites),
        sign=Signing(**full["sign"]),
        on_case_error=full["on_case_error"],
        train=full["train"],
        stains=stains,
    )


def load_config(path: Path) -> Config:
    """Read, validate and type a YAML or JSON configuration file.

    Raises
    ------
    InputFaults
        If the file is not there, is not YAML, or violates the schema.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise InputFaults(f"configuration {path}", [Fault(str(path), reason, "a YAML file")]) from error
    if not isinstance(values, dict):
        raise InputFaults(f"configuration {path}", [Fault(str(path), type(values).__name__, "a mapping")])
    return parse_config(values, str(path))
