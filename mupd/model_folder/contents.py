"""What a model folder says of its genes and records, read without loading the model."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
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


def model_genes(model: Path) -> tuple[str, ...]:
    """All gene symbols of the model in order.

    Raises
    ------
    ModelError
        If its folder does not list them.
    """
    genes = read_genes(model)
    if genes is None:
        raise ModelError(f"{model / 'genes.json'}: not there; expected the model's gene symbols as a JSON list")
    return genes


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


def read_record_fields(model: Path) -> dict[str, tuple[str, ...]]:
    """{field: values} of the records that a model makes (``record.json``), in the model's order.

    Raises
    ------
    ModelError
        If the file is not there, or is no such vocabulary.
    """
    value = read_json_file(model / RECORD_FILE)
    if value is None:
        raise ModelError(f'{RECORD_FILE} of the model is not there: expected {{"fields": {{field: [values]}}}}')
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
_LARGEST = 1e300
_RECORD_KEYS = {"fields", "temperatures", "reliance", "shares"}
ORGAN_FIELD = "organ"
"""Field by whose value a record's shares are kept."""

Temperatures = dict[str, dict[str, float]]
"""{direction of :data:`DIRECTIONS`: {field: temperature over 0}}."""
Reliance = dict[str, dict[str, float]]
"""{direction of :data:`DIRECTIONS`: {field: weight over 0 and at most 1 of the model's own probabilities}}."""
Shares = dict[str, dict[str, dict[str, float]]]
"""{organ: {field: {value: share among the training records of that organ}}}; values that are not named have none."""


def read_record_temperatures(model: Path) -> Temperatures:
    """Temperatures of a model's records (``record.json``) by direction; empty where it does not say.

    Models before it had directions hold one temperature a field: it stands for all directions.

    Raises
    ------
    ModelError
        If one is no number over 0 of a field that the model has, a direction is none of :data:`DIRECTIONS`, or
        the file holds something else too.
    """
    fields, value = read_record_fields(model), _read_record(model)
    temperatures = value.get("temperatures", {})
    if (
        isinstance(temperatures, dict)
        and temperatures
        and not any(isinstance(row, dict) for row in temperatures.values())
    ):
        value = {"temperatures": dict.fromkeys(DIRECTIONS, temperatures)}
    return _by_direction(value, "temperatures", fields, math.inf)


def read_record_reliance(model: Path) -> Reliance:
    """How far a model's records rely on its own probabilities (``record.json``); empty where it does not say.

    Raises
    ------
    ModelError
        If one is no number over 0 and at most 1 of a field that the model has, a direction is none of
        :data:`DIRECTIONS`, or the file holds something else too.
    """
    return _by_direction(_read_record(model), "reliance", read_record_fields(model), 1.0)


def read_record_shares(model: Path) -> Shares:
    """Shares of values among a model's training records (``record.json``); empty where it does not say.

    Raises
    ------
    ModelError
        If an organ, a field or a value is none of the model's, or shares are no numbers from 0 that sum to 1.
    """
    fields, shares = read_record_fields(model), _read_record(model).get("shares", {})
    if wrong := share_faults(shares, fields):
        raise ModelError(f"{RECORD_FILE} [shares] of the model: {wrong}")
    return {
        organ: {field: {value: float(share) for value, share in row.items()} for field, row in rows.items()}
        for organ, rows in shares.items()
    }


def share_faults(shares: Any, fields: Mapping[str, tuple[str, ...]]) -> str:
    """What is wrong with shares of a record's fields; empty if nothing is."""
    expected = "{organ: {field: {value: share}}}, shares that sum to 1, of its organs and the other fields"
    if not (isinstance(shares, dict) and all(isinstance(rows, dict) for rows in shares.values())):
        return f"found {shares!r}; expected {expected}"
    if unknown := sorted(set(shares) - set(fields.get(ORGAN_FIELD, ()))):
        return f"found {unknown}; expected {expected}"
    for organ, rows in shares.items():
        for field, row in rows.items():
            values = () if field == ORGAN_FIELD else fields.get(field, ())
            numbers = list(row.values()) if isinstance(row, dict) and set(row) <= set(values) else []
            if not (all(_is_number(share) and share >= 0 for share in numbers) and abs(sum(numbers) - 1) < 0.01):
                return f"found {row!r} as {organ}: {field}; expected {expected}"
    return ""


def _read_record(model: Path) -> dict[str, Any]:
    """``record.json`` of a model, empty if there is none; its fields have been read before."""
    value = read_json_file(model / RECORD_FILE)
    if value is None:
        return {}
    if not isinstance(value, dict) or (unknown := sorted(set(value) - _RECORD_KEYS)):
        odd = unknown if isinstance(value, dict) else value
        raise ModelError(f"{RECORD_FILE} of the model: found {odd!r}; expected {sorted(_RECORD_KEYS)} alone")
    return value


def _by_direction(
    record: Mapping[str, Any], key: str, fields: Mapping[str, Any], most: float
) -> dict[str, dict[str, float]]:
    """{direction: {field: number over 0, at most `most`}} under a key of ``record.json``."""
    by_direction = record.get(key, {})
    if not (isinstance(by_direction, dict) and all(isinstance(row, dict) for row in by_direction.values())):
        raise ModelError(f"{RECORD_FILE} [{key}] of the model: found {by_direction!r}; expected {{direction: numbers}}")
    if unknown := sorted(set(by_direction) - set(DIRECTIONS)):
        raise ModelError(f"{RECORD_FILE} [{key}] of the model: found {unknown}; expected {list(DIRECTIONS)}")
    for direction, row in by_direction.items():
        wrong = {
            field: number
            for field, number in row.items()
            if field not in fields or not (_is_number(number) and 0 < number <= most)
        }
        if wrong:
            limit = "" if most == math.inf else f" and at most {most:g}"
            raise ModelError(
                f"{RECORD_FILE} [{key}.{direction}] of the model: found {wrong!r}; "
                f"expected a number over 0{limit} for its fields"
            )
    return {
        direction: {field: float(number) for field, number in row.items()} for direction, row in by_direction.items()
    }


def _is_number(number: Any) -> bool:
    return isinstance(number, int | float) and not isinstance(number, bool) and abs(number) < _LARGEST
