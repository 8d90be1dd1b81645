"""What the parts of a training see: their batches, losses and starts; and the parts one after the other."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from mupd.errors import ModelError
from mupd.model.conditions import CaseVectors
from mupd.model.encoders import TEXT_DIM
from mupd.model.pipeline import MuPDPipeline
from mupd.model.record_codec import RecordCodec
from mupd.model.regions import RegionSampling
from mupd.model.vae import MuPDVAE
from mupd.reports.record.fields import FIELDS
from mupd.training.augment import bag
from mupd.training.autoencoder import AutoencoderRun, finish_decoder, train_vae
from mupd.training.crops import PublicCrops
from mupd.training.describe import write_description
from mupd.training.logs import read_log
from mupd.training.plan import load_plan
from mupd.training.public.he_batches import HeBatches, TileMix
from mupd.training.public.pairs import LabelledSpots, Patient, SpotSet, TileClass
from mupd.training.public.splits import split_of
from mupd.training.public.spots import Spots
from mupd.training.public.vector_batches import RecordBatches, RnaBatches
from mupd.training.run import run_training
from mupd.training.settings import LoopSettings, TargetSettings
from mupd.training.tokens import padded
from mupd.training.trunk import he_loss, interpolate, joint_loss, logit_normal, record_loss, rna_loss, train_trunk
from mupd.training.warm_start import start_from
from tests.fixtures.basic import he_pixels
from tests.fixtures.paths import REPOSITORY
from tests.fixtures.public_data import SECTIONS, write_public_data, write_training
from tests.fixtures.tiny_model import (
    GENE_SETS,
    LATENT_CHANNELS,
    RNA_DIM,
    STREAMS,
    TILE_COMPONENTS,
    randomise,
    tiny_transformer,
    tiny_vae,
)

pytestmark = pytest.mark.usefixtures("shared_backbone")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return write_public_data(tmp_path_factory.mktemp("public"))


def rows_of(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def spots_of(n: int = 12) -> Spots:
    components = rows_of(n, RNA_DIM)
    xy = np.random.default_rng(0).uniform(160, 320, (n, 2))
    conditions = np.pad(components, ((0, 0), (0, 1)))
    return Spots("T1", he_pixels(640, 480), xy, components, conditions, rows_of(n, len(GENE_SETS)))


class StubText:
    """Stands for the text encoder: a vector by the text's length."""

    def __call__(self, text: str) -> Any:
        return np.full((1, TEXT_DIM), len(text) / 100, np.float32)


def he_source(tiles: Path | None = None) -> HeBatches:
    return HeBatches([spots_of()], StubText(), None if tiles is None else TileMix(tiles, 0.25, "classes", {}))


def rna_source() -> RnaBatches:
    spots, people, _, _ = vector_data()
    return RnaBatches(spots, people, [np.zeros((1, TEXT_DIM), np.float32)])


def record_source() -> RecordBatches:
    return RecordBatches(RecordCodec(FIELDS), *vector_data())


def vector_data() -> tuple[list[SpotSet], list[Patient], list[TileClass], list[LabelledSpots]]:
    sets = len(GENE_SETS)
    features = [rows_of(9, TILE_COMPONENTS, seed=turn) for turn in range(2)]
    spots = [SpotSet("T1", features, rows_of(9, RNA_DIM), rows_of(9, RNA_DIM + 1), rows_of(9, sets))]
    condition = rows_of(RNA_DIM + 1)
    condition[-1] = 1
    record = {"organ": "stomach", "grade": "G2"}
    texts = [rows_of(3, TEXT_DIM), rows_of(1, TEXT_DIM)]
    people = [Patient("P1", rows_of(RNA_DIM), condition, rows_of(sets), rows_of(5), record, texts=texts)]
    classes = [
        TileClass("g1", rows_of(20, TILE_COMPONENTS), {"organ": "lung", "diagnosis": "lung adenocarcinoma"}),
        TileClass("g2", rows_of(5, TILE_COMPONENTS), {"organ": "bone"}),
    ]
    labelled = [LabelledSpots("A1", rows_of(4, RNA_DIM + 1), rows_of(4, sets), ["adipose tissue"] * 4)]
    return spots, people, classes, labelled


