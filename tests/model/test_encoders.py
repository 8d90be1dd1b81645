"""The frozen encoders of texts and tiles, and the autoencoder's own contract."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mupd.model.encoders import TEXT_DIM, TILE_DIM, TILE_PX, TextEncoder, TileEncoder, chunks_of, fit_projection
from mupd.model.vae import reconstruction_loss
from tests.fixtures.tiny_model import LATENT_CHANNELS, TILE_COMPONENTS, tiny_tile_encoder, tiny_vae

texts = st.lists(
    st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=30)
    | st.sampled_from(["pT2.", "G2;", "tumour:", "\n", "Mamma-Ca!", "a" * 200]),
    max_size=60,
).map(" ".join)


@given(texts, st.integers(1, 25))
def test_chunks_drop_no_word_and_keep_their_size(text: str, words: int) -> None:
    chunks = chunks_of(text, words)
    assert " ".join(chunks).split() == text.split()
    assert all(0 < len(chunk.split()) <= words for chunk in chunks)


def test_chunks_end_with_sentences_where_they_can() -> None:
    text = "One two three. Four five.\nSix; seven eight nine ten eleven."
    assert chunks_of(text, 5) == ["One two three. Four five.", "Six;", "seven eight nine ten eleven."]
    assert chunks_of(" \n\t ") == []


@pytest.fixture(scope="module")
def text_encoder() -> TextEncoder:
    return TextEncoder()


@pytest.fixture(scope="module")
def tile_encoder() -> TileEncoder:
    return tiny_tile_encoder()


def test_texts(text_encoder: TextEncoder) -> None:
    short = text_encoder("Invasive breast carcinoma.")
    assert (short.shape, short.dtype) == ((1, TEXT_DIM), np.float32)
    np.testing.assert_allclose(np.linalg.norm(short, axis=1), 1, rtol=1e-4)
    long = text_encoder("Invasive breast carcinoma.\n" + "Margins are free of tumour. " * 60)
    assert long.shape[0] > 1
    near, far = text_encoder("Invasive carcinoma of the breast")[0], text_encoder("The weather is nice today")[0]
    assert short[0] @ near > short[0] @ far + 0.2


def test_a_chunk_depends_on_no_other(text_encoder: TextEncoder) -> None:
    first, second = "alpha beta " * 60, "gamma delta " * 50
    both = text_encoder(f"{first.strip()}. {second.strip()}.")
    assert np.array_equal(both[:1], text_encoder(f"{first.strip()}."))
    assert np.array_equal(both[1:], text_encoder(f"{second.strip()}."))


@pytest.mark.parametrize("text", ["", " \n\t "])
def test_a_text_without_words(text_encoder: TextEncoder, text: str) -> None:
    with pytest.raises(ValueError, match="found no words"):
        text_encoder(text)


def tiles_of(n: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 255, (n, TILE_PX, TILE_PX, 3), dtype=np.uint8)


def test_tiles(tile_encoder: TileEncoder) -> None:
    tiles = tiles_of(3)
    raw = tile_encoder.raw(tiles, batch_size=2)
    assert (raw.shape, raw.dtype) == ((3, TILE_DIM), np.float32)
    assert tile_encoder.dim == TILE_COMPONENTS
    found = tile_encoder(tiles)
    assert (found.shape, found.dtype) == ((3, TILE_COMPONENTS), np.float32)
    np.testing.assert_allclose(found, tile_encoder.project(raw), atol=1e-3)
    # Both scales are read: the rim changes only the second half.
    rim = tiles[:1].copy()
    rim[:, :20] = 0
    changed = tile_encoder.raw(rim)
    half = TILE_DIM // 2
    np.testing.assert_allclose(changed[0, :half], raw[0, :half], atol=1e-4)
    assert np.abs(changed[0, half:] - raw[0, half:]).max() > 1e-3
    assert tile_encoder(tiles[:0]).shape == (0, TILE_COMPONENTS)


@pytest.mark.parametrize(
    "tiles",
    [
        np.zeros((1, 128, 128, 3), np.uint8),
        np.zeros((TILE_PX, TILE_PX, 3), np.uint8),
        np.zeros((1, TILE_PX, TILE_PX, 3), np.float32),
        np.zeros((1, TILE_PX, TILE_PX, 4), np.uint8),
    ],
    ids=["small", "one", "float", "alpha"],
)
def test_tiles_of_another_form(tile_encoder: TileEncoder, tiles: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match=r"tiles: found .*expected uint8 \(n, 224, 224, 3\)"):
        tile_encoder(tiles)


def test_a_projection_whitens_what_it_is_fitted_to(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    raw = (rng.standard_normal((50, 6)) @ rng.standard_normal((6, TILE_DIM))).astype(np.float32)
    encoder = fit_projection(raw, 4)
    found = encoder.project(raw)
    np.testing.assert_allclose(np.cov(found.T), np.eye(4), atol=0.02)
    encoder.save_pretrained(tmp_path)
    assert np.array_equal(TileEncoder.from_pretrained(tmp_path).project(raw), found)


@torch.no_grad()
def test_the_autoencoder() -> None:
    vae = tiny_vae()
    images = torch.rand((2, 3, 40, 64), generator=torch.Generator().manual_seed(0)) * 2 - 1
    latents = vae.encode(images)
    assert latents.shape == (2, LATENT_CHANNELS, 5, 8)
    assert vae.decode(latents).shape == images.shape
    torch.testing.assert_close(vae.encode(images[:1]), latents[:1], atol=1e-4, rtol=1e-4)
    found, clean = vae(images)
    assert found.shape == images.shape
    assert torch.equal(clean, latents)
    for wrong in (images[0], images[:, :1], images[:, :, :20]):
        with pytest.raises(ValueError, match="images: found"):
            vae.encode(wrong)
    for wrong in (latents[0], latents[:, :2]):
        with pytest.raises(ValueError, match=rf"latents: found shape .*expected \(batch, {LATENT_CHANNELS}, h, w\)"):
            vae.decode(wrong)


def test_the_reconstruction_loss() -> None:
    image = torch.rand((1, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    assert reconstruction_loss(image, image) == 0
    shifted = reconstruction_loss(image + 0.1, image)
    assert shifted == pytest.approx(0.1, rel=1e-3)  # gradients agree, values do not
    assert reconstruction_loss(image.roll(1, -1), image) > shifted
