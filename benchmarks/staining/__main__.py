"""A virtual stainer beside a U-Net and a regression by pixel, on held-out fields: ``python -m benchmarks.staining``.

The stainer is trained before, by ``mupd train config/train/stain-he-mif.yaml``; the U-Net is trained here, on the same
windows. Writes scores.json, table.md, grid.png and generated.png (without measured pictures) into the stainer's work
folder. ``python -m benchmarks.staining workflow STAINER WORK`` runs the whole workflow on held-out fields instead
(:mod:`benchmarks.staining.workflow`).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.command import parser_of
from benchmarks.pages import table
from benchmarks.staining.pixels import PixelRegression
from benchmarks.staining.unet import predict, train_unet
from mupd.base.files import write_json, write_text
from mupd.model.stainer import MuPDStainer
from mupd.training.settings import LoopSettings
from mupd.training.stain.batches import StainBatches, whole_pairs
from mupd.training.stain.card import channel_cells
from mupd.training.stain.figures import grid, save_picture
from mupd.training.stain.measure import readings, score
from mupd.training.stain.pairs import kept_pairs
from mupd.training.stain.plan import StainPlan, load_stain_plan

CONFIG = Path("config/train/stain-he-mif.yaml")
FIGURES = {"patch": "Pearson, patch", "field": "Pearson, field", "ssim": "SSIM"}
SHOWN = 6


def method_table(methods: dict[str, dict[str, Any]], channels: tuple[str, ...]) -> str:
    """Markdown: a row for each figure and method, a column for each marker and for their mean."""
    rows = []
    for figure, title in FIGURES.items():
        for name, scores in methods.items():
            mean = np.mean([row[0] for row in scores[figure]])
            rows.append((title, name, *channel_cells(scores[figure]), f"{mean:.3f}"))
    return table(("figure", "method", *channels, "mean"), rows) + "\n"


def _u8(pictures: list[NDArray[np.float32]], chosen: list[int]) -> NDArray[np.uint8]:
    return np.stack([np.rint(pictures[n]).clip(0, 255).astype(np.uint8) for n in chosen])


def _spread(groups: list[str], count: int) -> list[int]:
    """Numbers of some pairs, from all groups."""
    return sorted({int(n) for n in np.linspace(0, len(groups) - 1, count)})


def _parse() -> argparse.Namespace:
    parser = parser_of("staining", __doc__ or "")
    parser.add_argument("--config", type=Path, default=CONFIG, help="training configuration of the stainer")
    parser.add_argument("--unet-steps", type=int, default=800, help="optimiser steps of the U-Net")
    parser.add_argument("--unet-minutes", type=float, default=0.0, help="stop it after so many minutes; 0 = never")
    parser.add_argument("--every", type=int, default=1, help="measure each n-th held-out pair alone")
    parser.add_argument("--draws", type=int, default=4, help="draws whose mean is measured too")
    parser.add_argument("--steps", type=int, default=20, help="steps of a draw")
    parser.add_argument("--only", choices=["unet"], help="train the U-Net alone, and end")
    return parser.parse_args()


def _unet(plan: StainPlan, batches: StainBatches, options: argparse.Namespace) -> Any:
    settings = LoopSettings(
        steps=options.unet_steps,
        learning_rate=1e-3,
        warmup_steps=30,
        ema=0.99,
        max_minutes=options.unet_minutes,
        bf16=True,
    )
    return train_unet(batches, len(plan.channels), settings, plan.work / "unet", plan.trunk.batch_size)


def main() -> None:
    """Train what is compared, measure all on the same held-out pairs, and write the table and the pictures."""
    if sys.argv[1:2] == ["workflow"]:
        from benchmarks.staining import workflow

        workflow.main(sys.argv[2:])
        return
    options = _parse()
    plan = load_stain_plan(options.config)
    torch.set_num_threads(plan.threads)
    rows = [row for row in kept_pairs(plan) if row.used]
    train_rows = [row for row in rows if not row.held_out]
    folder = plan.work / "pairs"
    batches = StainBatches(folder, train_rows, plan.window_px, plan.trunk.colour_jitter)
    unet = _unet(plan, batches, options)
    if options.only:
        sys.exit(0)
    held = [row for row in rows if row.held_out][:: options.every]
    pairs, groups = whole_pairs(folder, held, 32), [row.group for row in held]
    he, real = [pair[..., :3] for pair in pairs], [pair[..., 3:].astype(np.float32) for pair in pairs]
    by_pixel = PixelRegression(whole_pairs(folder, train_rows))
    predicted = {
        f"stainer, {name}": pictures
        for name, pictures in readings(MuPDStainer.from_pretrained(plan.out), he, options.draws, options.steps).items()
    }
    predicted["U-Net, L1"] = [predict(unet, picture) for picture in he]
    predicted["regression by pixel"] = [by_pixel.predict(picture) for picture in he]
    methods = {name: score(real, pictures, groups) for name, pictures in predicted.items()}
    written = method_table(methods, plan.channels)
    about = {"pairs": len(held), "groups": len(set(groups)), "draws": options.draws, "steps": options.steps}
    write_json(plan.work / "scores.json", about | {"channels": plan.channels, "methods": methods})
    write_text(plan.work / "table.md", written)
    chosen = _spread(groups, SHOWN)
    order = ["stainer, one draw", "stainer, one step", "U-Net, L1"]
    stains = [_u8(real, chosen), *(_u8(predicted[name], chosen) for name in order)]
    save_picture(grid(np.stack([he[n] for n in chosen]), stains, plan.stain), plan.work / "grid.png")
    save_picture(grid(None, stains[1:], plan.stain), plan.work / "generated.png")
    print(f"{about}\n\n{written}\npictures: {plan.work}/grid.png")


if __name__ == "__main__":
    main()
