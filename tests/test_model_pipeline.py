"""MuPDPipeline: what it refuses to load, and its three directions of generation."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from tiny_model import BULK_GENES, RNA_DIM, SPOT_GENES, TILE_COMPONENTS

from mupd.errors import ModelError
from mupd.files import write_json
from mupd.model import encoders
from mupd.model.encoders import TEXT_DIM
from mupd.model.pipeline import Given, MuPDPipeline, model_sha256
from mupd.model.sampling import WINDOW

PARTS = ("vae", "transformer_he", "transformer_rna", "transformer_text", "rna_codec", "tile_encoder")
WEIGHTS = {
    "vae": "diffusion_pytorch_model.safetensors",
    "transformer_he": "diffusion_pytorch_model.safetensors",
    "transformer_rna": "diffusion_pytorch_model.safetensors",
    "transformer_text": "diffusion_pytorch_model.safetensors",
    "rna_codec": "codec.safetensors",
    "tile_encoder": "projection.safetensors",
}


@pytest.fixture(scope="module", autouse=True)
def shared_backbone() -> Iterator[None]:
    """Load the tile encoder's backbone once."""
    lite0 = encoders._lite0()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoders, "_lite0", lambda: lite0)
        yield


@pytest.fixture(scope="module")
def pipeline(tiny_model: Path) -> MuPDPipeline:
    return MuPDPipeline.from_pretrained(tiny_model)


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy of the model that a test may damage."""
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def load(folder: Path, part: str) -> None:
    """Load one part of a model, as its first use does."""
    pipeline = MuPDPipeline.from_pretrained(folder)
    if part.startswith("transformer_"):
        pipeline.transformer(part.removeprefix("transformer_"))
    else:
        getattr(pipeline, part)


@pytest.mark.parametrize("part", PARTS)
def test_every_part_of_a_whole_model_loads(tiny_model: Path, part: str) -> None:
    load(tiny_model, part)


@pytest.mark.parametrize("part", PARTS)
def test_a_missing_part_is_named(folder: Path, part: str) -> None:
    shutil.rmtree(folder / part)
    with pytest.raises(ModelError, match=f"found no config.json in {part};"):
        MuPDPipeline.from_pretrained(folder)


def test_no_model_at_all(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="expected a MuPD model folder"):
        MuPDPipeline.from_pretrained(tmp_path / "nothing")


def test_a_model_without_a_name(folder: Path) -> None:
    write_json(folder / "model_index.json", {"title": "x"})
    with pytest.raises(ModelError, match=r"model_index.json: found no name"):
        _ = MuPDPipeline.from_pretrained(folder).model_id
    (folder / "model_index.json").unlink()
    with pytest.raises(ModelError, match=r"found no model_index.json"):
        MuPDPipeline.from_pretrained(folder)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_truncated_weights(folder: Path, part: str, share: float) -> None:
    path = folder / part / WEIGHTS[part]
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ModelError, match=part):
        load(folder, part)


@pytest.mark.parametrize("part", PARTS)
def test_weights_that_are_not_there(folder: Path, part: str) -> None:
    (folder / part / WEIGHTS[part]).unlink()
    with pytest.raises(ModelError, match=WEIGHTS[part]):
        load(folder, part)


@pytest.mark.parametrize("part", [part for part in PARTS if "codec" not in part and "encoder" not in part])
def test_a_pickle_is_never_read(folder: Path, part: str, tmp_path: Path) -> None:
    path = folder / part / WEIGHTS[part]

    class Payload:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[Path]]:
            return (Path.touch, (tmp_path / "code-was-run",))

    torch.save({**load_file(path), "payload": Payload()}, path.with_name("diffusion_pytorch_model.bin"))
    path.unlink()
    with pytest.raises(ModelError, match="pickles are refused"):
        load(folder, part)
    assert not (tmp_path / "code-was-run").exists()


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("how", ["missing", "unexpected", "shape"])
def test_tensors_that_disagree_with_the_configuration(folder: Path, part: str, how: str) -> None:
    path = folder / part / WEIGHTS[part]
    tensors = load_file(path)
    name = max(tensors, key=lambda key: tensors[key].numel())
    if how == "missing":
        del tensors[name]
    elif how == "unexpected":
        tensors["one_more"] = torch.zeros(3)
    else:
        tensors[name] = tensors[name][1:].contiguous()
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=part):
        load(folder, part)


def test_a_configuration_of_another_size(folder: Path) -> None:
    config = json.loads((folder / "transformer_rna" / "config.json").read_text())
    write_json(folder / "transformer_rna" / "config.json", config | {"width": 64})
    with pytest.raises(ModelError, match="transformer_rna"):
        load(folder, "transformer_rna")
    genes = json.loads((folder / "rna_codec" / "config.json").read_text())
    write_json(folder / "rna_codec" / "config.json", genes | {"spot": genes["spot"][1:]})
    with pytest.raises(ModelError, match=r"spot\..*expected"):
        load(folder, "rna_codec")
    write_json(folder / "rna_codec" / "config.json", {"spot": genes["spot"]})
    with pytest.raises(ModelError, match="found \\['spot'\\]"):
        load(folder, "rna_codec")
    write_json(folder / "tile_encoder" / "config.json", {"backbone": "efficientnet-lite0"})
    with pytest.raises(ModelError, match=r"\[dim\]: found None"):
        load(folder, "tile_encoder")


@pytest.mark.parametrize("part", PARTS)
def test_a_configuration_that_is_no_json(folder: Path, part: str) -> None:
    (folder / part / "config.json").write_text("{")
    with pytest.raises(ModelError, match=part):
        load(folder, part)


def test_the_hash_covers_weights_and_configurations(folder: Path, tiny_model: Path) -> None:
    before = model_sha256(folder)
    assert before == model_sha256(tiny_model)
    (folder / "README.md").write_text("a model card")
    assert model_sha256(folder) == before
    path = folder / "vae" / WEIGHTS["vae"]
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    changed = model_sha256(folder)
    assert changed != before
    config = json.loads((folder / "vae" / "config.json").read_text())
    write_json(folder / "vae" / "config.json", config | {"latent_noise": 0.2})
    assert model_sha256(folder) not in (before, changed)


def rows(n: int, dim: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)


def slide(pipeline: MuPDPipeline, given: Given, size: tuple[int, int], seed: int = 1) -> NDArray[np.uint8]:
    picture = np.zeros((size[1], size[0], 3), np.uint8)
    written = np.zeros((size[1], size[0]), int)

    def write(y: int, x: int, pixels: NDArray[np.uint8]) -> None:
        picture[y : y + pixels.shape[0], x : x + pixels.shape[1]] = pixels
        written[y : y + pixels.shape[0], x : x + pixels.shape[1]] += 1

    pipeline.generate_he(given, size, write, seed=seed, steps=2, guidance=1.5, batch_size=4)
    assert (written == 1).all()
    return picture


@pytest.mark.parametrize("size", [(128, 128), (8, 40), (200, 136)])
@pytest.mark.parametrize("what", ["rna", "text", "both"])
def test_slides(pipeline: MuPDPipeline, size: tuple[int, int], what: str) -> None:
    rna = rows(1, RNA_DIM + 1) if what != "text" else None
    text = rows(3, TEXT_DIM) if what != "rna" else None
    found = slide(pipeline, Given(rna=rna, text=text), size)
    assert found.std() > 10
    # A draw is the same whatever was drawn before.
    torch.manual_seed(5)
    slide(pipeline, Given(rna=rows(1, RNA_DIM + 1, 7)), (64, 64), seed=4)
    assert np.array_equal(found, slide(pipeline, Given(rna=rna, text=text), size))
    assert not np.array_equal(found, slide(pipeline, Given(rna=rna, text=text), size, seed=2))
    other = Given(rna=None if rna is None else rna + 1, text=None if text is None else text[:, ::-1].copy())
    assert not np.array_equal(found, slide(pipeline, other, size))


def test_a_small_slide_is_the_corner_of_a_whole_window(pipeline: MuPDPipeline) -> None:
    given = Given(text=rows(1, TEXT_DIM))
    whole = slide(pipeline, given, (8 * WINDOW, 8 * WINDOW))
    part = slide(pipeline, given, (8 * WINDOW, 64))
    # Decoded without what lies below; far from the cut they agree.
    assert np.abs(part[:16].astype(int) - whole[:16]).max() <= 1


def test_slides_that_cannot_be_made(pipeline: MuPDPipeline) -> None:
    with pytest.raises(ValueError, match="found neither rna nor text"):
        slide(pipeline, Given(tiles=rows(1, TILE_COMPONENTS)), (64, 64))
    with pytest.raises(ValueError, match=r"found \(64, 60\); expected multiples of 8"):
        slide(pipeline, Given(text=rows(1, TEXT_DIM)), (64, 60))


def test_a_window_reads_its_nearest_spot() -> None:
    given = Given(rna=rows(3, 4), rna_xy_px=np.array([[64.0, 64.0], [320.0, 64.0], [64.0, 1000.0]]))
    corners = np.array([[0, 0], [0, 32], [0, 15], [0, 17], [100, 0]])
    found = MuPDPipeline._rna_of_windows(given, corners)
    assert given.rna is not None
    np.testing.assert_array_equal(found, given.rna[[0, 1, 0, 1, 2]])
    mean = MuPDPipeline._rna_of_windows(Given(rna=given.rna), corners)
    np.testing.assert_allclose(mean, np.repeat(given.rna.mean(0, keepdims=True), 5, 0))


def test_rna_of_tiles_and_of_text(pipeline: MuPDPipeline) -> None:
    tiles, text = rows(5, TILE_COMPONENTS), rows(2, TEXT_DIM)
    spots = pipeline.generate_rna(Given(tiles=tiles, text=text), seed=1, steps=3, guidance=1.5)
    assert (spots.shape, spots.dtype) == ((5, len(SPOT_GENES)), np.float32)
    bulk = pipeline.generate_rna(Given(text=text), seed=1, steps=3, guidance=1.5)
    assert bulk.shape == (1, len(BULK_GENES))
    for values in (spots, bulk):
        assert np.isfinite(values).all()
        assert (values >= 0).all()
    again = pipeline.generate_rna(Given(tiles=tiles, text=text), seed=1, steps=3, guidance=1.5)
    assert np.array_equal(spots, again)
    assert not np.array_equal(
        spots, pipeline.generate_rna(Given(tiles=tiles, text=text), seed=2, steps=3, guidance=1.5)
    )
    with pytest.raises(ValueError, match="found neither H&E tiles nor text"):
        pipeline.generate_rna(Given(rna=rows(1, RNA_DIM + 1)), seed=1, steps=3, guidance=1.5)


def test_records(pipeline: MuPDPipeline) -> None:
    given = Given(tiles=rows(4, TILE_COMPONENTS), rna=rows(6, RNA_DIM + 1))
    values, probabilities = pipeline.generate_record(given, seed=1, steps=4)
    assert set(values) == set(probabilities) == set(pipeline.record_codec.fields)
    for field, row in probabilities.items():
        assert values[field] in row
        assert sum(row.values()) == pytest.approx(1, abs=1e-4)
        assert min(row.values()) >= 0
    assert pipeline.generate_record(given, seed=1, steps=4) == (values, probabilities)
    drawn = {tuple(pipeline.generate_record(given, seed=seed, steps=4)[0].values()) for seed in range(30)}
    assert len(drawn) > 1  # multiple imputation, not one answer
    with pytest.raises(ValueError, match="found neither H&E tiles nor rna"):
        pipeline.generate_record(Given(text=rows(1, TEXT_DIM)), seed=1, steps=4)


def test_conditions_of_another_width_are_refused(pipeline: MuPDPipeline) -> None:
    with pytest.raises(ValueError, match=r"conditions\['rna'\].*expected \(batch, n, 9\)"):
        slide(pipeline, Given(rna=rows(1, RNA_DIM)), (64, 64))
    with pytest.raises(ValueError, match=r"conditions\['he'\].*expected \(batch, n, 16\)"):
        pipeline.generate_rna(Given(tiles=rows(1, TILE_COMPONENTS + 1)), seed=1, steps=1, guidance=1.0)
    with pytest.raises(ValueError, match=r"conditions\['rna'\].*expected \(batch, n, 9\)"):
        pipeline.generate_record(Given(rna=rows(1, RNA_DIM + 2)), seed=1, steps=1)
