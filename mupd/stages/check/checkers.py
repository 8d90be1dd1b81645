"""The checkers, one a target: to check a new target, or to check one for something more, start here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mupd.base.ids import Target, stain_name
from mupd.config import Config
from mupd.contracts.draws import DrawMeta
from mupd.contracts.inventory import CaseInventory
from mupd.contracts.verdicts import Check
from mupd.stages.check.reference import Reference


@dataclass(frozen=True)
class CheckInput:
    """All that a checker may look at.

    Attributes
    ----------
    folder
        Of the draw: its values as :mod:`mupd.contracts.draws` says.
    case
        What the case has; None where the inventory lacks it.
    record
        Of a text draw: its record.
    agreement
        Of a text draw: {field: share of the task's draws that give its most frequent outcome}.
    """

    folder: Path
    meta: DrawMeta
    config: Config
    reference: Reference
    case: CaseInventory | None
    record: Mapping[str, Any] | None = None
    agreement: Mapping[str, float] | None = None


Checker = Callable[[CheckInput], list[Check]]


def _he(draw: CheckInput) -> list[Check]:
    from mupd.stages.check.he_checks import check_he

    return check_he(draw.folder, draw.config, draw.reference, draw.meta.settings)


def _rna(draw: CheckInput) -> list[Check]:
    from mupd.stages.check.rna_checks import check_rna

    return check_rna(draw.folder, draw.reference)


def _text(draw: CheckInput) -> list[Check]:
    from mupd.stages.check.text_checks import check_text

    if draw.record is None:
        raise ValueError("the draw has no record")
    return check_text(draw.record, draw.config.check, draw.agreement or {}, draw.reference.record_fields)


def _stain(draw: CheckInput) -> list[Check]:
    from mupd.stages.check.stain_checks import check_stain

    name = stain_name(draw.meta.target)
    stain = next((stain for stain in draw.config.stains if stain.name == name), None)
    if stain is None or draw.case is None:
        what = f"{draw.meta.target} of {draw.meta.case_id}"
        raise ValueError(f"it is of {what}, which the configuration or the inventory lacks")
    return check_stain(draw.folder, draw.meta, draw.case.entries["he"], stain)


CHECKERS: dict[Target, Checker] = {"he": _he, "rna": _rna, "text": _text, "stain": _stain}


def checker_of(target: Target) -> Checker:
    """The checker of a target; all virtual stains have the same."""
    return CHECKERS["stain" if stain_name(target) else target]
