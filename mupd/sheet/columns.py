"""Columns of the sample sheet, as workflow/schemas/cases.schema.yaml names them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from mupd.config import load_schema
from mupd.errors import Fault

Check = Callable[[str], str | None]
"""From a cell to what was expected instead, or None if the cell is right."""


def _check_of(rule: dict[str, Any]) -> Check:
    """Compile one column's rule of cases.schema.yaml: a validator per cell is 50 times slower."""
    if unknown := set(rule) - {"type", "pattern", "minLength", "maxLength", "description"}:
        raise NotImplementedError(f"cases.schema.yaml: no check for {', '.join(sorted(unknown))}")
    pattern = re.compile(rule["pattern"]) if "pattern" in rule else None
    least, most = rule.get("minLength", 0), rule.get("maxLength")

    def check(cell: str) -> str | None:
        if most is not None and len(cell) > most:
            return f"at most {most} characters"
        if len(cell) < least:
            return f"at least {least} characters"
        if pattern is not None and not pattern.search(cell):
            return f"text like {rule['pattern']}"
        return None

    return check


def checks_of_header(header: Sequence[str], where: str) -> tuple[dict[str, Check], list[Fault]]:
    """{column: its check} of the columns that may be there, and what is wrong with the header."""
    schema = load_schema("cases")
    free = [(re.compile(pattern), _check_of(rule)) for pattern, rule in schema.get("patternProperties", {}).items()]
    known = schema["properties"]
    checks: dict[str, Check] = {}
    faults = []
    for position, name in enumerate(header, start=1):
        place = f"{where} [column {position}]"
        if name in checks:
            faults.append(Fault(place, f"column {name!r} a second time", "each column once"))
        elif name in known:
            checks[name] = _check_of(known[name])
        elif found := next((check for pattern, check in free if pattern.search(name)), None):
            checks[name] = found
        else:
            hint = f"did you mean {name.lower()!r}? " if name.lower() in known else ""
            expected = f"{hint}one of {', '.join(known)}, or a free column: its name begins with 'x_'"
            faults.append(Fault(place, f"unknown column {name!r}", expected))
    for name in schema["required"]:
        if name not in header:
            faults.append(Fault(where, "no such column", f"a column {name!r}"))
    return checks, faults
