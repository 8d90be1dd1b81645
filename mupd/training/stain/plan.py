"""Training configuration of a virtual stainer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from mupd.config.faults import read_yaml, validated
from mupd.config.section import section
from mupd.errors import Fault, InputFaults
from mupd.model_folder.stainer import IHC_CHANNELS, Stain, StainerFacts
from mupd.training.settings import LoopSettings, Name, Positive, Preset

Layout = Literal["files", "planes", "mosaic"]
Mpp = Annotated[float, Field(gt=0, le=10)]
ChannelName = Annotated[str, Field(pattern="^[^,/]+$")]
"""Name of a channel, which is also part of file names, e.g. ``CD3``."""
NUCLEAR_NAMES = ("dapi", "hoechst", "hoechst 33342", "draq5", "dna1", "dna2", "dna")
MOSAIC = 4
"""Quadrants of a mosaic: upper left, upper right, lower left, lower right."""

_WHAT = "training configuration"


@section
class PairSettings:
    """Where the pairs are and how their stains are kept.

    Attributes
    ----------
    table
        CSV with one row for each pair; paths in it are relative to its folder.
    layout
        ``files``: a grey picture for each channel, in a column of the channel's name. ``planes``: one picture with
        all planes (TIFF, or the RGB of an IHC). ``mosaic``: one grey picture of four quadrants.
    planes
        Names of the planes or quadrants of a picture, in order; as loaded, the channels if none are set.
    he, stain, group
        Columns of the H&E, of the stain's picture, and of what is never divided between training and held-out pairs.
    mpp
        Micrometres per pixel where the table has no column ``mpp``.
    range
        For each channel the measured values that become 0 and 255; 8-bit pictures need none.
    nuclei
        Channel of the nuclei, by which registration is checked; None = not checked. ``auto`` is resolved as loaded.
    least_correlation
        Pairs whose nuclei correlate less do not register.
    """

    table: Path
    layout: Layout = "planes"
    planes: tuple[str, ...] = ()
    he: str = "he"
    stain: str = "stain"
    group: str = "group"
    mpp: Mpp | None = None
    range: dict[str, tuple[float, float]] = Field(default_factory=dict)
    nuclei: str | None = "auto"
    least_correlation: Annotated[float, Field(ge=0, lt=1)] = 0.3


@section
class StainVaeSettings(LoopSettings):
    """Size and training of the stain's autoencoder."""

    batch_size: Positive = 16
    latent_channels: Annotated[int, Field(ge=1, le=64)] = 8
    width: Annotated[int, Field(ge=16, le=1024, multiple_of=8)] = 128


@section
class StainTrunkSettings(LoopSettings):
    """Size and training of the trunk.

    Attributes
    ----------
    at_noise
        Share of the samples at t = 0, from which one step of the sampler learns the expectation.
    colour_jitter
        Random change of the H&E's optical density; 0.1 = 10 %.
    """

    batch_size: Positive = 8
    preset: Preset = "mini"
    at_noise: Annotated[float, Field(ge=0, le=1)] = 0.3
    colour_jitter: Annotated[float, Field(ge=0, le=0.5)] = 0.1


@section
class StainPlan:
    """A training configuration of a stainer.

    Attributes
    ----------
    channels
        Names of the stain's channels in order; as loaded, red, green and blue for ``ihc``.
    held_out
        Share of the groups that is kept out of the training, or their names.
    he_vae
        Folder of the autoencoder of the H&E, which stays as it is.
    start
        Folder of a transformer whose weights the trunk starts from, where names and shapes agree.
    """

    name: Name
    stain: Stain
    pairs: PairSettings
    he_vae: Path
    work: Path
    out: Path
    channels: tuple[ChannelName, ...] = ()
    mpp: Mpp = 0.5
    window_px: Literal[128, 256, 512] = 256
    held_out: Annotated[float, Field(gt=0, lt=1)] | Annotated[tuple[str, ...], Field(min_length=1)] = 0.2
    start: Path | None = None
    threads: Positive = 2
    vae: StainVaeSettings = Field(default_factory=StainVaeSettings)
    trunk: StainTrunkSettings = Field(default_factory=StainTrunkSettings)

    @property
    def facts(self) -> StainerFacts:
        """What the model will state about itself."""
        return StainerFacts(self.stain, self.channels, self.mpp, self.name, self.window_px)


