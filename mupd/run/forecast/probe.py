"""The measuring process: ``python -m mupd.run.forecast.probe STAGE FOLDER`` runs one stage on the specimens.

Each stage has its own process, as in a run, so that its start and its peak memory are its own. Each measurement
(:class:`mupd.run.forecast.fit.Measurement`) goes to standard output as one line of JSON. Generation adds a line with
``facts``.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mupd.base.ids import shard_name
from mupd.base.usage import usage_now
from mupd.config import Config, load_config
from mupd.contracts.layout import Layout
from mupd.errors import MupdError
from mupd.run.forecast.fit import Cost, Measurement
from mupd.run.forecast.plan import Units, evaluations_of, guidance_passes_of, window_evaluations
from mupd.run.forecast.specimens import SMALL_PX, SPECIMENS, Specimen, specimen_config, specimen_units

if TYPE_CHECKING:
    from mupd.contracts.draws import Draw
    from mupd.contracts.inventory import Task
    from mupd.engines.mupd.conditions import CaseConditions
    from mupd.model.pipeline import MuPDPipeline

FEW_STEPS, MORE_STEPS, MANY_STEPS = 2, 8, 20
_SLOW_S = 60.0
"""If a small slide takes longer, the large one is not measured."""

Specimens = list[tuple[Specimen, Config]]


class _Meter:
    """Measures pieces of work, and the rest of the process's time: its start."""

    def __init__(self) -> None:
        self.in_pieces = Cost()

    @contextmanager
    def piece(self, units: Units, label: str) -> Iterator[None]:
        """Print what the block cost."""
        before = usage_now()
        yield
        used = usage_now().since(before)
        cost = Cost(used.seconds, used.cpu_seconds)
        self.in_pieces = self.in_pieces + cost
        self._print(units, cost, used.peak_mb, label)

    def rest(self, passes: int = 1) -> None:
        """Print the start of the process: its time so far without the pieces, which ran `passes` times each."""
        now, pieces = usage_now(), self.in_pieces.times(passes)
        cost = Cost(max(now.seconds - pieces.wall_s, 0.0), max(now.cpu_seconds - pieces.cpu_s, 0.0))
        self._print({"job": 1.0}, cost, now.peak_mb, "start")

    @staticmethod
    def _print(units: Units, cost: Cost, peak_mb: float, label: str) -> None:
        print(json.dumps(asdict(Measurement(units, cost, peak_mb, label))), flush=True)


def _specimens(folder: Path, read_only: bool = False) -> Specimens:
    """Specimens with their configurations; with `read_only` also those of which nothing is generated."""
    chosen = [specimen for specimen in SPECIMENS if specimen.target or read_only]
    return [(specimen, load_config(specimen_config(folder, specimen.name))) for specimen in chosen]


def _measure_runs(
    specimens: Specimens, run: Callable[[Config], object], units_of: Callable[[Specimen], Units], written: str = ""
) -> _Meter:
    """Run a stage on each specimen twice. The first pass bears what a process loads once; the second is measured.

    Parameters
    ----------
    written
        What the stage writes and would find again, below the output folder; removed between the passes.
    """
    meter = _Meter()
    for _, config in specimens:
        run(config)
    for specimen, config in specimens:
        if written:
            shutil.rmtree(config.out / written, ignore_errors=True)
        with meter.piece(units_of(specimen), specimen.name):
            run(config)
    meter.rest(passes=2)
    return meter


def probe_intake(folder: Path) -> None:
    """Measure files by kind, slides also by megabyte, and a cohort table by megabyte."""
    from mupd.stages.intake import run_shard

    def units_of(specimen: Specimen) -> Units:
        slides = specimen_config(folder, specimen.name).parent.glob("*.png")
        kinds = {"he": "slide", "rna": "rna_file", "text": "text_file"}
        units = {unit: float(specimen.cases * (modality in specimen.given)) for modality, unit in kinds.items()}
        return units | {"slide_mb": sum(path.stat().st_size for path in slides) / 1e6}

    specimens = _specimens(folder, read_only=True)
    meter = _measure_runs(specimens, lambda config: run_shard(config, 0), units_of, "intake")
    _measure_table(folder, specimens[0][1], meter)


def _measure_table(folder: Path, config: Config, meter: _Meter) -> None:
    """Measure reading one row of a table of RNA profiles."""
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
    """Measure the start with the model, conditions of each kind, and draws with two step counts and two sizes."""
    from mupd.contracts.draws import TaskResult, write_index
    from mupd.contracts.inventory import read_inventory, tasks_of
    from mupd.engines.mupd.conditions import CaseConditions
    from mupd.model.devices import choose_device
    from mupd.model.pipeline import MuPDPipeline

    meter, specimens = _Meter(), _specimens(folder)
    first = specimens[0][1]
    device = choose_device(first.sampler.device)
    pipeline = MuPDPipeline.from_pretrained(first.model, device, compile_trunk=first.sampler.compile)
    for part in ("sha256", "vae", "transformer", "record_codec", "rna_codec", "pathway_scorer"):
        getattr(pipeline, part)
    draws = _Draws(meter)
    for specimen, config in specimens:
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
    meter.rest()
    print(json.dumps({"facts": _facts(pipeline, device) | {"one_slide_size": draws.slow}}), flush=True)


