"""``python -m benchmarks.real_cohort``: build the cohort, run the workflow, compare, print."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.command import add_data, add_model, exit_code_of, parser_of
from mupd.errors import MupdError

if TYPE_CHECKING:
    from benchmarks.real_cohort.compare import Bench
    from benchmarks.real_cohort.pattern import Case, Part
    from benchmarks.real_cohort.table import Result
    from mupd.model.pipeline import MuPDPipeline


def _parser() -> argparse.ArgumentParser:
    parser = parser_of(
        "real_cohort",
        "Withhold modalities of real cases, complete them with the whole workflow, and compare what was "
        "imputed with the truth, beside the training mean or majority and the nearest neighbour.",
    )
    add_data(parser, "her2st/, tcga/ and he_tiles/")
    parser.add_argument("--out", type=Path, help="default: results/real_cohort, small form: results/real_cohort_small")
    add_model(parser)
    parser.add_argument(
        "--cohort", choices=["her2st", "tcga", "all"], default="all", help="which part to run; each resumes by itself"
    )
    parser.add_argument("--small", action="store_true", help="5 cases, small slides, few steps: a test of the plumbing")
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1, help="cores for Snakemake")
    parser.add_argument(
        "--slide-px", type=int, help="side of the generated slides; default 1024 (her2st), 512 (tcga), small form 256"
    )
    parser.add_argument("--draws", type=int, help="draws of RNA and text; default 3, small form 2")
    parser.add_argument(
        "--docs", type=Path, help="folder of real_cohort.md: put the figures and a picture of generated slides there"
    )
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


_SLIDE_PX: dict[str, int] = {"her2st": 1024, "tcga": 512}
_SMALL_SLIDE_PX = 256


def _parts(options: argparse.Namespace) -> tuple[Part, ...]:
    from benchmarks.real_cohort.pattern import PARTS

    return tuple(part for part in PARTS if options.cohort in (part, "all"))


def _cases(part: Part, options: argparse.Namespace, sections: tuple[str, ...]) -> list[Case]:
    from benchmarks.real_cohort import pattern
    from benchmarks.real_cohort.triples import triples

    if part == "her2st":
        return pattern.chosen(pattern.sections(options.data, sections), options.small)
    return pattern.chosen([*triples(options.data), *pattern.pairs(options.data)], options.small)


def _run_part(
    part: Part, out: Path, options: argparse.Namespace, pipeline: MuPDPipeline, sections: tuple[str, ...]
) -> tuple[Result, Bench]:
    """Build a part's inputs, run the workflow on them and compare."""
    import torch

    from benchmarks.real_cohort.build import build, settings
    from benchmarks.real_cohort.compare import Bench
    from benchmarks.real_cohort.compare_patients import compare
    from benchmarks.real_cohort.pattern import withheld_record
    from benchmarks.real_cohort.table import Result, not_compared
    from benchmarks.real_cohort.training import load_training
    from benchmarks.real_cohort.workflow import read_manifest, run_workflow

    started, small = time.monotonic(), options.small
    slide_px = options.slide_px or (_SMALL_SLIDE_PX if small else _SLIDE_PX[part])
    draws = options.draws or (2 if small else 3)
    cases = _cases(part, options, sections)
    model = {"id": pipeline.model_id, "sha256": pipeline.sha256, "her2st_sections": list(sections)}
    config = settings(options.model, part, small=small, slide_px=slide_px, draws=draws)
    path = build(out / part, options.data, cases, config, withheld_record(cases, str(options.data), model))
    print(f"{part}: {len(cases)} cases through the workflow", file=sys.stderr)
    run_workflow((out / part).resolve(), path.resolve(), options.cores)
    ran = time.monotonic()
    manifest = read_manifest(out / part, cases)
    torch.set_num_threads(max(1, options.cores))
    training = load_training(out, options.data, pipeline, sections, small=small)
    bench = Bench(out / part, options.data, pipeline, training, manifest, slide_px)
    rows = compare(bench, cases)
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
    return Result(part, cases, manifest, rows, not_compared(cases, manifest), facts), bench


def _write_plates(out: Path, docs: Path | None, bench: Bench, cases: list[Case]) -> None:
    """Pictures of the patients' generated slides: with the real ones into `out`, without into the docs."""
    from benchmarks.real_cohort.plate import plate
    from mupd.base.files import atomic_path

    targets = [(out / "plate.jpg", True)]
    if docs is not None:
        targets.append((docs / "images" / "real_cohort.jpg", False))
    for path, with_real in targets:
        if (sheet := plate(bench, cases, with_real=with_real)) is not None:
            with atomic_path(path) as temporary:
                sheet.save(temporary, format="JPEG", quality=88)


def run(options: argparse.Namespace) -> int:
    """Everything; returns 1 if a task failed, 0 otherwise.

    Raises
    ------
    MupdError
        If data or model are not there, the workflow fails, or its manifest is not what the pattern asks for.
    """
    for place, names in ((options.data, ("her2st", "tcga", "he_tiles")), (options.model, ("model_index.json",))):
        for name in names:
            if not (place / name).exists():
                raise MupdError(f"{place / name}: not there (--data, --model)")
    sections = _trained_sections(options.model)

    from rich.console import Console

    from benchmarks.real_cohort.table import fill, show, write
    from benchmarks.real_cohort.workflow import failures
    from mupd.model.pipeline import MuPDPipeline

    out = options.out or Path("results") / ("real_cohort_small" if options.small else "real_cohort")
    pipeline = MuPDPipeline.from_pretrained(options.model)
    console = Console(width=max(200, Console().width) if not sys.stdout.isatty() else None)
    results, failed = [], []
    for part in _parts(options):
        result, bench = _run_part(part, out, options, pipeline, sections)
        results.append(result)
        failed += failures(result.manifest, result.cases)
        show(result.rows, console)
        console.print(f"Report: {out / part / 'results' / 'report.html'}")
        if part == "tcga":
            _write_plates(out, options.docs, bench, result.cases)
    write(out, results)
    if options.docs is not None:
        fill(options.docs / "real_cohort.md", results)
    console.print(f"Written to {out / 'comparison.md'} and {out / 'comparison.json'}")
    for line in failed:
        print(f"failed: {line}", file=sys.stderr)
    return 1 if failed else 0


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    return exit_code_of(run, _parser().parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
