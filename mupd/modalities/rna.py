"""RNA profiles: reading, checking, and the scale of the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mupd.config import IntakeLimits
from mupd.errors import UnusableError
from mupd.modalities.gene_names import naming_hint
from mupd.modalities.profiles import RnaProfile, detect_values, to_linear, to_log_cp10k
from mupd.modalities.rna_files import read_rna
from mupd.modalities.rna_tables import has_rna_row, original_ids, read_rna_row

__all__ = [
    "RnaProfile",
    "check_rna",
    "detect_values",
    "has_rna_row",
    "original_ids",
    "read_rna",
    "read_rna_row",
    "to_linear",
    "to_log_cp10k",
]

_LOG2_MOST = 25.0
_MOST_EMPTY_SPOTS = 0.5


def _refuse_numbers(profile: RnaProfile) -> None:
    matrix = profile.matrix
    if bad := int(np.count_nonzero(~np.isfinite(matrix))):
        first = int(np.argmax(~np.isfinite(matrix).all(0))) + 1
        place = f"first in gene {first} of {len(profile.genes)}"
        raise UnusableError(f"{bad} values are empty, NaN or infinite ({place}): expected numbers")
    low, high = float(matrix.min()), float(matrix.max())
    if profile.values != "log2tpm" and low < 0:
        raise UnusableError(
            f"values down to {low:.4g} on the scale {profile.values} ({profile.evidence}): expected none below 0; "
            "z-scores and differences cannot be turned back into expression"
        )
    if profile.values.startswith("log") and high > _LOG2_MOST:
        raise UnusableError(f"values up to {high:.4g} on the scale {profile.values}: expected at most {_LOG2_MOST:g}")


def check_rna(profile: RnaProfile, model_genes: Sequence[str], limits: IntakeLimits) -> dict[str, Any]:
    """Whether a profile can condition the model, and what is known of it.

    Returns
    -------
    Plain values: `observations`, `genes`, `genes_in_model`, `model_genes`, `gene_overlap` (share of
    the model's genes that the profile has, 0-1), `kind`, `values`, `evidence`, `has_positions`,
    `empty_observations`.

    Raises
    ------
    UnusableError
        For no or too little overlap, values that are not finite, negative where they cannot be,
        all zero or constant.
    """
    present = set(profile.genes)
    shared = [gene for gene in model_genes if gene in present]
    overlap = len(shared) / len(model_genes)
    if not shared:
        raise UnusableError(
            f"no gene in common with the model: none of {len(profile.genes)} names is among its "
            f"{len(model_genes)} gene symbols{naming_hint(profile.genes)}"
        )
    if overlap < limits.min_gene_overlap:
        raise UnusableError(
            f"{len(shared)} of the model's {len(model_genes)} genes ({overlap:.1%}), under "
            f"intake.min_gene_overlap = {limits.min_gene_overlap:g}{naming_hint(profile.genes)}"
        )
    _refuse_numbers(profile)
    position = {gene: column for column, gene in enumerate(profile.genes)}
    columns = to_linear(profile)[:, [position[gene] for gene in shared]]
    if not columns.any():
        raise UnusableError(f"all {len(shared)} genes shared with the model are zero")
    flat = np.ptp(columns, axis=1) == 0
    if len(shared) > 1 and flat.mean() > (_MOST_EMPTY_SPOTS if profile.kind == "spot" else 0):
        raise UnusableError(f"{int(flat.sum())} of {len(flat)} observations have the same value in every gene")
    return {
        "observations": len(profile.matrix),
        "genes": len(profile.genes),
        "genes_in_model": len(shared),
        "model_genes": len(model_genes),
        "gene_overlap": round(overlap, 4),
        "kind": profile.kind,
        "values": profile.values,
        "evidence": profile.evidence,
        "has_positions": profile.xy_px is not None,
        "empty_observations": int((columns.sum(1) == 0).sum()),
    }
