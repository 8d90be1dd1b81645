"""What a generated RNA draw holds, in numbers: the rows of the table ``generated_rna`` that suites speak of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np


def generated_rna_row(folder: Path) -> dict[str, Any]:
    """Facts of one draw; empty where its files cannot be read, which its verdict says."""
    try:
        values = np.load(folder / "values.npy", allow_pickle=False)
        genes = json.loads((folder / "genes.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, EOFError):
        return {}
    if values.ndim != 2 or not values.size or not np.issubdtype(values.dtype, np.floating):
        return {}
    finite = np.isfinite(values)
    facts: dict[str, Any] = {
        "kind": "spot" if (folder / "xy_px.npy").exists() else "bulk",
        "observations": len(values),
        "genes": len(genes),
        "not_finite": int((~finite).sum()),
    }
    if finite.all():
        facts |= {
            "smallest": float(values.min()),
            "largest": float(values.max()),
            "library_size": float(np.median(np.expm1(values.astype(np.float64)).sum(axis=1))),
            "genes_detected": int((values > 0).any(axis=0).sum()),
        }
    return facts
