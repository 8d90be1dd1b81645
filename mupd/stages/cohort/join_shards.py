"""What all shards left, joined by case: the one view that manifest, cohort file and report are made from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from mupd.base.ids import MODALITIES, Modality, Target, shard_name, stain_target
from mupd.config import Config
from mupd.contracts.artifacts import Artifact, read_artifacts
from mupd.contracts.draws import DrawMeta, read_index
from mupd.contracts.inventory import NOTHING_GIVEN, CaseInventory, Entry, read_inventory, tasks_of, why_not_stained
from mupd.contracts.layout import Layout
from mupd.contracts.shared_inputs import note_duplicates
from mupd.contracts.verdicts import read_verdicts
from mupd.errors import MupdError

VIRTUAL = "a virtual stain: no measured one is looked for"

State = Literal["measured", "let_in", "accepted", "rejected", "failed"]


@dataclass(frozen=True)
class CheckedDraw:
    """A draw with its verdict; `folder` is relative to the output folder, `draw` is -1 for a failed task."""

    draw: int
    verdict: str
    reasons: str
    checks: dict[str, dict[str, Any]]
    folder: str
    meta: DrawMeta | None


@dataclass(frozen=True)
class Part:
    """One modality of one case: what was there, what was asked, what came out.

    Attributes
    ----------
    task
        E.g. ``rna->he``; "" where nothing is imputed.
    verdict, why
        ``accepted`` if an artifact of at least one draw stands; ``rejected``; ``failed``; "" if measured.
    """

    entry: Entry
    task: str = ""
    verdict: str = ""
    why: str = ""
    draws: tuple[CheckedDraw, ...] = ()
    artifacts: tuple[Artifact, ...] = ()

    @property
    def accepted(self) -> tuple[CheckedDraw, ...]:
        """The accepted draws, if the modality as a whole is accepted."""
        return tuple(d for d in self.draws if d.verdict == "accepted") if self.verdict == "accepted" else ()

    @property
    def state(self) -> State:
        """What a reader wants to know first."""
        if self.entry.status == "measured":
            return "let_in" if self.let_in else "measured"
        return self.verdict  # type: ignore[return-value]

    @property
    def let_in(self) -> bool:
        """Whether the input carries synthetic marks and was let in by ``intake.allow_synthetic``."""
        return "synthetic_input" in self.entry.facts

    @property
    def reason(self) -> str:
        """The entry's reason without the path of the input: that one is the user's own and is not published."""
        return self.entry.public_reason


@dataclass(frozen=True)
class CohortCase:
    """One case with its three parts; `he_mpp` as the sheet states it.

    `stains` has a part for each configured stain; where the slide is not stained it has no verdict and says why.
    """

    inventory: CaseInventory
    parts: dict[Modality, Part]
    he_mpp: float | None = None
    stains: dict[Target, Part] = field(default_factory=dict)

    @property
    def case_id(self) -> str:
        """The case id."""
        return self.inventory.case_id


@dataclass
class _Shard:
    cases: dict[str, CaseInventory]
    draws: dict[tuple[str, str], list[CheckedDraw]] = field(default_factory=dict)
    artifacts: dict[tuple[str, str], list[Artifact]] = field(default_factory=dict)
    failed: dict[tuple[str, str], list[str]] = field(default_factory=dict)


def _files(config: Config, shard: int) -> dict[str, Path]:
    name, layout = shard_name(shard), Layout(config.out)
    return {
        "intake": layout.inventory(name),
        "generate": layout.generated(name),
        "check": layout.checked(name),
        "export": layout.exported(name),
    }


def _read_shard(config: Config, shard: int) -> _Shard:
    files = _files(config, shard)
    contents = _Shard({case.case_id: case for case in read_inventory(files["intake"])})
    metas = {
        (result.case_id, result.target, draw.meta.draw): draw.meta
        for result in read_index(files["generate"])
        for draw in result.draws
    }
    for row in read_verdicts(files["check"]):
        key = row.case_id, row.target
        checked = CheckedDraw(row.draw, row.verdict, row.reasons, row.checks, row.folder, metas.get((*key, row.draw)))
        contents.draws.setdefault(key, []).append(checked)
    artifacts, failures = read_artifacts(files["export"])
    for artifact in artifacts:
        contents.artifacts.setdefault((artifact.case_id, artifact.modality), []).append(artifact)
    for failure in failures:
        contents.failed.setdefault((failure.case_id, failure.modality), []).append(failure.reason)
    return contents


def explain(draws: tuple[CheckedDraw, ...]) -> str:
    """The draws' reasons in one text; what is said of several draws is said once, of which it is said if not of all."""
    draws_of: dict[tuple[str, str], list[int]] = {}
    for draw in draws:
        if draw.reasons:
            draws_of.setdefault((draw.verdict, draw.reasons), []).append(draw.draw)
    texts = []
    for (verdict, reasons), numbers in draws_of.items():
        if verdict == "failed" or (len(numbers) == len(draws) and verdict == "accepted"):
            texts.append(reasons)
        else:
            plural = "draws" if len(numbers) > 1 else "draw"
            word = "rejected" if verdict == "rejected" else "accepted, with a warning"
            texts.append(f"{plural} {', '.join(map(str, numbers))} {word}: {reasons}")
    return "; ".join(texts)


