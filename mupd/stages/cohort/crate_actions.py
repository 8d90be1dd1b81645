"""Who did what when: the actions of a run's crate, one for each stage of each shard and one for the cohort."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mupd import __version__
from mupd.base.files import sha256_file
from mupd.base.ids import shard_name, shard_of
from mupd.config import Config
from mupd.contracts.layout import Layout
from mupd.contracts.stage_record import StageRecord, read_record
from mupd.stages.cohort.crate_entities import Crate, RunFacts
from mupd.stages.cohort.join_shards import CohortCase

if TYPE_CHECKING:
    from rocrate.model import ContextEntity, Entity

_COMPLETED = "http://schema.org/CompletedActionStatus"
_BY_HAND = "mupd command line"
_STAGES = {
    "intake": "Reads a shard's inputs: what each case has, and what is missing or unusable.",
    "generate": "Generates the missing modalities of a shard's cases from the measured ones.",
    "check": "Accepts or rejects each generated draw of a shard.",
    "export": "Writes a shard's accepted draws as files that are marked as synthetic.",
    "cohort": "Writes manifest, completed cohort, report, data card and this description over all shards.",
}


@dataclass
class Actions:
    """What the workflow's entity refers to."""

    run: ContextEntity
    tools: list[ContextEntity]
    steps: list[ContextEntity]


@dataclass
class _Done:
    """One run of a stage; `record` is None where the stage left none for this output."""

    stage: str
    shard: int | None
    objects: list[Any]
    results: list[Any]
    started: str = ""
    ended: str = ""
    record: StageRecord | None = field(default=None)


def _modified(path: Path) -> str:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds")


def _shard_actions(
    crate: Crate, shard: int, inputs: list[Any], artifacts: list[Any], model: list[Any]
) -> Iterator[_Done]:
    """The four stages of a shard in their order, each with what it read and wrote."""
    name = shard_name(shard)
    inventory_path = Layout(crate.out).inventory(name)
    inventory = crate.entity(
        f"#inventory-{name}",
        "CreativeWork",
        name=f"inventory of {name}",
        description="What each case has. It names the places of the inputs and is therefore no part of the crate.",
        sha256=sha256_file(inventory_path),
    )
    generated = crate.file(f"generated/{name}.json", name=f"draws of {name}", description="Draws and how they came.")
    checked = crate.file(f"checked/{name}.parquet", name=f"verdicts of {name}", description="A verdict for each draw.")
    exported = crate.file(f"exported/{name}.json", name=f"artifacts of {name}", description="Artifacts and hashes.")
    files = [
        _Done("intake", shard, inputs, [inventory]),
        _Done("generate", shard, [inventory, *inputs, *model], [generated]),
        _Done("check", shard, [inventory, generated], [checked]),
        _Done("export", shard, [inventory, generated, checked], [exported, *artifacts]),
    ]
    outputs = (inventory_path, *(crate.out / entity.id for entity in (generated, checked, exported)))
    for done, output in zip(files, outputs, strict=True):
        done.record = read_record(crate.out, done.stage, shard)
        done.started = done.record.started if done.record else ""
        # Without a record the output's own time is what is known: when it was finished, not when it was begun.
        done.ended = done.record.ended if done.record else _modified(output)
        yield done


def _add_tools(crate: Crate) -> tuple[dict[str, ContextEntity], dict[str, ContextEntity]]:
    """The commands, and the steps of the workflow that call them."""
    tools, steps = {}, {}
    for position, (stage, words) in enumerate(_STAGES.items()):
        tools[stage] = crate.entity(
            f"#mupd-{stage}",
            "SoftwareApplication",
            name=f"mupd {stage}",
            description=words,
            softwareVersion=__version__,
        )
        steps[stage] = crate.entity(
            f"#step-{stage}", "HowToStep", name=stage, position=str(position), workExample=tools[stage]
        )
    return tools, steps


