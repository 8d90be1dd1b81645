"""Alignment of the trunk's features to a frozen encoder's."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from mupd.errors import ModelError
from mupd.training.align import Alignment, PatchEncoder, Projector, load_encoder
from mupd.training.batches import Batch
from mupd.training.settings import AlignSettings, LoopSettings, TargetSettings
from mupd.training.trunk import he_loss, train_trunk
from tests.fixtures.tiny_model import tiny_transformer, tiny_vae

DIM, SIDE = 24, 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random vision transformer, saved as transformers saves one."""
    from transformers import ViTConfig, ViTImageProcessor, ViTModel

    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=DIM, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=SIDE, patch_size=8
    )
    path = tmp_path_factory.mktemp("vit")
    ViTModel(config, add_pooling_layer=False).save_pretrained(path)
    ViTImageProcessor(image_mean=[0.7, 0.6, 0.7], image_std=[0.2, 0.2, 0.2]).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def encoder(folder: Path) -> PatchEncoder:
    return load_encoder(str(folder))


def images(count: int = 4) -> Tensor:
    return torch.rand((count, 3, 128, 128), generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_features_of_a_transformers_folder(folder: Path, encoder: PatchEncoder) -> None:
    from transformers import ViTModel

    cls, patches = encoder(images())
    assert cls.shape == (4, DIM)
    assert patches.shape == (4, DIM, 4, 4)
    assert not any(p.requires_grad for p in encoder.network.parameters())
    # By hand, of a picture that already has the encoder's size.
    small = images()[:, :, :SIDE, :SIDE]
    mean, sd = torch.tensor([0.7, 0.6, 0.7])[:, None, None], torch.tensor([0.2, 0.2, 0.2])[:, None, None]
    network = ViTModel.from_pretrained(folder, add_pooling_layer=False).eval()
    with torch.no_grad():
        hidden = network(pixel_values=((small + 1) / 2 - mean) / sd).last_hidden_state
    cls, patches = encoder(small)
    torch.testing.assert_close(cls, hidden[:, 0], atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(patches[:, :, 1, 2], hidden[:, 1 + 4 + 2], atol=1e-4, rtol=1e-3)


def test_a_timm_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    class Network(nn.Module):
        num_features, num_prefix_tokens = 6, 2
        default_cfg: ClassVar = {"input_size": (3, 16, 16), "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}

        def forward_features(self, pixels: Tensor) -> Tensor:
            assert pixels.shape[2:] == (16, 16)
            return torch.arange(2.0 + 9)[None, :, None].expand(len(pixels), -1, 6)

    asked: list[Any] = []
    module = types.ModuleType("timm")
    module.create_model = lambda name, **how: asked.append((name, how)) or Network()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "timm", module)
    found = load_encoder("timm:some_vit")
    assert asked == [("some_vit", {"pretrained": True, "num_classes": 0})]
    cls, patches = found(images())
    assert (cls == 0).all()
    # The first of two prefix tokens is CLS; the other is left out.
    assert patches[0, 0].tolist() == [[2, 3, 4], [5, 6, 7], [8, 9, 10]]
    Network.num_prefix_tokens = 0
    with pytest.raises(ModelError, match="found no CLS token"):
        load_encoder("timm:some_convnet")
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ModelError, match="timm is not installed"):
        load_encoder("timm:some_vit")


def test_what_is_no_encoder(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="expected a transformers folder"):
        load_encoder(str(tmp_path))
    from transformers import BertConfig, BertModel

    config = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, vocab_size=9)
    BertModel(config).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="found a bert; expected a vision transformer"):
        load_encoder(str(tmp_path))


def test_aligned_features_have_no_loss(encoder: PatchEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = AlignSettings("x", 0, weight=2.0, cls_weight=3.0)
    alignment = Alignment(encoder, settings, 32)
    tokens, t = torch.randn(4, 64, 32, generator=torch.Generator().manual_seed(1)), torch.tensor([0.1, 0.4, 0.6, 0.9])
    cls, patches = encoder(images())
    clean = alignment.projector.cls_norm(cls)
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(5))
    grid = nn.functional.interpolate(patches, size=(8, 8), mode="area")

    def loss() -> float:
        return alignment.loss(images(), tokens, (8, 8), t, torch.Generator().manual_seed(5)).item()

    before = loss()
    monkeypatch.setattr(Projector, "forward", lambda *_: 7 * grid)  # the direction counts, not the length
    without = loss()
    monkeypatch.setattr(Projector, "cls_velocity", lambda *_: clean - noise)
    assert loss() == pytest.approx(0, abs=1e-5)
    assert before > without > 0
    monkeypatch.setattr(Projector, "forward", lambda *_: -grid)
    assert loss() == pytest.approx(2 * settings.weight, abs=1e-4)


class Windows:
    """One batch of windows, again and again."""

    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        return Batch(images(size), {}, torch.zeros(size, 2))


def test_training_draws_the_trunks_features_to_the_encoders(encoder: PatchEncoder, tmp_path: Path) -> None:
    model, vae = tiny_transformer(), tiny_vae()
    settings = AlignSettings("x", 1, weight=1.0, cls_weight=0.1)
    alignment = Alignment(encoder, settings, 32)
    targets = {"he": TargetSettings(batch_size=4)}
    loss = he_loss(model, vae, Windows(), targets["he"], alignment)
    apart = he_loss(model, vae, Windows(), targets["he"])

    def share() -> float:
        how = [(np.random.default_rng(0), torch.Generator().manual_seed(0)) for _ in range(2)]
        return (loss(*how[0]) - apart(*how[1])).item()

    before, names = share(), set(model.state_dict())
    frozen = {name: value.clone() for name, value in encoder.network.state_dict().items()}
    how = LoopSettings(steps=40, learning_rate=0.01, warmup_steps=3, ema=0.9, checkpoint_every=20)
    seen: list[set[str]] = []
    ema = train_trunk(
        model,
        {"he": loss},
        targets,
        how,
        tmp_path,
        lambda _: seen.append(set(model.state_dict())),
        alignment,  # type: ignore[dict-item]
    )
    assert share() < 0.8 * before
    # The model has no more parameters than without alignment, the checkpoint keeps the projector's, the encoder's none.
    assert set(ema) == names
    assert seen == [names, names]
    stored = {key.split(".")[1] for key in load_file(tmp_path / "checkpoint.safetensors") if key.startswith("model.")}
    assert stored == {"trunk", "projector"}
    assert all(torch.equal(value, frozen[name]) for name, value in encoder.network.state_dict().items())
