"""``mupd train``: the parts of a model in the order in which they need each other."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch

from mupd.errors import Fault, InputFaults, MupdError
from mupd.model.encoders import TEXT_DIM, TileEncoder, fit_projection
from mupd.model.pipeline import MuPDPipeline
from mupd.model.training.loop import all_were_stopped
from mupd.model.training.plan import Plan, load_plan
from mupd.model.training.prepare import fit_pathways, fit_rna_codec, is_held_out, training_profiles
from mupd.model.training.sources import HELD_OUT_SECTION, read_tiles
from mupd.model.transformer import MuPDTransformer, Target
from mupd.model.vae import MuPDVAE

PARTS = ("codecs", "vae", "trunk", "calibrate", "metrics")


def _codecs(plan: Plan) -> None:
    from mupd.modalities.records import FIELDS
    from mupd.model.record_codec import RecordCodec

    profiles = training_profiles(plan.her2st, plan.tcga)
    fit_rna_codec(profiles, plan.rna_components).save_pretrained(plan.out / "rna_codec")
    fit_pathways(plan.gene_sets, profiles).save_pretrained(plan.out / "pathways")
    raw = [rows for section in plan.spots(plan.sections) for rows in plan.raw.spots(section)]
    table = read_tiles(plan.tiles)
    trained = np.array([not is_held_out(str(group)) for group in table["group"]])
    raw.append(plan.raw.organs(table)[trained])
    fit_projection(np.concatenate(raw), plan.tile_components).save_pretrained(plan.out / "tile_encoder")
    RecordCodec(FIELDS).save_pretrained(plan.out)


def _vae(plan: Plan) -> None:
    from mupd.model.training.train_vae import CropSampler, finish_decoder, train_vae

    sampler = CropSampler(plan.her2st, list(plan.sections), plan.tiles, 0.25)
    model = MuPDVAE()
    vae = plan.parts["vae"]
    train_vae(model, sampler, plan.settings("vae"), plan.work / "vae", plan.out / "vae", vae["batch_size"])
    if vae["finish_steps"] and not all_were_stopped():
        finish_decoder(
            model,
            sampler,
            plan.settings("vae"),
            plan.work / "vae-finish",
            plan.out / "vae",
            vae["batch_size"],
            steps=vae["finish_steps"],
            noise=vae["finish_noise"],
        )


def _trunk(plan: Plan) -> None:
    from mupd.modalities.records import FIELDS
    from mupd.model.encoders import TextEncoder
    from mupd.model.record_codec import RecordCodec
    from mupd.model.training.he_batches import HER2ST_TEXTS, HeBatches
    from mupd.model.training.kept_texts import KeptTexts, kept_texts_path
    from mupd.model.training.preview import preview_grid
    from mupd.model.training.start import start_from
    from mupd.model.training.train_trunk import TargetLoss, he_loss, record_loss, rna_loss, train_trunk
    from mupd.model.training.vector_batches import RecordBatches, RnaBatches
    from mupd.model.training.vector_pairs import labelled_spots, patients, spot_sets, tile_classes

    tiles, records = TileEncoder.from_pretrained(plan.out / "tile_encoder"), RecordCodec(FIELDS)
    texts = KeptTexts(TextEncoder(), kept_texts_path(plan.work))
    sections = plan.spots(plan.sections)
    vae = MuPDVAE.from_pretrained(plan.out / "vae").eval().requires_grad_(False)
    torch.manual_seed(0)
    streams = {"text": TEXT_DIM, "pathways": plan.scorer.dim, "rna": plan.codec.dim + 1, "he": tiles.dim}
    model = MuPDTransformer(
        streams,
        {"text": 2, "pathways": 4, "rna": 8},
        he_channels=vae.latent_channels,
        rna_dim=plan.codec.dim,
        text_dim=records.dim,
        text_tokens=len(FIELDS),
        **plan.network(),
    )
    targets = plan.targets()
    losses: dict[Target, TargetLoss] = {}
    if "he" in targets:
        losses["he"] = he_loss(model, vae, HeBatches(sections, plan.tiles, texts), targets["he"])
    spots = spot_sets(sections, plan.raw, tiles)
    people = patients(plan.tcga, plan.codec, plan.scorer, texts, "train", reports="rna" in targets)
    if "rna" in targets:
        losses["rna"] = rna_loss(
            model, RnaBatches(spots, people, [texts(text) for text in HER2ST_TEXTS]), targets["rna"]
        )
    if "text" in targets:
        classes = tile_classes(plan.tiles, plan.raw, tiles, "train")
        labelled = labelled_spots(plan.her2st, plan.codec, plan.scorer)
        source = RecordBatches(records, spots, people, classes, labelled)
        losses["text"] = record_loss(model, source, targets["text"])
    texts.save()
    if plan.start is not None:
        start_from(model, plan.start, plan.work / "trunk" / "start.json")
    show = partial(preview_grid, model, vae, plan.spots((HELD_OUT_SECTION,))[0], plan.work / "trunk")
    ema = train_trunk(model, losses, targets, plan.settings("trunk"), plan.work / "trunk", show)
    model.load_state_dict(ema)
    model.eval()
    model.save_pretrained(plan.out / "transformer")


def _calibrate(plan: Plan) -> None:
    from mupd.model.training.calibrate import calibrate
    from mupd.model.training.facts import write_facts

    write_facts(plan)
    calibrate(plan, MuPDPipeline.from_pretrained(plan.out))


def _metrics(plan: Plan) -> None:
    from mupd.model.training.measure import measure, write_measured_card

    pipeline = MuPDPipeline.from_pretrained(plan.out)
    write_measured_card(plan, pipeline, measure(plan, pipeline))


def run_training(config: Path, part: str) -> None:
    """Train one part or, with ``all``, every part in order; then measure.

    Raises
    ------
    InputFaults
        If the configuration or the name of the part is wrong.
    MupdError
        If a signal stopped a part; its checkpoint is saved.
    """
    if part != "all" and part not in PARTS:
        raise InputFaults("mupd train", [Fault("--part", part, f"all or one of {', '.join(PARTS)}")])
    plan = load_plan(config)
    torch.set_num_threads(plan.threads)
    steps = {"codecs": _codecs, "vae": _vae, "trunk": _trunk, "calibrate": _calibrate, "metrics": _metrics}
    for name in PARTS if part == "all" else (part,):
        print(f"mupd train: {name}")
        steps[name](plan)
        if all_were_stopped():
            raise MupdError(f"stopped by a signal while training {name}; run the same command again to go on")
