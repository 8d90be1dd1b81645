"""data_card.md: the run's synthetic data judged by the seven criteria of the FDA's authors, from its own figures.

Zamzmi et al., "Scorecard for synthetic medical data evaluation" (Commun Eng 2025, 4:130; arXiv 2406.11143): congruence,
coverage, constraint, completeness, compliance, comprehension, consistency. What was not measured is said to be so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mupd import __version__
from mupd.base.files import write_text
from mupd.base.ids import MODALITIES
from mupd.config import Config
from mupd.stages.cohort import card_figures as figures
from mupd.stages.cohort.card_figures import Spread
from mupd.stages.cohort.case_values import CaseValues
from mupd.stages.cohort.crate_entities import RunFacts
from mupd.stages.cohort.join_shards import CohortCase, State

NOT_MEASURED = "not measured"
_MOST_REASONS = 20
_TEMPLATES = Path(__file__).parent / "templates"
_NAMES = {"he": "H&E", "rna": "RNA", "text": "text"}
_STATES: tuple[State, ...] = ("measured", "let_in", "accepted", "rejected", "failed")


def cell(value: Any) -> str:
    """Text on one line that Markdown takes for nothing but text, also in a table."""
    words = " ".join(str(value).split())
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]<>#|~&" else letter for letter in words)


def number(value: float | int | str | None) -> str:
    """A figure as it is shown; None was not measured."""
    if value is None:
        return NOT_MEASURED
    if isinstance(value, float):
        return f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else cell(value)


def share(part: int, whole: int) -> str:
    """E.g. ``3 of 4 (75 %)``; of nothing, nothing was measured."""
    return f"{part:,} of {whole:,} ({part / whole:.0%})".replace("%)", " %)") if whole else NOT_MEASURED


def ranged(value: Spread | None, what: str) -> str:
    """Median, extremes and how many."""
    if value is None:
        return NOT_MEASURED
    return f"median {number(value.median)}, {number(value.low)} to {number(value.high)} ({what}: {value.n:,})"


def card_facts(
    cases: Sequence[CohortCase],
    values: Sequence[CaseValues],
    config: Config,
    facts: RunFacts,
    metrics: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """What the card's template shows.

    Parameters
    ----------
    metrics
        The model's figures on held-out data, as :func:`mupd.stages.cohort.model_figures.read_metrics` gives them.
    """
    parts = [part for _, part in figures.parts_of(cases)]
    states = {m: Counter(case.parts[m].state for case in cases) for m in MODALITIES}
    draws = {m: Counter(draw.verdict for case in cases for draw in case.parts[m].draws) for m in MODALITIES}
    absent = sum(part.entry.status != "measured" for part in parts)
    filled = sum(part.state == "accepted" for part in parts)
    whole = [all(case.parts[m].entry.status == "measured" for m in MODALITIES) for case in cases]
    now_whole = [all(case.parts[m].state in ("measured", "let_in", "accepted") for m in MODALITIES) for case in cases]
    checks = figures.check_figures(cases)
    rejected, failed = figures.reasons(cases, "rejected"), figures.reasons(cases, "failed")
    warned = figures.reasons(cases, "accepted")
    twins = [check for check in checks if check.name == "distinct"]
    return {
        "facts": facts,
        "version": __version__,
        "title": config.report.title,
        "config": config,
        "n_cases": len(cases),
        "names": _NAMES,
        "states": states,
        "all_states": _STATES,
        "draws": draws,
        "imputed": Counter(_NAMES[part.entry.modality] for part in parts if part.state == "accepted"),
        "metrics": metrics,
        "correlation": figures.profile_correlation(cases, values),
        "distance": figures.check_spread(cases, "rna", "mean_abs_z"),
        "stain": {
            name.replace("_od", ""): {
                "measured": figures.stain(cases, values, "measured", name),
                "accepted": figures.stain(cases, values, "accepted", name),
            }
            for name in ("haematoxylin_od", "eosin_od")
        },
        "tasks": figures.outcomes(cases, lambda _, part: part.task.replace("->", " \u2192 ")),
        "organs": figures.outcomes(cases, lambda case, _: case.inventory.organ),
        "draw_spread_rna": figures.draw_spread_rna(cases, values),
        "case_spread_measured": figures.case_spread_rna(cases, values, "measured"),
        "case_spread_accepted": figures.case_spread_rna(cases, values, "accepted"),
        "draw_spread_he": figures.draw_spread_he(cases, "haematoxylin_od"),
        "twins": (sum(check.failed for check in twins), sum(check.decided for check in twins)) if twins else None,
        "fields": figures.record_fields(cases, values),
        "checks": checks,
        "rejected": rejected[:_MOST_REASONS],
        "failed": failed[:_MOST_REASONS],
        "more_reasons": sum(max(0, len(reasons_of) - _MOST_REASONS) for reasons_of in (rejected, failed, warned)),
        "warned": warned[:_MOST_REASONS],
        "n_warned": sum(count for _, _, count in warned),
        "absent": absent,
        "filled": filled,
        "whole_before": sum(whole),
        "whole_after": sum(now_whole),
        "genes": figures.gene_completeness(cases, values),
        "artifacts": sum(len(part.artifacts) for part in parts),
        "let_in": sum(counts["let_in"] for counts in states.values()),
        "problems": sum(len(value.problems) for value in values),
    }


def render_card(facts: dict[str, Any]) -> str:
    """The card as Markdown."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(  # Markdown is no HTML: `cell` takes the meaning from what comes from outside.
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"cell": cell, "number": number, "ranged": ranged}
    return environment.get_template("data_card.md.j2").render(facts | {"share": share, "not_measured": NOT_MEASURED})


def write_card(path: Path, facts: dict[str, Any]) -> None:
    """Write :func:`render_card`, atomically."""
    write_text(path, render_card(facts))
