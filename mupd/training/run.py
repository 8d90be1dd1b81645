"""``mupd train``: the parts of a model in the order in which they need each other."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import torch

from mupd.base.files import atomic_path
from mupd.errors import Fault, InputFaults, MupdError
from mupd.model.encoders import TEXT_DIM, TileEncoder, fit_projection
from mupd.model.pipeline import MuPDPipeline
from mupd.model.record_codec import RecordCodec
from mupd.model.rna_codec import SPREAD_FILE
from mupd.model.transformer import MuPDTransformer, Target
from mupd.model.vae import MuPDVAE
from mupd.training import processes
from mupd.training.data_module import DataModule
from mupd.training.loop import OnCheckpoint, all_were_stopped
from mupd.training.plan import Plan, load_plan
from mupd.training.prepare import fit_pathways, fit_rna_codec
from mupd.training.stain.plan import is_stain_config
from mupd.training.stain.run import run_stain_training

PARTS = ("codecs", "vae", "trunk", "calibrate", "metrics")
_ALONE = ("codecs", "calibrate", "metrics")
"""Parts that the main process does while the others wait."""


def _take(part: str, base: Path, out: Path) -> None:
    """Copy a part of another model."""
    with atomic_path(out / part) as temporary:
        shutil.copytree(base / part, temporary)


def _codecs(plan: Plan) -> None:
    from mupd.reports.record.fields import FIELDS

    data = DataModule(plan)
    data.report()
    if plan.base is not None:
        for part in ("rna_codec", "pathways", "tile_encoder"):
            _take(part, plan.base, plan.out)
        # Temperatures and the spread of draws belong to the weights of the other model.
        (plan.out / "rna_codec" / SPREAD_FILE).unlink(missing_ok=True)
        RecordCodec(RecordCodec.from_pretrained(plan.base).fields).save_pretrained(plan.out)
        return
    profiles = data.profiles()
    fit_rna_codec(profiles, plan.rna_components).save_pretrained(plan.out / "rna_codec")
    fit_pathways(plan.gene_sets, profiles).save_pretrained(plan.out / "pathways")
    fit_projection(data.raw_features(), plan.tile_components).save_pretrained(plan.out / "tile_encoder")
    RecordCodec(FIELDS).save_pretrained(plan.out)


def _vae(plan: Plan) -> None:
    from mupd.training.train_vae import finish_decoder, train_vae

    if plan.base is not None:
        if processes.is_main():
            _take("vae", plan.base, plan.out)
        processes.wait()
        return
    with processes.main_first():
        sampler = DataModule(plan).crops()
    torch.manual_seed(0)
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
    from mupd.training.align import Alignment, load_encoder
    from mupd.training.preview import WINDOWS, preview_grid
    from mupd.training.train_trunk import TargetLoss, he_loss, record_loss, rna_loss, train_trunk
    from mupd.training.warm_start import start_from

    records = RecordCodec(RecordCodec.from_pretrained(plan.out).fields)
    tiles = TileEncoder.from_pretrained(plan.out / "tile_encoder")
    vae = MuPDPipeline(plan.out, str(processes.device())).vae
    torch.manual_seed(0)
    streams = {"text": TEXT_DIM, "pathways": plan.scorer.dim, "rna": plan.codec.dim + 1, "he": tiles.dim}
    model = MuPDTransformer(
        streams,
        he_channels=vae.latent_channels,
        rna_dim=plan.codec.dim,
        text_dim=records.dim,
        text_tokens=len(records.fields),
        **plan.network(),
    )
    data, targets = DataModule(plan), plan.targets()
    with processes.main_first():
        texts = data.texts()
        sources = data.sources(list(targets), tiles, texts, records)
        examples = data.examples(sources, WINDOWS)
        if processes.is_main():
            texts.save()
    if not any(targets[target].every == 1 for target in sources):
        expected = "data for a target that is trained at every step"
        fault = Fault("[trunk.targets]", f"data for {sorted(sources)}", expected)
        raise InputFaults(f"training configuration of {plan.name}", [fault])
    alignment = None
    if plan.align is not None and "he" in sources:
        alignment = Alignment(load_encoder(plan.align.encoder), plan.align, plan.network()["width"])
    losses: dict[Target, TargetLoss] = {}
    if "he" in sources:
        losses["he"] = he_loss(model, vae, sources["he"], targets["he"], alignment)
    if "rna" in sources:
        losses["rna"] = rna_loss(model, sources["rna"], targets["rna"])
    if "text" in sources:
        losses["text"] = record_loss(model, sources["text"], targets["text"])
    if plan.start is not None:
        start_from(model, plan.start, plan.work / "trunk" / "start.json" if processes.is_main() else None)
    show: OnCheckpoint | None = None
    if examples is not None:
        show = partial(preview_grid, model, vae, examples.real, examples.conditions, plan.work / "trunk")
    ema = train_trunk(model, losses, targets, plan.settings("trunk"), plan.work / "trunk", show, alignment)
    model.load_state_dict(ema)
    model.eval()
    if processes.is_main():
        model.save_pretrained(plan.out / "transformer")
    processes.wait()


def _calibrate(plan: Plan) -> None:
    from mupd.training.calibrate import calibrate
    from mupd.training.model_facts import write_facts

    write_facts(plan)
    if not plan.public:
        print("mupd train: no public data: the record's probabilities are not calibrated")
        return
    calibrate(plan, MuPDPipeline.from_pretrained(plan.out))


def _metrics(plan: Plan) -> None:
    from mupd.training.measure.run import measure, write_measured_card

    if not plan.public:
        print("mupd train: no public data: nothing is measured; compare on held-out cases of your own")
        return
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
    if is_stain_config(config):
        run_stain_training(config, part)
        return
    if part != "all" and part not in PARTS:
        raise InputFaults("mupd train", [Fault("--part", part, f"all or one of {', '.join(PARTS)}")])
    plan = load_plan(config)
    if plan.align is not None and plan.align.block >= plan.network()["depth"]:
        fault = Fault("[trunk.align.block]", str(plan.align.block), f"0 to {plan.network()['depth'] - 1}")
        raise InputFaults(f"training configuration {config}", [fault])
    torch.set_num_threads(plan.threads)
    steps = {"codecs": _codecs, "vae": _vae, "trunk": _trunk, "calibrate": _calibrate, "metrics": _metrics}
    for name in PARTS if part == "all" else (part,):
        if processes.is_main():
            print(f"mupd train: {name}")
        if processes.is_main() or name not in _ALONE:
            steps[name](plan)
        if all_were_stopped():
            raise MupdError(f"stopped by a signal while training {name}; run the same command again to go on")