def test_windows_of_he(data: dict[str, str]) -> None:
    source = he_source(Path(data["tiles"]))
    batch = source.batch(64, np.random.default_rng(0))
    images, conditions, extra = batch.clean, batch.conditions, batch.extra
    assert images.shape == (64, 3, 128, 128)
    assert images.min() >= -1
    assert images.max() <= 1
    assert extra.shape == (64, 2)
    for name in ("rna", "pathways", "text"):
        mask = conditions[name][1]
        assert 0 < mask.sum() < 64, name  # some have it, some do not
    rna, pathways = (conditions[name][1][:, 0] for name in ("rna", "pathways"))
    assert (rna & pathways).any()
    assert (rna ^ pathways).any()  # each is left out without the other, too
    again = source.batch(64, np.random.default_rng(0))
    assert torch.equal(images, again.clean)
    # Of the tiles, those of the source that may not be trained on and of held-out groups are not there.
    assert len(source.images) == 9


def test_rna_of_spots_and_patients() -> None:
    batch = rna_source().batch(64, np.random.default_rng(0))
    clean, conditions, extra = batch.clean, batch.conditions, batch.extra
    assert clean.shape == (64, RNA_DIM)
    bulk = extra[:, 0] == 1
    assert 0 < bulk.sum() < 64
    # A patient's profile is bulk and has no tiles; most spots have theirs.
    assert not conditions["he"][1][bulk].any()
    assert conditions["he"][1][~bulk].any(1).float().mean() > 0.5


def test_records_of_tiles_patients_and_spots() -> None:
    source = record_source()
    batch = source.batch(256, np.random.default_rng(0))
    clean, known, conditions = batch.clean, batch.known, batch.conditions
    codec = source.codec
    assert clean.shape == (256, len(FIELDS), codec.block)
    assert torch.equal(clean.sum(-1) == 1, known)
    he, rna, pathways = (conditions[name][1].any(1) for name in ("he", "rna", "pathways"))
    assert (he | rna | pathways).all()  # nothing is trained on nothing
    assert (he & rna).any()
    assert (rna & ~pathways).any()
    assert (pathways & ~rna).any()
    stomach = clean[:, list(FIELDS).index("organ"), FIELDS["organ"].index("stomach")] == 1
    assert stomach.any()
    assert not he[stomach].any()
    given_rna = conditions["rna"][1][:, 0] & stomach
    assert (conditions["rna"][0][given_rna, 0, -1] == 1).all()  # bulk, exactly, whatever noise is added


@given(st.integers(1, 30), st.integers(1, 12), st.integers(0, 99))
def test_bags_of_tiles(count: int, most: int, seed: int) -> None:
    rows = np.arange(count, dtype=np.float32)[:, None]
    chosen = bag(rows, most, np.random.default_rng(seed))
    assert 1 <= len(chosen) <= min(most, count)
    assert len(np.unique(chosen)) == len(chosen)


def test_padding() -> None:
    tokens, mask = padded([np.ones((2, 3), np.float32), None, np.ones((1, 3), np.float32)], 3)
    assert tokens.shape == (3, 2, 3)
    assert mask.tolist() == [[True, True], [False, False], [True, False]]
    assert not tokens[~mask].any()
    assert padded([None, None], 5)[0].shape == (2, 1, 5)


def test_the_interpolant() -> None:
    """x(t) + (1 - t) v is the data, x(t) - t v the noise."""
    generator = torch.Generator().manual_seed(0)
    clean, t = torch.randn((5, 4, 3), generator=generator), torch.rand(5, generator=generator)
    x, velocity = interpolate(clean, t, torch.Generator().manual_seed(1))
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
    t = t[:, None, None]
    torch.testing.assert_close(x + (1 - t) * velocity, clean)
    torch.testing.assert_close(x - t * velocity, noise, atol=1e-5, rtol=1e-4)
    times = logit_normal(20_000, generator)
    assert 0 < times.min() < times.max() < 1
    assert times.mean() == pytest.approx(0.5, abs=0.01)
    assert times.std() == pytest.approx(0.208, abs=0.01)  # of the logistic function of a normal number
    assert logit_normal(20_000, generator, mean=-0.5).mean() < 0.42


def generators() -> tuple[np.random.Generator, torch.Generator]:
    return np.random.default_rng(0), torch.Generator().manual_seed(0)


