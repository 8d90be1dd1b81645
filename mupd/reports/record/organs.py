"""The organ that words name: a sheet's cell in whatever terms, or what was read out of a report."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mupd.reports.checks import organ_named, organs_named
from mupd.reports.record.rules import flatten, leading_organ, organ_scores

_NO_ORGAN = frozenset(
    (
        "unknown", "not known", "none", "other", "others", "not stated", "not available", "not applicable",
        "unspecified", "missing", "various", "mixed", "tissue", "tumour", "tumor", "cancer",
    )
)  # fmt: skip
_WORD = re.compile(r"[a-z]{3,}")


def organ_term(words: str) -> str | None:
    """One name for all words of an organ (colon, rectal and COAD are colorectum).

    Words outside the vocabulary of :mod:`mupd.reports.record.rules` stand for themselves, in lower case; None where
    they name no organ or several.

    >>> organ_term("Colon, sigmoid"), organ_term("lung or bone"), organ_term("Spleen"), organ_term("n/a")
    ('colorectum', None, 'spleen', None)
    """
    flat = flatten(words).replace("_", " ").strip()
    named = organs_named(flat) or {organ for organ, score in organ_scores(flat).items() if score}
    if len(named) > 1 or flat in _NO_ORGAN or not _WORD.search(flat):
        return None
    # Words that only touch an organ, as ovary does the uterus, are not its name.
    organ = organ_named(flat) or leading_organ(flat)
    return organ.removeprefix("other: ") if organ else flat


def in_vocabulary(organ: str) -> bool:
    """Whether a term is one of the vocabulary, and so no word that somebody typed."""
    return (organ_named(organ) or "").removeprefix("other: ") == organ


def organ_of_report(facts: Mapping[str, Any]) -> str | None:
    """The organ that intake found in a measured text, from its inventory facts; None where it found none."""
    stated = facts.get("report", {}).get("stated", {}).get("organ", {}).get("value")
    found = stated or facts.get("record", {}).get("organ")
    return organ_term(found) if found else None
