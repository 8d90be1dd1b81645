"""What the model's folder says of its training data: the checks hold generated draws against it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mupd.errors import ModelError
from mupd.model_folder.contents import read_genes, read_json_file, read_panels, read_record_fields


@dataclass(frozen=True)
class Reference:
    """Ranges of the training data; None or empty where the model's folder does not say.

    Attributes
    ----------
    genes
        The model's gene symbols, in order (``genes.json``).
    panels
        Of them, those of each kind of profile, in order; empty if the model has but one kind.
    haematoxylin_od, eosin_od
        (low, high) mean optical density of training tiles (``reference.json``).
    rna_mean, rna_sd
        {kind: {gene: log1p CP10k}} for the kinds ``bulk`` and ``spot``; only genes that the kind has.
    record_fields
        {field: values} of the records that the model makes.
    """

    genes: tuple[str, ...] | None = None
    panels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    haematoxylin_od: tuple[float, float] | None = None
    eosin_od: tuple[float, float] | None = None
    rna_mean: dict[str, dict[str, float]] = field(default_factory=dict)
    rna_sd: dict[str, dict[str, float]] = field(default_factory=dict)
    record_fields: dict[str, tuple[str, ...]] = field(default_factory=dict)


def _range(values: dict[str, Any], name: str) -> tuple[float, float] | None:
    if name not in values:
        return None
    try:
        low, high = (float(value) for value in values[name])
    except (TypeError, ValueError) as error:
        raise ModelError(f"reference.json [{name}]: found {values[name]!r}; expected [low, high]") from error
    return low, high


def _by_gene(
    values: dict[str, Any], name: str, genes: tuple[str, ...] | None, panels: dict[str, tuple[str, ...]]
) -> dict[str, dict[str, float]]:
    """{kind: {gene: number}}; a kind's list is as long as its panel, or as all genes of the model."""
    by_gene = {}
    for kind, numbers in values.get(name, {}).items():
        place = f"reference.json [{name}.{kind}]"
        if not isinstance(numbers, list):
            raise ModelError(f"{place}: found {type(numbers).__name__}; expected a list with a number a gene")
        fitting = [names for names in (panels.get(kind), genes) if names is not None and len(names) == len(numbers)]
        if not fitting:
            expected = len(panels.get(kind) or genes or ())
            raise ModelError(f"{place}: found {len(numbers)} numbers; expected {expected}, one a gene")
        try:
            by_gene[kind] = {
                gene: float(number)
                for gene, number in zip(fitting[0], numbers, strict=True)
                if number is not None and np.isfinite(float(number))
            }
        except (TypeError, ValueError) as error:
            raise ModelError(f"{place}: {error}; expected a number a gene") from error
    return by_gene


def read_reference(model: Path) -> Reference:
    """Read genes and panels and ``reference.json`` of a model folder; each may be absent.

    Raises
    ------
    ModelError
        If one is there and is not what it should be.
    """
    genes, panels = read_genes(model), read_panels(model)
    values = read_json_file(model / "reference.json") or {}
    if not isinstance(values, dict):
        raise ModelError("reference.json of the model: expected a mapping")
    return Reference(
        genes,
        panels,
        _range(values, "haematoxylin_od"),
        _range(values, "eosin_od"),
        _by_gene(values, "rna_mean", genes, panels),
        _by_gene(values, "rna_sd", genes, panels),
        read_record_fields(model),
    )
