"""Makes the inputs of the example cohort by sampling the shipped model: no patient's data is in it.

Run from the repository, after a new model is trained::

    .venv/bin/python -m resources.example.make

The reports ``EX-*.txt`` are written by hand and stay as they are. From them and from fixed seeds the
model draws RNA profiles (turned into counts by Poisson noise) and H&E pictures; the same model gives
the same files. Every file made carries ``synthetic`` in its name and, where the format has room, a mark
inside: config.intake.allow_synthetic lets in exactly these names. At the end intake examines the whole
sheet, and the command fails if a case does not have the statuses it stands for.
"""

from __future__ import annotations

import argparse
import gzip
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from mupd.base.files import atomic_path, write_text
from mupd.base.ids import Modality
from mupd.base.progress import track
from mupd.config import Config, load_config
from mupd.engines.mupd.conditions import CaseConditions
from mupd.errors import MupdError, UnusableError
from mupd.model.conditions import CaseVectors
from mupd.model.pipeline import MuPDPipeline
from mupd.model.regions import RegionSampling
from mupd.model.rna_codec import Kind
from mupd.model_folder.geometry import TRAINED
from mupd.sheet import SheetCase
from mupd.slides.checks import check_he
from mupd.stages.intake import status_rows
from mupd.stages.intake.entries import inventory_of
from mupd.synthetic.picture.png_marks import png_info
from mupd.synthetic.statement import BANNER, PREFIX

SIDE_PX = 512
STEPS = 30
GUIDANCE = {"text": 1.5, "rna": 1.5}
BATCH_SIZE = 16
BULK_DEPTH = 2_000_000
SPOT_DEPTH = 8_000
SPOTS_A_SIDE = 5
SPOT_PITCH_PX = 100.0 / TRAINED.mpp
"""Spots 100 um apart: 5 x 5 of them cover the example's 400 um slides."""
TRIES = 8
"""Seeds tried for a picture until intake takes it as a usable slide."""

TABLE = "rna_table.synthetic.tsv.gz"
STATEMENT = f"{BANNER}. Sampled from a generative model for the example cohort of mupd; the patient is fictitious."

EXPECTED: dict[str, tuple[str, str, str]] = {
    "EX-01": ("measured", "measured", "measured"),
    "EX-02": ("missing", "measured", "measured"),
    "EX-03": ("measured", "missing", "measured"),
    "EX-04": ("measured", "measured", "missing"),
    "EX-05": ("missing", "missing", "measured"),
    "EX-06": ("missing", "measured", "missing"),
    "EX-07": ("measured", "unusable", "unusable"),
    "EX-08": ("unusable", "missing", "missing"),
}
"""Status of he, rna and text of each case: every pattern, and an unusable input of each modality."""


