"""The organ that a measured report is about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mupd.base.organs import organ_term


def organ_of_report(facts: Mapping[str, Any]) -> str | None:
    """The organ of a measured text, from its inventory facts; None if the text states none."""
    stated = facts.get("report", {}).get("stated", {}).get("organ", {}).get("value")
    organ = stated or facts.get("record", {}).get("organ")
    return organ_term(organ) if organ else None
