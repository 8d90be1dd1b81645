"""``mupd train``: the parts of a model in the order in which they need each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from mupd.errors import Fault, InputFaults, MupdError
from mupd.files import write_json
from mupd.model.encoders import TEXT_DIM, TileEncoder, fit_projection
from mupd.model.pipeline import MuPDPipeline
from mupd.model.record_codec import RecordCodec
from mupd.model.training.loop import was_stopped
from mupd.model.training.plan import Plan, load_plan
from mupd.model.training.prepare import (
    fit_rna_codec,
    is_held_out,
)
from mupd.model.training.sources import HELD_OUT_SECTION, read_tiles
from mupd.model.transformer import MuPDTransformer
from mupd.model.vae import MuPDVAE

PARTS = ("codecs", "vae", "he", "rna", "text", "metrics")


def _codecs(plan: Plan) -> None:
    fit_rna_codec(plan.her2st, plan.tcga, plan.rna_components).save_pretrained(plan.out / "rna_codec")
    raw = [rows for section in plan.spots(plan.sections) for rows in plan.raw.spots(section)]
    table = read_tiles(plan.tiles)
    trained = np.array([not is_held_out(str(group)) for group in table["group"]])
    raw.append(plan.raw.organs(table)[trained])
    fit_projection(np.concatenate(raw), plan.tile_components).save_pretrained(plan.out / "tile_encoder")


def _vae(plan: Plan) -> None:
    from mupd.model.training.train_vae import CropSampler, train_vae

    sampler = CropSampler(plan.her2st, list(plan.sections), plan.tiles, 0.25)
    model = MuPDVAE()
    train_vae(model, sampler, plan.settings("vae"), plan.work / "vae", plan.out / "vae", plan.batch_size("vae", 16))


def _he(plan: Plan) -> None:
    from mupd.model.encoders import TextEncoder
    from mupd.model.training.train_he import HePairs, train_he

    pairs = HePairs(plan.spots(plan.sections), plan.tiles, TextEncoder())
    preview = plan.spots((HELD_OUT_SECTION,))[0]
    vae = MuPDVAE.from_pretrained(plan.out / "vae")
    streams = {"rna": plan.codec.dim + 1, "text": TEXT_DIM}
    model = MuPDTransformer(
        "he", streams, {"rna": 8, "text": 2}, channels=vae.config["latent_channels"], **plan.network("he")
    )
    ema = train_he(model, vae, pairs, preview, plan.settings("he"), plan.work / "he", plan.batch_size("he", 32))
    _save(model, ema, plan.out / "transformer_he")


def _rna(plan: Plan) -> None:
    from mupd.model.encoders import TextEncoder
    from mupd.model.training.train_he import HER2ST_TEXTS
    from mupd.model.training.train_vectors import train_rna
    from mupd.model.training.vector_pairs import patients, spot_sets

    tiles, texts = TileEncoder.from_pretrained(plan.out / "tile_encoder"), TextEncoder()
    spots = spot_sets(plan.spots(plan.sections), plan.raw, tiles)
    people = patients(plan.tcga, plan.codec, texts, held_out=False)
    model = MuPDTransformer(
        "rna", {"he": tiles.dim, "text": TEXT_DIM}, channels=plan.codec.dim, vector_tokens=8, **plan.network("rna")
    )
    own = [texts(text) for text in HER2ST_TEXTS]
    settings = plan.settings("rna")
    _save(
        model,
        train_rna(model, spots, people, own, settings, plan.work / "rna", plan.batch_size("rna", 128)),
        plan.out / "transformer_rna",
    )


def _text(plan: Plan) -> None:
    from mupd.modalities.records import FIELDS
    from mupd.model.encoders import TextEncoder
    from mupd.model.training.train_vectors import train_record
    from mupd.model.training.vector_pairs import patients, spot_sets, tile_classes

    tiles = TileEncoder.from_pretrained(plan.out / "tile_encoder")
    spots = spot_sets(plan.spots(plan.sections), plan.raw, tiles)
    people = patients(plan.tcga, plan.codec, TextEncoder(), held_out=False, reports=False)
    classes = tile_classes(plan.tiles, plan.raw, tiles, held_out=False)
    streams = {"he": tiles.dim, "rna": plan.codec.dim + 1}
    codec = RecordCodec(FIELDS)
    model = MuPDTransformer("text", streams, channels=codec.dim, vector_tokens=len(FIELDS), **plan.network("text"))
    ema = train_record(
        model, spots, people, classes, plan.settings("text"), plan.work / "text", plan.batch_size("text", 128)
    )
    _save(model, ema, plan.out / "transformer_text")
    codec.save_pretrained(plan.out)


def _save(model: MuPDTransformer, ema: dict[str, torch.Tensor], folder: Path) -> None:
    model.load_state_dict(ema)
    model.eval()
    model.save_pretrained(folder)


def _metrics(plan: Plan) -> None:
    from mupd.model.training.card import write_card
    from mupd.model.training.facts import write_facts
    from mupd.model.training.measure import measure

    write_facts(plan)
    pipeline = MuPDPipeline.from_pretrained(plan.out)
    metrics = measure(plan, pipeline)
    write_json(plan.out / "metrics.json", metrics)
    networks = {"vae": pipeline.vae} | {part: pipeline.transformer(part) for part in ("he", "rna", "text")}
    parameters = {part: sum(p.numel() for p in network.parameters()) for part, network in networks.items()}
    write_card(plan, metrics, parameters, HELD_OUT_SECTION)


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
    steps = {"codecs": _codecs, "vae": _vae, "he": _he, "rna": _rna, "text": _text, "metrics": _metrics}
    for name in PARTS if part == "all" else (part,):
        print(f"mupd train: {name}")
        steps[name](plan)
        if was_stopped():
            raise MupdError(f"stopped by a signal while training {name}; run the same command again to go on")
