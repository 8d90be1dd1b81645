"""MuPDPipeline: what it refuses to load, and its three directions of generation."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from mupd.base.files import write_json
from mupd.errors import ModelError
from mupd.model import window_contexts
from mupd.model.conditions import CaseVectors
from mupd.model.encoders import TEXT_DIM
from mupd.model.pipeline import MICRO_BATCH, MuPDPipeline, model_sha256
from mupd.model.record_codec import RecordCodec
from mupd.model.regions import RegionSampling
from mupd.model.window_contexts import WindowContexts, row_tokens
from mupd.model_folder.geometry import TRAINED
from mupd.reports.record.fields import FIELDS
from tests.fixtures.tiny_model import BULK_GENES, GENE_SETS, RNA_DIM, SPOT_GENES, TILE_COMPONENTS

WEIGHTS = {
    "vae": "diffusion_pytorch_model.safetensors",
    "transformer": "diffusion_pytorch_model.safetensors",
    "rna_codec": "codec.safetensors",
    "pathways": "scores.safetensors",
    "tile_encoder": "projection.safetensors",
}
PARTS = tuple(WEIGHTS)
SCALES = {"rna": 1.5, "text": 1.5}


pytestmark = pytest.mark.usefixtures("shared_backbone")


@pytest.fixture(scope="module")
def pipeline(tiny_model: Path) -> MuPDPipeline:
    return MuPDPipeline.from_pretrained(tiny_model)


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy of the model that a test may damage."""
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def load(folder: Path, part: str) -> None:
    """Load one part of a model, as its first use does."""
    getattr(MuPDPipeline.from_pretrained(folder), {"pathways": "pathway_scorer"}.get(part, part))


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


@pytest.mark.parametrize("part", ["vae", "transformer"])
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
    config = json.loads((folder / "transformer" / "config.json").read_text())
    write_json(folder / "transformer" / "config.json", config | {"width": 64})
    with pytest.raises(ModelError, match="transformer"):
        load(folder, "transformer")
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


def slide(
    pipeline: MuPDPipeline, given: CaseVectors, size: tuple[int, int], seed: int = 1, **changes: Any
) -> NDArray[np.uint8]:
    picture = np.zeros((size[1], size[0], 3), np.uint8)
    written = np.zeros((size[1], size[0]), int)

    def write(y: int, x: int, pixels: NDArray[np.uint8]) -> None:
        picture[y : y + pixels.shape[0], x : x + pixels.shape[1]] = pixels
        written[y : y + pixels.shape[0], x : x + pixels.shape[1]] += 1

    guidance = changes.pop("guidance", SCALES)
    sampling = RegionSampling(**({"steps": 2, "batch_size": 4} | changes))
    pipeline.generate_he(given, size, write, seed=seed, guidance=guidance, sampling=sampling)
    assert (written == 1).all()
    return picture


@pytest.mark.parametrize("size", [(128, 128), (8, 40), (200, 136)])
@pytest.mark.parametrize("what", ["rna", "pathways", "text", "all"])
def test_slides(pipeline: MuPDPipeline, size: tuple[int, int], what: str) -> None:
    rna = rows(1, RNA_DIM + 1) if what != "text" else None
    pathways = rows(1, len(GENE_SETS)) if what in ("pathways", "all") else None
    text = rows(3, TEXT_DIM) if what in ("text", "all") else None
    given = CaseVectors(rna=rna, pathways=pathways, text=text)
    found = slide(pipeline, given, size)
    assert found.std() > 10
    # A draw is the same whatever was drawn before.
    torch.manual_seed(5)
    slide(pipeline, CaseVectors(rna=rows(1, RNA_DIM + 1, 7)), (64, 64), seed=4)
    assert np.array_equal(found, slide(pipeline, given, size))
    assert not np.array_equal(found, slide(pipeline, given, size, seed=2))
    if pathways is not None:
        assert not np.array_equal(found, slide(pipeline, replace(given, pathways=pathways + 1), size))
    if rna is not None:
        assert not np.array_equal(found, slide(pipeline, replace(given, rna=rna + 1), size))
    if text is not None:
        assert not np.array_equal(found, slide(pipeline, replace(given, text=text[:, ::-1].copy()), size))


