"""What a model folder says of its genes and records, read without loading the model."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from mupd.errors import ModelError


def read_json_file(path: Path) -> Any:
    """The value of a JSON file of a model folder, None if there is no such file.

    Raises
    ------
    ModelError
        If it is there and is no JSON.
    """
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path.parent.name}/{path.name} of the model: {error}; expected JSON") from error


def _symbols(value: Any, where: str) -> tuple[str, ...]:
    if not (isinstance(value, list) and value and all(isinstance(name, str) for name in value)):
        raise ModelError(f"{where} of the model: expected a list of gene symbols")
    return tuple(value)


def read_genes(model: Path) -> tuple[str, ...] | None:
    """All gene symbols of the model in order (``genes.json``), None if it does not say."""
    value = read_json_file(model / "genes.json")
    return None if value is None else _symbols(value, "genes.json")


def read_panels(model: Path, part: str = "rna_codec") -> dict[str, tuple[str, ...]]:
    """Genes of each kind of profile (``bulk``, ``spot``) that the model makes (``rna_codec/config.json``).

    A draw has the genes of one panel, and the depth of its counts per 10,000 is taken over them.
    Empty for a model without panels: its draws have all of its genes.
    """
    value = read_json_file(model / part / "config.json") or {}
    if not isinstance(value, dict):
        raise ModelError("rna_codec/config.json of the model: expected {kind: gene symbols}")
    return {kind: _symbols(genes, f"rna_codec/config.json [{kind}]") for kind, genes in value.items()}


RECORD_FILE = "record.json"
FIELDS_BEFORE_RECORD_FILE: dict[str, tuple[str, ...]] = {
    "organ": ("breast", "bladder", "colorectum", "stomach", "lung", "bone", "brain"),
    "diagnosis": (
        "invasive breast carcinoma",
        "urothelial carcinoma",
        "colorectal adenocarcinoma",
        "mucinous adenocarcinoma",
        "gastric adenocarcinoma",
        "diffuse-type gastric carcinoma",
        "signet ring cell carcinoma",
        "tubular adenocarcinoma",
        "lung adenocarcinoma",
        "lung squamous cell carcinoma",
        "osteosarcoma",
        "glioma",
        "benign tissue",
    ),
    "grade": ("G1", "G2", "G3"),
    "t_category": ("T0", "T1", "T2", "T3", "T4"),
}
"""The record of models that were made before they kept their vocabulary themselves."""


def read_record_fields(model: Path) -> dict[str, tuple[str, ...]]:
    """{field: values} of the records that a model makes (``record.json``), in the model's order.

    Raises
    ------
    ModelError
        If the file is there and is no such vocabulary.
    """
    value = read_json_file(model / RECORD_FILE)
    if value is None:
        return dict(FIELDS_BEFORE_RECORD_FILE)
    fields = value.get("fields") if isinstance(value, dict) else None
    if not (isinstance(fields, dict) and fields):
        raise ModelError(f'{RECORD_FILE} of the model: found no fields; expected {{"fields": {{field: [values]}}}}')
    for field, values in fields.items():
        named = isinstance(values, list) and bool(values) and all(isinstance(name, str) for name in values)
        if not named or len(set(values)) < len(values):
            raise ModelError(
                f"{RECORD_FILE} [fields.{field}] of the model: found {values!r}; expected different values"
            )
    return {field: tuple(values) for field, values in fields.items()}


DIRECTIONS = ("he", "rna", "he+rna")
"""What records are made from: each set of given modalities has temperatures of its own."""
_RECORD_KEYS = {"fields", "temperatures"}

Temperatures = dict[str, dict[str, float]]
"""{direction of :data:`DIRECTIONS`: {field: temperature over 0}}."""


def read_record_temperatures(model: Path) -> Temperatures:
    """Temperatures of a model's records (``record.json``) by direction; empty where it does not say.

    Models before it had directions hold one temperature a field: it stands for all directions.

    Raises
    ------
    ModelError
        If one is no number over 0 of a field that the model has, a direction is none of :data:`DIRECTIONS`, or
        the file holds something else too.
    """
    fields = read_record_fields(model)
    value = read_json_file(model / RECORD_FILE)
    if value is None:
        return {}
    if unknown := sorted(set(value) - _RECORD_KEYS):
        raise ModelError(f"{RECORD_FILE} of the model: found {unknown}; expected {sorted(_RECORD_KEYS)} alone")
    found = value.get("temperatures", {})
    if isinstance(found, dict) and found and not any(isinstance(row, dict) for row in found.values()):
        found = dict.fromkeys(DIRECTIONS, found)
    if not (isinstance(found, dict) and all(isinstance(row, dict) for row in found.values())):
        raise ModelError(f"{RECORD_FILE} [temperatures] of the model: found {found!r}; expected {{direction: numbers}}")
    if unknown := sorted(set(found) - set(DIRECTIONS)):
        raise ModelError(f"{RECORD_FILE} [temperatures] of the model: found {unknown}; expected {list(DIRECTIONS)}")
    for direction, row in found.items():
        wrong = {field: number for field, number in row.items() if field not in fields or not _over_zero(number)}
        if wrong:
            raise ModelError(
                f"{RECORD_FILE} [temperatures.{direction}] of the model: found {wrong!r}; "
                "expected a number over 0 for its fields"
            )
    return {direction: {field: float(number) for field, number in row.items()} for direction, row in found.items()}


def _over_zero(number: Any) -> bool:
    return isinstance(number, int | float) and not isinstance(number, bool) and 0 < number < math.inf