def test_a_perfect_model_has_no_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """The losses ask for the velocity of the very noise that was added, and for nothing of unknown fields."""
    model = tiny_transformer()
    settings = TargetSettings(batch_size=6)
    kept: dict[str, Tensor] = {}

    def remember(clean: Tensor, t: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        x, velocity = interpolate(clean, t, generator)
        kept["velocity"] = velocity
        return x, velocity

    monkeypatch.setattr("mupd.training.trunk.interpolate", remember)
    monkeypatch.setattr(model, "forward", lambda *_, **__: kept["velocity"])
    assert he_loss(model, tiny_vae(), he_source(), settings)(*generators()) == 0
    assert rna_loss(model, rna_source(), settings)(*generators()) == 0
    source = record_source()
    batch = source.batch(6, np.random.default_rng(0))
    clean, known = batch.clean, batch.known
    logits = torch.where(known[:, :, None], 50 * clean, 10 * torch.randn(clean.shape)).flatten(1)
    monkeypatch.setattr(model, "forward", lambda *_, **__: logits)
    assert record_loss(model, source, source.codec, settings)(*generators()) == pytest.approx(0, abs=1e-4)
    monkeypatch.setattr(model, "forward", lambda *_, **__: -logits)
    assert record_loss(model, source, source.codec, settings)(*generators()) > 10


def test_targets_take_turns_and_have_weights() -> None:
    asked: list[tuple[int, str]] = []

    def loss(name: str, value: float) -> Any:
        def of_step(rng: np.random.Generator, generator: torch.Generator) -> Tensor:
            asked.append((step, name))
            return torch.tensor(value)

        return of_step

    settings = {"he": TargetSettings(1), "text": TargetSettings(1, every=3, weight=10.0)}
    of_step = joint_loss({"he": loss("he", 1.0), "text": loss("text", 2.0)}, settings, seed=0)  # type: ignore[dict-item]
    found = []
    for step in range(4):
        found.append({name: value.item() for name, value in of_step(step, torch.Generator()).items()})
    assert found == [{"he": 1, "text": 20}, {"he": 1}, {"he": 1}, {"he": 1, "text": 20}]
    assert asked == [(0, "he"), (0, "text"), (1, "he"), (2, "he"), (3, "he"), (3, "text")]
    rare = joint_loss({"text": loss("text", 2.0)}, {"text": TargetSettings(1, every=3)}, seed=0)
    with pytest.raises(ValueError, match="found none for step 1"):
        rare(1, torch.Generator())


def test_the_trunk_learns_all_targets_together(tmp_path: Path) -> None:
    model = tiny_transformer()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    targets = {
        "he": TargetSettings(batch_size=4),
        "rna": TargetSettings(batch_size=32, dropout=0.1),
        "text": TargetSettings(batch_size=32, every=2),
    }
    losses = {
        "he": he_loss(model, tiny_vae(), he_source(), targets["he"]),
        "rna": rna_loss(model, rna_source(), targets["rna"]),
        "text": record_loss(model, record_source(), RecordCodec(FIELDS), targets["text"]),
    }
    start = {name: loss(*generators()).item() for name, loss in losses.items()}
    settings = LoopSettings(steps=16, learning_rate=0.02, warmup_steps=2, ema=0.7, checkpoint_every=16, log_every=8)
    ema = train_trunk(model, losses, targets, settings, tmp_path)  # type: ignore[arg-type]
    assert all(torch.isfinite(value).all() for value in ema.values())
    model.load_state_dict(ema)
    model.eval()
    assert any(not torch.equal(value, before[key]) for key, value in ema.items())
    for name, loss in losses.items():
        assert loss(*generators()).item() < 0.97 * start[name], name


def test_starting_from_another_model(tmp_path: Path) -> None:
    given = tiny_transformer(seed=3)
    given.save_pretrained(tmp_path / "given")
    # One more layer, another length of the record: what fits is taken, what does not is told.
    model = tiny_transformer(seed=4, depth=3, text_dim=RecordCodec(FIELDS).dim * 2)
    untouched = model.stem_text.first.weight.clone()
    report = tmp_path / "start.json"
    found = start_from(model, tmp_path / "given", report)
    assert json.loads(report.read_text()) == found
    assert set(found["unused"]) == {"stem_text.first.weight", "stem_text.last.weight", "stem_text.last.bias"}
    assert set(found["unused"]) < set(found["new"])
    assert all(name in found["unused"] or name.startswith("blocks.2.") for name in found["new"])
    assert torch.equal(model.blocks[1].feed_in.weight, given.blocks[1].feed_in.weight)
    assert torch.equal(model.stem_text.first.weight, untouched)
    with pytest.raises(ModelError, match="cannot be read as safetensors"):
        start_from(model, tmp_path)
    tiny_vae().save_pretrained(tmp_path / "vae")
    with pytest.raises(ModelError, match="found no tensor that fits"):
        start_from(model, tmp_path / "vae")


def test_crops_for_the_autoencoder(data: dict[str, str]) -> None:
    sampler = PublicCrops(Path(data["her2st"]), ["B4"], Path(data["tiles"]), 0.5)
    crops = sampler.batch(12, np.random.default_rng(0)).clean
    assert crops.shape == (12, 3, 128, 128)
    assert -1 <= crops.min() < 0 < crops.max() <= 1
    assert torch.equal(crops, sampler.batch(12, np.random.default_rng(0)).clean)
    assert len(sampler.tiles) == 9  # held-out groups are not seen by the autoencoder either


def test_the_autoencoder_trains_and_its_decoder_is_finished(data: dict[str, str], tmp_path: Path) -> None:
    sampler = PublicCrops(Path(data["her2st"]), ["B4"], None, 0.25)
    settings = LoopSettings(steps=4, checkpoint_every=2, log_every=1, warmup_steps=1)
    model, out = tiny_vae(), tmp_path / "out" / "vae"
    train_vae(model, sampler, settings, AutoencoderRun(tmp_path / "work", out, 2))
    trained = load_file(out / "diffusion_pytorch_model.safetensors")
    assert (tmp_path / "work" / "preview.png").stat().st_size > 1000
    assert json.loads((tmp_path / "work" / "preview.json").read_text())["step"] == 4
    finish_decoder(model, sampler, settings, AutoencoderRun(tmp_path / "finish", out, 2), steps=3, noise=0.1)
    finished = load_file(out / "diffusion_pytorch_model.safetensors")
    changed = {key.split(".")[0] for key, value in finished.items() if not torch.equal(value, trained[key])}
    assert changed == {"decoder"}
    vae = MuPDVAE.from_pretrained(out)
    assert vae.config["latent_channels"] == LATENT_CHANNELS
    assert vae.encode(sampler.batch(1, np.random.default_rng(0)).clean).shape == (1, LATENT_CHANNELS, 16, 16)


@pytest.fixture(scope="module")
def trained(data: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Configuration of a training whose parts but the last have run."""
    config = write_training(tmp_path_factory.mktemp("trained"), data)
    for part in ("codecs", "vae", "trunk"):
        run_training(config, part)
    write_description(load_plan(config))
    return config


def drawn_slide(pipeline: MuPDPipeline, given: CaseVectors, steps: int = 2) -> Any:
    """A slide of 128 px."""
    written: list[Any] = []
    sampling = RegionSampling(steps, 2)
    pipeline.generate_he(
        given, (128, 128), lambda y, x, pixels: written.append(pixels), seed=1, guidance={}, sampling=sampling
    )
    assert written[0].shape == (128, 128, 3)
    return written[0]


def runs_in_all_directions(pipeline: MuPDPipeline) -> None:
    text = pipeline.text_encoder("Invasive breast carcinoma.")
    tiles = pipeline.tile_encoder(np.stack([he_pixels(224, 224, seed) for seed in range(2)]))
    rna = rows_of(1, pipeline.rna_codec.dim + 1)
    for target in (
        CaseVectors(tiles=tiles),
        CaseVectors(text=text),
        CaseVectors(tiles=tiles, text=text),
    ):
        assert np.isfinite(pipeline.generate_rna(target, seed=1, steps=2).values).all()
    for target in (CaseVectors(tiles=tiles), CaseVectors(rna=rna), CaseVectors(tiles=tiles, rna=rna)):
        record, _ = pipeline.generate_record(target, seed=1, steps=2)
        assert list(record) == list(FIELDS)
    for target in (CaseVectors(rna=rna), CaseVectors(text=text), CaseVectors(rna=rna, text=text)):
        drawn_slide(pipeline, target)


def test_parts_make_a_model_that_runs_in_all_directions(trained: Path) -> None:
    plan = load_plan(trained)
    pipeline = MuPDPipeline.from_pretrained(plan.out)
    assert pipeline.model_id == "tiny-trained"
    assert pipeline.rna_codec.dim == 8
    assert pipeline.tile_encoder.dim == 8
    assert pipeline.pathway_scorer.names == list(GENE_SETS)
    assert pipeline.transformer.config["streams"] == {"text": TEXT_DIM, "pathways": 4, "rna": 9, "he": 8}
    runs_in_all_directions(pipeline)
    assert sorted(plan.codec.panels) == ["bulk", "spot"]
    assert (plan.work / "trunk" / "preview.png").stat().st_size > 1000


def test_held_out_data_reach_no_codec(trained: Path, data: dict[str, str], tmp_path: Path) -> None:
    """Codecs are the same, bit for bit, whatever the held-out patients, tiles and section hold."""
    import pandas as pd

    copy = {name: str(shutil.copytree(path, tmp_path / name)) for name, path in data.items()}
    changed = 0
    for path in Path(copy["tcga"]).glob("*_log2tpm.csv.gz"):
        table = pd.read_csv(path, index_col=0)
        held = [split_of(str(case)) == "held_out" for case in table.index]
        changed += sum(held)
        table[held] = 1.0
        table.to_csv(path)
    assert changed > 0
    held_out_section = Path(copy["her2st"]) / "counts" / f"{SECTIONS[1]}.tsv.gz"
    table = pd.read_csv(held_out_section, sep="\t", index_col=0)
    (table * 7 + 1).to_csv(held_out_section, sep="\t")
    run_training(write_training(tmp_path, copy), "codecs")
    plan = load_plan(trained)
    for name in ("rna_codec/codec.safetensors", "pathways/scores.safetensors", "tile_encoder/projection.safetensors"):
        assert (plan.out / name).read_bytes() == (tmp_path / "out" / name).read_bytes(), name


def test_a_random_trunk_is_what_training_starts_from() -> None:
    """The last layers begin at zero: an untrained trunk predicts no velocity at all."""
    from mupd.model.transformer import MuPDTransformer

    model = MuPDTransformer(STREAMS, width=32, depth=1, stem_width=8, stem_blocks=1, he_channels=4, rna_dim=8)
    x = torch.ones(1, 4, 4, 4)
    assert not model(x, torch.tensor([0.5]), "he", model.context({}, 1), torch.zeros(1, 2)).any()
    randomise(model, 0)
    assert model(x, torch.tensor([0.5]), "he", model.context({}, 1), torch.zeros(1, 2)).any()


@pytest.mark.slow
def test_a_tiny_model_from_scratch_in_minutes(data: dict[str, str], tmp_path: Path) -> None:
    """With the settings of config/train/tiny.yaml, on pictures that are none of real tissue."""
    import yaml

    values = yaml.safe_load((REPOSITORY / "config" / "train" / "tiny.yaml").read_text())
    sizes = {key: values[key] for key in ("rna_components", "tile_components", "vae", "trunk", "threads")}
    config = write_training(tmp_path, data, **sizes)
    started = time.monotonic()
    for part in ("codecs", "vae", "trunk"):
        run_training(config, part)
    write_description(load_plan(config))
    minutes = (time.monotonic() - started) / 60
    print(f"trained in {minutes:.1f} minutes")
    work = tmp_path / "work"
    vae = [line["loss"] for line in read_log(work / "vae" / "log.jsonl")]
    assert vae[-1] < 0.6 * vae[0]
    lines = read_log(work / "trunk" / "log.jsonl")
    for name, most in (("loss_he", 0.9), ("loss_rna", 1.0), ("loss_text", 0.8)):
        first, last = (np.mean([line[name] for line in part]) for part in (lines[:3], lines[-3:]))
        assert last < most * first, name
    pipeline = MuPDPipeline.from_pretrained(tmp_path / "out")
    runs_in_all_directions(pipeline)
    # Drawn slides have the colours of the pictures trained on: pink and purple, not grey noise.
    drawn = drawn_slide(pipeline, CaseVectors(text=pipeline.text_encoder("Invasive breast carcinoma.")), steps=10)
    red, green, blue = drawn.reshape(-1, 3).mean(0)
    assert green < red
    assert green < blue
