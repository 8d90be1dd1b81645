"""Pairs of H&E and stain at the door: what registers is moved into place, what does not is left out with its reason."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mupd.errors import InputFaults
from mupd.training.stain.batches import StainBatches, channel_weights, jittered
from mupd.training.stain.pairs import PairRow, held_out_groups, kept_pairs, prepare_pairs
from mupd.training.stain.plan import StainPlan, is_stain_config, load_stain_plan
from mupd.training.stain.register import LEAST_CORRELATION, haematoxylin, register, shifted
from tests.fixtures.stain_pairs import made_pair, write_pairs, write_stain_config
from tests.fixtures.tiny_stainer import tiny_vae

SIDE = 144


@pytest.fixture(scope="module")
def he_vae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("he_vae")
    tiny_vae(3, 0).save_pretrained(folder)
    return folder


def plan_of(folder: Path, he_vae: Path, count: int = 4, side: int = SIDE, **sections: object) -> StainPlan:
    table = write_pairs(folder, count, side, str(sections.get("stain", "mif")))
    return load_stain_plan(write_stain_config(folder, table, he_vae, **sections))


def edit_table(folder: Path, line: int, **cells: str) -> None:
    table = pd.read_csv(folder / "pairs.csv", dtype=str)
    for name, value in cells.items():
        table.loc[line - 2, name] = value
    table.to_csv(folder / "pairs.csv", index=False)


def reason_of(plan: StainPlan, line: int) -> str:
    found = prepare_pairs(plan)
    assert sum(not row.used for row in found) == 1
    return next(row.reason for row in found if row.row == line)


@pytest.mark.parametrize("shift", [(0, 0), (4, -3), (-6, 5)])
def test_a_planted_shift_is_found_and_undone(shift: tuple[int, int]) -> None:
    pair = made_pair(SIDE, 0)
    moved = np.roll(pair["DAPI"], shift, axis=(0, 1))
    found = register(haematoxylin(pair["he"]), moved.astype(np.float32), 0.5)
    assert found.shift_px == (-shift[0], -shift[1])
    assert found.correlation > 0.9
    rows, columns, stain = shifted(moved, found.shift_px)
    np.testing.assert_array_equal(stain, pair["DAPI"][rows, columns])


def test_made_pairs_of_other_fields_do_not_register() -> None:
    scores = [
        register(haematoxylin(made_pair(SIDE, a)["he"]), made_pair(SIDE, a + 1)["DAPI"].astype(np.float32), 0.5)
        for a in range(4)
    ]
    assert max(score.correlation for score in scores) < LEAST_CORRELATION


def test_a_flat_picture_correlates_with_nothing() -> None:
    he = haematoxylin(made_pair(SIDE, 0)["he"])
    assert register(he, np.zeros_like(he), 0.5).correlation == 0


def test_real_pairs_register_and_shuffled_ones_do_not(shared_data: Path) -> None:
    folder = shared_data / "he_mif"
    table = pd.read_csv(folder / "pairs.csv").iloc[::65]
    he = [haematoxylin(np.asarray(Image.open(folder / name).convert("RGB"))) for name in table["he"]]
    dapi = [np.asarray(Image.open(folder / name))[:256, :256].astype(np.float32) for name in table["mif"]]
    true = [register(a, b, 0.5).correlation for a, b in zip(he, dapi, strict=True)]
    false = [register(a, b, 0.5).correlation for a, b in zip(he, dapi[1:] + dapi[:1], strict=True)]
    assert min(true) > LEAST_CORRELATION > max(false)


def test_pairs_are_cut_once_and_split_by_group(tmp_path: Path, he_vae: Path) -> None:
    plan = plan_of(tmp_path, he_vae, count=6)
    found = prepare_pairs(plan)
    assert all(row.used for row in found)
    held = {row.group for row in found if row.held_out}
    assert 0 < len(held) < 3
    assert not held & {row.group for row in found if not row.held_out}
    assert kept_pairs(plan) == found
    pair = np.load(plan.work / "pairs" / found[0].array)
    original = made_pair(SIDE, 0)
    np.testing.assert_array_equal(pair[..., :3], original["he"])
    np.testing.assert_array_equal(pair[..., 3], original["DAPI"])
    # The pictures are not read again, and a changed one is.
    before = (plan.work / "pairs" / found[0].array).stat().st_mtime_ns
    Image.fromarray(made_pair(SIDE, 1)["he"]).save(tmp_path / "1_he.png", compress_level=1)
    again = prepare_pairs(plan)
    assert (plan.work / "pairs" / again[0].array).stat().st_mtime_ns == before
    assert again[1].array != found[1].array


def test_a_shifted_pair_is_moved_and_filled_up(tmp_path: Path, he_vae: Path) -> None:
    plan = plan_of(tmp_path, he_vae, side=128)
    for name in ("DAPI", "CD3"):
        Image.fromarray(np.roll(made_pair(128, 2)[name], (3, 0), axis=(0, 1))).save(tmp_path / f"2_{name}.png")
    row = prepare_pairs(plan)[2]
    assert row.used
    assert row.shift_px == (-3, 0)
    pair = np.load(plan.work / "pairs" / row.array)
    assert pair.shape == (128, 128, 5)
    np.testing.assert_array_equal(pair[:125, :, 3], made_pair(128, 2)["DAPI"][:125])
    np.testing.assert_array_equal(pair[:125, :, :3], made_pair(128, 2)["he"][:125])


def test_a_pair_of_another_scale_is_brought_to_the_models(tmp_path: Path, he_vae: Path) -> None:
    plan = plan_of(tmp_path, he_vae)
    pair = made_pair(2 * SIDE, 9, radius=10)
    for name in ("he", "DAPI", "CD3"):
        Image.fromarray(pair[name]).save(tmp_path / f"0_{name}.png")
    edit_table(tmp_path, 2, mpp="0.25")
    row = prepare_pairs(plan)[0]
    assert row.used
    assert np.load(plan.work / "pairs" / row.array).shape == (SIDE, SIDE, 5)


def test_reasons_of_pairs_that_are_left_out(tmp_path: Path, he_vae: Path) -> None:
    plan = plan_of(tmp_path, he_vae)
    pair = made_pair(SIDE, 0)

    def saved(name: str, pixels: object) -> None:
        Image.fromarray(pixels).save(tmp_path / name)  # type: ignore[arg-type]

    saved("0_he.png", pair["he"][:-8])
    assert reason_of(plan, 2) == f"the H&E has {SIDE} x {SIDE - 8} px, the stain {SIDE} x {SIDE}"
    saved("0_he.png", made_pair(SIDE, 77)["he"])
    assert reason_of(plan, 2).startswith("does not register: nuclei correlate by 0.")
    saved("0_he.png", np.full_like(pair["he"], 240))
    assert "the H&E shows no nuclei" in reason_of(plan, 2)
    saved("0_he.png", pair["DAPI"])
    assert "expected an 8-bit RGB picture" in reason_of(plan, 2)
    (tmp_path / "0_he.png").write_bytes((tmp_path / "1_he.png").read_bytes()[:400])
    assert "0_he.png cannot be read" in reason_of(plan, 2)
    (tmp_path / "0_he.png").unlink()
    assert reason_of(plan, 2) == "no file 0_he.png"
    saved("0_he.png", pair["he"])
    saved("0_CD3.png", pair["CD3"].astype(np.uint16) * 100)
    assert "expected uint8, or the values that become 0 and 255 in [pairs.range]" in reason_of(plan, 2)
    saved("0_CD3.png", pair["CD3"][:-2])
    assert "channel CD3 has" in reason_of(plan, 2)
    saved("0_CD3.png", pair["he"])
    assert "expected a grey picture" in reason_of(plan, 2)
    saved("0_CD3.png", pair["CD3"])
    edit_table(tmp_path, 2, mpp="about 0.5")
    assert "mpp is 'about 0.5'" in reason_of(plan, 2)
    edit_table(tmp_path, 2, mpp="5")
    assert "expected within 4 times" in reason_of(plan, 2)
    edit_table(tmp_path, 2, mpp="0.8")
    assert prepare_pairs(plan)[0].used
    edit_table(tmp_path, 2, mpp="0.4")
    assert "expected at least 128" in reason_of(plan, 2)
    edit_table(tmp_path, 2, mpp="0.5", group="")
    assert "no group" in reason_of(plan, 2)


def test_a_synthetic_picture_is_never_trained_on(tmp_path: Path, he_vae: Path) -> None:
    from mupd.synthetic.picture.png_marks import png_info

    plan = plan_of(tmp_path, he_vae)
    Image.fromarray(made_pair(SIDE, 0)["he"]).save(tmp_path / "0_he.png", pnginfo=png_info("SYNTHETIC, of a test"))
    assert "never read as measured" in reason_of(plan, 2)


def test_sixteen_bits_are_scaled_as_the_configuration_says(tmp_path: Path, he_vae: Path) -> None:
    table = write_pairs(tmp_path, 3, SIDE)
    pairs = {"table": str(table), "layout": "files", "range": {"CD3": [100, 1100]}}
    plan = load_stain_plan(write_stain_config(tmp_path, table, he_vae, pairs=pairs))
    values = np.full((SIDE, SIDE), 600, np.uint16)
    values[0, :3] = 0, 100, 5000
    for number in range(3):
        Image.fromarray(values).save(tmp_path / f"{number}_CD3.png")
    found = np.load(plan.work / "pairs" / prepare_pairs(plan)[0].array)[..., 4]
    assert found[0, :3].tolist() == [0, 0, 255]
    assert found[5, 5] == 128


@pytest.mark.parametrize("planes_first", [True, False])
def test_planes_of_a_tiff_are_taken_by_name(tmp_path: Path, he_vae: Path, planes_first: bool) -> None:
    import tifffile

    table = write_pairs(tmp_path, 3, SIDE)
    lines = ["he,stain,group,mpp"]
    for number in range(3):
        pair = made_pair(SIDE, number)
        planes = np.stack([pair["CD3"], np.zeros_like(pair["CD3"]), pair["DAPI"]], 0 if planes_first else -1)
        kind = {"photometric": "minisblack", "planarconfig": "separate" if planes_first else "contig"}
        tifffile.imwrite(tmp_path / f"{number}.tiff", planes, **kind)
        lines.append(f"{number}_he.png,{number}.tiff,P{number},0.5")
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    pairs = {"table": str(table), "layout": "planes", "planes": ["CD3", "AF", "DAPI"]}
    plan = load_stain_plan(write_stain_config(tmp_path, table, he_vae, pairs=pairs))
    found = np.load(plan.work / "pairs" / prepare_pairs(plan)[0].array)
    np.testing.assert_array_equal(found[..., 3], made_pair(SIDE, 0)["DAPI"])
    np.testing.assert_array_equal(found[..., 4], made_pair(SIDE, 0)["CD3"])


def test_a_mosaic_is_read_by_quadrants(tmp_path: Path, he_vae: Path) -> None:
    table = write_pairs(tmp_path, 3, SIDE)
    lines = ["he,mif,roi"]
    for number in range(3):
        pair = made_pair(SIDE, number)
        empty = np.zeros_like(pair["CD3"])
        mosaic = np.block([[pair["DAPI"], empty], [empty, pair["CD3"]]])
        Image.fromarray(mosaic).save(tmp_path / f"{number}_mif.png")
        lines.append(f"{number}_he.png,{number}_mif.png,R{number}")
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    pairs = {
        "table": str(table),
        "layout": "mosaic",
        "planes": ["DAPI", "a", "b", "CD3"],
        "stain": "mif",
        "group": "roi",
        "mpp": 0.5,
    }
    plan = load_stain_plan(write_stain_config(tmp_path, table, he_vae, pairs=pairs))
    found = np.load(plan.work / "pairs" / prepare_pairs(plan)[0].array)
    np.testing.assert_array_equal(found[..., 4], made_pair(SIDE, 0)["CD3"])


def test_ihc_pairs_register_by_haematoxylin(tmp_path: Path, he_vae: Path) -> None:
    plan = plan_of(tmp_path, he_vae, stain="ihc")
    assert plan.pairs.nuclei == "haematoxylin"
    assert all(row.used and (row.correlation or 0) > 0.5 for row in prepare_pairs(plan))
    Image.fromarray(made_pair(SIDE, 50)["ihc"]).save(tmp_path / "1_stain.png")
    assert "does not register" in reason_of(plan, 3)


def test_faults_of_a_configuration_are_told_at_once(tmp_path: Path, he_vae: Path) -> None:
    table = write_pairs(tmp_path, 3, SIDE)
    pairs = {"table": "none.csv", "layout": "mosaic", "planes": ["DAPI", "CD3"], "range": {"CD8": [5, 1]}}
    path = write_stain_config(tmp_path, table, he_vae, pairs=pairs, channels=["DAPI", "CD20"], start="nowhere")
    with pytest.raises(InputFaults) as caught:
        load_stain_plan(path)
    told = str(caught.value)
    for part in (
        "no file none.csv",
        "unknown channel 'CD20'",
        "unknown channel 'CD8'",
        "2 names",
        "nowhere/config.json",
    ):
        assert part in told
    with pytest.raises(InputFaults, match="no nuclear channel in CD3"):
        load_stain_plan(write_stain_config(tmp_path, table, he_vae, channels=["CD3"]))
    with pytest.raises(InputFaults, match="stian"):
        load_stain_plan(write_stain_config(tmp_path, table, he_vae, stian="mif"))


def test_faults_of_a_table_are_told(tmp_path: Path, he_vae: Path) -> None:
    plan = plan_of(tmp_path, he_vae)
    unknown = dataclasses.replace(plan, held_out=("P7",))
    with pytest.raises(InputFaults, match="unknown group 'P7'"):
        prepare_pairs(unknown)
    plan.pairs.table.write_text("he,DAPI,group,mpp\n", encoding="utf-8")
    with pytest.raises(InputFaults, match="no column 'CD3'"):
        prepare_pairs(plan)
    plan.pairs.table.write_text("he,DAPI,CD3,group,mpp\na,b,c,P1,0.5\n", encoding="utf-8")
    with pytest.raises(InputFaults, match="usable pairs of 0 groups"):
        prepare_pairs(plan)


def test_held_out_groups_do_not_move_when_others_come() -> None:
    few = {f"P{n}" for n in range(40)}
    many = few | {f"Q{n}" for n in range(40)}
    assert held_out_groups(few, 0.25) == held_out_groups(many, 0.25) & few
    assert len(held_out_groups({"a", "b"}, 0.001)) == len(held_out_groups({"a", "b"}, 0.999)) == 1
    with pytest.raises(ValueError, match="all 2 groups"):
        held_out_groups({"a", "b"}, ("a", "b"))


def test_batches_keep_both_pictures_together(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (160, 140), dtype=np.uint8)
    np.save(tmp_path / "a.npy", np.stack([grey] * 5, axis=-1))
    row = PairRow(2, "P", True, False, "", "a.npy", None, (0, 0))
    batches = StainBatches(tmp_path, [row], 128, 0.0)
    he, stain = batches.pair_batch(6, rng)
    assert he.shape == (6, 3, 128, 128)
    assert stain.shape == (6, 2, 128, 128)
    np.testing.assert_array_equal(he[:, 0].numpy(), stain[:, 1].numpy())
    assert len({bytes(part.numpy().tobytes()) for part in he}) == 6


def test_jitter_changes_colours_and_keeps_white() -> None:
    pixels = made_pair(32, 0)["he"]
    pixels[:4] = 255
    changed = jittered(pixels, 0.2, np.random.default_rng(1))
    assert (changed != pixels).any()
    assert changed[:4].min() > 240
    assert jittered(pixels, 0.0, np.random.default_rng(1)) is pixels


def test_rare_markers_weigh_more(tmp_path: Path) -> None:
    pair = np.zeros((128, 128, 6), np.uint8)
    pair[::2, :, 3], pair[::2, :, 4] = 200, 50
    np.save(tmp_path / "a.npy", pair)
    row = PairRow(2, "P", True, False, "", "a.npy", None, (0, 0))
    weights = channel_weights(StainBatches(tmp_path, [row], 128, 0.0), 4)
    assert weights[1] == pytest.approx(4 * weights[0], rel=1e-2)
    assert weights[2] == pytest.approx(8 * weights[0], rel=1e-2)


def test_configurations_of_stainers_are_told_apart(tmp_path: Path, he_vae: Path) -> None:
    assert is_stain_config(write_stain_config(tmp_path, tmp_path / "pairs.csv", he_vae))
    assert not is_stain_config(Path("config/train/tiny.yaml"))
