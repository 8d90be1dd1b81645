"""Inputs that two cases share: one of them is in the wrong place, or one patient stands in the sheet twice."""

from __future__ import annotations

from collections.abc import Sequence

from mupd.base.ids import MODALITIES
from mupd.contracts.inventory import CaseInventory, Entry

MOST_NAMED = 20


def _contents(entry: Entry) -> set[str]:
    slides = entry.facts.get("slides", [])
    usable = {slide["sha256"] for slide in slides if slide["status"] == "measured"}
    # A report that was saved in two forms or wrapped otherwise is the same text.
    return {digest for digest in {entry.source_sha256, entry.facts.get("text_sha256")} if digest} | usable


def note_duplicates(cases: Sequence[CaseInventory]) -> None:
    """Add to the facts of each measured entry which of these cases have the same content (`same_content_as`).

    Two inputs have the same content if their bytes are equal, if one of their usable slides is the same, or if their
    texts differ in white space only. Earlier notes are kept: those of the shard come first, those of the cohort later.
    """
    for modality in MODALITIES:
        owners: dict[str, list[str]] = {}
        measured = [case for case in cases if case.entries[modality].status == "measured"]
        for case in measured:
            for digest in sorted(_contents(case.entries[modality])):
                owners.setdefault(digest, []).append(case.case_id)
        for case in measured:
            entry = case.entries[modality]
            shared = [name for digest in sorted(_contents(entry)) for name in owners[digest] if name != case.case_id]
            if shared:
                known = entry.facts.get("same_content_as", [])
                entry.facts["same_content_as"] = list(dict.fromkeys([*known, *shared]))[:MOST_NAMED]


def sharing_of(entry: Entry) -> str:
    """With which cases an entry shares its content, in words; "" if with none."""
    others = entry.facts.get("same_content_as", [])
    if not others:
        return ""
    more = f" and {len(others) - 3} more" if len(others) > 3 else ""
    return f"the same content as {', '.join(others[:3])}{more}"