def _part(config: Config, case: CaseInventory, modality: Modality, shard: _Shard) -> Part:
    entry = case.entries[modality]
    if entry.status == "measured":
        return Part(entry)
    if not case.given:
        return Part(entry, verdict="failed", why=NOTHING_GIVEN)
    return _generated(config, case, modality, entry, shard)


def _stain_part(config: Config, case: CaseInventory, target: Target, shard: _Shard) -> Part:
    """The part of a configured stain; no stain is ever measured."""
    entry = Entry(case.case_id, cast("Modality", target), "missing", VIRTUAL)
    why = why_not_stained(case)
    return Part(entry, why=why) if why else _generated(config, case, target, entry, shard)


def _generated(config: Config, case: CaseInventory, target: Target, entry: Entry, shard: _Shard) -> Part:
    """What came of a case's task."""
    key = (case.case_id, target)
    task = next(task.name for task in tasks_of(case, config) if task.target == target)
    draws = tuple(sorted(shard.draws.get(key, []), key=lambda draw: draw.draw))
    artifacts = tuple(shard.artifacts.get(key, []))
    why = explain(draws)
    verdicts = {draw.verdict for draw in draws}
    if "accepted" in verdicts:
        gone = [item.path for item in artifacts if not (config.out / item.path).exists()]
        if key in shard.failed or gone or not artifacts:
            lost = f"the artifact is not there: {', '.join(gone)}" if gone else "export left no artifact"
            return Part(entry, task, "failed", "; ".join(shard.failed.get(key, [lost])), draws)
        return Part(entry, task, "accepted", why, draws, artifacts)
    if "rejected" in verdicts:
        return Part(entry, task, "rejected", why, draws)
    return Part(entry, task, "failed", why or "the check stage left no row for this task", draws)


def join_shards(config: Config) -> list[CohortCase]:
    """All cases in the order of the sheet.

    Raises
    ------
    MupdError
        If the files of a shard that has cases are not all there (each missing one is named), or a shard's
        inventory lacks a case of the sheet.
    """
    from mupd.sheet import cases_of_shard, read_sheet

    sheet = read_sheet(config)
    filled = [shard for shard in range(config.shards) if cases_of_shard(sheet, shard, config.shards)]
    lacking = [
        f"  {path} (run `mupd {stage} --shard {shard}`)"
        for shard in filled
        for stage, path in _files(config, shard).items()
        if not path.exists()
    ]
    if lacking:
        raise MupdError("cohort: files of earlier stages are not there:\n" + "\n".join(lacking))
    cases: dict[str, CohortCase] = {}
    for index in filled:
        shard = _read_shard(config, index)
        for row in cases_of_shard(sheet, index, config.shards):
            if row.case_id not in shard.cases:
                raise MupdError(f"{_files(config, index)['intake']}: case {row.case_id} of the sheet is not in it")
            case = shard.cases[row.case_id]
            parts = {modality: _part(config, case, modality, shard) for modality in MODALITIES}
            targets = [stain_target(stain.name) for stain in config.stains]
            stains = {target: _stain_part(config, case, target, shard) for target in targets}
            cases[row.case_id] = CohortCase(case, parts, row.he_mpp, stains)
    # Each shard has compared its own cases; here all meet.
    note_duplicates([case.inventory for case in cases.values()])
    return [cases[row.case_id] for row in sheet.cases]
