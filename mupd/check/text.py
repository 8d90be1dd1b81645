"""Checks of a generated record: its fields, their probabilities and how the draws agree."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mupd.check.result import Check

SUM_TOLERANCE = 1e-3


def read_record(folder: Path) -> dict[str, Any]:
    """``record.json`` of a draw.

    Raises
    ------
    OSError, ValueError
        If it is missing, no JSON, or not {field: {"value": str, "probabilities": {value: number}}}.
    """
    record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    if not isinstance(record, dict) or not record:
        raise ValueError("the record has no fields")
    for field, part in record.items():
        shares = part.get("probabilities") if isinstance(part, dict) else None
        if not isinstance(shares, dict) or not shares or not isinstance(part.get("value"), str):
            raise ValueError(f"field {field!r} lacks a value with probabilities")
        if not all(isinstance(share, int | float) for share in shares.values()):
            raise ValueError(f"field {field!r} has probabilities that are no numbers")
    return record


def agreement(records: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Of each field, the share of draws that give its most frequent value."""
    shares = {}
    for field in sorted({name for record in records for name in record}):
        values = [record[field]["value"] for record in records if field in record]
        shares[field] = round(max(values.count(value) for value in values) / len(values), 3)
    return shares


def check_text(record: dict[str, Any], least_confidence: float, agreed: dict[str, float]) -> list[Check]:
    """Check one record; `agreed` (field: share of draws) is reported beside it."""
    from mupd.modalities.records import FIELDS

    unknown, sums, not_most, confidence = [], {}, [], {}
    for field, part in record.items():
        shares = {value: float(share) for value, share in part["probabilities"].items()}
        if field not in FIELDS:
            unknown.append(f"field {field!r}")
        else:
            unknown += [f"{field} {value!r}" for value in (part["value"], *shares) if value not in FIELDS[field]]
            if part["value"] not in shares:
                unknown.append(f"{field} {part['value']!r}, which has no probability")
        sums[field] = sum(shares.values())
        if min(shares.values()) < 0 or not np.isfinite(sums[field]):
            sums[field] = float("nan")
        if shares.get(part["value"], -1.0) < max(shares.values()):
            not_most.append(field)
        confidence[field] = shares.get(part["value"], 0.0)
    unknown = sorted(set(unknown))
    off = [field for field, total in sums.items() if not abs(total - 1.0) <= SUM_TOLERANCE]
    doubtful = [field for field, share in confidence.items() if share < least_confidence]
    least = min(confidence.values())
    return [
        Check(
            "vocabulary",
            unknown,
            "fields and values the model knows",
            not unknown,
            f"not in the vocabulary: {', '.join(unknown)}" if unknown else "",
        ),
        Check(
            "probability_sum",
            {field: round(total, 4) if np.isfinite(total) else "not a probability" for field, total in sums.items()},
            [1 - SUM_TOLERANCE, 1 + SUM_TOLERANCE],
            not off,
            f"probabilities do not sum to 1: {', '.join(off)}" if off else "",
        ),
        # A value is drawn from its field's probabilities (multiple imputation): to reject draws that are not
        # the most probable would narrow what the draws are there to show.
        Check("not_most_probable", not_most, "reported: fields whose drawn value is not the most probable", None),
        Check(
            "confidence",
            round(least, 4),
            least_confidence,
            not doubtful,
            f"probability below {least_confidence:g} (check.min_record_confidence): {', '.join(doubtful)}"
            if doubtful
            else "",
        ),
        Check("agreement", agreed, "reported, 1 = all draws agree", None),
    ]
