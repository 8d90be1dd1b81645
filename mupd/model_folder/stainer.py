"""What the folder of a virtual stainer says of itself, read without loading it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from mupd.errors import ModelError
from mupd.model_folder.contents import read_json_file

Stain = Literal["mif", "ihc"]
IHC_CHANNELS = ("red", "green", "blue")
WINDOWS_PX = (128, 256, 512)
KIND = "stainer"


@dataclass(frozen=True)
class StainerFacts:
    """What a stainer makes.

    Attributes
    ----------
    stain
        ``mif``: monochrome channels, one a marker. ``ihc``: a bright-field picture.
    channels
        Names of the channels in order; red, green and blue for ``ihc``.
    mpp
        Micrometres per pixel of what it reads and writes.
    name
        Of the model.
    window_px
        Side of what it sees at once.
    """

    stain: Stain
    channels: tuple[str, ...]
    mpp: float
    name: str
    window_px: int = 256


def stainer_facts(folder: str | Path) -> StainerFacts:
    """Facts of a stainer's ``model_index.json``.

    Raises
    ------
    ModelError
        If the folder is no stainer, or a fact is not there or makes no sense.
    """
    path = Path(folder) / "model_index.json"
    value = read_json_file(path)
    if not isinstance(value, dict) or value.get("kind") != KIND:
        stated = (
            "no model_index.json"
            if value is None
            else f"kind {value.get('kind') if isinstance(value, dict) else value!r}"
        )
        raise ModelError(
            f'stainer {folder}: found {stated}; expected a folder whose model_index.json says "kind": "{KIND}"'
        )

    def expect(key: str, fits: bool, expected: str) -> None:
        if not fits:
            raise ModelError(f"{path} [{key}]: found {value.get(key)!r}; expected {expected}")

    stain: Any = value.get("stain")
    channels: Any = value.get("channels")
    mpp: Any = value.get("mpp")
    window: Any = value.get("window_px")
    expect("name", isinstance(value.get("name"), str) and bool(value["name"]), "the model's name")
    expect("stain", stain in get_args(Stain), " or ".join(get_args(Stain)))
    expect("channels", _is_names(channels), "a list of different names")
    if stain == "ihc":
        expect("channels", tuple(channels) == IHC_CHANNELS, f"{list(IHC_CHANNELS)} for ihc")
    expect("mpp", isinstance(mpp, int | float) and not isinstance(mpp, bool) and 0 < mpp < math.inf, "a number over 0")
    expect("window_px", window in WINDOWS_PX, f"one of {', '.join(map(str, WINDOWS_PX))}")
    return StainerFacts(stain, tuple(channels), float(mpp), str(value["name"]), int(window))


def _is_names(value: Any) -> bool:
    if not (isinstance(value, list) and value and all(isinstance(name, str) and name for name in value)):
        return False
    return len(set(value)) == len(value)


def index_of(facts: StainerFacts) -> dict[str, Any]:
    """What ``model_index.json`` holds for these facts."""
    return {
        "name": facts.name,
        "kind": KIND,
        "stain": facts.stain,
        "channels": list(facts.channels),
        "mpp": facts.mpp,
        "window_px": facts.window_px,
    }
