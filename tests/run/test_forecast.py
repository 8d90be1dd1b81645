"""`mupd forecast`: the arithmetic, the files, and the real command on the tiny model."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import mupd
from mupd.base.ids import MODALITIES
from mupd.cli import app, main
from mupd.config import Config, load_config, parse_config
from mupd.contracts.forecast import ForecastFile, StageFigures, config_digest, read_forecast, write_forecast
from mupd.contracts.layout import STAGES
from mupd.contracts.stage_record import recorded
from mupd.errors import InputFaults, MupdError
from mupd.model.pipeline import MuPDPipeline
from mupd.model.regions import RegionSampling, denoise_region
from mupd.run.forecast.costs import (
    FORM,
    Calibration,
    Cost,
    Measurement,
    cost_of,
    differences,
    fit,
    read_calibration,
    refuse_other_model,
    settings_of,
    this_machine,
    write_calibration,
)
from mupd.run.forecast.estimate import RANGES, forecast_of, job_costs, wall_of_chains
from mupd.run.forecast.plan import plan_of, table_megabytes, tasks_of_pattern, units_of, window_evaluations
from mupd.run.job_resources import INTAKE_THREADS, mem_mb, runtime_min
from mupd.run.table_ids import in_tables, table_ids
from mupd.sheet import Sheet, SheetCase, read_sheet
from mupd.stages.cohort.forecast import view
from tests.fixtures.paths import MINI
from tests.fixtures.tiny_model import make_tiny_model, write_tiny_cohort

ONCE_PER_JOB = {"table_mb"}
COSTS = {
    "intake": ("job", "slide", "slide_mb", "rna_file", "text_file", "table_mb"),
    "generate": ("job", "tiles", "report", "profile", "he_draw", "he_window", "he_mpix", "text_draw", "rna_slide_draw"),
    "check": ("job", "he_draw", "he_mpix", "text_draw", "rna_slide_draw", "rna_text_draw"),
    "export": ("job", "he_draw", "he_mpix", "text_draw", "rna_slide_draw", "rna_text_draw"),
    "cohort": ("job", "case"),
}


def config_of(**sections: object) -> Config:
    return parse_config({"cases": "cases.tsv", "model": str(MINI), **sections}, "test")


def calibration_of(config: Config, model: tuple[str, str] = ("m", "0" * 64), gpu: str = "") -> Calibration:
    costs = {
        stage: {unit: Cost(2.0 + number, 1.0 + number) for number, unit in enumerate(units)}
        for stage, units in COSTS.items()
    }
    sizes = {"he_draw": 1e4, "he_mpix": 1e6, "text_draw": 5e3, "rna_slide_draw": 2e5, "rna_text_draw": 1e4}
    return Calibration(
        form=FORM,
        made="2026-01-01T00:00:00+00:00",
        mupd_version=mupd.__version__,
        machine=this_machine(),
        settings=settings_of(config, model),
        gpu=gpu,
        gpu_peak_mb=0.0,
        costs=costs,
        peak_mb=dict.fromkeys(STAGES, 500.0),
        bytes={"store": sizes, "artifacts": sizes},
    )


def case_of(number: int, has: tuple[str, ...]) -> SheetCase:
    files = {m: Path(f"/nowhere/{number}.{m}") if m in has else None for m in MODALITIES}
    return SheetCase(f"C{number}", files["he"], files["rna"], files["text"], None, "", "", {}, number)


patterns = st.lists(st.sets(st.sampled_from(MODALITIES)).map(lambda s: tuple(m for m in MODALITIES if m in s)))


@given(st.lists(st.tuples(st.floats(0.01, 5), st.floats(0.01, 5)), min_size=1, max_size=5), st.integers(0, 99))
def test_the_costs_of_a_linear_machine_are_found_again(costs: list[tuple[float, float]], seed: int) -> None:
    truth = {f"unit{number}": Cost(*pair) for number, pair in enumerate(costs)}
    rng = np.random.default_rng(seed)
    rows = [{name: float(rng.integers(0, 20)) for name in truth} for _ in range(4)]
    rows += [{name: 1.0 + 7 * (name == other) for name in truth} for other in truth]
    found = fit([Measurement(row, cost_of(row, truth)) for row in rows])
    for name, cost in truth.items():
        assert found[name].wall_s == pytest.approx(cost.wall_s, rel=1e-3, abs=1e-4)
        assert found[name].cpu_s == pytest.approx(cost.cpu_s, rel=1e-3, abs=1e-4)


def test_no_cost_is_negative_and_too_few_measurements_are_refused() -> None:
    falling = [Measurement({"job": 1, "mpix": 1}, Cost(5, 5)), Measurement({"job": 1, "mpix": 9}, Cost(4, 4))]
    assert all(cost.wall_s >= 0 for cost in fit(falling).values())
    with pytest.raises(MupdError, match="found 1 measurements"):
        fit(falling[:1])


@given(patterns, st.integers(1, 9))
@settings(max_examples=40)
def test_shards_together_do_what_one_shard_does(has: list[tuple[str, ...]], shards: int) -> None:
    sheet = Sheet(Path("cases.tsv"), tuple(case_of(number, given_) for number, given_ in enumerate(has)))
    one, many = config_of(shards=1, outdir="/nowhere/a"), config_of(shards=shards, outdir="/nowhere/a")
    whole, parts = plan_of(sheet, one, in_tables(one)), plan_of(sheet, many, in_tables(many))
    assert whole.tasks == parts.tasks
    assert whole.draws == parts.draws
    for stage in STAGES[:-1]:
        summed: dict[str, float] = {}
        for shard in parts.shards:
            for unit, count in units_of(stage, shard, many).items():
                summed[unit] = summed.get(unit, 0.0) + count
        expected = units_of(stage, whole.shards[0], one) if whole.shards else {}
        for unit in summed.keys() - ONCE_PER_JOB:
            assert summed[unit] == pytest.approx(expected[unit]), (stage, unit)
    forecast = forecast_of(parts, many, calibration_of(many), 3)
    by_shard = [job_costs(shard, many, calibration_of(many)) for shard in parts.shards]
    for stage in STAGES[:-1]:
        assert forecast.stages[stage].cpu_s == pytest.approx(sum(costs[stage].cpu_s for costs in by_shard))


@given(st.lists(st.floats(0, 1e4), max_size=30), st.integers(1, 8))
def test_wall_time_lies_between_the_bounds_of_any_schedule(chains: list[float], jobs: int) -> None:
    wall = wall_of_chains(chains, jobs)
    least = max([sum(chains) / jobs, *chains], default=0.0)
    assert least * (1 - 1e-9) <= wall <= sum(chains) * (1 + 1e-9) + 1e-9
    assert wall <= sum(chains) / jobs + max(chains, default=0.0) + 1e-6  # Graham's bound


@pytest.mark.parametrize(("side", "solver", "batch"), [(128, "euler", 1), (400, "euler", 16), (500, "heun", 4)])
def test_windows_are_counted_as_generation_makes_them(side: int, solver: str, batch: int) -> None:
    sampler = {"steps": 3, "solver": solver, "batch_size": batch}
    config = config_of(slide={"width_px": side, "height_px": side}, sampler=sampler)
    seen = 0

    def velocity_of(corners: np.ndarray) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        nonlocal seen
        seen += len(corners)
        return lambda x, t: torch.zeros_like(x)

    latents = -(-side // 8)
    denoise_region(velocity_of, torch.zeros(4, latents, latents), RegionSampling(3, batch, config.sampler.solver))
    assert window_evaluations(config) == seen


def test_tasks_follow_from_what_a_case_has() -> None:
    config = config_of(draws={"he": 2, "rna": 3, "text": 4})
    assert tasks_of_pattern(("rna",), config) == {"rna->he": ("he", 2), "rna->text": ("text", 4)}
    assert tasks_of_pattern((), config) == {}


def test_ids_of_tables_of_every_form(tmp_path: Path) -> None:
    rows = "case_id\tACTB\nA\t1\nB\t2\n"
    (tmp_path / "t.tsv").write_text(rows)
    (tmp_path / "t.tsv.gz").write_bytes(gzip.compress(rows.encode() * 50))
    (tmp_path / "t.json").write_text(json.dumps([{"case_id": "A", "text": "x"}, {"case_id": "B", "text": "y"}]))
    (tmp_path / "t.jsonl").write_text('{"case_id": "A", "text": "x"}\n{"case_id": "B", "text": "y"}\n')
    (tmp_path / "map.json").write_text('{"A": "x", "B": "y"}')
    for name, prefix in (("t.h5ad", ""), ("t.h5mu", "mod/rna/")):
        with h5py.File(tmp_path / name, "w") as file:
            obs = file.create_group(f"{prefix}obs")
            obs.attrs["_index"] = "names"
            obs.create_dataset("names", data=["A", "B"], dtype=h5py.string_dtype())
            file.create_group(f"{prefix}var")
            file.create_dataset(f"{prefix}X", data=[[1.0], [2.0]])
    (tmp_path / "turned.csv").write_text("gene,A,B\nACTB,1,2\nGAPDH,2,3\nTP53,4,5\n")
    for path in tmp_path.iterdir():
        ids = table_ids("text" if "json" in path.name else "rna", path)
        assert ids - {"case_id"} == {"A", "B"}, path.name
    assert table_megabytes(str(tmp_path / "t.tsv.gz")) == pytest.approx(len(rows) * 50 / 1e6)
    (tmp_path / "broken.h5ad").write_bytes(b"no such thing")
    with pytest.raises(InputFaults, match=r"broken\.h5ad"):
        table_ids("rna", tmp_path / "broken.h5ad")


def test_a_job_asks_for_no_time_for_what_a_table_holds(tmp_path: Path) -> None:
    table = tmp_path / "t.tsv"
    table.write_text("case_id\tACTB\n" + "".join(f"C{number}\t1\n" for number in range(500)))
    cases = [case_of(number, ("he",)) for number in range(500)]
    config = config_of(tables={"rna": str(table), "text": None}, draws={"he": 1, "rna": 5, "text": 1})
    found = in_tables(config, 10**6)
    assert runtime_min("generate", cases, config, 1, found) < runtime_min("generate", cases, config, 1)
    assert in_tables(config, 10) == {}  # too long to look through when the workflow is parsed


def test_intake_asks_for_no_more_than_its_processes_may_take() -> None:
    config = config_of(intake={"file_mb": 4096})
    asked = [mem_mb("intake", config, attempt) for attempt in range(1, 8)]
    assert asked == sorted(asked)
    assert asked[0] < 4000
    assert asked[-1] == 2000 + INTAKE_THREADS * 4096
    small = config_of(intake={"file_mb": 512})
    assert mem_mb("intake", small, 1) == 1000 + INTAKE_THREADS * 512


def test_a_calibration_is_read_as_it_was_written(tmp_path: Path) -> None:
    config = config_of()
    made = calibration_of(config)
    write_calibration(tmp_path / "c.json", made)
    assert read_calibration(tmp_path / "c.json") == made
    for words, found in (("{}", "form: Field required"), ("no json", "Invalid JSON"), ('{"form": 3}', "made: Field")):
        (tmp_path / "bad.json").write_text(words)
        with pytest.raises(InputFaults, match=found):
            read_calibration(tmp_path / "bad.json")
    with pytest.raises(InputFaults, match="no such file"):
        read_calibration(tmp_path / "absent.json")


def test_what_differs_is_said_and_another_model_refused(tmp_path: Path) -> None:
    config = config_of()
    made = calibration_of(config)
    here = this_machine()
    assert differences(made, settings_of(config, ("m", "0" * 64)), here) == {}
    moved = differences(made, settings_of(config, ("m", "0" * 64)), "node9, 4 cores of X")
    assert set(moved) == {"machine"}
    assert "node9" in moved["machine"]
    refuse_other_model(moved, tmp_path)
    other = differences(made, settings_of(config_of(sampler={"batch_size": 2}), ("m", "1" * 64)), here)
    assert set(other) == {"model_sha256", "sampler.batch_size"}
    with pytest.raises(MupdError, match=r"another model .*model_sha256"):
        refuse_other_model(other, tmp_path)


def test_gpu_hours_are_those_of_the_jobs_that_hold_one() -> None:
    config = config_of(shards=3, outdir="/nowhere/a")
    sheet = Sheet(Path("cases.tsv"), tuple(case_of(number, ("rna",)) for number in range(20)))
    plan = plan_of(sheet, config, in_tables(config))
    on_cpu = forecast_of(plan, config, calibration_of(config), 2)
    on_gpu = forecast_of(plan, config, calibration_of(config, gpu="H100"), 2)
    assert on_cpu.gpu_s is None
    assert on_gpu.gpu_s == pytest.approx(on_gpu.stages["generate"].wall_s)
    assert "by the sheet alone" in " ".join(on_cpu.notes)


def test_the_report_sets_the_forecast_beside_what_was_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cases.tsv").write_text("case_id\the\trna\ttext\nA\t\t\t\n")
    config = config_of(cases="cases.tsv", outdir="out", shards=1)
    assert view([], config) is None
    figures = {stage: StageFigures(1, 10.0, 10.0, 4.0, 200.0) for stage in STAGES}
    write_forecast(config.out, ForecastFile("now", "here", config_digest(config), 0, figures, 100, 0))
    assert read_forecast(config.out) is not None

    def run_shard(config: Config, shard: int) -> Path:
        path = config.out / "checked.json"
        path.write_text("{}")
        return path

    recorded("check", run_shard, config, 0)
    found = view([], config)
    assert found is not None
    rows = {(row["stage"], row["quantity"]): row for row in found["rows"]}
    assert rows["check", "CPU time"]["ratio"] > 0
    assert rows["disk", "artifacts"]["ratio"] is None  # nothing was forecast: no ratio to it
    assert any(note.startswith("export: no figures") for note in found["notes"])
    other = replace(config, seed=config.seed, shards=1, draws=replace(config.draws, rna=9))
    found = view([], other)
    assert found is not None
    assert "another configuration" in found["notes"][0]
    (config.out / "forecast.json").write_text("{}")
    with pytest.raises(MupdError, match=r"forecast\.json"):
        view([], config)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("forecast")
    model = make_tiny_model(folder / "model")
    cases = {"A": "rna+text", "B": "he+text", "C": "he+rna", "D": "text", "E": "he!+text"}
    return write_tiny_cohort(folder, model, cases, outdir=str(folder / "results"), shards=2)


def test_the_command_forecasts_from_a_file_of_figures(tiny: Path, tmp_path: Path) -> None:
    config = load_config(tiny)
    pipeline = MuPDPipeline.from_pretrained(config.model)
    figures = tmp_path / "node.json"
    write_calibration(figures, calibration_of(config, (pipeline.model_id, pipeline.sha256), gpu="NVIDIA H100"))
    runner = CliRunner()
    told = ["forecast", "--configfile", str(tiny), "--calibration", str(figures), "--jobs", "2"]
    result = runner.invoke(app, [*told, "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    expected = plan_of(read_sheet(config), config, in_tables(config))
    assert found["tasks"] == expected.tasks
    assert found["draws"] == {"he": 2, "rna": 6, "text": 2}
    assert found["gpu_s"] == pytest.approx(found["stages"]["generate"]["wall_s"])
    assert "the sheet alone" in found["counted_from"]
    assert found["calibration"]["differs"] == {}
    kept = read_forecast(config.out)
    assert kept is not None
    assert kept.stages["generate"].jobs == found["stages"]["generate"]["jobs"]
    table = runner.invoke(app, told)
    assert "GPU-hours" in table.output
    assert "rna + text -> he" in table.output
    assert f"wall {RANGES['wall'][0]:g} to {RANGES['wall'][1]:g}" in table.output
    other = replace(read_calibration(figures), settings={"model_id": "other", "model_sha256": "f" * 64})
    write_calibration(figures, other)
    result = runner.invoke(app, told)
    assert result.exit_code
    assert isinstance(result.exception, MupdError)
    assert "for another model" in str(result.exception)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--calibration", "x.json", "--recalibrate"], "--calibration"),
        (["--calibration", "x.json", "--measure", "y.json"], "--calibration"),
        (["--calibration", "absent.json"], "no such file"),
    ],
)
def test_options_that_cannot_be_met_are_refused(
    tiny: Path,
    options: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    values = yaml.safe_load(tiny.read_text()) | {"outdir": str(tmp_path / "none")}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(values))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["mupd", "forecast", "--configfile", str(path), *options])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (1, 2)
    assert words in capsys.readouterr().err


def test_faults_of_the_sheet_are_told_at_once(tiny: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "cases.tsv"
    sheet.write_text("case_id\the\trna\ttext\nA\tabsent.png\t\t\nA\t\tabsent.tsv\t\n")
    values = yaml.safe_load(tiny.read_text()) | {"cases": str(sheet)}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(values))
    result = CliRunner().invoke(app, ["forecast", "--configfile", str(path)])
    assert isinstance(result.exception, InputFaults)
    assert len(result.exception.faults) >= 3


@pytest.mark.slow
def test_this_machine_is_measured_and_what_was_found_is_used_again(tiny: Path, tmp_path: Path) -> None:
    values = yaml.safe_load(tiny.read_text()) | {"outdir": str(tmp_path / "results")}
    # What a random network draws is noise, which JPEG does not keep and export then refuses.
    values["slide"] |= {"codec": "jpeg2000"}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(values))
    result = CliRunner().invoke(app, ["forecast", "--configfile", str(path), "--json"])
    assert result.exit_code == 0, result.output + str(result.exception)
    found = json.loads(result.output)
    assert found["cpu_s"] > 0
    assert all(stage["peak_mb"] > 50 for stage in found["stages"].values())
    made = read_calibration(tmp_path / "results" / "calibration.json")
    assert {"job", "he_window", "he_mpix", "tiles", "text_step"} <= set(made.costs["generate"])
    assert made.bytes["store"]["he_mpix"] == pytest.approx(3e6, rel=0.1)
    again = CliRunner().invoke(app, ["forecast", "--configfile", str(path), "--json"])
    assert json.loads(again.output)["calibration"]["made"] == made.made
