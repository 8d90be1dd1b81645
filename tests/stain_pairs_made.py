"""Made-up pairs: discs for nuclei, purple in the H&E, bright or blue in the stain; a marker around some of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PINK, PURPLE, BLUE, BROWN = (236, 190, 214), (96, 60, 140), (110, 120, 190), (120, 78, 40)


def _discs(side: int, radius: float, rng: np.random.Generator) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Nuclei, and rings around a third of them."""
    y, x = np.mgrid[:side, :side]
    nuclei, rings = np.zeros((side, side), bool), np.zeros((side, side), bool)
    for number, (top, left) in enumerate(rng.uniform(0, side, (side * side // 500, 2))):
        distance = np.hypot(y - top, x - left)
        nuclei |= distance < radius
        if number % 3 == 0:
            rings |= (distance >= radius) & (distance < radius + 3)
    return nuclei, rings & ~nuclei


def made_pair(side: int, seed: int, radius: float = 5.0) -> dict[str, NDArray[np.uint8]]:
    """``he`` and ``ihc`` (side, side, 3), ``DAPI`` and ``CD3`` (side, side)."""
    rng = np.random.default_rng(seed)
    nuclei, rings = _discs(side, radius, rng)

    def coloured(ground: tuple[int, ...], parts: list[tuple[NDArray[np.bool_], tuple[int, ...]]]) -> Any:
        pixels = np.broadcast_to(np.array(ground, float), (side, side, 3)).copy()
        for mask, colour in parts:
            pixels[mask] = colour
        return np.clip(pixels + rng.normal(0, 4, pixels.shape), 0, 255).astype(np.uint8)

    return {
        "he": coloured(PINK, [(nuclei, PURPLE)]),
        "ihc": coloured((240, 240, 240), [(nuclei, BLUE), (rings, BROWN)]),
        "DAPI": np.where(nuclei, 180, 4).astype(np.uint8),
        "CD3": np.where(rings, 200, 2).astype(np.uint8),
    }


def write_pairs(folder: Path, count: int, side: int, stain: str = "mif", groups: int = 3) -> Path:
    """Pictures and ``pairs.csv`` in the layout ``files`` (mif) or ``planes`` (ihc); returns the table."""
    folder.mkdir(parents=True, exist_ok=True)
    names = ["DAPI", "CD3"] if stain == "mif" else ["stain"]
    lines = [",".join(["he", *names, "group", "mpp"])]
    for number in range(count):
        pair = made_pair(side, number)
        pictures = {"he": pair["he"]} | ({n: pair[n] for n in names} if stain == "mif" else {"stain": pair["ihc"]})
        for name, pixels in pictures.items():
            Image.fromarray(pixels).save(folder / f"{number}_{name}.png")
        lines.append(",".join([*(f"{number}_{name}.png" for name in pictures), f"P{number % groups}", "0.5"]))
    (folder / "pairs.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "pairs.csv"


def write_stain_config(folder: Path, table: Path, he_vae: Path, **sections: Any) -> Path:
    """A training configuration of the smallest stainer."""
    import yaml

    stain = sections.get("stain", "mif")
    values: dict[str, Any] = {
        "name": "made-stainer",
        "stain": stain,
        "mpp": 0.5,
        "window_px": 128,
        "pairs": {"table": str(table), "layout": "files" if stain == "mif" else "planes"},
        "he_vae": str(he_vae),
        "held_out": 0.3,
        "work": str(folder / "work"),
        "out": str(folder / "out"),
        "threads": 1,
        "vae": {
            "steps": 4,
            "batch_size": 2,
            "warmup_steps": 1,
            "checkpoint_every": 2,
            "width": 16,
            "latent_channels": 4,
        },
        "trunk": {"steps": 4, "batch_size": 2, "warmup_steps": 1, "checkpoint_every": 4},
    }
    if stain == "mif":
        values["channels"] = ["DAPI", "CD3"]
    path = folder / "stain.yaml"
    path.write_text(yaml.safe_dump(values | sections), encoding="utf-8")
    return path
