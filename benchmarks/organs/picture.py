"""Real and generated windows side by side, one row per organ."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from benchmarks.organs.data import Windows
from mupd.base.files import atomic_path
from mupd.model_folder.geometry import TRAINED

ACROSS = 8
_HEAD_PX, _GAP_PX = 26, 12


def chosen_rows(held: Windows, organ: str) -> NDArray[np.int64]:
    """Eight rows of an organ, from its classes in turn; no group comes twice before each came once."""
    rows = np.nonzero(held.organs == organ)[0]
    groups: dict[tuple[str, str], int] = {}
    order = []
    for row in map(int, rows):
        key = str(held.labels[row]), str(held.groups[row])
        order.append((groups.get(key, 0), key[0], key[1], row))
        groups[key] = groups.get(key, 0) + 1
    by_class: dict[str, list[int]] = {}
    for _, label, _, row in sorted(order):
        by_class.setdefault(label, []).append(row)
    chosen: list[int] = []
    while len(chosen) < min(ACROSS, len(rows)):
        chosen += [queue.pop(0) for queue in by_class.values() if queue]
    return np.array(chosen[:ACROSS])


def write_picture(path: Path, held: Windows, made: NDArray[np.uint8], model: str) -> None:
    """Two rows of words and pictures an organ: eight real windows, and beside each row those made from their texts."""
    organs = sorted(set(held.organs))
    side = ACROSS * TRAINED.window_px
    row_px = _HEAD_PX + TRAINED.window_px
    canvas = Image.new("RGB", (2 * side + _GAP_PX, len(organs) * row_px), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=18)
    for number, organ in enumerate(organs):
        rows = chosen_rows(held, organ)
        top = number * row_px
        names = ", ".join(dict.fromkeys(str(label).split(": ")[1] for label in held.labels[rows]))
        draw.text((4, top + 2), f"{organ}, real ({names})", "black", font)
        draw.text(
            (side + _GAP_PX + 4, top + 2), f"{organ}, synthetic: made by {model} from the same texts", "black", font
        )
        for place, row in enumerate(rows):
            x = place * TRAINED.window_px
            canvas.paste(Image.fromarray(held.pixels[row]), (x, top + _HEAD_PX))
            canvas.paste(Image.fromarray(made[row]), (side + _GAP_PX + x, top + _HEAD_PX))
    with atomic_path(path) as temporary:
        canvas.save(temporary, format="PNG", optimize=True)


def write_case(path: Path, regions: NDArray[np.uint8], name: str, model: str) -> None:
    """Regions (n, side, side, 3) generated from one case's text, side by side under a line of words."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.concatenate(list(regions), axis=1)
    canvas = Image.new("RGB", (pixels.shape[1], _HEAD_PX + pixels.shape[0]), "white")
    words = f"{name}, synthetic: made by {model} from the text alone"
    ImageDraw.Draw(canvas).text((4, 2), words, "black", ImageFont.load_default(size=18))
    canvas.paste(Image.fromarray(pixels), (0, _HEAD_PX))
    with atomic_path(path) as temporary:
        canvas.save(temporary, format="PNG", optimize=True)
