"""report.html: one self-contained page on the whole cohort."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mupd
from mupd.base.files import atomic_path
from mupd.base.ids import MODALITIES
from mupd.base.pages import page_stream
from mupd.config import Config
from mupd.contracts.shared_inputs import sharing_of
from mupd.stages.cohort.card_figures import mean_profile, profiles_of
from mupd.stages.cohort.case_values import CaseValues, TextValues
from mupd.stages.cohort.join_shards import CohortCase, Part, State
from mupd.stages.cohort.manifest import further_artifacts, main_artifacts
from mupd.stages.cohort.model_figures import number, read_metrics
from mupd.stages.cohort.plots import WIDTH, rna_plot
from mupd.stages.cohort.review_notes import review_notes
from mupd.stages.cohort.stains import stain_views
from mupd.stages.cohort.thumbnails import data_uri, mark_synthetic

TEMPLATES = Path(__file__).parent / "templates"
NAMES = {"he": "H&E", "rna": "RNA", "text": "Text"}
STATES: dict[State, str] = {
    "measured": "measured",
    "let_in": "synthetic input",
    "accepted": "synthetic",
    "rejected": "rejected",
    "failed": "failed",
}
_OUTCOMES = {True: "passed", False: "failed"}


def _checks(part: Part) -> list[dict[str, str]]:
    rows = []
    for draw in part.draws:
        for name, check in draw.checks.items():
            ok = check.get("ok")
            undecided = "not measured" if check.get("value") == "not measured" else "reported"
            rows.append(
                {
                    "draw": str(draw.draw),
                    "name": name.replace("_", " "),
                    "value": number(check.get("value")),
                    "limit": number(check.get("limit")),
                    "outcome": undecided if ok is None else _OUTCOMES[bool(ok)],
                }
            )
    return rows


def _pictures(values: CaseValues, let_in: bool) -> list[dict[str, Any]]:
    shown = []
    for picture in values.he.pictures if values.he else ():
        synthetic = picture.draw is not None or let_in or bool(picture.note)
        width, height = picture.size_px
        size = picture.note or f"{width:,} x {height:,} px"
        if picture.mpp:
            size += (
                f", {width * picture.mpp / 1000:.2f} x {height * picture.mpp / 1000:.2f} mm at {picture.mpp:g} um/px"
            )
        pixels = mark_synthetic(picture.pixels) if synthetic else picture.pixels
        shown.append({"uri": data_uri(pixels), "synthetic": synthetic, "draw": picture.draw, "size": size})
    return shown


def field_label(name: str) -> str:
    """E.g. ``T category`` for ``t_category``."""
    return name.replace("_", " ").capitalize()


def _text(text: TextValues) -> dict[str, Any]:
    if not text.draws:
        stated = {field_label(name): value for name, value in text.stated.items()}
        return {"synthetic": False, "words": text.words, "shown": text.shown, "stated": stated}
    from mupd.reports.record.fields import FIELDS, nothing_told, render_record, undetermined

    agreement = text.agreement()
    probabilities = text.probabilities()
    fields: list[dict[str, Any]] = []
    record: dict[str, str] = {}
    for name in dict.fromkeys(name for name in (*FIELDS, *probabilities) if name in probabilities):
        shares = probabilities[name]
        ranked = sorted(shares.items(), key=lambda item: -item[1])
        value, share = ranked[0]
        unsure = undetermined(shares, text.abstain_below)
        also = ", ".join(f"{other} {part:.0%}" for other, part in ranked[1:3] if part >= 0.01)
        shown = {"name": field_label(name), "value": value, "undetermined": unsure, "share": share}
        fields.append(shown | {"also": also, "agreed": agreement[name], "told": not nothing_told(shares)})
        record |= {} if unsure else {name: value}
    sentences = render_record(record) or "Every field is undetermined."
    return {"synthetic": True, "fields": fields, "draws": len(text.draws), "sentences": sentences}


def _cohort_rna(cases: Sequence[CohortCase], values: Sequence[CaseValues]) -> tuple[NDArray[np.float32] | None, int]:
    """Mean over the cohort's measured profiles, NaN where no profile has the gene, and how many there are."""
    profiles = profiles_of(cases, values, "measured")
    return mean_profile(profiles), len(profiles)


def _part_view(part: Part) -> dict[str, Any]:
    drawn = [draw for draw in part.draws if draw.draw >= 0]
    same = sharing_of(part.entry)
    return {
        "modality": part.entry.modality,
        "name": NAMES[part.entry.modality],
        "status": part.entry.status,
        "state": part.state,
        "word": STATES[part.state],
        "reason": part.reason,
        "same": same,
        "look": bool(part.why or same) or part.entry.status == "unusable" or part.state == "let_in",
        "task": part.task.replace("->", " \u2192 ").replace("+", " + "),
        "why": part.why,
        "made": len(drawn),
        "accepted": len(part.accepted),
        "artifacts": [item.path for item in (*main_artifacts(part), *further_artifacts(part))],
        "checks": _checks(part),
    }


