"""Faults of a settings file that a pydantic model describes, and how such a file is read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from mupd.base.messages import first_line
from mupd.errors import Fault, InputFaults

Model = TypeVar("Model")

_UNKNOWN_KEY = ("extra_forbidden", "unexpected_keyword_argument")
_MOST_SHOWN = 80


def read_yaml(path: Path, what: str) -> object:
    """Plain values of a YAML file.

    Raises
    ------
    InputFaults
        If it cannot be read; `what` names the kind of file in the message.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputFaults(f"{what} {path}", [Fault(str(path), first_line(error), "a YAML file")]) from error


def validated(model: type[Model], values: object, where: str) -> tuple[Model | None, list[Fault]]:
    """Plain values as a typed settings object, or every fault of them.

    Values are validated as JSON, so that a strict model takes a string for a path and a list for a tuple, but no
    string for a number.

    Parameters
    ----------
    model
        A pydantic model or dataclass.
    where
        Name of the file, for messages.
    """
    adapter = TypeAdapter(model)
    try:
        plain = json.dumps(values, default=str)
    except (TypeError, ValueError, RecursionError) as error:
        # Keys such as dates, aliases that contain themselves.
        return None, [Fault(where, str(error), "text as keys and no alias that contains itself")]
    try:
        return adapter.validate_json(plain), []
    except ValidationError as error:
        return None, validation_faults(error, adapter.json_schema(), where)


def validation_faults(error: ValidationError, schema: dict[str, Any], where: str) -> list[Fault]:
    """One fault for each error, with the file, the key, what was found and what was expected.

    Parameters
    ----------
    schema
        JSON schema of the model, from which the known keys are named where one is unknown.
    """
    faults = []
    for one in error.errors(include_url=False):
        place = [str(part) for part in one["loc"] if part != "[key]"]
        if one["type"] in _UNKNOWN_KEY:
            known = ", ".join(_known_keys(schema, place[:-1]))
            faults.append(Fault(_at(where, place[:-1]), f"unknown key {place[-1]!r}", f"only: {known}"))
        else:
            shown = "nothing" if one["type"] == "missing" else repr(one["input"])[:_MOST_SHOWN]
            faults.append(Fault(_at(where, place), shown, _expected(one["msg"])))
    return faults


def _at(where: str, place: list[str]) -> str:
    return f"{where} [{'.'.join(place)}]" if place else where


def _expected(message: str) -> str:
    """A pydantic message as what was expected: ``Input should be a valid integer`` -> ``a valid integer``."""
    for start in ("Input should be ", "String should have ", "Tuple should have ", "Value error, "):
        message = message.removeprefix(start)
    return message.replace("Field required", "a value").replace("String should match pattern", "text like")


def _known_keys(schema: dict[str, Any], place: list[str]) -> Iterator[str]:
    """Keys that the schema has at a place."""
    parts = _alternatives(schema, schema)
    for name in place:
        parts = [
            inner
            for part in parts
            for below in (part.get("properties", {}).get(name), part.get("items"))
            if isinstance(below, dict)
            for inner in _alternatives(below, schema)
        ]
    yield from dict.fromkeys(name for part in parts for name in part.get("properties", {}))


def _alternatives(part: dict[str, Any], schema: dict[str, Any]) -> list[dict[str, Any]]:
    """A part of a schema with its reference followed; every choice of an ``anyOf``."""
    if "$ref" in part:
        return _alternatives(schema["$defs"][part["$ref"].rsplit("/", 1)[-1]], schema)
    return [inner for choice in part["anyOf"] for inner in _alternatives(choice, schema)] if "anyOf" in part else [part]
