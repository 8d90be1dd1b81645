"""Forecast against actual: `python -m benchmarks.forecast WORK` calibrates, forecasts, runs, and prints the table.

Each cohort is calibrated right before it is run, unless a calibration is named, since the times of a shared machine
change. Snakemake drives the run as a user's.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from benchmarks.command import MODEL, REPOSITORY
from benchmarks.pages import table
from mupd.errors import MupdError

EXAMPLE = REPOSITORY / "resources" / "example"


def demo(work: Path, model: Path) -> Path:
    """The example cohort as it is shipped: eight cases, generated slides of 512 px."""
    values = yaml.safe_load((REPOSITORY / "config" / "config.yaml").read_text(encoding="utf-8"))
    values |= {"cases": str(REPOSITORY / values["cases"]), "outdir": str(work / "results"), "model": str(model)}
    values["roots"] = [str(EXAMPLE)]
    values["tables"]["rna"] = str(REPOSITORY / values["tables"]["rna"])
    return _written(work, values)


def larger(work: Path, model: Path) -> Path:
    """Ten cases, a modality or two lacking in each: measured slides of 4 megapixels, generated ones of 2.4."""
    from PIL import Image

    from mupd.run.forecast.specimens import tissue

    rows = ["case_id\the\trna\ttext\the_mpp"]
    text, rna = EXAMPLE / "EX-03.txt", EXAMPLE / "EX-01.rna.synthetic.tsv"
    patterns = ("he+text", "he+rna", "rna+text", "he", "text")
    work.mkdir(parents=True, exist_ok=True)
    for number in range(10):
        has = patterns[number % len(patterns)].split("+")
        slide = work / f"slide-{number}.synthetic.png"
        if "he" in has:
            Image.fromarray(tissue(2048, number)).save(slide, compress_level=1)
        cells = [
            str(slide) if "he" in has else "",
            str(rna) if "rna" in has else "",
            str(text) if "text" in has else "",
        ]
        rows.append("\t".join([f"L-{number:02d}", *cells, "0.78" if "he" in has else ""]))
    (work / "cases.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    values = {
        "cases": str(work / "cases.tsv"),
        "roots": [str(EXAMPLE)],
        "outdir": str(work / "results"),
        "model": str(model),
        "shards": 2,
        "draws": {"he": 1, "rna": 2, "text": 2},
        "slide": {"width_px": 1536, "height_px": 1536},
        "sampler": {"steps": 2},
        "intake": {"allow_synthetic": ["*.synthetic.*"]},
    }
    return _written(work, values)


COHORTS = {"demo": demo, "larger": larger}


def _written(work: Path, values: dict[str, Any]) -> Path:
    work.mkdir(parents=True, exist_ok=True)
    path = work / "config.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def _call(command: list[str], work: Path) -> float:
    """Run a command with its output in ``log.txt``; returns seconds."""
    began = time.monotonic()
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    with (work / "log.txt").open("a", encoding="utf-8") as log:
        subprocess.run(command, cwd=work, env=environment, stdout=log, stderr=subprocess.STDOUT, check=True)
    return time.monotonic() - began


def _ratio(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}"


def _table(name: str, config_path: Path, seconds: float) -> None:
    from mupd.config import load_config
    from mupd.stages.cohort.forecast import view
    from mupd.stages.cohort.join_shards import join_shards

    config = load_config(config_path)
    forecast = view(join_shards(config), config)
    if forecast is None:
        raise MupdError(f"{config_path}: the run has no forecast; expected that of `mupd forecast`")
    rows = [
        (*(row[key] for key in ("stage", "quantity", "forecast", "actual")), _ratio(row["ratio"]))
        for row in forecast["rows"]
    ]
    print(f"\n**{name}**, calibrated on {forecast['calibrated']}; Snakemake took {seconds:.0f} s.\n")
    print(table(("stage", "quantity", "forecast", "actual", "actual / forecast"), rows))
    for note in forecast["notes"]:
        print(f"\n{note}")


def main() -> None:
    """Calibrate, forecast, run and compare each cohort that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path, help="folder for inputs and results; made")
    parser.add_argument("--cohorts", default=",".join(COHORTS))
    parser.add_argument("--model", type=Path, default=REPOSITORY / MODEL)
    parser.add_argument("--calibration", type=Path, help="file of an earlier calibration; else made anew")
    arguments = parser.parse_args()
    given = ["--calibration", str(arguments.calibration.resolve())] if arguments.calibration else ["--recalibrate"]
    for name in arguments.cohorts.split(","):
        work = arguments.work.resolve() / name
        config = COHORTS[name](work, arguments.model.resolve())
        _call([sys.executable, "-m", "mupd", "forecast", "--configfile", str(config), *given], work)
        snakemake = [sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile"), "--cores", "2"]
        seconds = _call([*snakemake, "--workflow-profile", "none", "--configfile", str(config)], work)
        _table(name, config, seconds)


if __name__ == "__main__":
    main()