def counts_of(log_cp10k: NDArray[np.floating], depth: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Poisson counts (observations, genes) of about `depth` an observation, from log1p CP10k."""
    linear = np.expm1(log_cp10k.astype(np.float64))
    return rng.poisson(depth * linear / linear.sum(1, keepdims=True))


def bulk_counts(pipeline: MuPDPipeline, text: str, seed: int) -> NDArray[np.int64]:
    """Counts (genes of the bulk panel,) of a tumour that the model draws for a report, then perturbs."""
    rng = np.random.default_rng(seed)
    codec = pipeline.rna_codec
    genes = list(codec.panels["bulk"].genes)
    drawn = pipeline.generate_rna(CaseVectors(text=pipeline.text_encoder(text)), seed=seed, steps=STEPS)
    components = codec.encode(drawn.expected, genes, "bulk")
    perturbed = components + 0.25 * rng.standard_normal(components.shape)
    return counts_of(codec.decode(perturbed, "bulk"), BULK_DEPTH, rng)[0]


def spot_counts(pipeline: MuPDPipeline, side: int, seed: int) -> NDArray[np.int64]:
    """Counts (side * side, genes of the spot panel): two sampled tissue states that meet across the slide."""
    rng = np.random.default_rng(seed)
    codec = pipeline.rna_codec
    first, second = rng.standard_normal((2, codec.dim))
    y, x = np.divmod(np.arange(side * side), side)
    share = 1 / (1 + np.exp(-2.0 * (x + 0.5 * y - 0.75 * (side - 1))))[:, None]
    components = (1 - share) * first + share * second + 0.3 * rng.standard_normal((side * side, codec.dim))
    return counts_of(codec.decode(components, "spot"), SPOT_DEPTH, rng)


def write_profile(path: Path, genes: list[str], counts: NDArray[np.int64]) -> None:
    """A table gene, count under a line with the banner."""
    rows = [f"# {STATEMENT}", "gene\tcount", *(f"{g}\t{c}" for g, c in zip(genes, counts.tolist(), strict=True))]
    write_text(path, "\n".join(rows) + "\n")


def write_table(path: Path, genes: list[str], rows: dict[str, NDArray[np.int64]]) -> None:
    """A cohort table: a row a case, a column a gene; the same bytes for the same rows."""
    lines = ["\t".join(["case_id", *genes])]
    lines += ["\t".join([case, *map(str, counts.tolist())]) for case, counts in rows.items()]
    with atomic_path(path) as temporary:
        temporary.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode(), mtime=0))


def write_spots(path: Path, case_id: str, genes: list[str], counts: NDArray[np.int64], side: int) -> None:
    """A spatial .h5ad with obsm["spatial"] in pixels, marked in obs_names, obs and uns."""
    import pandas as pd
    from anndata import AnnData
    from scipy import sparse

    y, x = np.divmod(np.arange(side * side), side)
    names = pd.Index([f"{PREFIX}{case_id}-S{number:03d}" for number in range(1, side * side + 1)])
    adata = AnnData(
        X=sparse.csr_matrix(counts.astype(np.float32)),
        obs=pd.DataFrame({"synthetic": np.ones(side * side, bool)}, index=names),
        var=pd.DataFrame(index=pd.Index(genes)),
    )
    adata.obsm["spatial"] = np.stack([x + 0.5, y + 0.5], 1) * SPOT_PITCH_PX
    adata.uns["mupd"] = {"banner": BANNER, "statement": STATEMENT, "synthetic": True}
    with atomic_path(path) as temporary:
        adata.write_h5ad(temporary, compression="gzip")


def picture(pipeline: MuPDPipeline, given: CaseVectors, seed: int) -> NDArray[np.uint8]:
    """A picture (512, 512, 3) uint8 at 0.78 um/px."""
    canvas = np.empty((SIDE_PX, SIDE_PX, 3), np.uint8)

    def write(y: int, x: int, pixels: NDArray[np.uint8]) -> None:
        canvas[y : y + pixels.shape[0], x : x + pixels.shape[1]] = pixels

    sampling = RegionSampling(STEPS, BATCH_SIZE)
    pipeline.generate_he(given, (SIDE_PX, SIDE_PX), write, seed=seed, guidance=GUIDANCE, sampling=sampling)
    return canvas


def write_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    """PNG whose text chunks hold the banner."""
    with atomic_path(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG", pnginfo=png_info(STATEMENT), compress_level=9)


def write_usable_png(path: Path, pipeline: MuPDPipeline, given: CaseVectors, seed: int, config: Config) -> None:
    """The first of a few seeds whose picture intake takes as a usable slide.

    Raises
    ------
    MupdError
        If it takes none of them; the last reason is told.
    """
    reason = ""
    for attempt in range(TRIES):
        write_png(path, picture(pipeline, given, seed + 1000 * attempt))
        try:
            check_he(path, TRAINED.mpp, config.intake)
            return
        except UnusableError as error:
            reason = str(error)
    raise MupdError(f"{path.name}: the model drew no usable slide in {TRIES} tries; the last one: {reason}")


def _conditions(
    pipeline: MuPDPipeline, config: Config, case_id: str, rna: Path | None, text: Path | None
) -> CaseVectors:
    """Conditions of a picture from a profile and a report, exactly as the generate stage would make them."""
    case = SheetCase(case_id, None, rna, text, None, "", "", {}, 0)
    # The table is not there yet, and no case is to find a row in it.
    without_table = replace(config, tables=replace(config.tables, rna=None, text=None))
    inventory = inventory_of(case, without_table, tuple(pipeline.rna_codec.genes))
    wanted: set[Modality] = {m for m, path in (("rna", rna), ("text", text)) if path is not None}  # type: ignore[misc]
    if wanted != set(inventory.given):
        reasons = {m: inventory.entries[m].reason for m in wanted}
        raise MupdError(f"{case_id}: intake does not take what was just made: {reasons}")
    return CaseConditions(inventory, without_table, pipeline).for_he()[0]


def make(folder: Path, pipeline: MuPDPipeline, config: Config) -> None:
    """Write every made file of the example cohort into `folder`; the reports have to be there."""
    codec = pipeline.rna_codec
    genes: dict[Kind, list[str]] = {kind: list(panel.genes) for kind, panel in codec.panels.items()}
    texts = {name: (folder / f"{name}.txt").read_text(encoding="utf-8") for name in ("EX-01", "EX-03")}
    stomach = "Stomach, partial gastrectomy: gastric adenocarcinoma, poorly differentiated, G3, pT3."

    write_profile(folder / "EX-01.rna.synthetic.tsv", genes["bulk"], bulk_counts(pipeline, texts["EX-01"], 101))
    write_profile(folder / "EX-04.rna.synthetic.tsv", genes["bulk"], bulk_counts(pipeline, stomach, 104))
    write_table(folder / TABLE, genes["bulk"], {"EX-06": bulk_counts(pipeline, texts["EX-03"], 106)})
    counts = spot_counts(pipeline, SPOTS_A_SIDE, 102)
    write_spots(folder / "EX-02.rna.synthetic.h5ad", "EX-02", genes["spot"], counts, SPOTS_A_SIDE)
    # Array probes: numbers as good as any, but no name that the model knows.
    probes = [f"{100_000 + 37 * number}_at" for number in range(400)]
    signals = np.random.default_rng(107).negative_binomial(2, 0.01, len(probes))
    write_profile(folder / "EX-07.rna.synthetic.tsv", probes, signals)

    tumour = codec.condition(codec.encode(np.log1p(spot_counts(pipeline, 1, 170)), genes["spot"], "spot"), "spot")
    parts = {
        "EX-01": ("EX-01.rna.synthetic.tsv", "EX-01.txt"),
        "EX-03": (None, "EX-03.txt"),
        "EX-04": ("EX-04.rna.synthetic.tsv", None),
    }
    pictures = {
        case: _conditions(pipeline, config, case, rna and folder / rna, text and folder / text)  # type: ignore[arg-type]
        for case, (rna, text) in parts.items()
    } | {"EX-07": CaseVectors(rna=tumour), "EX-08": CaseVectors(rna=tumour)}
    for case, given in track(pictures.items(), "H&E", total=len(pictures)):
        write_usable_png(folder / f"{case}.synthetic.png", pipeline, given, 200 + int(case[-1]), config)
    whole = (folder / "EX-08.synthetic.png").read_bytes()
    with atomic_path(folder / "EX-08.synthetic.png") as temporary:
        # Cut off in the middle of the pixels, as a copy that ran out of disk.
        temporary.write_bytes(whole[: len(whole) // 2])


def examined(config: Config) -> list[str]:
    """Every way in which the cohort, examined by intake, is not what it should be; empty if it is right."""
    faults = []
    found = {case.case_id: case for case in status_rows(config)}
    for case_id, wanted in EXPECTED.items():
        if case_id not in found:
            faults.append(f"{case_id}: not in the sheet")
            continue
        for modality, status in zip(("he", "rna", "text"), wanted, strict=True):
            entry = found[case_id].entries[modality]  # type: ignore[index]
            if entry.status != status:
                faults.append(f"{case_id} {modality}: found {entry.status} ({entry.reason}); expected {status}")
    return faults


def main(arguments: list[str] | None = None) -> int:
    """Command line; exit code 1 if the cohort does not come out as it should."""
    parser = argparse.ArgumentParser(prog="python -m resources.example.make", description=__doc__.splitlines()[0])
    parser.add_argument("--configfile", type=Path, default=Path("config/config.yaml"), help="whose model and sheet")
    parser.add_argument("--model", help="model folder; default: that of the configuration")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent, help="folder of the reports and the files made"
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)  # the same sums in the same order on every machine
    try:
        config = load_config(options.configfile)
        config = replace(config, model=options.model or config.model)
        make(options.out, MuPDPipeline.from_pretrained(config.model), config)
        size = sum(file.stat().st_size for file in options.out.iterdir() if file.is_file())
        faults = examined(config)
    except MupdError as error:
        print(f"example cohort: {error}", file=sys.stderr)
        return error.exit_code
    print("\n".join([f"{len(EXPECTED)} cases, {size / 1e6:.1f} MB in {options.out}", *faults]))
    return 1 if faults or size > 10_000_000 else 0


if __name__ == "__main__":
    sys.exit(main())
