"""Virtual stainer: the condition place by place, regions without seams, folders that are refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mupd.errors import ModelError
from mupd.model.attention import Context
from mupd.model.journal import RegionJournal
from mupd.model.regions import RegionSampling, encode_region, from_uint8, to_uint8
from mupd.model.stainer import MuPDStainer
from mupd.model_folder.stainer import stainer_facts
from tests.fixtures.tiny_model import tiny_transformer
from tests.fixtures.tiny_stainer import MPP, NAME, tiny_stain_trunk, tiny_vae, write_tiny_stainer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_stainer(tmp_path_factory.mktemp("stainer") / "tiny")


def picture(width: int, height: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def stain(
    folder: Path, he: NDArray[np.uint8], seed: int = 1, batch_size: int = 2, journal: RegionJournal | None = None
) -> NDArray[np.uint8]:
    stainer = MuPDStainer.from_pretrained(folder)
    height, width = he.shape[:2]
    found = np.zeros((height, width, len(stainer.channels)), np.uint8)
    seen = np.zeros((height, width), int)

    def read(x: int, y: int, wide: int, high: int) -> NDArray[np.uint8]:
        assert x >= 0
        assert y >= 0
        assert x + wide <= width
        assert y + high <= height
        return he[y : y + high, x : x + wide]

    def write(y: int, x: int, pixels: NDArray[np.uint8]) -> None:
        found[y : y + pixels.shape[0], x : x + pixels.shape[1]] = pixels
        seen[y : y + pixels.shape[0], x : x + pixels.shape[1]] += 1

    stainer.stain_region(
        read, (width, height), write, seed=seed, sampling=RegionSampling(2, batch_size, journal=journal)
    )
    if journal is None:
        assert (seen == 1).all()
    return found


def test_facts(folder: Path) -> None:
    stainer = MuPDStainer.from_pretrained(folder)
    assert (stainer.stain, stainer.channels, stainer.mpp) == ("mif", ("DAPI", "CD3", "panCK"), MPP)
    assert stainer.model_id == NAME
    assert len(stainer.sha256) == 64


def test_hash_covers_what_the_channels_are(tmp_path: Path) -> None:
    one = write_tiny_stainer(tmp_path / "one")
    two = write_tiny_stainer(tmp_path / "two", channels=("DAPI", "panCK", "CD3"))
    assert MuPDStainer.from_pretrained(one).sha256 != MuPDStainer.from_pretrained(two).sha256


@pytest.mark.parametrize("size", [(8, 8), (128, 128), (264, 200)])
def test_every_pixel_is_written_once(folder: Path, size: tuple[int, int]) -> None:
    assert stain(folder, picture(*size)).std() > 0


def test_the_stain_depends_on_the_he_where_it_lies_and_on_the_seed(folder: Path) -> None:
    he = picture(384, 128)
    changed = he.copy()
    changed[:, 300:] = 255 - changed[:, 300:]
    first, second = stain(folder, he), stain(folder, changed)
    difference = np.abs(first.astype(int) - second).max(axis=(0, 2))
    assert difference[320:].max() > 0
    # Two evaluations reach two windows far at most, and the decoder a few latents more.
    assert difference[:16].max() == 0
    assert (first != stain(folder, he, seed=2)).any()


def test_a_batch_of_another_size_changes_nothing_to_speak_of(folder: Path) -> None:
    he = picture(264, 200)
    difference = np.abs(stain(folder, he, batch_size=1).astype(int) - stain(folder, he, batch_size=5))
    assert difference.max() <= 1


def test_an_interrupted_region_goes_on_to_the_same_pixels(folder: Path, tmp_path: Path) -> None:
    he = picture(264, 200)
    whole = stain(folder, he)
    journal = RegionJournal(tmp_path / "journal")
    stainer = MuPDStainer.from_pretrained(folder)
    calls = []

    def stop() -> None:
        calls.append(1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stainer.stain_region(
            lambda x, y, w, h: he[y : y + h, x : x + w],
            (264, 200),
            lambda *_: None,
            seed=1,
            sampling=RegionSampling(2, 2, on_step=stop, journal=journal),
        )
    assert journal.start()[0] == 1
    np.testing.assert_array_equal(stain(folder, he, journal=journal), whole)


def test_encoding_by_tiles_is_encoding_as_a_whole() -> None:
    vae = tiny_vae(3, 0)
    he = picture(800, 600)
    with torch.no_grad():
        whole = vae.encode(from_uint8(he[None]))[0]
    tiled = encode_region(vae, lambda x, y, w, h: he[y : y + h, x : x + w], (75, 100))
    torch.testing.assert_close(tiled, whole, atol=1e-5, rtol=1e-5)


def test_one_window_is_what_the_window_sampler_makes(folder: Path) -> None:
    he = picture(128, 128)
    stainer = MuPDStainer.from_pretrained(folder)
    single = stainer.stain_windows(he[None], seed=1, steps=2)[0]
    assert np.abs(single.astype(int) - stain(folder, he)).max() <= 1


def test_pixels_and_tensors_are_inverse() -> None:
    he = picture(16, 8)[None]
    np.testing.assert_array_equal(to_uint8(from_uint8(he)), he)


def test_a_reader_that_returns_another_shape_is_told(folder: Path) -> None:
    stainer = MuPDStainer.from_pretrained(folder)
    with pytest.raises(ValueError, match=r"he: found uint8 of shape \(4, 4, 3\)"):
        stainer.stain_region(
            lambda *_: np.zeros((4, 4, 3), np.uint8), (128, 128), lambda *_: None, seed=0, sampling=RegionSampling(1, 1)
        )


@pytest.mark.parametrize("size", [(0, 8), (12, 16)])
def test_sizes_that_are_no_multiple_of_8_are_refused(folder: Path, size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="multiples of 8"):
        MuPDStainer.from_pretrained(folder).stain_region(
            lambda *_: np.zeros((1, 1, 3), np.uint8), size, lambda *_: None, seed=0, sampling=RegionSampling(1, 1)
        )


def test_ihc_has_three_channels(tmp_path: Path) -> None:
    folder = write_tiny_stainer(tmp_path / "ihc", "ihc")
    assert stain(folder, picture(128, 128)).shape == (128, 128, 3)
    assert stainer_facts(folder).channels == ("red", "green", "blue")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "mupd"}, "kind 'mupd'"),
        ({"stain": "he"}, r"\[stain\]: found 'he'"),
        ({"channels": ["DAPI", "DAPI"]}, r"\[channels\]"),
        ({"channels": []}, r"\[channels\]"),
        ({"stain": "ihc"}, "for ihc"),
        ({"mpp": 0}, r"\[mpp\]: found 0"),
        ({"mpp": "0.5"}, r"\[mpp\]"),
        ({"window_px": 100}, r"\[window_px\]"),
        ({"name": ""}, r"\[name\]"),
    ],
)
def test_facts_that_make_no_sense_are_refused(folder: Path, tmp_path: Path, change: object, message: str) -> None:
    index = json.loads((folder / "model_index.json").read_text()) | change  # type: ignore[operator]
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match=message):
        stainer_facts(tmp_path)


def test_a_folder_without_a_part_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_bytes((folder / "model_index.json").read_bytes())
    with pytest.raises(ModelError, match=r"no config\.json in he_vae, stain_vae, transformer"):
        MuPDStainer.from_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"no model_index\.json"):
        stainer_facts(tmp_path / "nothing")


def test_networks_that_do_not_fit_each_other_are_refused(tmp_path: Path) -> None:
    folder = write_tiny_stainer(tmp_path / "tiny")
    tiny_vae(2, 1).save_pretrained(folder / "stain_vae")
    with pytest.raises(ModelError, match="autoencoder of 2 channels; expected 3"):
        _ = MuPDStainer.from_pretrained(folder).stain_vae
    tiny_vae(3, 1).save_pretrained(folder / "stain_vae")
    tiny_stain_trunk(aligned_channels=3).save_pretrained(folder / "transformer")
    with pytest.raises(ModelError, match="aligned_channels"):
        _ = MuPDStainer.from_pretrained(folder).transformer


def test_a_trunk_without_aligned_channels_is_as_it_was() -> None:
    model = tiny_transformer()
    assert model.config["aligned_channels"] == 0
    assert not [name for name in model.state_dict() if "aligned" in name]


def test_the_condition_is_one_convolution_over_the_channels_of_both() -> None:
    model = tiny_stain_trunk()
    stem = model.stem_he
    x, aligned = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
    assert stem.aligned is not None
    weight = torch.cat([stem.first.weight, stem.aligned.weight], dim=1)
    joined = torch.nn.functional.conv2d(torch.cat([x, aligned], dim=1), weight, stem.first.bias, padding=1)
    torch.testing.assert_close(stem.first(x) + stem.aligned(aligned), joined)


@pytest.mark.parametrize("aligned", [None, (2, 3, 8, 8), (2, 4, 4, 4), (1, 4, 8, 8)])
def test_a_condition_that_does_not_fit_is_refused(aligned: tuple[int, ...] | None) -> None:
    model = tiny_stain_trunk()
    given = None if aligned is None else torch.zeros(aligned)
    with pytest.raises(ValueError, match="aligned: found"):
        model(torch.zeros(2, 4, 8, 8), torch.zeros(2), "he", Context(2, {}), torch.zeros(2, 2), aligned=given)
    with pytest.raises(ValueError, match="aligned: found shape"):
        tiny_transformer()(
            torch.zeros(2, 4, 8, 8), torch.zeros(2), "he", Context(2, {}), torch.zeros(2, 2), aligned=torch.zeros(1)
        )
