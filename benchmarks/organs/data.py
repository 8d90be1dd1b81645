"""Real windows of H&E tiles by organ and class: for training the classifier, and held out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from mupd.model_folder.geometry import TRAINED
from mupd.training.public.labels import tile_record
from mupd.training.public.read import read_tiles
from mupd.training.public.splits import Split, split_of

_MOST_HALVED = 12
_PLAIN_TISSUE = ("tumour", "normal parenchyma", None)


@dataclass(frozen=True)
class Windows:
    """Windows with what is known of each.

    Attributes
    ----------
    pixels
        (n, 128, 128, 3) uint8.
    organs, labels, groups, texts
        Of each window: organ, class (within its organ), group of its tile, text of its tile.
    """

    pixels: NDArray[np.uint8]
    organs: NDArray[np.str_]
    labels: NDArray[np.str_]
    groups: NDArray[np.str_]
    texts: NDArray[np.str_]

    def __len__(self) -> int:
        """How many windows there are."""
        return len(self.pixels)

    def of(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Windows:
        """Some of the windows."""
        return Windows(self.pixels[rows], self.organs[rows], self.labels[rows], self.groups[rows], self.texts[rows])


@dataclass(frozen=True)
class Tables:
    """Tiles that the classifier learns from, and those held back from it.

    Attributes
    ----------
    train, held
        Rows of ``tiles.csv`` with `path`, `organ` as the record names it, `label` and `split`.
    trained_on
        Organs of which the data hold no tile back from the generator: half of their groups are held back from the
        classifier alone.
    """

    train: pd.DataFrame
    held: pd.DataFrame
    trained_on: tuple[str, ...]


def label_of(organ: str, diagnosis: str) -> tuple[str, str]:
    """Organ and class of a tile, by its record: the diagnosis, and the tissue where the diagnosis does not imply it."""
    record = tile_record(organ, diagnosis)
    tissue = record.get("tissue")
    named = [record.get("diagnosis"), None if tissue in _PLAIN_TISSUE else tissue]
    return record["organ"], ", ".join(part for part in named if part)


def read_table(folder: Path) -> pd.DataFrame:
    """Tiles whose licence allows a shared model, with the organ and label of their record and their split."""
    table = read_tiles(folder)
    pairs = [label_of(str(row.organ), str(row.diagnosis)) for row in table.itertuples()]
    return table.assign(
        organ=[organ for organ, _ in pairs],
        label=[f"{organ}: {label}" for organ, label in pairs],
        split=[split_of(str(group)) for group in table["group"]],
    )


def tables(folder: Path, splits: Collection[Split]) -> Tables:
    """Training tiles, and those of the given splits.

    An organ of which these splits have no tile takes half of the groups of the training tiles.
    """
    table = read_table(folder)
    train, held = table[table["split"] == "train"], table[table["split"].isin(list(splits))]
    lacking = tuple(sorted(set(train["organ"]) - set(held["organ"])))
    moved = pd.Series(False, index=train.index)
    for organ in lacking:
        rows = train[train["organ"] == organ]
        moved |= train["group"].isin(_half_of_the_groups(rows)) & (train["organ"] == organ)
    return Tables(train[~moved], pd.concat([held, train[moved]]), lacking)


def _half_of_the_groups(rows: pd.DataFrame) -> list[str]:
    """Half of the groups, chosen so that both halves have as many classes as possible."""
    classes = {str(group): set(tiles["label"]) for group, tiles in rows.groupby("group")}
    names = sorted(classes)
    if len(names) > _MOST_HALVED:
        return names[::2]

    def both(chosen: Iterable[str]) -> int:
        sides = list(chosen), [name for name in names if name not in set(chosen)]
        return sum(len(set().union(*(classes[name] for name in side))) for side in sides)

    return list(max(combinations(names, len(names) // 2), key=both))


def grid_corners(size_px: tuple[int, int]) -> list[tuple[int, int]]:
    """Corners (y, x) of adjacent windows that fill the centre of a picture of this height and width."""
    axes = []
    for side in size_px:
        count = max(1, side // TRAINED.window_px)
        axes.append([(side - count * TRAINED.window_px) // 2 + step * TRAINED.window_px for step in range(count)])
    return [(y, x) for y in axes[0] for x in axes[1]]


def cut(table: pd.DataFrame, most: int, seed: int = 0) -> Windows:
    """At most this many adjacent windows of each tile, drawn at random if there are more."""
    rng = np.random.default_rng(seed)
    pixels, rows = [], []
    for row in table.itertuples():
        image = np.asarray(Image.open(str(row.path)).convert("RGB"))
        corners = grid_corners((image.shape[0], image.shape[1]))
        for place in rng.permutation(len(corners))[:most]:
            y, x = corners[place]
            pixels.append(image[y : y + TRAINED.window_px, x : x + TRAINED.window_px])
            rows.append(row)
    columns = (np.array([str(getattr(row, name)) for row in rows]) for name in ("organ", "label", "group", "text"))
    return Windows(np.stack(pixels), *columns)


def centres(table: pd.DataFrame) -> Windows:
    """The central window of each tile."""
    pixels = []
    for path in table["path"]:
        image = np.asarray(Image.open(path).convert("RGB"))
        y, x = ((side - TRAINED.window_px) // 2 for side in image.shape[:2])
        pixels.append(image[y : y + TRAINED.window_px, x : x + TRAINED.window_px])
    columns = (table[name].to_numpy().astype(np.str_) for name in ("organ", "label", "group", "text"))
    return Windows(np.stack(pixels), *columns)


def held_windows(table: pd.DataFrame, each: int, seed: int = 0) -> Windows:
    """At most `each` windows of every organ, the same number from each tile."""
    parts = []
    for organ in sorted(set(table["organ"])):
        rows = table[table["organ"] == organ].sample(frac=1, random_state=seed)
        parts.append(spread(cut(rows, -(-each // len(rows)) + 2, seed), each))
    return join(parts)


def spread(windows: Windows, most: int) -> Windows:
    """At most so many of the windows, taken from their groups in turn."""
    turns: dict[str, int] = {}
    order = []
    for index, group in enumerate(windows.groups):
        order.append((turns.get(str(group), 0), index))
        turns[str(group)] = turns.get(str(group), 0) + 1
    return windows.of(np.array(sorted(index for _, index in sorted(order)[:most]), np.int64))


def join(parts: Sequence[Windows]) -> Windows:
    """Windows behind one another."""
    names = ("pixels", "organs", "labels", "groups", "texts")
    return Windows(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))
