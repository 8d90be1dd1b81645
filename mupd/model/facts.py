"""What a model folder says of its genes, read without loading the model."""

from __future__ import annotations

import json
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
