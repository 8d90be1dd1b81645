"""The measuring process: ``python -m mupd.run.forecast.probe STAGE FOLDER`` runs a stage on the specimens.

Each stage has a process of its own, as in a run, so that its start and its most memory are its own. A JSON line goes to
standard output for each measurement (:class:`mupd.run.forecast.fit.Measurement`), the last one with ``facts``.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mupd.base.ids import shard_name
from mupd.base.usage import Usage, usage_now
from mupd.config import Config, load_config
from mupd.contracts.layout import Layout
from mupd.errors import MupdError
from mupd.run.forecast.fit import Cost, Measurement
from mupd.run.forecast.specimens import SMALL_PX, SPECIMENS, Specimen, specimen_config

if TYPE_CHECKING:
    from mupd.contracts.draws import Draw
    from mupd.contracts.inventory import Task
    from mupd.engines.mupd.conditions import CaseConditions

FEW_STEPS, MORE_STEPS, MANY_STEPS = 2, 8, 20
_SLOW_S = 60.0
"""Where a small slide takes longer the large one is not measured: what a megapixel costs is then not told apart."""


def _say(measurement: Measurement) -> None:
    print(json.dumps(asdict(measurement)), flush=True)


def _cost(used: Usage) -> Cost:
    return Cost(used.seconds, used.cpu_seconds)


class _Meter:
    """Measures pieces of work, and what the process took beside them."""

    def __init__(self) -> None:
        self.in_pieces = Cost()

    @contextmanager
    def piece(self, units: dict[str, float], label: str) -> Iterator[None]:
        """Tell what the block cost."""
        before = usage_now()
        yield
        now = usage_now()
        cost = _cost(now.since(before))
        self.in_pieces = self.in_pieces + cost
        _say(Measurement(units, cost, now.peak_mb, label))

    def rest(self, label: str) -> None:
        """Tell what the process took apart from the pieces so far: its start."""
        now = usage_now()
        cost = Cost(max(now.seconds - self.in_pieces.wall_s, 0.0), max(now.cpu_seconds - self.in_pieces.cpu_s, 0.0))
        _say(Measurement({"job": 1.0}, cost, now.peak_mb, label))


def _configs(folder: Path, reads_alone: bool = False) -> list[tuple[Specimen, Config]]:
    chosen = [one for one in SPECIMENS if one.target or reads_alone]
    return [(one, load_config(specimen_config(folder, one.name))) for one in chosen]


def _draw_units(specimen: Specimen, config: Config) -> dict[str, float]:
    kind = {"he": "he_draw", "text": "text_draw"}.get(specimen.target)
    kind = kind or ("rna_slide_draw" if "he" in specimen.given else "rna_text_draw")
    units = {kind: float(specimen.cases)}
    if specimen.target == "he":
        units["he_mpix"] = specimen.cases * config.slide.width_px * config.slide.height_px / 1e6
    return units


def probe_intake(folder: Path) -> None:
    """Files by kind and, of slides, by megabyte; a table of the cohort by megabyte."""
    from mupd.stages.intake import run_shard

    meter = _Meter()
    first, *others = _configs(folder, reads_alone=True)[::-1]
    run_shard(first[1], 0)  # the first input starts the reading process
    meter.rest("start")
    for specimen, config in (*others, first):
        shutil.rmtree(config.out, ignore_errors=True)
        slides = [specimen_config(folder, specimen.name).parent.glob("*.png")]
        size = sum(path.stat().st_size for found in slides for path in found)
        units = {"slide": 0.0, "slide_mb": size / 1e6, "rna_file": 0.0, "text_file": 0.0}
        for modality, unit in (("he", "slide"), ("rna", "rna_file"), ("text", "text_file")):
            units[unit] = float(specimen.cases * (modality in specimen.given))
        with meter.piece(units, f"read {specimen.name}"):
            run_shard(config, 0)
    _table(folder, first[1], meter)


def _table(folder: Path, config: Config, meter: _Meter) -> None:
    """A table of some RNA profiles, read for a row in it."""
    import numpy as np

    from mupd.model_folder.contents import read_genes
    from mupd.rna.cohort_tables import read_rna_row

    genes = read_genes(Path(config.model)) or ()
    rng = np.random.default_rng(0)
    path = folder / "table.synthetic.tsv"
    rows = max(8, 400_000 // max(len(genes), 1))
    with path.open("w", encoding="utf-8") as file:
        file.write("case_id\t" + "\t".join(genes) + "\n")
        for row in range(rows):
            file.write(f"SYN-{row}\t" + "\t".join(map(str, rng.negative_binomial(2, 0.02, len(genes)) + 1)) + "\n")
    with meter.piece({"table_mb": path.stat().st_size / 1e6}, "read a cohort table"):
        read_rna_row(path, "SYN-0", "counts")


def probe_generate(folder: Path) -> None:
    """Start with the model, conditions of each kind, and draws at two numbers of steps and two sizes."""
    from mupd.contracts.draws import TaskResult, write_index
    from mupd.contracts.inventory import read_inventory, tasks_of
    from mupd.engines.mupd.conditions import CaseConditions
    from mupd.model.devices import choose_device
    from mupd.model.pipeline import MuPDPipeline

    meter, configs = _Meter(), _configs(folder)
    sampler = configs[0][1].sampler
    device = choose_device(sampler.device)
    pipeline = MuPDPipeline.from_pretrained(configs[0][1].model, device, compile_trunk=sampler.compile)
    for part in ("sha256", "vae", "transformer", "record_codec", "rna_codec", "pathway_scorer"):
        getattr(pipeline, part)
    draws = _Draws(meter)
    for specimen, config in configs:
        results: list[TaskResult] = []
        for case in read_inventory(Layout(config.out).inventory(shard_name(0))):
            conditions = CaseConditions(case, config, pipeline)
            _encode(conditions, meter)
            for task in tasks_of(case, config):
                made = draws.measured(task, conditions, specimen, config) if task.target == specimen.target else None
                state: Literal["done", "failed"] = "failed" if made is None else "done"
                reason = "not measured" if made is None else ""
                drawn = () if made is None else (made,)
                results.append(TaskResult(task.case_id, task.target, task.given, state, reason, drawn))
        write_index(Layout(config.out).generated(shard_name(0)), results)
    meter.rest("start with the model")
    print(json.dumps({"facts": _facts(pipeline, device)}), flush=True)


def _with_steps(config: Config, steps: int) -> Config:
    return replace(config, sampler=replace(config.sampler, steps=steps))


def _encode(conditions: CaseConditions, meter: _Meter) -> None:
    """Encode what a case has; loading an encoder is told apart from using it."""
    pipeline, given = conditions.pipeline, conditions.case.given
    if "he" in given:
        if "tile_encoder" not in vars(pipeline):
            with meter.piece({"tile_encoder": 1.0}, "load the encoder of tiles"):
                _ = pipeline.tile_encoder
        with meter.piece({"tiles": 1.0}, "encode a slide"):
            conditions.tiles()
    if "text" in given:
        if "text_encoder" not in vars(pipeline):
            with meter.piece({"text_encoder": 1.0}, "load the encoder of texts"):
                _ = pipeline.text_encoder
        with meter.piece({"report": 1.0}, "encode a report"):
            conditions.text()
    if "rna" in given:
        with meter.piece({"profile": 1.0}, "read a profile"):
            conditions.profile()


class _Draws:
    """Measures draws. The first of a kind is counted as start: libraries choose their kernels then."""

    def __init__(self, meter: _Meter) -> None:
        self.meter = meter
        self.warmed: set[str] = set()
        self.slow = False
        self.number = 0

    def measured(self, task: Task, conditions: CaseConditions, specimen: Specimen, config: Config) -> Draw | None:
        """Measure draws of a task; returns the last, None if it would take too long."""
        large = specimen.side_px > SMALL_PX
        if large and self.slow:
            return None
        steps = _steps_of(task.target, large, specimen.cases)
        kind = f"{task.target} from {task.name}"
        if kind not in self.warmed:
            self.warmed.add(kind)
            self._made(task, conditions, _with_steps(config, 1))
        made = None
        for count in steps:
            now = _with_steps(config, count)
            before = usage_now().seconds
            with self.meter.piece(_units_of_draw(task, specimen, now), f"draw {specimen.name}, {count} steps"):
                made = self._made(task, conditions, now)
            if task.target == "he" and usage_now().seconds - before > _SLOW_S:
                self.slow = True
                break
        return made

    def _made(self, task: Task, conditions: CaseConditions, config: Config) -> Draw:
        """A draw of a seed of its own, so that none is found in the store."""
        from mupd.engines.draw_maker import make_draw
        from mupd.engines.mupd.engine import MupdTask

        self.number += 1
        return make_draw(MupdTask(replace(task, seeds=(self.number,)), conditions, config), 0, config.out)


def _steps_of(target: str, large: bool, cases: int) -> tuple[int, ...]:
    """Steps of each draw that is measured: those that are short have more, and several where there is one case."""
    if target == "he":
        return (1, FEW_STEPS) if large else (FEW_STEPS, MORE_STEPS)
    return (FEW_STEPS, MANY_STEPS) * (2 if cases == 1 else 1)


def _units_of_draw(task: Task, specimen: Specimen, config: Config) -> dict[str, float]:
    from mupd.run.forecast.units import evaluations_of, passes_of, window_evaluations

    units = _draw_units(replace(specimen, cases=1), config)
    if task.target == "he":
        units["he_window"] = float(window_evaluations(config) * passes_of(task.given, config))
    elif task.target == "rna":
        units["rna_slide_step" if "he" in task.given else "rna_text_step"] = float(evaluations_of(config))
    else:
        units["text_step"] = float(config.sampler.steps)
    return units


def _facts(pipeline: Any, device: str) -> dict[str, Any]:
    import torch

    facts: dict[str, Any] = {
        "model_id": pipeline.model_id,
        "model_sha256": pipeline.sha256,
        "device": device,
        "torch": torch.__version__,
        "gpu": "",
        "gpu_peak_mb": None,
    }
    if device.startswith("cuda"):
        facts["gpu"] = torch.cuda.get_device_name()
        facts["gpu_peak_mb"] = round(torch.cuda.max_memory_reserved() / 1e6, 1)
    return facts


def _probe_shards(folder: Path, run_shard: Callable[[Config, int], Path], made: str | None) -> None:
    """A stage over each specimen, twice: the first time brings what the process loads once."""
    meter, configs = _Meter(), _configs(folder)
    for _, config in configs:
        run_shard(config, 0)
    cold = usage_now()
    warm = Cost()
    for specimen, config in configs:
        if made is not None:
            shutil.rmtree(config.out / made, ignore_errors=True)
        before = meter.in_pieces
        with meter.piece(_draw_units(specimen, config), specimen.name):
            run_shard(config, 0)
        spent = meter.in_pieces
        warm = warm + Cost(spent.wall_s - before.wall_s, spent.cpu_s - before.cpu_s)
    cost = Cost(max(cold.seconds - warm.wall_s, 0.0), max(cold.cpu_seconds - warm.cpu_s, 0.0))
    _say(Measurement({"job": 1.0}, cost, usage_now().peak_mb, "start"))


def probe_check(folder: Path) -> None:
    """Draws of each kind, slides of two sizes."""
    from mupd.stages.check import run_shard

    _probe_shards(folder, run_shard, None)


def probe_export(folder: Path) -> None:
    """Artifacts of each kind, slides of two sizes."""
    from mupd.stages.export import run_shard

    _probe_shards(folder, run_shard, "artifacts")


def probe_cohort(folder: Path) -> None:
    """One case, then several: the difference is what a case costs."""
    from mupd.stages.cohort import run

    configs = {specimen.name: (specimen, config) for specimen, config in _configs(folder)}
    one, several = configs["small"], configs["profiles"]
    run(one[1])
    cold = usage_now()
    run(several[1])
    several_cost = _cost(usage_now().since(cold))
    before = usage_now()
    run(one[1])
    one_cost = _cost(usage_now().since(before))
    more = several[0].cases - one[0].cases
    case = Cost(
        max(several_cost.wall_s - one_cost.wall_s, 0.0) / more, max(several_cost.cpu_s - one_cost.cpu_s, 0.0) / more
    )
    peak = usage_now().peak_mb
    _say(Measurement({"case": 1.0}, case, peak, "a case"))
    start = Cost(max(cold.seconds - case.wall_s, 0.0), max(cold.cpu_seconds - case.cpu_s, 0.0))
    _say(Measurement({"job": 1.0}, start, peak, "start"))


PROBES: dict[str, Callable[[Path], None]] = {
    "intake": probe_intake,
    "generate": probe_generate,
    "check": probe_check,
    "export": probe_export,
    "cohort": probe_cohort,
}


def main(arguments: list[str]) -> int:
    """Run one probe; errors that a user can act on go to standard error in a line."""
    try:
        PROBES[arguments[0]](Path(arguments[1]))
    except MupdError as error:
        print(f"{error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
