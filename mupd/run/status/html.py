"""``mupd status --html``: the inventory as one self-contained page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mupd
from mupd.base.files import atomic_path
from mupd.base.ids import MODALITIES
from mupd.base.pages import page_stream
from mupd.config import Config
from mupd.contracts.inventory import NOTHING_GIVEN, CaseInventory, Entry, tasks_of
from mupd.run.status.fixes import fix_of
from mupd.run.status.plain import counts_of

TEMPLATES = Path(__file__).parent / "templates"
NAMES = {"he": "H&E", "rna": "RNA", "text": "Text"}
DEFAULT_THUMBNAILS = 200
_WORDS = {"measured": "measured", "let_in": "synthetic input", "missing": "missing", "unusable": "unusable"}


def _count(value: Any) -> str:
    return f"{value:,.6g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def _he_facts(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = []
    size = facts.get("size_px")
    if isinstance(size, list) and len(size) == 2:
        rows.append(("Size", f"{_count(size[0])} x {_count(size[1])} px"))
    if facts.get("mpp") is not None:
        source = facts.get("mpp_source")
        rows.append(("Scale", f"{facts['mpp']:.4g} um/px" + (f", from the {source}" if source else "")))
    if facts.get("tissue_mm2") is not None:
        rows.append(("Tissue", f"{facts['tissue_mm2']:,.2f} mm2"))
    slides = facts.get("slides")
    if isinstance(slides, list) and len(slides) > 1:
        rows.append(("Slides", f"{len(slides)}, {sum(s.get('status') == 'measured' for s in slides)} usable"))
    return rows


def _rna_facts(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = []
    if facts.get("values"):
        rows.append(("Values", str(facts["values"])))
    if facts.get("observations") is not None:
        kind = "spots" if facts.get("kind") == "spot" else "sample" if facts["observations"] == 1 else "samples"
        rows.append(("Holds", f"{_count(facts['observations'])} {kind}, {_count(facts.get('genes', 0))} genes"))
    if facts.get("genes_in_model") is not None:
        shared, whole = facts["genes_in_model"], facts.get("model_genes", 0)
        rows.append(("In model", f"{_count(shared)} of {_count(whole)} genes of the model"))
    if facts.get("evidence"):
        rows.append(("Evidence", str(facts["evidence"])))
    return rows


def _text_facts(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Words and counts alone: never the text, nor what was read out of it."""
    rows = []
    if facts.get("words") is not None:
        rows.append(("Words", _count(facts["words"])))
    if facts.get("tokens") is not None:
        rows.append(("Read", f"{_count(facts['tokens'])} tokens in {_count(facts.get('chunks', 0))} chunks"))
    masked = facts.get("masked")
    if isinstance(masked, Mapping):
        counted = ", ".join(
            f"{_count(number)} {str(kind).replace('_', ' ')}" for kind, number in masked.items() if number
        )
        rows.append(("Masked", counted or "nothing found to mask"))
    return rows


_FACTS = {"he": _he_facts, "rna": _rna_facts, "text": _text_facts}


def _entry_view(entry: Entry) -> dict[str, Any]:
    state = _state(entry)
    return {
        "name": NAMES[entry.modality],
        "modality": entry.modality,
        "status": entry.status,
        "state": state,
        "word": _WORDS[state],
        "reason": entry.public_reason,
        "fix": fix_of(entry),
        "facts": _FACTS[entry.modality](entry.facts) if entry.status == "measured" else [],
    }


def _case_view(case: CaseInventory, config: Config, picture: str | None) -> dict[str, Any]:
    parts = [_entry_view(case.entries[modality]) for modality in MODALITIES]
    tasks = [
        (task.name.replace("->", " \u2192 ").replace("+", " + "), len(task.seeds)) for task in tasks_of(case, config)
    ]
    label = " \u00b7 ".join(word for word in (case.organ, case.diagnosis) if word)
    searched = [case.case_id, case.organ, case.diagnosis, *(part["reason"] for part in parts)]
    kinds = {part["state"] for part in parts} | ({"complete"} if len(case.given) == len(MODALITIES) else set())
    return {
        "id": case.case_id,
        "label": label,
        "parts": parts,
        "tasks": tasks,
        "fails": "" if case.given else NOTHING_GIVEN,
        "picture": picture,
        "search": " ".join(searched).lower(),
        "kinds": sorted(kinds | ({"fails"} if not case.given else set())),
    }


def _state(entry: Entry) -> str:
    """The status; a synthetic input that was let in is never counted among the patient's own."""
    return "let_in" if "synthetic_input" in entry.facts else entry.status


def _bars(cases: Sequence[CaseInventory]) -> list[dict[str, Any]]:
    bars = []
    for modality in MODALITIES:
        numbers = Counter(_state(case.entries[modality]) for case in cases)
        at, pieces = 0.0, []
        for state, word in _WORDS.items():
            width = 100 * numbers[state] / max(1, len(cases))
            if numbers[state]:
                pieces.append(
                    {"state": state, "word": word, "n": numbers[state], "x": round(at, 3), "width": round(width, 3)}
                )
            at += width
        bars.append({"name": NAMES[modality], "pieces": pieces})
    return bars


def write_status_html(
    path: Path, cases: Sequence[CaseInventory], config: Config, pictures: Mapping[str, str] | None = None
) -> None:
    """Write the page, atomically; one case stands in memory at a time.

    Parameters
    ----------
    pictures
        Data URIs of slides by case id (:func:`mupd.run.status.pictures.pictures_of`).
    """
    shown, counts = pictures or {}, counts_of(cases, config)
    stream = page_stream(
        TEMPLATES,
        "status",
        title=config.report.title,
        now=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        version=mupd.__version__,
        counts=counts,
        bars=_bars(cases),
        pictured=len(shown),
        cases=(_case_view(case, config, shown.get(case.case_id)) for case in cases),
    )
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        stream.enable_buffering(50)
        stream.dump(file, encoding="utf-8")