def test_how_a_slide_is_drawn(pipeline: MuPDPipeline) -> None:
    given, size = CaseVectors(rna=rows(1, RNA_DIM + 1), text=rows(1, TEXT_DIM)), (136, 128)
    found = slide(pipeline, given, size)
    done: list[int] = []
    other = slide(pipeline, given, size, solver="heun", on_step=lambda: done.append(1))
    assert not np.array_equal(found, other)
    assert len(done) == 3
    # Each stream has a scale of its own; pathways follow the profile's.
    for scales in ({"rna": 3.0, "text": 1.5}, {"rna": 1.5, "text": 3.0}, {}):
        assert not np.array_equal(found, slide(pipeline, given, size, guidance=scales)), scales
    own = replace(given, pathways=rows(1, len(GENE_SETS)))
    named = slide(pipeline, own, size, guidance=SCALES | {"pathways": 1.5})
    assert np.array_equal(slide(pipeline, own, size), named)


def test_profiles_of_windows_are_projected_once(pipeline: MuPDPipeline) -> None:
    calls: list[int] = []
    model = pipeline.transformer
    handle = model.stream["rna"].register_forward_hook(lambda _, args, __: calls.append(len(args[0])))
    spots = CaseVectors(rna=rows(9, RNA_DIM + 1), rna_xy_px=np.random.default_rng(0).uniform(0, 256, (9, 2)))
    try:
        slide(pipeline, spots, (256, 256), steps=3)
    finally:
        handle.remove()
    assert len(calls) == 1
    assert 1 < calls[0] <= 9


