"""Calibration: run every stage on specimens, each in its own process, and fit costs to what that took.

``python -m mupd.run.forecast.calibrate STAGE FOLDER`` is the process of one stage, as a job of a run is. It prints a
:class:`mupd.run.forecast.costs.Measurement` of each specimen and of its own start as lines of JSON; generation also
prints the GPU.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import mupd
from mupd.base.ids import shard_name
from mupd.base.package_files import PACKAGE_PARENT
from mupd.base.usage import usage_now
from mupd.config import Config, load_config
from mupd.contracts.layout import STAGES, Layout, Stage
from mupd.contracts.stage_record import now
from mupd.errors import MupdError
from mupd.run.forecast.costs import (
    FORM,
    Calibration,
    Cost,
    Measurement,
    amounts_per_unit,
    fit,
    settings_of,
    this_machine,
)
from mupd.run.forecast.plan import Plan, Units, cohort_units, draw_units, plan_of, units_of
from mupd.run.forecast.specimens import COHORT_SPECIMENS, SPECIMENS, specimen_config, write_specimens
from mupd.run.table_ids import in_tables
from mupd.sheet import read_sheet

_FOLDERS = {"store": "generated/store", "artifacts": "artifacts"}
_REMOVED: dict[str, str] = {"intake": "intake", "generate": "generated", "export": "artifacts"}
"""What a stage would find again at its second pass, below the output folder."""


def _plan(config: Config) -> Plan:
    return plan_of(read_sheet(config), config, in_tables(config))


def _units(stage: Stage, config: Config) -> Units:
    plan = _plan(config)
    units = cohort_units(plan) if stage == "cohort" else units_of(stage, plan.shards[0], config)
    # Reading a table costs the same in each stage: intake measures it.
    return {unit: count for unit, count in units.items() if unit != "table_mb" or stage == "intake"}


def _generator(config: Config) -> tuple[Callable[[Config], object], Callable[[], dict[str, Any]]]:
    """A function that generates what a specimen lacks, with the model loaded once; and one that describes the GPU."""
    import torch

    from mupd.contracts.draws import write_index
    from mupd.contracts.inventory import read_inventory
    from mupd.engines.mupd.engine import MupdEngine
    from mupd.model.devices import choose_device
    from mupd.model.pipeline import MuPDPipeline
    from mupd.stages.generate.run import run_case

    device = choose_device(config.sampler.device)
    pipeline = MuPDPipeline.from_pretrained(config.model, device, compile_trunk=config.sampler.compile)

    def generate(config: Config) -> None:
        engine = MupdEngine(config, pipeline)
        cases = read_inventory(Layout(config.out).inventory(shard_name(0)))
        results = [result for case in cases for result in run_case(case, config, (engine,))]
        if failed := [result.reason for result in results if result.state == "failed"]:
            raise MupdError(failed[0])
        write_index(Layout(config.out).generated(shard_name(0)), results)

    def gpu() -> dict[str, Any]:
        if not device.startswith("cuda"):
            return {"gpu": "", "gpu_peak_mb": 0.0}
        return {"gpu": torch.cuda.get_device_name(), "gpu_peak_mb": torch.cuda.max_memory_reserved() / 1e6}

    return generate, gpu


def _stage_function(stage: Stage) -> Callable[[Config], object]:
    """The stage as a function; no other stage is imported, which would add to its time and memory."""
    module = importlib.import_module(f"mupd.stages.{stage}")
    return module.run if stage == "cohort" else lambda config: module.run_shard(config, 0)


def _print(measurement: Measurement) -> None:
    print(json.dumps(asdict(measurement)), flush=True)


def probe(stage: Stage, folder: Path) -> None:
    """Run a stage on each specimen twice and print what the second pass cost.

    The first pass bears what a process does once: it loads encoders, and libraries choose their kernels. Together with
    the start of the process this is the cost of a job. Generation of the large slide, the longest, has no first pass.
    """
    names = COHORT_SPECIMENS if stage == "cohort" else [specimen.name for specimen in SPECIMENS]
    configs = {name: load_config(specimen_config(folder, name)) for name in names}
    if stage == "generate":
        run, gpu = _generator(configs["large"])
    else:
        run = _stage_function(stage)
    warmed = [name for name in configs if stage != "generate" or name != "large"]
    for name in warmed:
        run(configs[name])
    pieces = Cost()
    for name, config in configs.items():
        if stage in _REMOVED:
            shutil.rmtree(config.out / _REMOVED[stage], ignore_errors=True)
        units = _units(stage, config)
        before = usage_now()
        run(config)
        used = usage_now().since(before)
        cost = Cost(used.seconds, used.cpu_seconds)
        pieces = pieces + cost.times(2 if name in warmed else 1)
        _print(Measurement(units, cost, used.peak_mb))
    total = usage_now()
    start = Cost(max(total.seconds - pieces.wall_s, 0.0), max(total.cpu_seconds - pieces.cpu_s, 0.0))
    _print(Measurement({"job": 1.0}, start, total.peak_mb))
    if stage == "generate":
        print(json.dumps(gpu()), flush=True)


def _measure(stage: Stage, folder: Path) -> tuple[list[Measurement], dict[str, Any]]:
    """Run the probe of a stage; returns its measurements and, from generation, the GPU.

    Raises
    ------
    MupdError
        If it fails. The message has the last lines of its standard error.
    """
    search_path = os.pathsep.join(filter(None, [str(PACKAGE_PARENT), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": search_path}
    if stage == "generate":  # as the workflow's rule sets them
        environment |= {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE"}
    command = [sys.executable, "-m", "mupd.run.forecast.calibrate", stage, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, check=False)
    if done.returncode:
        last_lines = "\n".join([line for line in done.stderr.splitlines() if line.strip()][-3:])
        raise MupdError(f"calibration: {stage} ended with exit code {done.returncode}:\n{last_lines}")
    messages = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    measurements = [
        Measurement(**(message | {"cost": Cost(**message["cost"])})) for message in messages if "cost" in message
    ]
    return measurements, next((message for message in messages if "gpu" in message), {})


def _bytes_per_unit(folder: Path, place: str) -> dict[str, float]:
    """Bytes of a draw by kind; of slides, a part per megapixel and a part per draw."""
    rows, sizes = [], []
    for specimen in SPECIMENS:
        config = load_config(specimen_config(folder, specimen.name))
        files = (config.out / _FOLDERS[place]).rglob("*")
        rows.append(draw_units(_plan(config).shards[0], config))
        sizes.append(float(sum(path.stat().st_size for path in files if path.is_file())))
    return amounts_per_unit(rows, sizes)


def calibrate(config: Config, model: tuple[str, str], on_stage: Callable[[Stage], object]) -> Calibration:
    """Measure this machine with the configured model.

    Parameters
    ----------
    model
        Id and SHA-256 of the model.
    on_stage
        Called with each stage before it is measured.

    Raises
    ------
    MupdError
        If a stage cannot run, e.g. without the requested GPU or with a model that does not load.
    """
    gpu: dict[str, Any] = {}
    costs: dict[str, dict[str, Cost]] = {}
    peaks: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="mupd-calibration-") as temporary:
        folder = Path(temporary)
        write_specimens(folder, config)
        for stage in STAGES:
            on_stage(stage)
            measurements, message = _measure(stage, folder)
            gpu |= message
            costs[stage] = fit(measurements)
            peaks[stage] = max(measurement.peak_mb for measurement in measurements)
        sizes = {place: _bytes_per_unit(folder, place) for place in _FOLDERS}
    return Calibration(
        form=FORM,
        made=now(),
        mupd_version=mupd.__version__,
        machine=this_machine(),
        settings=settings_of(config, model),
        costs=costs,
        peak_mb=peaks,
        bytes=sizes,
        **gpu,
    )


if __name__ == "__main__":
    try:
        probe(next(stage for stage in STAGES if stage == sys.argv[1]), Path(sys.argv[2]))
    except MupdError as error:
        sys.exit(str(error))
