"""``mupd train``: the parts of a model in the order in which they need each other."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from mupd.base.files import atomic_path
from mupd.errors import Fault, InputFaults
from mupd.model.encoders import TEXT_DIM, TileEncoder, fit_projection
from mupd.model.pipeline import MuPDPipeline
from mupd.model.record_codec import RecordCodec
from mupd.model.rna_codec import SPREAD_FILE
from mupd.model.transformer import MuPDTransformer, Target
from mupd.model.vae import Autoencoder, MuPDVAE
from mupd.training import processes
from mupd.training.align import Alignment, load_encoder
from mupd.training.batches import BatchSource
from mupd.training.codecs import fit_pathways, fit_rna_codec
from mupd.training.data import TrainingData
from mupd.training.loop import all_were_stopped, save_averaged
from mupd.training.parts import Part, check_part, run_parts
from mupd.training.plan import Plan, load_plan
from mupd.training.stain.plan import is_stain_config
from mupd.training.stain.run import run_stain_training
from mupd.training.trunk import TargetLoss, he_loss, record_loss, rna_loss, train_trunk

PARTS = ("codecs", "vae", "trunk", "calibrate")


def _take(part: str, base: Path, out: Path) -> None:
    """Copy a part of another model."""
    with atomic_path(out / part) as temporary:
        shutil.copytree(base / part, temporary)


def _codecs(plan: Plan) -> None:
    from mupd.reports.record.fields import FIELDS

    data = TrainingData(plan)
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
    from mupd.training.autoencoder import AutoencoderRun, finish_decoder, train_vae

    if plan.base is not None:
        if processes.is_main():
            _take("vae", plan.base, plan.out)
        processes.wait()
        return
    with processes.main_first():
        crops = TrainingData(plan).crops()
    torch.manual_seed(0)
    model, settings = MuPDVAE(), plan.vae
    run = AutoencoderRun(plan.work / "vae", plan.out / "vae", settings.batch_size)
    train_vae(model, crops, settings, run)
    if settings.finish_steps and not all_were_stopped():
        run = AutoencoderRun(plan.work / "vae-finish", plan.out / "vae", settings.batch_size)
        finish_decoder(model, crops, settings, run, steps=settings.finish_steps, noise=settings.finish_noise)


def _check_sources(plan: Plan, sources: dict[Target, BatchSource]) -> None:
    """Refuse data without any target that is trained at every step."""
    if not any(plan.targets()[target].every == 1 for target in sources):
        expected = "data for a target that is trained at every step"
        fault = Fault("[trunk.targets]", f"data for {sorted(sources)}", expected)
        raise InputFaults(f"training configuration of {plan.name}", [fault])


def _losses(
    plan: Plan, model: MuPDTransformer, vae: Autoencoder, records: RecordCodec, sources: dict[Target, BatchSource]
) -> tuple[dict[Target, TargetLoss], Alignment | None]:
    """The loss of each target that has data, and the alignment of H&E features."""
    targets, alignment = plan.targets(), None
    losses: dict[Target, TargetLoss] = {}
    if "he" in sources:
        if plan.trunk.align is not None:
            alignment = Alignment(load_encoder(plan.trunk.align.encoder), plan.trunk.align, model.config["width"])
        losses["he"] = he_loss(model, vae, sources["he"], targets["he"], alignment)
    if "rna" in sources:
        losses["rna"] = rna_loss(model, sources["rna"], targets["rna"])
    if "text" in sources:
        losses["text"] = record_loss(model, sources["text"], records, targets["text"])
    return losses, alignment


def _trunk(plan: Plan) -> None:
    from mupd.training.preview import WINDOWS, preview_grid
    from mupd.training.warm_start import start_from

    records = RecordCodec(RecordCodec.from_pretrained(plan.out).fields)
    tiles = TileEncoder.from_pretrained(plan.out / "tile_encoder")
    vae = MuPDPipeline(plan.out, str(processes.device())).vae
    torch.manual_seed(0)
    model = MuPDTransformer(
        {"text": TEXT_DIM, "pathways": plan.scorer.dim, "rna": plan.codec.dim + 1, "he": tiles.dim},
        he_channels=vae.latent_channels,
        rna_dim=plan.codec.dim,
        text_dim=records.dim,
        text_tokens=len(records.fields),
        **plan.network(),
    )
    data, targets = TrainingData(plan), plan.targets()
    with processes.main_first():
        texts = data.texts()
        sources = data.sources(list(targets), tiles, texts, records)
        examples = data.examples(sources, WINDOWS)
        if processes.is_main():
            texts.save()
    _check_sources(plan, sources)
    losses, alignment = _losses(plan, model, vae, records, sources)
    work = plan.work / "trunk"
    if plan.start is not None:
        start_from(model, plan.start, work / "start.json" if processes.is_main() else None)

    def show(step: int) -> None:
        if examples is not None:
            preview_grid(model, vae, examples, work, step)

    ema = train_trunk(model, losses, targets, plan.trunk, work, show, alignment)
    save_averaged(model, ema, plan.out / "transformer")


def _calibrate(plan: Plan) -> None:
    from mupd.training.calibrate.run import calibrate
    from mupd.training.describe import write_description

    write_description(plan)
    if not plan.public:
        print("mupd train: no public data: the record's probabilities are not calibrated")
        return
    calibrate(plan, MuPDPipeline.from_pretrained(plan.out))


def run_training(config: Path, part: str) -> None:
    """Train one part or, with ``all``, every part in order.

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
    check_part(part, PARTS)
    plan = load_plan(config)
    align, depth = plan.trunk.align, plan.network()["depth"]
    if align is not None and isinstance(depth, int) and align.block >= depth:
        fault = Fault("[trunk.align.block]", str(align.block), f"0 to {depth - 1}")
        raise InputFaults(f"training configuration {config}", [fault])
    torch.set_num_threads(plan.threads)
    parts = (
        Part("codecs", lambda: _codecs(plan), alone=True),
        Part("vae", lambda: _vae(plan)),
        Part("trunk", lambda: _trunk(plan)),
        Part("calibrate", lambda: _calibrate(plan), alone=True),
    )
    run_parts(parts, part)
