"""Findings of ``mupd verify`` in words and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from mupd.synthetic.verify.verify import Verification

_STATES = {"intact": "unaltered since the run", "altered": "ALTERED since the run"}


def _state(verification: Verification) -> str:
    if verification.hash_state in _STATES:
        return _STATES[verification.hash_state]
    own = "; its content has the digest it states" if verification.content == "intact" else ""
    return f"no manifest knows its hash{own}"


def lines_of(verification: Verification) -> list[str]:
    """One finding in words, the path first."""
    if verification.kind == "unreadable":
        return [f"{verification.path}: unreadable", f"  {verification.problem}"]
    signature = [f"  signature: {verification.signature}"] if verification.signature not in (None, "unsigned") else []
    notes = [*signature, *(f"  note: {note}" for note in verification.notes)]
    if verification.unsearched:
        notes.append(f"  note: {verification.unsearched}")
    if verification.unsearched and not verification.synthetic:
        return [f"{verification.path}: UNKNOWN ({verification.kind}): its content was not searched for marks", *notes]
    if not verification.synthetic:
        return [f"{verification.path}: no sign of synthesis ({verification.kind})", *notes]
    sources = [
        f"{modality} sha256 {verification.given_sha256[modality]}"
        if modality in verification.given_sha256
        else modality
        for modality in verification.given
    ]
    facts = {
        "case": verification.case,
        "generated from": ", ".join(sources),
        "model": " sha256 ".join(part for part in (verification.model_id, verification.model_sha256) if part),
        "draw": ", ".join(str(draw) for draw in verification.draw),
    }
    lines = [f"{verification.path}: SYNTHETIC ({verification.kind}), {_state(verification)}"]
    lines += [f"  {name}: {value}" for name, value in facts.items() if value]
    lines += [f"  mark: {mark}" for mark in verification.marks_found]
    return [*lines, *(f"  MISSING MARK: {mark}" for mark in verification.marks_missing), *notes]


def as_values(verification: Verification) -> dict[str, Any]:
    """One finding as plain JSON values."""
    return asdict(verification) | {"path": str(verification.path), "exit_code": verification.exit_code}


def render(verifications: Iterable[Verification], as_json: bool = False) -> None:
    """Print the findings to standard output, in words or as a JSON list."""
    listed = list(verifications)
    if as_json:
        print(json.dumps([as_values(item) for item in listed], indent=2, ensure_ascii=False))
        return
    for item in listed:
        print("\n".join(lines_of(item)))
