"""Findings of ``mupd verify`` in words and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from mupd.synthetic.verify.verify import Verification

_STATES = {"intact": "unaltered since the run", "altered": "ALTERED since the run"}


def _state(found: Verification) -> str:
    if found.hash_state in _STATES:
        return _STATES[found.hash_state]
    own = "; its content has the digest it states" if found.content == "intact" else ""
    return f"no manifest knows its hash{own}"


def lines_of(found: Verification) -> list[str]:
    """One finding in words, the path first."""
    if found.kind == "unreadable":
        return [f"{found.path}: unreadable", f"  {found.problem}"]
    signature = [f"  signature: {found.signature}"] if found.signature not in (None, "unsigned") else []
    notes = [*signature, *(f"  note: {note}" for note in found.notes)]
    if not found.synthetic:
        return [f"{found.path}: no sign of synthesis ({found.kind})", *notes]
    sources = [
        f"{modality} sha256 {found.given_sha256[modality]}" if modality in found.given_sha256 else modality
        for modality in found.given
    ]
    facts = {
        "case": found.case,
        "generated from": ", ".join(sources),
        "model": " sha256 ".join(part for part in (found.model_id, found.model_sha256) if part),
        "draw": ", ".join(str(draw) for draw in found.draw),
    }
    lines = [f"{found.path}: SYNTHETIC ({found.kind}), {_state(found)}"]
    lines += [f"  {name}: {value}" for name, value in facts.items() if value]
    lines += [f"  mark: {mark}" for mark in found.marks_found]
    return [*lines, *(f"  MISSING MARK: {mark}" for mark in found.marks_missing), *notes]


def as_values(found: Verification) -> dict[str, Any]:
    """One finding as plain JSON values."""
    return asdict(found) | {"path": str(found.path), "exit_code": found.exit_code}


def render(verifications: Iterable[Verification], as_json: bool = False) -> None:
    """Print the findings to standard output, in words or as a JSON list."""
    found = list(verifications)
    if as_json:
        print(json.dumps([as_values(item) for item in found], indent=2, ensure_ascii=False))
        return
    for item in found:
        print("\n".join(lines_of(item)))
