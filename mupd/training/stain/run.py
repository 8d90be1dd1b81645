"""``mupd train`` of a virtual stainer: pairs, the stain's autoencoder, the trunk, and figures on held-out pairs."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import torch

from mupd.base.files import atomic_path, write_json
from mupd.model.loading import load_autoencoder
from mupd.model.presets import preset
from mupd.model.stainer import MuPDStainer
from mupd.model.transformer import MuPDTransformer
from mupd.model.vae import MuPDVAE
from mupd.model_folder.stainer import index_of
from mupd.training import processes
from mupd.training.loop import save_averaged, train
from mupd.training.parts import Part, check_part, run_parts
from mupd.training.stain.batches import StainBatches, channel_weights, whole_pairs
from mupd.training.stain.losses import Autoencoders, stain_trunk_loss, stain_vae_loss
from mupd.training.stain.pairs import PairRow, kept_pairs, prepare_pairs
from mupd.training.stain.plan import StainPlan, load_stain_plan
from mupd.training.warm_start import start_from

PARTS = ("pairs", "vae", "trunk", "metrics")
_LEFT_OUT_SHOWN = 10
PREVIEW_PAIRS = 4
PREVIEW_STEPS = 20


def _pairs(plan: StainPlan) -> None:
    rows = prepare_pairs(plan)
    used = [row for row in rows if row.used]
    groups = {row.group for row in used}
    held = {row.group for row in used if row.held_out}
    count = sum(row.held_out for row in used)
    print(f"pairs: {len(used) - count} to train on, {count} held out ({len(held)} of {len(groups)} groups)")
    if plan.pairs.nuclei is None:
        print("pairs: no nuclear channel is named, so registration was not checked")
    left = [row for row in rows if not row.used]
    for row in left[:_LEFT_OUT_SHOWN]:
        print(f"  left out: {plan.pairs.table.name}:{row.row}: {row.reason}")
    if len(left) > _LEFT_OUT_SHOWN:
        print(f"  left out: {len(left) - _LEFT_OUT_SHOWN} more, in {plan.work / 'pairs' / 'pairs.json'}")


def _batches(plan: StainPlan, rows: list[PairRow], jitter: float) -> StainBatches:
    return StainBatches(plan.work / "pairs", rows, plan.window_px, jitter)


def _split(plan: StainPlan) -> tuple[list[PairRow], list[PairRow]]:
    """Training and held-out pairs."""
    used = [row for row in kept_pairs(plan) if row.used]
    return [row for row in used if not row.held_out], [row for row in used if row.held_out]


def _vae(plan: StainPlan) -> None:
    settings = plan.vae
    stains = _batches(plan, _split(plan)[0], 0.0)
    torch.manual_seed(settings.seed)
    widths = settings.width // 2, settings.width
    model = MuPDVAE(settings.latent_channels, widths, widths, channels=len(plan.channels))
    weights = torch.from_numpy(channel_weights(stains))
    loss = stain_vae_loss(model, stains, weights, settings.batch_size, settings.seed)
    ema = train(model, loss, settings, plan.work / "vae")
    save_averaged(model, ema, plan.out / "stain_vae")


def _trunk(plan: StainPlan) -> None:
    settings = plan.trunk
    train_rows, held_rows = _split(plan)
    if processes.is_main():
        with atomic_path(plan.out / "he_vae") as temporary:
            shutil.copytree(plan.he_vae, temporary)
        write_json(plan.out / "model_index.json", index_of(plan.facts))
    processes.wait()
    device = str(processes.device())
    he_vae = load_autoencoder(plan.out / "he_vae", device)
    stain_vae = load_autoencoder(plan.out / "stain_vae", device)
    torch.manual_seed(settings.seed)
    model = MuPDTransformer(
        {},
        he_channels=stain_vae.latent_channels,
        aligned_channels=he_vae.latent_channels,
        **preset(settings.preset),
        # A stainer makes pictures alone: the stems for vectors are as small as possible.
        rna_dim=1,
        rna_tokens=1,
        text_dim=1,
        text_tokens=1,
    )
    if plan.start is not None:
        start_from(model, plan.start, plan.work / "trunk" / "start.json" if processes.is_main() else None)
    batches = _batches(plan, train_rows, settings.colour_jitter)
    loss = stain_trunk_loss(model, Autoencoders(he_vae, stain_vae), batches, settings, plan.mpp)

    def show(step: int) -> None:
        model.save_pretrained(plan.out / "transformer")
        preview(plan, held_rows[:: max(1, len(held_rows) // PREVIEW_PAIRS)][:PREVIEW_PAIRS], step)

    ema = train(model, loss, settings, plan.work / "trunk", show)
    save_averaged(model, ema, plan.out / "transformer")


def preview(plan: StainPlan, rows: list[PairRow], step: int) -> None:
    """Held-out pairs as preview.png: H&E, then each channel measured, drawn, and expected (one step)."""
    from mupd.training.stain.figures import grid, save_picture

    side = plan.window_px
    pairs = np.stack([pair[:side, :side] for pair in whole_pairs(plan.work / "pairs", rows)])
    stainer = MuPDStainer.from_pretrained(plan.out, str(processes.device()))
    he, real = pairs[..., :3], pairs[..., 3:]
    drawn = stainer.stain_windows(he, seed=0, steps=PREVIEW_STEPS)
    expected = stainer.stain_windows(he, seed=0, steps=1)
    picture = grid(he, [real, drawn, expected], plan.stain)
    save_picture(picture, plan.work / "trunk" / "preview.png")
    save_picture(picture, plan.work / "trunk" / f"preview-{step:06d}.jpg")


def _metrics(plan: StainPlan) -> None:
    from mupd.training.stain.card import write_card
    from mupd.training.stain.measure import METRICS_FILE, measure_stainer

    rows = kept_pairs(plan)
    held = [row for row in rows if row.used and row.held_out]
    stainer = MuPDStainer.from_pretrained(plan.out)
    figures = measure_stainer(stainer, whole_pairs(plan.work / "pairs", held), [row.group for row in held])
    write_json(plan.out / METRICS_FILE, figures)
    write_card(plan, Counter("held" if row.held_out else "train" for row in rows if row.used), figures)


def run_stain_training(config: Path, part: str) -> None:
    """Train one part of a stainer or, with ``all``, every part in order.

    Raises
    ------
    InputFaults
        If the configuration, the pairs or the name of the part is wrong.
    MupdError
        If a signal stopped a part; its checkpoint is saved.
    """
    check_part(part, PARTS)
    plan = load_stain_plan(config)
    torch.set_num_threads(plan.threads)
    parts = (
        Part("pairs", lambda: _pairs(plan), alone=True),
        Part("vae", lambda: _vae(plan)),
        Part("trunk", lambda: _trunk(plan)),
        Part("metrics", lambda: _metrics(plan), alone=True),
    )
    run_parts(parts, part)
