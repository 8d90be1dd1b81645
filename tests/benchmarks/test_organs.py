"""Tools of ``benchmarks.organs``: what is held back, how scores and distances are taken, and the few-shot arms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from benchmarks.organs.__main__ import marks
from benchmarks.organs.augment import classes_of, compare, draw_few, mean_interval, oriented
from benchmarks.organs.data import Windows, cut, grid_corners, held_windows, label_of, spread, tables
from benchmarks.organs.distance import distances, same_mix
from benchmarks.organs.judge import fit_classifier, judge, organ_of, share_right
from benchmarks.organs.made import windows_of
from benchmarks.organs.picture import ACROSS, chosen_rows, write_picture
from benchmarks.organs.reports import held_reports, said_of
from benchmarks.pages import fill
from mupd.errors import MupdError
from mupd.training.public.splits import split_of

CLASSES = (("lung", "adenocarcinoma"), ("lung", "benign"), ("colon", "adenocarcinoma"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiles of three classes in forty groups, and of bone in groups that are all trained on."""
    folder = tmp_path_factory.mktemp("tiles")
    rng = np.random.default_rng(0)
    rows: list[tuple[str, str, str, str]] = []
    for number in range(40):
        for organ, diagnosis in CLASSES:
            rows.append((f"{organ}-{diagnosis}-{number}.png", organ, diagnosis, f"{organ}{diagnosis}{number}"))
    trained = [name for name in (f"Case-{n}" for n in range(60)) if split_of(name) == "train"][:4]
    rows += [(f"bone-{name}.png", "bone", "viable osteosarcoma", name) for name in trained]
    table = pd.DataFrame(rows, columns=["file", "organ", "diagnosis", "group"])
    for name, organ in zip(table["file"], table["organ"], strict=True):
        level = {"lung": 90, "colon": 160, "bone": 220}[organ]
        pixels = rng.integers(level - 30, level + 30, (128, 256, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / name)
    table.assign(source="lc25000_768", text=table["diagnosis"], mpp=np.nan).to_csv(folder / "tiles.csv", index=False)
    return folder


def test_no_group_is_on_both_sides(folder: Path) -> None:
    split = tables(folder, ["held_out"])
    assert not set(split.train["group"]) & set(split.held["group"])
    for organ, expected in (("lung", {"held_out"}), ("bone", {"train"})):
        assert set(split.held["split"][split.held["organ"] == organ]) == expected
    assert split.trained_on == ("bone",)
    sides = [set(part["group"][part["organ"] == "bone"]) for part in (split.train, split.held)]
    assert [len(side) for side in sides] == [2, 2]
    assert set(split.train["split"]) == {"train"}


def test_classes_follow_the_record() -> None:
    assert label_of("colon", "adenocarcinoma") == ("colorectum", "colorectal adenocarcinoma")
    assert label_of("colorectum", "adenocarcinoma epithelium") == label_of("colon", "adenocarcinoma")
    assert label_of("bone", "non-viable (necrotic) osteosarcoma") == ("bone", "osteosarcoma, necrosis")
    assert label_of("colorectum", "mucus") == ("colorectum", "mucus")


def test_windows_lie_side_by_side_inside_the_tile() -> None:
    assert grid_corners((128, 128)) == [(0, 0)]
    assert grid_corners((224, 300)) == [(48, 22), (48, 150)]


def test_held_windows_are_as_many_of_each_organ_and_spread_over_groups(folder: Path) -> None:
    held = tables(folder, ["held_out", "validation"]).held
    found = held_windows(held, 6)
    assert {organ: int((found.organs == organ).sum()) for organ in set(found.organs)} == {
        "lung": 6,
        "colorectum": 6,
        "bone": 4,
    }
    assert len(set(found.groups[found.organs == "lung"])) == 6  # of twelve windows of each, one of each group
    assert found.pixels.shape[1:] == (128, 128, 3)


def windows(organs: list[str], labels: list[str], groups: list[str]) -> Windows:
    pixels = np.zeros((len(organs), 128, 128, 3), np.uint8)
    pixels += np.arange(len(organs), dtype=np.uint8)[:, None, None, None]
    return Windows(pixels, np.array(organs), np.array(labels), np.array(groups), np.array(labels))


def test_groups_take_turns() -> None:
    found = spread(windows(["a"] * 5, ["a: x"] * 5, ["g", "g", "g", "h", "i"]), 4)
    assert sorted(found.groups) == ["g", "g", "h", "i"]


def test_a_score_counts_windows_and_draws_groups() -> None:
    truth = np.array(["a"] * 6)
    found = np.array(["a", "a", "a", "b", "b", "b"])
    alike = share_right(found, truth, np.array(list("gggiii")))
    assert (alike.value, alike.of, alike.groups) == (0.5, 6, 2)
    assert alike.interval == (0.0, 1.0)  # both groups the one, both the other
    single = share_right(found, truth, None)
    assert 0 < single.interval[0] < 0.5 < single.interval[1] < 1
    assert share_right(truth, truth, None).interval == (1.0, 1.0)


def blobs(count: int, seed: int, shift: float = 0.0) -> tuple[Windows, Any]:
    """Features of two organs with two classes each that are far apart."""
    rng = np.random.default_rng(seed)
    labels = [f"{organ}: {name}" for organ in ("o", "p") for name in ("x", "y")]
    every = [label for label in labels for _ in range(count)]
    centres = 8 * np.repeat(np.eye(4), 6, axis=1) + shift
    rows = np.stack([rng.normal(centres[labels.index(label)], 1) for label in every]).astype(np.float32)
    groups = [f"{label}{index % 6}" for index, label in enumerate(every)]
    return windows([label[0] for label in every], every, groups), rows


def test_a_verdict_tells_generated_windows_of_another_class() -> None:
    train, rows = blobs(30, 0)
    held, real = blobs(8, 1)
    classifier = fit_classifier(rows, train.labels, train.groups)
    swapped = real.copy()
    swapped[held.labels == "o: x"] = real[held.labels == "p: y"]
    verdicts, said = judge(classifier, held, real, swapped)
    first, second = verdicts
    assert (first.organ, second.organ) == ("o", "p")
    assert first.real_organ.value == first.real_class.value == second.made_class.value == 1
    assert first.made_organ.value == first.made_class.value == 0.5
    assert first.said == {"o": 8, "p": 8}
    assert list(organ_of(said[:1])) == ["p"]


def test_distances_are_small_for_the_same_and_large_for_another_organ() -> None:
    train, rows = blobs(30, 0)
    held, real = blobs(20, 1)
    made = blobs(20, 2)[1]
    found = {(row.organ, row.kind): row for row in distances(held, real, made, train, rows)}
    assert set(found) == {(organ, kind) for organ in "op" for kind in ("Frechet", "kernel")}
    for row in found.values():
        assert row.size == 20
        assert row.made[0] < 0.05 * row.other[0]
        assert row.real[0] < 0.05 * row.other[0]
    far = {(row.organ, row.kind): row for row in distances(held, real, blobs(20, 2, 3.0)[1], train, rows)}
    assert all(far[key].made[0] > found[key].made[0] + 1 for key in found)


def test_the_mix_of_classes_is_matched() -> None:
    labels = np.array(["a", "a", "a", "b", "b", "c"])
    chosen = same_mix(labels, np.array(["a", "b", "b", "b"]), np.random.default_rng(0))
    assert sorted(labels[chosen]) == ["a", "b", "b"]  # of b there are two


def test_few_tiles_come_from_many_groups() -> None:
    found = windows(["o"] * 6, ["o: x"] * 6, ["g", "g", "g", "h", "i", "i"])
    rows = draw_few(found, "o: x", 3, np.random.default_rng(0))
    assert set(found.groups[rows]) == {"g", "h", "i"}


def test_orientations_are_eight_different_ones() -> None:
    picture = np.arange(128 * 128 * 3, dtype=np.uint32).astype(np.uint8).reshape(1, 128, 128, 3)
    turned = oriented(picture)
    assert len({row.tobytes() for row in turned}) == 8
    assert np.array_equal(turned[0], picture[0])


def test_generated_tiles_help_where_they_are_right_and_harm_where_they_are_not() -> None:
    train, rows = blobs(30, 0)
    noisy = rows + np.random.default_rng(3).normal(0, 35, rows.shape).astype(np.float32)
    test = blobs(20, 1)
    turned = np.stack([noisy] * 8)
    classes = classes_of(train, test[0])
    assert classes == ("o: x", "o: y", "p: x", "p: y")
    right = {label: test[1][test[0].labels == label] for label in classes}
    wrong = dict(zip(classes, reversed(list(right.values())), strict=True))
    gains = {}
    for name, made in (("right", right), ("wrong", wrong)):
        task = compare("t", classes, (train, noisy), turned, made, test, seeds=4)
        assert (task.tiles, task.groups, task.seeds) == (80, 24, 4)
        assert [arm.name for arm in task.arms if arm.gain is None] == ["10 real"]
        gains[name] = next(arm for arm in task.arms if arm.name == "10 real and 20 generated")
    assert gains["right"].gain > 0.1
    assert gains["wrong"].gain < -0.3


def test_a_class_with_too_few_tiles_is_left_out() -> None:
    train = windows(["o"] * 19, ["o: x"] * 10 + ["o: y"] * 9, [str(n) for n in range(19)])
    test = windows(["o"] * 8, ["o: x"] * 4 + ["o: y"] * 4, [str(n) for n in range(8)])
    assert classes_of(train, test) == ("o: x",)


def test_the_interval_is_students() -> None:
    mean, (low, high) = mean_interval(np.array([1.0, 2.0, 3.0]))
    assert mean == 2
    assert (low, high) == pytest.approx((2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), abs=1e-3)
    assert mean_interval(np.array([5.0])) == (5.0, (5.0, 5.0))


def test_a_region_is_cut_into_its_windows() -> None:
    region = np.arange(256 * 384 * 3, dtype=np.uint32).astype(np.uint8).reshape(256, 384, 3)
    found = windows_of(region)
    assert found.shape == (6, 128, 128, 3)
    assert np.array_equal(found[4], region[128:, 128:256])


def test_reports_are_those_of_the_split(tmp_path: Path) -> None:
    (tmp_path / "other_reports").mkdir()
    cases = [f"TCGA-{n}" for n in range(40)]
    pd.DataFrame({"case_id": cases, "text": [f"report of {case}" for case in cases]}).to_csv(
        tmp_path / "other_reports" / "luad_reports.csv.gz", index=False
    )
    found = held_reports(tmp_path, "luad", "held_out", 2)
    expected = [f"report of {case}" for case in sorted(cases) if split_of(case) == "held_out"][:2]
    assert found == expected
    assert len(found) == 2


def test_what_windows_were_taken_for() -> None:
    said = said_of("EX", "lung", np.array(["lung: a", "lung: b", "bone: c", "lung: a"]))
    assert said.right.value == 0.75
    assert said.organs == {"lung": 3, "bone": 1}
    assert said.labels["lung: a"] == 2


def test_the_picture_has_eight_windows_of_the_classes_in_turn(folder: Path, tmp_path: Path) -> None:
    held = cut(tables(folder, ["held_out"]).held, 2)
    rows = chosen_rows(held, "lung")
    assert len(set(rows.tolist())) == ACROSS
    assert sorted(np.unique(held.labels[rows], return_counts=True)[1].tolist()) == [4, 4]
    write_picture(tmp_path / "grid.png", held, held.pixels, "mupd-tiny")
    size = Image.open(tmp_path / "grid.png").size
    assert size == (16 * 128 + 12, 3 * 154)


def test_tables_take_their_places(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- x: begin -->\nold\n<!-- x: end -->\nb\n<!-- y: begin --><!-- y: end -->\n")
    fill(page, {marks("x"): "new", marks("y"): "other"})
    assert page.read_text() == (
        "a\n<!-- x: begin -->\nnew\n<!-- x: end -->\nb\n<!-- y: begin -->\nother\n<!-- y: end -->\n"
    )
    with pytest.raises(MupdError, match=r"found no place .* z: begin"):
        fill(page, {marks("z"): "new"})
