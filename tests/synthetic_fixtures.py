"""Small draws and slides for the tests of marks and export."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mupd.store import DrawMeta

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def need_shared(*parts: str) -> Path:
    """A path of the shared data, or a loud skip."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"REAL DATA ABSENT: ../shared/data/{'/'.join(parts)}")
    return path


def meta_of(target: str, draw: int = 0, **changes: Any) -> DrawMeta:
    meta = DrawMeta(
        case_id="CASE-01",
        target=target,  # type: ignore[arg-type]
        draw=draw,
        seed=(1 << 62) + draw,
        given=("rna", "text") if target == "he" else ("he",),
        given_sha256={"rna": "a" * 64, "text": "b" * 64} if target == "he" else {"he": "c" * 64},
        model_id="mupd-test",
        model_sha256="d" * 64,
        mupd_version="0.1.0",
        settings={"steps": 2, "guidance": 1.5},
        created=f"2025-03-04T05:06:0{draw}+01:00",
        seconds=1.25,
        content_sha256=f"{draw:x}" * 64,
        notes=("a note",),
        mpp=0.78 if target == "he" else None,
    )
    return replace(meta, **changes)


def slide_pixels(width: int = 700, height: int = 530, seed: int = 0) -> np.ndarray:
    """Blobs on glass, (height, width, 3) uint8: smooth enough for JPEG, nothing symmetric in it."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    picture = np.full((height, width, 3), (242, 240, 243), dtype=np.float64)
    inside = ((x / width - 0.45) / 0.4) ** 2 + ((y / height - 0.55) / 0.4) ** 2 < 1
    picture[inside] = (220, 140, 185)
    for _ in range(60):
        centre_x, centre_y, radius = random.uniform(0, width), random.uniform(0, height), random.uniform(4, 14)
        picture[((x - centre_x) ** 2 + (y - centre_y) ** 2 < radius**2) & inside] = (90, 55, 135)
    return picture.astype(np.uint8)