def _free_columns(case: CohortCase, config: Config) -> dict[str, str]:
    """The sheet's free columns where the configuration lets them be shown: nobody knows what stands in them."""
    return case.inventory.extra if config.report.show_free_columns else {}


def _search(case: CohortCase, config: Config) -> str:
    inventory, free = case.inventory, _free_columns(case, config)
    return " ".join([case.case_id, inventory.organ, inventory.diagnosis, *free.values()]).lower()


def case_view(case: CohortCase, values: CaseValues, plot: Any, pictured: bool, config: Config) -> dict[str, Any]:
    """What the template shows of one case; `plot` is its :class:`mupd.stages.cohort.plots.RnaPlot` or None."""
    inventory = case.inventory
    parts = [_part_view(case.parts[modality]) for modality in MODALITIES]
    label = [inventory.organ, inventory.diagnosis]
    return {
        "id": case.case_id,
        "label": " \u00b7 ".join(word for word in label if word),
        "extra": _free_columns(case, config),
        "parts": {part["modality"]: part for part in parts},
        "pictures": _pictures(values, case.parts["he"].let_in),
        "pictured": pictured,
        "plot": plot,
        "text": None if values.text is None else _text(values.text),
        "he": values.he,
        "rna": values.rna,
        "problems": values.problems,
        "stains": [view | {"checks": _checks(view["part"])} for view in stain_views(case, config, pictured)],
        "attention": any(part["look"] for part in parts) or bool(values.problems),
        "synthetic": any(part["state"] == "accepted" for part in parts),
        "search": _search(case, config),
    }


def _summary(cases: Sequence[CohortCase]) -> dict[str, Any]:
    states = {m: Counter(case.parts[m].state for case in cases) for m in MODALITIES}
    stained = Counter(draw.verdict for case in cases for part in case.stains.values() for draw in part.draws)
    draws = Counter(draw.verdict for case in cases for m in MODALITIES for draw in case.parts[m].draws) + stained
    bars = []
    for modality, counts in states.items():
        at, pieces = 0.0, []
        for state in STATES:
            share = 100 * counts[state] / len(cases) if cases else 0.0
            pieces.append({"state": state, "word": STATES[state], "n": counts[state], "x": at, "width": share})
            at += share
        bars.append({"name": NAMES[modality], "pieces": [piece for piece in pieces if piece["n"]]})
    statuses = Counter(case.parts[m].entry.status for case in cases for m in MODALITIES)
    let_in = sum(counts["let_in"] for counts in states.values())
    failed = sum(counts["failed"] for counts in states.values())
    return {"bars": bars, "statuses": statuses, "draws": draws, "stained": stained, "let_in": let_in, "failed": failed}


@dataclass(frozen=True)
class ReportContent:
    """What the report shows beside the cases.

    Attributes
    ----------
    genes
        The model's genes, in order.
    model_id, model_sha256
        The model that made the draws; "" where nothing was generated.
    most_pictured
        Cases after so many have no pictures and no plots.
    expected
        Results of the expectation suites (:func:`mupd.stages.cohort.expectations.view`); None if none was run.
    forecast
        What was forecast and what it took (:func:`mupd.stages.cohort.forecast.view`); None if nothing was forecast.
    """

    genes: tuple[str, ...]
    model_id: str
    model_sha256: str
    most_pictured: int
    expected: Mapping[str, Any] | None = None
    forecast: Mapping[str, Any] | None = None


def write_report(
    path: Path, cases: Sequence[CohortCase], values: Sequence[CaseValues], config: Config, content: ReportContent
) -> None:
    """Write the page, atomically; one case stands in memory at a time."""
    mean, others = _cohort_rna(cases, values)

    def views() -> Iterator[dict[str, Any]]:
        for index, (case, value) in enumerate(zip(cases, values, strict=True)):
            pictured = index < content.most_pictured
            plot = rna_plot(value.rna, content.genes, mean, others) if value.rna and pictured else None
            if plot and case.parts["rna"].let_in:
                plot = replace(plot, synthetic=True)
            yield case_view(case, value, plot, pictured, config)

    overview: list[dict[str, Any]] = [
        {
            "id": case.case_id,
            "label": " \u00b7 ".join(word for word in (case.inventory.organ, case.inventory.diagnosis) if word),
            "parts": [_part_view(case.parts[modality]) for modality in MODALITIES],
            "search": _search(case, config),
        }
        for case in cases
    ]
    stream = page_stream(
        TEMPLATES,
        "report",
        title=config.report.title,
        now=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        version=mupd.__version__,
        model_id=content.model_id,
        model_sha256=content.model_sha256,
        summary=_summary(cases),
        overview=overview,
        review_notes=review_notes(overview),
        metrics=read_metrics(Path(config.model)),
        cases=views(),
        n_cases=len(cases),
        most_pictured=content.most_pictured,
        number=number,
        plot_width=WIDTH,
        states=STATES,
        expected=content.expected,
        forecast=content.forecast,
    )
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        stream.enable_buffering(50)
        stream.dump(file, encoding="utf-8")
