"""Checks of a generated record: its fields, their probabilities, what it leaves undetermined, how draws agree."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mupd.config import CheckLimits
from mupd.contracts.verdicts import Check
from mupd.reports.record.fields import undetermined

SUM_TOLERANCE = 1e-3


def read_record(folder: Path) -> dict[str, Any]:
    """``record.json`` of a draw, {field: {"value", "abstained", "probabilities"}}.

    Raises
    ------
    OSError, ValueError
        If it is missing, no JSON, or not as :mod:`mupd.contracts.draws` says.
    """
    record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    if not isinstance(record, dict) or not record:
        raise ValueError("the record has no fields")
    for field, part in record.items():
        shares = part.get("probabilities") if isinstance(part, dict) else None
        if not isinstance(shares, dict) or not shares or not isinstance(part.get("value", 0), str | None):
            raise ValueError(f"field {field!r} lacks a value with probabilities")
        if not all(isinstance(share, int | float) for share in shares.values()):
            raise ValueError(f"field {field!r} has probabilities that are no numbers")
        if part.get("abstained") is not (part["value"] is None):
            raise ValueError(
                f"field {field!r}: found value {part['value']!r} with abstained {part.get('abstained')!r}; "
                "expected no value exactly where it abstains"
            )
    return record


def agreement(records: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Of each field, the share of draws that give its most frequent outcome (a value, or undetermined)."""
    shares = {}
    for field in sorted({name for record in records for name in record}):
        values = [record[field]["value"] for record in records if field in record]
        shares[field] = round(max(values.count(value) for value in values) / len(values), 3)
    return shares


def _outside(record: Mapping[str, Any], fields: Mapping[str, Sequence[str]]) -> list[str]:
    """Fields and values that are none of the model's, and stated values without a probability."""
    outside = []
    for field, part in record.items():
        if field not in fields:
            outside.append(f"field {field!r}")
            continue
        named = [value for value in (part["value"], *part["probabilities"]) if value is not None]
        outside += [f"{field} {value!r}" for value in named if value not in fields[field]]
        if part["value"] is not None and part["value"] not in part["probabilities"]:
            outside.append(f"{field} {part['value']!r}, which has no probability")
    return sorted(set(outside))


def _sum_check(shares: Mapping[str, Mapping[str, float]]) -> Check:
    sums = {}
    for field, probabilities in shares.items():
        total = sum(probabilities.values())
        sums[field] = (
            round(total, 4) if np.isfinite(total) and min(probabilities.values()) >= 0 else "not a probability"
        )
    off = [
        field for field, total in sums.items() if not isinstance(total, float | int) or abs(total - 1) > SUM_TOLERANCE
    ]
    sentence = f"probabilities do not sum to 1: {', '.join(off)}" if off else ""
    return Check("probability_sum", sums, [1 - SUM_TOLERANCE, 1 + SUM_TOLERANCE], not off, sentence)


def _abstention_check(record: Mapping[str, Any], shares: Mapping[str, Mapping[str, float]], limit: float) -> Check:
    """An undetermined field must be one."""
    abstained = [field for field, part in record.items() if part["value"] is None]
    sure = [field for field in abstained if not undetermined(shares[field], limit)]
    sentence = f"undetermined at a probability of {limit:g} or more (check.abstain_below): {', '.join(sure)}"
    return Check("undetermined", abstained, limit, not sure if abstained else None, sentence if sure else "")


def check_text(
    record: Mapping[str, Any],
    limits: CheckLimits,
    agreed: Mapping[str, float],
    fields: Mapping[str, Sequence[str]],
) -> list[Check]:
    """Check one record as :func:`read_record` gives it.

    Parameters
    ----------
    agreed
        {field: share of draws}, reported beside it.
    fields
        {field: values} that the model knows.
    """
    shares = {
        field: {value: float(share) for value, share in part["probabilities"].items()} for field, part in record.items()
    }
    stated = {
        field: shares[field].get(part["value"], 0.0) for field, part in record.items() if part["value"] is not None
    }
    outside = _outside(record, fields)
    words = f"not in the vocabulary: {', '.join(outside)}" if outside else ""
    not_most = [field for field, share in stated.items() if share < max(shares[field].values())]
    return [
        Check("vocabulary", outside, "fields and values the model knows", not outside, words),
        _sum_check(shares),
        _abstention_check(record, shares, limits.abstain_below),
        # A value is drawn from its field's probabilities (multiple imputation): to reject draws that are not
        # the most probable would narrow what the draws are there to show.
        Check("not_most_probable", not_most, "reported: fields whose drawn value is not the most probable", None),
        Check("agreement", dict(agreed), "reported, 1 = all draws agree", None),
    ]
