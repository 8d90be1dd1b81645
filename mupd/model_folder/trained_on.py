"""Which organs a model was trained on in each direction (``trained_on.json``), read without loading the model."""

from __future__ import annotations

from pathlib import Path

from mupd.base.files import write_json
from mupd.base.organs import organ_term
from mupd.errors import ModelError
from mupd.model_folder.contents import read_json_file

TRAINED_ON_FILE = "trained_on.json"
DIRECTIONS = (
    "he->spot",
    "he->text",
    "bulk->he",
    "bulk->text",
    "spot->he",
    "spot->text",
    "text->he",
    "text->bulk",
    "text->spot",
)
"""Given stream -> target. RNA is split by kind: a model may know spots of one organ and bulk profiles of others."""

TrainedOn = dict[str, frozenset[str]]
"""{direction of :data:`DIRECTIONS`: organs, as :func:`mupd.base.organs.organ_term` names them}."""


def read_trained_on(model: Path) -> TrainedOn:
    """Organs by direction. A missing direction is unknown, an empty one was never trained. Empty without the file.

    Raises
    ------
    ModelError
        If the file is there and is not {direction: [different organs]}.
    """
    value = read_json_file(model / TRAINED_ON_FILE)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ModelError(
            f"{TRAINED_ON_FILE} of the model: found {type(value).__name__}; expected {{direction: organs}}"
        )
    if unknown := sorted(set(value) - set(DIRECTIONS)):
        raise ModelError(f"{TRAINED_ON_FILE} of the model: found {unknown}; expected only {list(DIRECTIONS)}")
    return {direction: _organs(direction, organs) for direction, organs in value.items()}


def write_trained_on(model: Path, trained_on: TrainedOn) -> None:
    """Write the file of a model folder, atomically."""
    write_json(model / TRAINED_ON_FILE, {direction: sorted(organs) for direction, organs in trained_on.items()})


def _organs(direction: str, value: object) -> frozenset[str]:
    named = isinstance(value, list) and all(isinstance(name, str) and name.strip() for name in value)
    terms = [organ_term(name) for name in value] if isinstance(value, list) and named else [None]
    organs = frozenset(term for term in terms if term is not None)
    if len(organs) < len(terms):
        expected = "a list of different organs"
        raise ModelError(f"{TRAINED_ON_FILE} [{direction}] of the model: found {value!r}; expected {expected}")
    return organs