def test_profiles_that_are_too_many_to_keep(pipeline: MuPDPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """Projected batch by batch, the slide is the same."""
    spots = CaseVectors(rna=rows(9, RNA_DIM + 1), rna_xy_px=np.random.default_rng(0).uniform(0, 256, (9, 2)))
    found = slide(pipeline, spots, (256, 136))
    monkeypatch.setattr(window_contexts, "_MOST_SPOTS", 3)
    other = slide(pipeline, spots, (256, 136))
    assert np.abs(found.astype(int) - other).max() <= 1


def test_a_small_slide_is_the_corner_of_a_whole_window(pipeline: MuPDPipeline) -> None:
    given = CaseVectors(text=rows(1, TEXT_DIM))
    whole = slide(pipeline, given, (8 * TRAINED.window, 8 * TRAINED.window))
    part = slide(pipeline, given, (8 * TRAINED.window, 64))
    # Decoded without what lies below; far from the cut they agree.
    assert np.abs(part[:16].astype(int) - whole[:16]).max() <= 1


def test_slides_that_cannot_be_made(pipeline: MuPDPipeline) -> None:
    with pytest.raises(ValueError, match="found neither rna nor text"):
        slide(pipeline, CaseVectors(tiles=rows(1, TILE_COMPONENTS)), (64, 64))
    with pytest.raises(ValueError, match=r"found \(64, 60\); expected multiples of 8"):
        slide(pipeline, CaseVectors(text=rows(1, TEXT_DIM)), (64, 60))


def test_a_window_reads_its_nearest_spot(pipeline: MuPDPipeline) -> None:
    given = CaseVectors(rna=rows(3, RNA_DIM + 1), rna_xy_px=np.array([[64.0, 64.0], [320.0, 64.0], [64.0, 1000.0]]))
    corners = np.array([[0, 0], [0, 32], [0, 15], [0, 17], [100, 0]])
    contexts = WindowContexts(pipeline.transformer, given, (64, 128), TRAINED.window)
    np.testing.assert_array_equal(contexts.used, [0, 1, 2])
    np.testing.assert_array_equal(contexts.used[contexts._nearest(corners)], [0, 1, 0, 1, 2])
    found = contexts(corners).streams["rna"]
    assert given.rna is not None
    alone = [
        pipeline.transformer.context({"rna": row_tokens(pipeline.transformer, given.rna[[row]])}, 1)
        for row in (0, 1, 0, 1, 2)
    ]
    for row, context in enumerate(alone):
        torch.testing.assert_close(found.pooled[row], context.streams["rna"].pooled[0])
    # A slide that no window near the third spot is in: its profile is not even projected.
    np.testing.assert_array_equal(WindowContexts(pipeline.transformer, given, (64, 32), TRAINED.window).used, [0, 1])
    # Without positions the mean profile conditions every window.
    mean = WindowContexts(pipeline.transformer, CaseVectors(rna=given.rna), (64, 128), TRAINED.window)(corners).streams[
        "rna"
    ]
    whole = pipeline.transformer.context({"rna": row_tokens(pipeline.transformer, given.rna.mean(0, keepdims=True))}, 1)
    torch.testing.assert_close(mean.pooled, whole.streams["rna"].pooled.expand(5, -1))


def test_rna_of_tiles_and_of_text(pipeline: MuPDPipeline) -> None:
    tiles, text = rows(5, TILE_COMPONENTS), rows(2, TEXT_DIM)
    spots = pipeline.generate_rna(CaseVectors(tiles=tiles, text=text), seed=1, steps=3)
    assert (spots.values.shape, spots.values.dtype) == ((5, len(SPOT_GENES)), np.float32)
    bulk = pipeline.generate_rna(CaseVectors(text=text), seed=1, steps=3)
    assert bulk.values.shape == (1, len(BULK_GENES))
    for values in (spots.values, spots.expected, bulk.values, bulk.expected):
        assert np.isfinite(values).all()
        assert (values >= 0).all()
    again = pipeline.generate_rna(CaseVectors(tiles=tiles, text=text), seed=1, steps=3)
    assert np.array_equal(spots.values, again.values)
    assert np.array_equal(spots.expected, again.expected)
    other = pipeline.generate_rna(CaseVectors(tiles=tiles, text=text), seed=2, steps=3)
    assert not np.array_equal(spots.expected, other.expected)
    guided = pipeline.generate_rna(CaseVectors(tiles=tiles, text=text), seed=1, steps=3, guidance={"he": 3.0})
    assert not np.array_equal(spots.expected, guided.expected)
    with pytest.raises(ValueError, match="found neither H&E tiles nor text"):
        pipeline.generate_rna(CaseVectors(rna=rows(1, RNA_DIM + 1)), seed=1, steps=3)


def test_values_are_what_is_expected_with_the_noise_of_a_measurement(pipeline: MuPDPipeline) -> None:
    drawn = pipeline.generate_rna(CaseVectors(tiles=rows(400, TILE_COMPONENTS)), seed=1, steps=2)
    panel = pipeline.rna_codec.panels["spot"]
    free = (drawn.expected > 1).all(0)  # genes that are not cut off at zero
    assert free.sum() > 5
    noise = (drawn.values - drawn.expected)[:, free]
    np.testing.assert_allclose(noise.std(0), (panel.sd * panel.residual)[free], rtol=0.2)
    np.testing.assert_allclose(noise.mean(0), 0, atol=0.05)
    assert np.abs(np.corrcoef(noise.T) - np.eye(noise.shape[1])).max() < 0.25  # independent between genes


def test_a_profile_is_the_same_to_the_bit_whatever_it_is_drawn_with(pipeline: MuPDPipeline) -> None:
    tiles = rows(MICRO_BATCH + 7, TILE_COMPONENTS)
    whole = pipeline.generate_rna(CaseVectors(tiles=tiles), seed=3, steps=3)
    for count in (1, 5, MICRO_BATCH, MICRO_BATCH + 1):
        part = pipeline.generate_rna(CaseVectors(tiles=tiles[:count]), seed=3, steps=3)
        assert np.array_equal(part.expected, whole.expected[:count]), count
        assert np.array_equal(part.values, whole.values[:count]), count


@pytest.mark.parametrize("what", ["tiles", "rna", "pathways", "all"])
def test_records(pipeline: MuPDPipeline, what: str) -> None:
    tiles = rows(4, TILE_COMPONENTS) if what in ("tiles", "all") else None
    rna = rows(6, RNA_DIM + 1) if what in ("rna", "all") else None
    pathways = rows(6, len(GENE_SETS)) if what in ("pathways", "all") else None
    given = CaseVectors(tiles=tiles, rna=rna, pathways=pathways)
    values, probabilities = pipeline.generate_record(given, seed=1, steps=4)
    assert list(values) == list(probabilities) == list(FIELDS)
    for field, row in probabilities.items():
        assert tuple(row) == FIELDS[field]
        assert values[field] in row
        assert sum(row.values()) == pytest.approx(1, abs=1e-4)
        assert min(row.values()) >= 0
    assert pipeline.generate_record(given, seed=1, steps=4) == (values, probabilities)
    drawn = {tuple(pipeline.generate_record(given, seed=seed, steps=4)[0].values()) for seed in range(30)}
    assert len(drawn) > 1  # multiple imputation, not one answer


def test_a_record_of_nothing_is_refused(pipeline: MuPDPipeline) -> None:
    with pytest.raises(ValueError, match="found neither H&E tiles nor rna"):
        pipeline.generate_record(CaseVectors(text=rows(1, TEXT_DIM)), seed=1, steps=4)


def test_draws_of_records_have_the_probabilities_that_stand_beside_them(folder: Path) -> None:
    """A field that is hardly relied on is drawn from the shares of the drawn organ, and its probabilities say so."""
    given = CaseVectors(tiles=rows(4, TILE_COMPONENTS))
    organs = FIELDS["organ"]
    shares = {organ: {"grade": {FIELDS["grade"][place % 3]: 1.0}} for place, organ in enumerate(organs)}
    RecordCodec(FIELDS, None, {"he": {"grade": 0.01}}, shares).save_pretrained(folder)
    pipeline = MuPDPipeline.from_pretrained(folder)
    drawn = [pipeline.generate_record(given, seed=seed, steps=2) for seed in range(100)]
    own = [values["grade"] == FIELDS["grade"][organs.index(values["organ"]) % 3] for values, _ in drawn]
    assert len({values["organ"] for values, _ in drawn}) > 1
    assert sum(own) >= 95
    for _, probabilities in drawn[:5]:
        for place, grade in enumerate(FIELDS["grade"]):
            expected = sum(share for at, share in enumerate(probabilities["organ"].values()) if at % 3 == place)
            assert probabilities["grade"][grade] == pytest.approx(expected, abs=0.01)


def test_temperatures_of_the_model_soften_its_records(folder: Path) -> None:
    given = CaseVectors(tiles=rows(4, TILE_COMPONENTS))
    _, sharp = MuPDPipeline.from_pretrained(folder).generate_record(given, seed=1, steps=2)
    RecordCodec(FIELDS, {"rna": {"grade": 1e6}}).save_pretrained(folder)
    _, same = MuPDPipeline.from_pretrained(folder).generate_record(given, seed=1, steps=2)
    assert same == sharp  # of another direction
    RecordCodec(FIELDS, {"he": {"grade": 1e6}}).save_pretrained(folder)
    _, soft = MuPDPipeline.from_pretrained(folder).generate_record(given, seed=1, steps=2)
    assert list(soft["grade"].values()) == pytest.approx([1 / 3] * 3, abs=1e-3)
    assert soft["organ"] == sharp["organ"]
    assert soft["grade"] != sharp["grade"]


def test_conditions_of_another_width_are_refused(pipeline: MuPDPipeline) -> None:
    with pytest.raises(ValueError, match=r"conditions\['rna'\].*expected \(1, n, 9\)"):
        slide(pipeline, CaseVectors(rna=rows(1, RNA_DIM)), (64, 64))
    with pytest.raises(ValueError, match=r"conditions\['he'\].*expected \(32, n, 16\)"):
        pipeline.generate_rna(CaseVectors(tiles=rows(1, TILE_COMPONENTS + 1)), seed=1, steps=1)
    with pytest.raises(ValueError, match=r"conditions\['rna'\].*expected \(1, n, 9\)"):
        pipeline.generate_record(CaseVectors(rna=rows(1, RNA_DIM + 2)), seed=1, steps=1)
    with pytest.raises(ValueError, match=r"conditions\['pathways'\].*expected \(1, n, 4\)"):
        pipeline.generate_record(CaseVectors(pathways=rows(1, 5)), seed=1, steps=1)
