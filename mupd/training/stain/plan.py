"""Training configuration of a virtual stainer: validated and typed."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import yaml

from mupd.config import load_schema, schema_faults, with_defaults
from mupd.errors import Fault, InputFaults
from mupd.model_folder.stainer import IHC_CHANNELS, Stain, StainerFacts
from mupd.training.loop import LoopSettings

Layout = Literal["files", "planes", "mosaic"]
NUCLEAR_NAMES = ("dapi", "hoechst", "hoechst 33342", "draq5", "dna1", "dna2", "dna")
MOSAIC = 4
"""Quadrants of a mosaic: upper left, upper right, lower left, lower right."""


@dataclass(frozen=True)
class PairSettings:
    """Where the pairs are and how their stains are kept.

    Attributes
    ----------
    table
        CSV with a row a pair; paths in it are relative to its folder.
    layout
        ``files``: a grey picture a channel, in a column of the channel's name. ``planes``: one picture with all
        planes (TIFF, or the RGB of an IHC). ``mosaic``: one grey picture of four quadrants.
    planes
        Names of the planes or quadrants that a picture has, in order.
    he, stain, group
        Columns of the H&E, of the stain's picture, and of what is never divided between training and held-out pairs.
    mpp
        Micrometres per pixel where the table has no column ``mpp``.
    ranges
        Of each channel the values that become 0 and 255; 8-bit pictures need none.
    nuclei
        Channel of the nuclei, by which it is checked that a pair registers; None = not checked.
    least_correlation
        Under it a pair does not register.
    """

    table: Path
    layout: Layout
    planes: tuple[str, ...]
    he: str
    stain: str
    group: str
    mpp: float | None
    ranges: dict[str, tuple[float, float]]
    nuclei: str | None
    least_correlation: float


@dataclass(frozen=True)
class StainPlan:
    """A validated training configuration of a stainer.

    Attributes
    ----------
    facts
        What the model will say of itself.
    held_out
        Share of the groups that is kept out of the training, or their names.
    he_vae
        Folder of the autoencoder of the H&E, which stays as it is.
    start
        Folder of a transformer whose weights the trunk starts from, where names and shapes agree.
    """

    facts: StainerFacts
    pairs: PairSettings
    held_out: float | tuple[str, ...]
    he_vae: Path
    start: Path | None
    work: Path
    out: Path
    threads: int
    parts: dict[str, dict[str, Any]]

    def settings(self, part: str) -> LoopSettings:
        """Loop settings of a part; what is not given has its default."""
        known = {field.name for field in fields(LoopSettings)}
        given = {key: value for key, value in self.parts[part].items() if key in known}
        return LoopSettings(**({"steps": 1000} | given))


def _read(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise InputFaults(f"training configuration {path}", [Fault(str(path), reason, "a YAML file")]) from error


def is_stain_config(path: Path) -> bool:
    """Whether a training configuration is one of a stainer: it names a stain."""
    values = _read(path)
    return isinstance(values, dict) and "stain" in values


def nuclear_channel(stain: Stain, channels: tuple[str, ...]) -> str | None:
    """The channel that shows nuclei, by its name; for ``ihc`` it is the haematoxylin of the picture."""
    if stain == "ihc":
        return "haematoxylin"
    return next((name for name in channels if name.casefold() in NUCLEAR_NAMES), None)


def _faults_of(values: dict[str, Any], where: str) -> list[Fault]:
    """What the schema cannot say."""
    pairs, stain = values["pairs"], values["stain"]
    faults = []
    if stain == "mif" and not values.get("channels"):
        faults.append(Fault(f"{where} [channels]", "none", "the names of the stain's channels, in order"))
    if stain == "ihc" and tuple(values.get("channels", IHC_CHANNELS)) != IHC_CHANNELS:
        faults.append(Fault(f"{where} [channels]", str(values["channels"]), "none for ihc: they are red, green, blue"))
    if stain == "ihc" and pairs.get("layout", "planes") != "planes":
        faults.append(Fault(f"{where} [pairs.layout]", str(pairs["layout"]), "planes: an IHC is one RGB picture"))
    channels = list(values.get("channels", IHC_CHANNELS))
    planes = pairs.get("planes", channels)
    if pairs.get("layout") == "mosaic" and len(planes) != MOSAIC:
        faults.append(Fault(f"{where} [pairs.planes]", f"{len(planes)} names", f"{MOSAIC}, one for each quadrant"))
    for name in channels:
        if name not in planes:
            faults.append(Fault(f"{where} [channels]", f"unknown channel {name!r}", f"one of {', '.join(planes)}"))
    for name, (low, high) in pairs.get("range", {}).items():
        if name not in channels:
            faults.append(Fault(f"{where} [pairs.range]", f"unknown channel {name!r}", f"one of {', '.join(channels)}"))
        if low >= high:
            faults.append(Fault(f"{where} [pairs.range.{name}]", f"[{low}, {high}]", "the lower value first"))
    nuclei = pairs.get("nuclei", "auto")
    if stain == "mif" and nuclei is not None:
        if nuclei == "auto" and nuclear_channel("mif", tuple(channels)) is None:
            expected = "a channel that shows all nuclei, or null: then it is not checked that pairs register"
            faults.append(Fault(f"{where} [pairs.nuclei]", f"no nuclear channel in {', '.join(channels)}", expected))
        elif nuclei != "auto" and nuclei not in channels:
            faults.append(Fault(f"{where} [pairs.nuclei]", f"unknown channel {nuclei!r}", ", ".join(channels)))
    if not Path(pairs["table"]).is_file():
        faults.append(Fault(f"{where} [pairs.table]", f"no file {pairs['table']}", "a CSV table of the pairs"))
    for key in ("he_vae", "start"):
        if values.get(key) is not None and not (Path(values[key]) / "config.json").is_file():
            faults.append(Fault(f"{where} [{key}]", f"no {values[key]}/config.json", "a folder with a network"))
    return faults


def load_stain_plan(path: Path) -> StainPlan:
    """Read and validate a stainer's training configuration.

    Raises
    ------
    InputFaults
        With every fault at once.
    """
    values = _read(path)
    schema = load_schema("stain")
    faults = schema_faults(values, schema, str(path))
    if not faults:
        faults = _faults_of(values, str(path))
    if faults:
        raise InputFaults(f"training configuration {path}", faults)
    filled = with_defaults(values, schema)
    stain: Stain = filled["stain"]
    channels = IHC_CHANNELS if stain == "ihc" else tuple(filled["channels"])
    pairs = filled["pairs"]
    nuclei = nuclear_channel(stain, channels) if pairs["nuclei"] == "auto" else pairs["nuclei"]
    held = filled["held_out"]
    return StainPlan(
        facts=StainerFacts(stain, channels, float(filled["mpp"]), filled["name"], filled["window_px"]),
        pairs=PairSettings(
            table=Path(pairs["table"]),
            layout=pairs["layout"],
            planes=tuple(pairs.get("planes", channels)),
            he=pairs["he"],
            stain=pairs["stain"],
            group=pairs["group"],
            mpp=pairs.get("mpp"),
            ranges={name: (float(low), float(high)) for name, (low, high) in pairs["range"].items()},
            nuclei=nuclei,
            least_correlation=pairs["least_correlation"],
        ),
        held_out=tuple(held) if isinstance(held, list) else float(held),
        he_vae=Path(filled["he_vae"]),
        start=None if filled["start"] is None else Path(filled["start"]),
        work=Path(filled["work"]),
        out=Path(filled["out"]),
        threads=filled["threads"],
        parts={part: filled[part] for part in ("vae", "trunk")},
    )