def _add_action(crate: Crate, done: _Done, tool: ContextEntity) -> ContextEntity:
    where = "all shards" if done.shard is None else shard_name(done.shard)
    version = done.record.mupd_version if done.record else __version__
    action = crate.entity(
        f"#{done.stage}" if done.shard is None else f"#{done.stage}-{where}",
        "CreateAction",
        name=f"mupd {done.stage}, {where}",
        description=f"{_STAGES[done.stage]} By mupd {version}.",
        instrument=tool,
        object=done.objects,
        result=done.results,
        endTime=done.ended,
        actionStatus=_COMPLETED,
    )
    if done.started:
        action["startTime"] = done.started
    return action


@dataclass(frozen=True)
class RunEntities:
    """What the actions of a run read and wrote.

    Attributes
    ----------
    inputs
        Measured inputs, by case and modality.
    artifacts
        Artifacts of each case.
    written
        What the cohort stage wrote.
    settings
        The sample sheet and the values of the configuration.
    """

    inputs: dict[tuple[str, str], ContextEntity]
    artifacts: dict[str, list[Entity]]
    written: list[Entity]
    settings: list[ContextEntity]


def add_actions(
    crate: Crate, cases: Sequence[CohortCase], config: Config, facts: RunFacts, entities: RunEntities
) -> Actions:
    """Add the actions of all shards, of the cohort stage, of the run as a whole, and who orchestrated them."""
    inputs, artifacts, written = entities.inputs, entities.artifacts, entities.written
    model = []
    if facts.model_id:
        described = f"#model-{facts.model_sha256[:12]}"
        words = "The model that generated what was missing."
        model = [
            crate.entity(described, "CreativeWork", name=facts.model_id, description=words, sha256=facts.model_sha256)
        ]
    tools, steps = _add_tools(crate)
    by_shard: dict[int, list[CohortCase]] = {}
    for case in cases:
        by_shard.setdefault(shard_of(case.case_id, config.shards), []).append(case)
    done: list[_Done] = []
    for shard, members in sorted(by_shard.items()):
        names = {case.case_id for case in members}
        given = [entity for (case_id, _), entity in inputs.items() if case_id in names]
        made = [entity for case in members for entity in artifacts.get(case.case_id, ())]
        done += _shard_actions(crate, shard, given, made, model)
    handed_on = [result for item in done if item.stage != "intake" for result in item.results]
    done.append(_Done("cohort", None, handed_on, list(written), facts.started, facts.ended))
    actions = [_add_action(crate, item, tools[item.stage]) for item in done]
    controls = [
        crate.entity(
            f"#control-{action.id[1:]}",
            "ControlAction",
            name=f"orchestrate {action['name']}",
            instrument=steps[item.stage],
            object=action,
        )
        for item, action in zip(done, actions, strict=True)
    ]
    started = min([item.started or item.ended for item in done])
    run = crate.entity(
        "#run",
        "CreateAction",
        name="mupd run",
        description="The cohort completed: everything missing was asked of the model, checked and written.",
        object=[*entities.settings, *inputs.values(), *model],
        result=[*written, *(entity for made in artifacts.values() for entity in made)],
        startTime=started,
        endTime=facts.ended,
        actionStatus=_COMPLETED,
    )
    engines = sorted({item.record.engine for item in done if item.record and item.record.engine})
    name, _, version = (engines[-1] if engines else f"{_BY_HAND} {__version__}").rpartition(" ")
    engine = crate.entity("#engine", "SoftwareApplication", name=name, softwareVersion=version)
    orchestration = crate.entity(
        "#orchestration",
        "OrganizeAction",
        name=f"{name} run",
        instrument=engine,
        object=controls,
        result=run,
        startTime=started,
        endTime=facts.ended,
    )
    crate.crate.root_dataset["mentions"] = [run, orchestration, *actions]
    return Actions(run, list(tools.values()), list(steps.values()))