def is_stain_config(path: Path) -> bool:
    """Whether a training configuration is one of a stainer: it names a stain."""
    values = read_yaml(path, _WHAT)
    return isinstance(values, dict) and "stain" in values


def nuclear_channel(stain: Stain, channels: tuple[str, ...]) -> str | None:
    """The channel that shows nuclei, by its name; for ``ihc`` it is the haematoxylin of the picture."""
    if stain == "ihc":
        return "haematoxylin"
    return next((name for name in channels if name.casefold() in NUCLEAR_NAMES), None)


def _channel_faults(plan: StainPlan, where: str) -> Iterator[Fault]:
    pairs, channels = plan.pairs, plan.channels or IHC_CHANNELS
    if plan.stain == "mif" and not plan.channels:
        yield Fault(f"{where} [channels]", "none", "the names of the stain's channels, in order")
    if plan.stain == "ihc" and channels != IHC_CHANNELS:
        yield Fault(f"{where} [channels]", ", ".join(channels), "none for ihc: they are red, green, blue")
    if plan.stain == "ihc" and pairs.layout != "planes":
        yield Fault(f"{where} [pairs.layout]", pairs.layout, "planes: an IHC is one RGB picture")
    planes = pairs.planes or channels
    if pairs.layout == "mosaic" and len(planes) != MOSAIC:
        yield Fault(f"{where} [pairs.planes]", f"{len(planes)} names", f"{MOSAIC}, one for each quadrant")
    for key, names in (("channels", channels), ("pairs.planes", planes)):
        if len(set(names)) < len(names):
            yield Fault(f"{where} [{key}]", ", ".join(names), "each name once")
    for name in channels:
        if name not in planes:
            yield Fault(f"{where} [channels]", f"unknown channel {name!r}", f"one of {', '.join(planes)}")
    for name, (low, high) in pairs.range.items():
        if name not in channels:
            yield Fault(f"{where} [pairs.range]", f"unknown channel {name!r}", f"one of {', '.join(channels)}")
        if low >= high:
            yield Fault(f"{where} [pairs.range.{name}]", f"[{low}, {high}]", "the lower value first")
    if plan.stain == "mif" and pairs.nuclei == "auto" and nuclear_channel("mif", channels) is None:
        expected = "a channel that shows all nuclei, or null to skip the check that pairs register"
        yield Fault(f"{where} [pairs.nuclei]", f"no nuclear channel in {', '.join(channels)}", expected)
    elif plan.stain == "mif" and pairs.nuclei not in {"auto", None, *channels}:
        yield Fault(f"{where} [pairs.nuclei]", f"unknown channel {pairs.nuclei!r}", ", ".join(channels))


def _file_faults(plan: StainPlan, where: str) -> Iterator[Fault]:
    if not plan.pairs.table.is_file():
        yield Fault(f"{where} [pairs.table]", f"no file {plan.pairs.table}", "a CSV table of the pairs")
    for key, folder in (("he_vae", plan.he_vae), ("start", plan.start)):
        if folder is not None and not (folder / "config.json").is_file():
            yield Fault(f"{where} [{key}]", f"no {folder}/config.json", "a folder with a network")


def load_stain_plan(path: Path) -> StainPlan:
    """Read and validate a stainer's training configuration.

    Raises
    ------
    InputFaults
        With every fault at once.
    """
    plan, faults = validated(StainPlan, read_yaml(path, _WHAT), str(path))
    if plan is not None:
        faults = [*_channel_faults(plan, str(path)), *_file_faults(plan, str(path))]
    if plan is None or faults:
        raise InputFaults(f"{_WHAT} {path}", faults)
    channels = plan.channels or IHC_CHANNELS
    nuclei = nuclear_channel(plan.stain, channels) if plan.pairs.nuclei == "auto" else plan.pairs.nuclei
    pairs = replace(plan.pairs, planes=plan.pairs.planes or channels, nuclei=nuclei)
    return replace(plan, channels=channels, pairs=pairs)
