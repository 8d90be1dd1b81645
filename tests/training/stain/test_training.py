"""Training of a virtual stainer through `mupd train`: both stains, resumption, figures that can fail."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from typer.testing import CliRunner

from mupd.cli import app
from mupd.errors import InputFaults
from mupd.model.attention import Context
from mupd.model.regions import he_extra
from mupd.model.stainer import MuPDStainer
from mupd.training.stain.losses import Autoencoders, stain_trunk_loss
from mupd.training.stain.measure import field_values, interval, patch_values, pearson, score, ssim
from mupd.training.stain.plan import StainPlan, StainTrunkSettings
from mupd.training.stain.run import run_stain_training
from tests.fixtures.paths import REPOSITORY
from tests.fixtures.settings_keys import keys_of
from tests.fixtures.stain_pairs import made_pair, write_pairs, write_stain_config
from tests.fixtures.tiny_stainer import tiny_stain_trunk, tiny_vae

SIDE = 144
DOCS = REPOSITORY / "docs" / "staining.md"


def small(preset: str) -> dict[str, object]:
    return {"width": 32, "depth": 1, "heads": 2, "stem_width": 16, "stem_blocks": 1}


@pytest.fixture(autouse=True)
def small_trunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mupd.training.stain.run.preset", small)
    monkeypatch.setattr("mupd.training.stain.measure.STEPS", 2)


def config(folder: Path, stain: str = "mif", **sections: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    tiny_vae(3, 0).save_pretrained(folder / "he_vae")
    table = write_pairs(folder / "data", 4, SIDE, stain)
    return write_stain_config(folder, table, folder / "he_vae", stain=stain, **sections)


@pytest.mark.parametrize("stain", ["mif", "ihc"])
def test_mupd_train_makes_a_stainer(tmp_path: Path, stain: str) -> None:
    found = CliRunner().invoke(app, ["train", str(config(tmp_path, stain))])
    assert found.exit_code == 0, found.output
    assert "held out" in found.output
    stainer = MuPDStainer.from_pretrained(tmp_path / "out")
    channels = 2 if stain == "mif" else 3
    picture = stainer.stain_windows(made_pair(128, 9)["he"][None], seed=0, steps=2)
    assert picture.shape == (1, 128, 128, channels)
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["model"] == stainer.sha256[:12]
    assert set(metrics["scores"]) == {"one draw", "mean of 4 draws", "one step"}
    assert (tmp_path / "work" / "trunk" / "preview.png").exists()
    card = (tmp_path / "out" / "README.md").read_text()
    assert "synthetic and for research alone" in card
    assert not [name for name in card.split() if name.startswith("P0")]


def weights(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "out" / "transformer" / "diffusion_pytorch_model.safetensors")


def test_a_training_that_was_stopped_goes_on_as_one_that_was_not(tmp_path: Path) -> None:
    whole = config(tmp_path / "whole")
    for part in ("pairs", "vae", "trunk"):
        run_stain_training(whole, part)
    parts = config(tmp_path / "parts", trunk={"steps": 4, "batch_size": 2, "warmup_steps": 1, "checkpoint_every": 2})
    for part in ("pairs", "vae"):
        run_stain_training(parts, part)
    from mupd.training.stain import run as stain_run

    class Stopped(Exception):
        pass

    kept = stain_run.preview

    def stop(*_: object) -> None:
        raise Stopped

    stain_run.preview = stop  # type: ignore[assignment]
    try:
        with pytest.raises(Stopped):
            run_stain_training(parts, "trunk")
    finally:
        stain_run.preview = kept
    assert json.loads((tmp_path / "parts" / "work" / "trunk" / "progress.json").read_text())["step"] == 2
    run_stain_training(parts, "trunk")
    one, two = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    for name, value in one.items():
        torch.testing.assert_close(two[name], value)


def test_training_starts_from_another_trunk(tmp_path: Path) -> None:
    other = tiny_stain_trunk(aligned_channels=0)
    other.save_pretrained(tmp_path / "other")
    path = config(tmp_path, start=str(tmp_path / "other"))
    for part in ("pairs", "vae", "trunk"):
        run_stain_training(path, part)
    report = json.loads((tmp_path / "work" / "trunk" / "start.json").read_text())
    assert "stem_he.aligned.weight" in report["new"]
    assert "stem_he.first.weight" in report["taken"]


def test_parts_are_named_and_need_each_other(tmp_path: Path) -> None:
    path = config(tmp_path)
    with pytest.raises(InputFaults, match="all or one of pairs, vae, trunk, metrics"):
        run_stain_training(path, "codecs")
    with pytest.raises(InputFaults, match="the part pairs to be run first"):
        run_stain_training(path, "vae")


@pytest.mark.slow
def test_a_stainer_learns_where_nuclei_are(tmp_path: Path) -> None:
    """Beside what it reads, on a group it has never seen; with H&E of other fields it finds nothing."""
    path = config(
        tmp_path,
        vae={"steps": 400, "batch_size": 4, "ema": 0.98, "width": 32, "latent_channels": 4, "learning_rate": 0.002},
        trunk={"steps": 600, "batch_size": 4, "ema": 0.98, "learning_rate": 0.002},
    )
    run_stain_training(path, "all")
    stainer = MuPDStainer.from_pretrained(tmp_path / "out")
    pairs = [made_pair(128, 100 + n) for n in range(4)]
    found = stainer.stain_windows(np.stack([pair["he"] for pair in pairs]), seed=0, steps=1)
    own = [pearson(found[n, ..., 0], pairs[n]["DAPI"]) for n in range(4)]
    other = [pearson(found[n, ..., 0], pairs[n - 1]["DAPI"]) for n in range(4)]
    assert np.mean(own) > 0.4
    assert abs(np.mean(other)) < 0.15


def test_at_noise_the_loss_is_least_for_the_expectation() -> None:
    """At t = 0 the best velocity is the mean of the latents less the noise: one step of Euler reads that mean."""
    he_vae, stain_vae, model = tiny_vae(3, 0), tiny_vae(2, 1), tiny_stain_trunk()

    class Same:
        def pair_batch(self, size: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
            return torch.zeros(size, 3, 128, 128), torch.full((size, 2, 128, 128), 0.3)

    seen: list[Tensor] = []
    forward = model.forward

    def spy(x: Tensor, t: Tensor, *args: object, **kwargs: object) -> Tensor:
        seen.append(t)
        return forward(x, t, *args, **kwargs)

    model.forward = spy  # type: ignore[method-assign]
    settings = StainTrunkSettings(batch_size=64, at_noise=0.5)
    loss = stain_trunk_loss(model, Autoencoders(he_vae, stain_vae), Same(), settings, 0.5)
    loss(0, torch.Generator().manual_seed(0)).backward()
    share = float((seen[0] == 0).float().mean())
    assert 0.3 < share < 0.7
    assert model.stem_he.aligned is not None
    assert model.stem_he.aligned.weight.grad is not None
    assert float(model.stem_he.aligned.weight.grad.abs().max()) > 0
    assert he_vae.encoder[1].weight.grad is None
    x = torch.zeros(1, 4, 16, 16)
    context = Context(1, {})
    assert forward(x, torch.zeros(1), "he", context, he_extra(0.5)[None], aligned=x).shape == x.shape


def test_figures_of_perfect_flat_and_wrong_stains() -> None:
    rng = np.random.default_rng(0)
    real = [rng.uniform(0, 255, (32, 32, 2)).astype(np.float32) for _ in range(4)]
    real[3][..., 1] = 0
    groups = ["a", "a", "b", "b"]
    perfect = score(real, real, groups)
    assert perfect["patch"][0] == [1, 1, 1]
    assert perfect["patch"][1][0] == 1  # the flat patch is left out
    assert perfect["ssim"][0][0] == 1
    wrong = score(real, [255 - picture for picture in real], groups)
    assert wrong["field"][0][0] == pytest.approx(-1)
    assert np.isnan(patch_values(real, real)["patch"][3, 1])
    noise = [rng.uniform(0, 255, picture.shape).astype(np.float32) for picture in real]
    assert abs(score(real, noise, groups)["field"][0][0]) < 0.1
    assert ssim(real[0][..., 0], noise[0][..., 0]) < 0.2
    assert pearson(np.zeros(4), np.arange(4.0)) != pearson(np.zeros(4), np.arange(4.0))


def test_a_field_is_correlated_as_a_whole() -> None:
    """Patches that are right on average and wrong inside: nothing at patch level, all at field level."""
    level = [np.full((16, 16, 1), value, np.float32) for value in (10, 100, 200)]
    rng = np.random.default_rng(0)
    real = [picture + rng.normal(0, 1, picture.shape).astype(np.float32) for picture in level]
    found = [picture + rng.normal(0, 1, picture.shape).astype(np.float32) for picture in level]
    assert abs(np.nanmean(patch_values(real, found)["patch"])) < 0.1
    assert field_values(real, found, ["a"] * 3)["a"][0] > 0.99


def test_intervals_come_from_groups() -> None:
    same = interval({"a": np.full((5, 1), 0.5), "b": np.full((1, 1), 0.5)})
    assert same == [[0.5, 0.5, 0.5]]
    mean, low, high = interval({"a": np.zeros((3, 1)), "b": np.ones((1, 1))})[0]
    assert (mean, low, high) == (0.25, 0.0, 1.0)


def test_docs_name_every_key() -> None:
    if not DOCS.exists():
        pytest.fail(f"{DOCS.name} is not there")
    text = DOCS.read_text(encoding="utf-8")

    missing = [key for key in keys_of(StainPlan) if f"`{key}`" not in text]
    assert not missing, f"docs/staining.md does not name {missing}"
