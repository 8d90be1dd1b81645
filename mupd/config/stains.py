"""The configuration's section `stains`: which virtual stains each measured slide gets.

Imported by the Snakefile with the configuration: no heavy imports here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from mupd.config.section import AS_WRITTEN, Codec, DrawCount, StepCount, Text, section
from mupd.errors import Fault, ModelError
from mupd.model_folder.stainer import StainerFacts, stainer_facts

NUCLEAR = ("DAPI", "Hoechst", "Hoechst 33342", "Hoechst33342", "DNA", "DRAQ5", "DNA1", "DNA2")
"""Names of channels that stain nuclei, in upper or lower case."""


def _without_repeats(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise ValueError("each name once")
    return names


@section
class StainSettings:
    """One virtual stain. `channels` are those of the model, in the order in which they are written."""

    name: Annotated[str, Field(pattern="^(mif|ihc)(-[a-z0-9]+)*$", max_length=10)] = Field(  # mif, ihc-ki67
        description="Name of the stain in tasks (`he->mif`), folders and the manifest (`stain:mif`). It begins with "
        "what the model makes: `mif` (channels, one per marker) or `ihc` (a picture in colour). Small letters, digits "
        "and `-` may follow (`mif-immune`), at most 10 characters.",
    )
    model: Text = Field(description="Folder of the stainer.")
    channels: Annotated[tuple[Text, ...], AfterValidator(_without_repeats)] = Field(
        default=(),
        description="Channels to write, in this order; [] = all channels of the model. A channel that the model lacks "
        "is refused before anything runs, with the names that it has.",
    )
    draws: DrawCount = Field(default=1, description="Stains per slide.")
    steps: StepCount | None = Field(
        default=None,
        description="Steps from noise to stain; null = `sampler.steps`. One step gives the model's expectation, "
        "without noise.",
    )
    max_side_px: int = Field(
        default=8192,
        ge=256,
        le=200_000,
        description="Longest side of the stained region, in pixels of the stainer's scale (8192 at 0.5 um are 4 mm). "
        "Of a larger slide, the region with the tissue, or with most of it, is stained; artifact, manifest and report "
        "state which.",
    )
    nuclear_channel: Text | None = Field(
        default=None,
        description="Channel of nuclei that the check compares with the slide's haematoxylin; null = DAPI, Hoechst and "
        "the like, if there is one.",
    )
    min_nuclear_correlation: Annotated[float, Field(ge=-1, le=1), AS_WRITTEN] = Field(
        default=0.1,
        description="Least correlation of the two over blocks of 8 um; below it the draw is rejected.",
    )
    codec: Codec = Field(
        default="jpeg2000",
        description="Codec of the DICOM files, as `slide.codec`. All but `jpeg` are lossless.",
    )

    @property
    def kind(self) -> str:
        """``mif`` or ``ihc``."""
        return self.name.partition("-")[0]

    @property
    def nuclear(self) -> str | None:
        """The channel of nuclei; None if there is none or the stain is ``ihc``."""
        known = {name.lower() for name in NUCLEAR}
        named = (name for name in self.channels if name.lower() in known)
        return self.nuclear_channel or (None if self.kind == "ihc" else next(named, None))


def _faults_against(stain: StainSettings, facts: StainerFacts, where: str) -> list[Fault]:
    """What a stain asks for that its model lacks."""
    made = ", ".join(facts.channels)
    if facts.stain != stain.kind:
        expected = f"a name that begins with {facts.stain} (the model {facts.name} makes {facts.stain} of {made})"
        return [Fault(f"{where}.name]", repr(stain.name), expected)]
    faults = []
    if stain.kind == "ihc":
        own = {
            "channels": [] if stain.channels == facts.channels else list(stain.channels),
            "nuclear_channel": stain.nuclear_channel,
        }
        expected = "nothing: ihc is one picture in colour"
        return [Fault(f"{where}.{key}]", repr(value), expected) for key, value in own.items() if value]
    if unknown := [name for name in stain.channels if name not in facts.channels]:
        expected = f"channels that the model {facts.name} makes: {made}"
        faults.append(Fault(f"{where}.channels]", ", ".join(unknown), expected))
    chosen = stain.channels or facts.channels
    if stain.nuclear_channel is not None and stain.nuclear_channel not in chosen:
        expected = f"a channel of this stain: {', '.join(chosen)}"
        faults.append(Fault(f"{where}.nuclear_channel]", stain.nuclear_channel, expected))
    return faults


def against_models(stains: Sequence[StainSettings], source: str) -> tuple[tuple[StainSettings, ...], list[Fault]]:
    """Compare the entries of `stains` with their models' ``model_index.json``.

    Parameters
    ----------
    source
        Name of the configuration file, for messages.

    Returns
    -------
    The stains, all channels named; and every fault: no such model, a stain or channel that the model lacks, a name that
    is used twice.
    """
    complete: list[StainSettings] = []
    faults: list[Fault] = []
    for index, stain in enumerate(stains):
        where = f"{source} [stains.{index}"
        if stain.name in (earlier.name for earlier in complete):
            faults.append(Fault(f"{where}.name]", repr(stain.name), "a name that no other stain has"))
        try:
            facts = stainer_facts(Path(stain.model))
        except ModelError as error:
            problem, _, expected = str(error).partition("; expected ")
            faults.append(Fault(f"{where}.model]", problem.replace("found ", ""), expected or "a virtual stainer"))
            complete.append(stain)
        else:
            faults += _faults_against(stain, facts, where)
            complete.append(replace(stain, channels=stain.channels or facts.channels))
    return tuple(complete), faults