def _with_steps(config: Config, steps: int) -> Config:
    return replace(config, sampler=replace(config.sampler, steps=steps))


def _encode(conditions: CaseConditions, meter: _Meter) -> None:
    """Measure loading the encoders, once each, and encoding what a case has."""
    pipeline, given = conditions.pipeline, conditions.case.given
    for modality, encoder, unit, encode in (
        ("he", "tile_encoder", "tiles", conditions.tiles),
        ("text", "text_encoder", "report", conditions.text),
        ("rna", "", "profile", conditions.profile),
    ):
        if modality not in given:
            continue
        if encoder and encoder not in vars(pipeline):
            with meter.piece({encoder: 1.0}, f"load the {encoder.replace('_', ' ')}"):
                getattr(pipeline, encoder)
        with meter.piece({unit: 1.0}, f"encode {modality}"):
            encode()


class _Draws:
    """Measures draws. The first of a kind counts as start: libraries choose their kernels then."""

    def __init__(self, meter: _Meter) -> None:
        self.meter = meter
        self.warmed: set[str] = set()
        self.slow = False
        self.number = 0

    def measured(self, task: Task, conditions: CaseConditions, specimen: Specimen, config: Config) -> Draw | None:
        """Measure draws of a task; returns the last, or None if it would take too long."""
        large = specimen.side_px > SMALL_PX
        if large and self.slow:
            return None
        if task.name not in self.warmed:
            self.warmed.add(task.name)
            self._made(task, conditions, _with_steps(config, 1))
        made = None
        for count in _step_counts(task.target, large, specimen.cases):
            stepped = _with_steps(config, count)
            before = usage_now().seconds
            with self.meter.piece(_task_units(task, specimen, stepped), f"draw {specimen.name}, {count} steps"):
                made = self._made(task, conditions, stepped)
            if task.target == "he" and usage_now().seconds - before > _SLOW_S:
                self.slow = True
                break
        return made

    def _made(self, task: Task, conditions: CaseConditions, config: Config) -> Draw:
        """A draw with a seed of its own, so that the store never has it already."""
        from mupd.engines.draw_maker import make_draw
        from mupd.engines.mupd.engine import MupdTask

        self.number += 1
        return make_draw(MupdTask(replace(task, seeds=(self.number,)), conditions, config), 0, config.out)


def _step_counts(target: str, large: bool, cases: int) -> tuple[int, ...]:
    """Steps of each measured draw: more steps for short draws, and two rounds if there is only one case."""
    if target == "he":
        return (1, FEW_STEPS) if large else (FEW_STEPS, MORE_STEPS)
    return (FEW_STEPS, MANY_STEPS) * (2 if cases == 1 else 1)


def _task_units(task: Task, specimen: Specimen, config: Config) -> Units:
    """Units of one draw of a task."""
    units = specimen_units(replace(specimen, cases=1))
    if task.target == "he":
        units["he_window"] = float(window_evaluations(config) * guidance_passes_of(task.given, config))
    elif task.target == "rna":
        units["rna_slide_step" if "he" in task.given else "rna_text_step"] = float(evaluations_of(config))
    else:
        units["text_step"] = float(config.sampler.steps)
    return units


def _facts(pipeline: MuPDPipeline, device: str) -> dict[str, str | float | None]:
    import torch

    on_gpu = device.startswith("cuda")
    return {
        "model_id": pipeline.model_id,
        "model_sha256": pipeline.sha256,
        "device": device,
        "torch": torch.__version__,
        "gpu": torch.cuda.get_device_name() if on_gpu else "",
        "gpu_peak_mb": round(torch.cuda.max_memory_reserved() / 1e6, 1) if on_gpu else None,
    }


def probe_check(folder: Path) -> None:
    """Measure draws of each kind, and slides of two sizes."""
    from mupd.stages.check import run_shard

    _measure_runs(_specimens(folder), lambda config: run_shard(config, 0), specimen_units)


def probe_export(folder: Path) -> None:
    """Measure artifacts of each kind, and slides of two sizes."""
    from mupd.stages.export import run_shard

    _measure_runs(_specimens(folder), lambda config: run_shard(config, 0), specimen_units, "artifacts")


def probe_cohort(folder: Path) -> None:
    """Measure a cohort of one case and one of several: the difference is the cost of a case."""
    from mupd.stages.cohort import run

    specimens = [
        (specimen, config) for specimen, config in _specimens(folder) if specimen.name in ("small", "profiles")
    ]
    _measure_runs(specimens, run, lambda specimen: {"run": 1.0, "case": float(specimen.cases)})


PROBES: dict[str, Callable[[Path], None]] = {
    "intake": probe_intake,
    "generate": probe_generate,
    "check": probe_check,
    "export": probe_export,
    "cohort": probe_cohort,
}


def main(arguments: list[str]) -> int:
    """Run one probe. Errors that a user can act on go to standard error as one line."""
    try:
        PROBES[arguments[0]](Path(arguments[1]))
    except MupdError as error:
        print(f"{error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
