"""Whether an RNA profile is usable: its gene names, numbers and depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mupd.base.rna_scales import scale_named
from mupd.config import IntakeLimits
from mupd.errors import UnusableError
from mupd.rna.gene_names import naming_hint
from mupd.rna.input_names import refuse_other_species
from mupd.rna.profiles import RnaProfile, to_linear

_LOG2_MOST = 25.0
_ROUNDING = float(np.log2(1.01))
_MOST_EMPTY_SPOTS = 0.5


def _refuse_numbers(profile: RnaProfile) -> None:
    matrix = profile.matrix
    finite = np.isfinite(matrix)
    if not finite.all():
        first = int(np.argmax(~finite.all(0))) + 1
        place = f"first in gene {first} of {len(profile.genes)}"
        bad = int(matrix.size - np.count_nonzero(finite))
        raise UnusableError(f"{bad} values are empty, NaN or infinite ({place}): expected numbers")
    low, high = float(matrix.min()), float(matrix.max())
    scale = scale_named(profile.values)
    least = min(scale.zero, 0.0)
    if low < (least - _ROUNDING if least < 0 else 0):
        raise UnusableError(
            f"values down to {low:.4g} on the scale {profile.values} ({profile.evidence}): expected none below "
            f"{least:g}; z-scores and differences cannot be turned back into expression"
        )
    if scale.base is not None and high > _LOG2_MOST:
        raise UnusableError(f"values up to {high:.4g} on the scale {profile.values}: expected at most {_LOG2_MOST:g}")


@lru_cache(maxsize=16)
def _shared(genes: tuple[str, ...], model_genes: tuple[str, ...]) -> NDArray[np.intp]:
    """Columns of the model's genes in a profile, in the model's order; cached for the rows of a table."""
    position = {gene: column for column, gene in enumerate(genes)}
    return np.array([position[gene] for gene in model_genes if gene in position], np.intp)


@lru_cache(maxsize=16)
def _refuse_names(genes: tuple[str, ...]) -> None:
    refuse_other_species(genes)


def _refuse_overlap(profile: RnaProfile, shared: int, model_genes: int, limits: IntakeLimits) -> None:
    if not shared:
        raise UnusableError(
            f"no gene in common with the model: none of {len(profile.genes)} names is among its "
            f"{model_genes} gene symbols{naming_hint(profile.genes)}"
        )
    if (overlap := shared / model_genes) < limits.min_gene_overlap:
        raise UnusableError(
            f"{shared} of the model's {model_genes} genes ({overlap:.1%}), under "
            f"intake.min_gene_overlap = {limits.min_gene_overlap:g}{naming_hint(profile.genes)}"
        )


def _depth(profile: RnaProfile, limits: IntakeLimits) -> dict[str, Any]:
    """Library size (of counts) and number of detected genes; raises UnusableError for a nearly empty library."""
    scale = scale_named(profile.values)
    # Tables are rounded: a little above its zero, a logarithm with a small offset still says zero.
    zero = scale.zero + (_ROUNDING if scale.zero < 0 else 0.0)
    detected = int((profile.matrix > zero).any(axis=0).sum())
    share = detected / len(profile.genes)
    size = profile.details.get("library_size")
    depth: dict[str, Any] = {"genes_detected": detected, "detected_fraction": round(share, 4)}
    if profile.values == "counts":
        per_row = profile.matrix.sum(axis=1, dtype=np.float64)
        size = float(per_row.sum())
        if len(per_row) > 1:
            depth["median_library_size"] = float(np.median(per_row))
    if size is not None:
        depth["library_size"] = round(float(size), 1)
        if size < limits.min_library_size:
            raise UnusableError(
                f"{size:,.0f} counts in all, under intake.min_library_size = {limits.min_library_size:g}: "
                "the library is nearly empty"
            )
    if share < limits.min_detected_fraction:
        raise UnusableError(
            f"{detected} of {len(profile.genes)} genes detected ({share:.1%}), under intake.min_detected_fraction = "
            f"{limits.min_detected_fraction:g}: the library failed, or most values are missing"
        )
    return depth


def check_rna(profile: RnaProfile, model_genes: Sequence[str], limits: IntakeLimits) -> dict[str, Any]:
    """Check that a profile can condition the model, and describe it.

    Returns
    -------
    Plain values: `observations`, `genes`, `genes_in_model`, `model_genes`, `gene_overlap` (share of
    the model's genes that the profile has, 0-1), `kind`, `values`, `evidence`, `has_positions`,
    `empty_observations`, `genes_detected`, `detected_fraction` (of the profile's genes), `library_size` (of counts,
    also of those beside TPM), `median_library_size` (of several rows), and the reader's details (see
    :class:`mupd.rna.profiles.RnaProfile`).

    Raises
    ------
    UnusableError
        For genes of another species, too little overlap with the model's genes, values that are not finite, negative
        although the scale has none, all zero or constant, too few counts or detected genes, or too many samples.
    """
    genes, of_model = tuple(profile.genes), tuple(model_genes)
    columns_of_shared = _shared(genes, of_model)
    shared = len(columns_of_shared)
    if not shared or shared / len(of_model) < limits.min_gene_overlap:
        # Another species explains the lack of overlap.
        _refuse_names(genes)
    _refuse_overlap(profile, shared, len(of_model), limits)
    _refuse_numbers(profile)
    if profile.kind == "bulk" and len(profile.matrix) > 1:
        raise UnusableError(
            f"{len(profile.matrix)} samples that are neither spots nor cells, where one case has one: name it in the "
            "sheet (TABLE::SAMPLE), or keep one in the file"
        )
    columns = to_linear(replace(profile, matrix=profile.matrix[:, columns_of_shared]))
    if not columns.any():
        raise UnusableError(f"all {shared} genes shared with the model are zero")
    flat = np.ptp(columns, axis=1) == 0
    if shared > 1 and flat.mean() > (_MOST_EMPTY_SPOTS if profile.kind == "spot" else 0):
        raise UnusableError(f"{int(flat.sum())} of {len(flat)} observations have the same value in every gene")
    depth = _depth(profile, limits)
    return {
        **profile.details,
        "observations": len(profile.matrix),
        "genes": len(profile.genes),
        "genes_in_model": shared,
        "model_genes": len(of_model),
        "gene_overlap": round(shared / len(of_model), 4),
        "kind": profile.kind,
        "values": profile.details.get("values_in_file", profile.values),
        "evidence": profile.evidence,
        "has_positions": profile.xy_px is not None,
        "empty_observations": int((columns.sum(1) == 0).sum()),
        **depth,
    }
