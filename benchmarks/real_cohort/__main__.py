"""``python -m benchmarks.real_cohort``: build the cohort, run the workflow, compare, print."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from mupd.errors import MupdError


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.real_cohort",
        description="Withhold modalities of real cases, complete them with the whole workflow, and compare what was "
        "imputed with the truth, beside the training mean or majority and the nearest neighbour.",
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of her2st/, tcga/, he_tiles/")
    parser.add_argument("--out", type=Path, help="default: results/real_cohort, small form: results/real_cohort_small")
    parser.add_argument("--model", type=Path, default=Path("resources/models/mupd-mini"), help="model folder")
    parser.add_argument("--small", action="store_true", help="4 cases, small slides, few steps: a test of the plumbing")
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1, help="cores for Snakemake")
    parser.add_argument("--slide-px", type=int, help="side of the generated slides; default 1536, small form 256")
    parser.add_argument("--draws", type=int, help="draws of RNA and text; default 3, small form 2")
    return parser


def _trained_sections(model: Path) -> tuple[str, ...]:
    """HER2ST sections that the model says it was trained on.

    Raises
    ------
    MupdError
        If it does not say: a benchmark that cannot tell training data from held-out data is worth nothing.
    """
    try:
        index = json.loads((model / "model_index.json").read_text(encoding="utf-8"))
        return tuple(index["trained_on"]["her2st_sections"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        name = type(error).__name__
        raise MupdError(
            f"{model / 'model_index.json'}: found no trained_on.her2st_sections ({name}: {error}); expected the names "
            "of the sections the model was trained on"
        ) from error


def run(options: argparse.Namespace) -> int:
    """Everything; returns 1 if a task failed, 0 otherwise.

    Raises
    ------
    MupdError
        If data or model are not there, the workflow fails, or its manifest is not what the pattern asks for.
    """
    for place, parts in ((options.data, ("her2st", "tcga", "he_tiles")), (options.model, ("model_index.json",))):
        for part in parts:
            if not (place / part).exists():
                raise MupdError(f"{place / part}: not there (--data, --model)")
    started = time.monotonic()
    sections = _trained_sections(options.model)

    import torch
    from rich.console import Console

    from benchmarks.real_cohort.baselines import load_training
    from benchmarks.real_cohort.build import build, settings
    from benchmarks.real_cohort.compare import Bench, compare
    from benchmarks.real_cohort.pattern import cohort, withheld_record
    from benchmarks.real_cohort.table import not_compared, show, write
    from benchmarks.real_cohort.workflow import failures, read_manifest, run_workflow
    from mupd.model.pipeline import MuPDPipeline

    small = options.small
    out = options.out or Path("results") / ("real_cohort_small" if small else "real_cohort")
    slide_px, draws = options.slide_px or (256 if small else 1536), options.draws or (2 if small else 3)
    pipeline = MuPDPipeline.from_pretrained(options.model)
    model = {"id": pipeline.model_id, "sha256": pipeline.sha256, "her2st_sections": list(sections)}
    cases = cohort(options.data, sections, small)
    config = settings(options.model, small=small, slide_px=slide_px, draws=draws)
    path = build(out, options.data, cases, config, withheld_record(cases, str(options.data), model))
    run_workflow(out.resolve(), path.resolve(), options.cores)
    ran = time.monotonic()
    manifest = read_manifest(out, cases)

    torch.set_num_threads(max(1, options.cores))
    training = load_training(out, options.data, pipeline, sections, small=small)
    rows = compare(Bench(out, options.data, pipeline, training, manifest, slide_px), cases)
    untold = not_compared(cases, manifest)
    facts: dict[str, Any] = {
        "model": f"{pipeline.model_id} ({pipeline.sha256[:12]})",
        "cases": len(cases),
        "slides": f"{slide_px} x {slide_px} px at {config['slide']['mpp']} um/px",
        "draws of RNA and text": draws,
        "seconds of the workflow": round(ran - started),
        "seconds in all": round(time.monotonic() - started),
    }
    if small:
        facts["form"] = (
            "small: few cases, steps and training data for the baselines; it tests the plumbing, not the model"
        )
    write(out, rows, untold, facts)
    console = Console(width=max(200, Console().width) if not sys.stdout.isatty() else None)
    show(rows, console)
    console.print(
        f"Written to {out / 'comparison.md'}, {out / 'comparison.json'}; report: {out / 'results' / 'report.html'}"
    )
    failed = failures(manifest)
    for line in failed:
        print(f"failed: {line}", file=sys.stderr)
    return 1 if failed else 0


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    try:
        return run(_parser().parse_args(arguments))
    except MupdError as error:
        print(f"real cohort: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
