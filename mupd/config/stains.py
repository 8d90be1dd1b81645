"""The configuration's section `stains`: which virtual stains each measured slide gets.

Imported by the Snakefile with the configuration: no heavy imports here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mupd.errors import Fault, ModelError
from mupd.model_folder.stainer import StainerFacts, stainer_facts

NUCLEAR = ("DAPI", "Hoechst", "Hoechst 33342", "Hoechst33342", "DNA", "DRAQ5", "DNA1", "DNA2")
"""Names of channels that stain nuclei, upper and lower case alike."""


@dataclass(frozen=True)
class StainSettings:
    """One virtual stain.

    Attributes
    ----------
    name
        Begins with what it is, ``mif`` or ``ihc``; names task, folder and manifest row.
    model
        Folder of the stainer.
    channels
        Of the model's, in the order in which they are written; for ``ihc`` red, green and blue.
    draws
        How many a slide.
    steps
        From noise to sample; None = as ``sampler.steps``.
    max_side_px
        Longest side of what is stained of a slide, in pixels of the model's scale.
    nuclear_channel
        The channel that the check holds against the slide's haematoxylin; None = the first with a name of
        :data:`NUCLEAR`, if there is one.
    min_nuclear_correlation
        Least correlation of the two.
    codec
        Of the DICOM files, as ``slide.codec``.
    """

    name: str
    model: str
    channels: tuple[str, ...]
    draws: int
    steps: int | None
    max_side_px: int
    nuclear_channel: str | None
    min_nuclear_correlation: float
    codec: Literal["jpeg", "jpeg2000", "htj2k", "jpegxl"]

    @property
    def kind(self) -> str:
        """``mif`` or ``ihc``."""
        return self.name.partition("-")[0]

    @property
    def nuclear(self) -> str | None:
        """The channel of nuclei, None if there is none (or it is a bright-field picture)."""
        known = {name.lower() for name in NUCLEAR}
        found = (name for name in self.channels if name.lower() in known)
        return self.nuclear_channel or (None if self.kind == "ihc" else next(found, None))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)


def _faults_against(values: dict[str, Any], facts: StainerFacts, where: str) -> list[Fault]:
    """What a stain asks for that its model lacks."""
    kind = values["name"].partition("-")[0]
    if facts.stain != kind:
        has = f"{facts.stain} (the model {facts.name} makes {facts.stain} of {_listed(facts.channels)})"
        return [Fault(f"{where}.name", repr(values["name"]), f"a name that begins with {has}")]
    faults = []
    if kind == "ihc":
        given = {"channels": [] if tuple(values["channels"]) == facts.channels else values["channels"]}
        given["nuclear_channel"] = values["nuclear_channel"]
        words = "nothing: ihc is one picture in colour"
        return [Fault(f"{where}.{key}", repr(value), words) for key, value in given.items() if value]
    if unknown := [name for name in values["channels"] if name not in facts.channels]:
        expected = f"channels that the model {facts.name} makes: {_listed(facts.channels)}"
        faults.append(Fault(f"{where}.channels", _listed(unknown), expected))
    chosen = values["channels"] or facts.channels
    nuclear = values["nuclear_channel"]
    if nuclear is not None and nuclear not in chosen:
        faults.append(Fault(f"{where}.nuclear_channel", nuclear, f"a channel of this stain: {_listed(chosen)}"))
    return faults


def parse_stains(items: Sequence[dict[str, Any]], source: str) -> tuple[tuple[StainSettings, ...], list[Fault]]:
    """Type the entries of `stains` and hold each against its model's ``model_index.json``.

    Parameters
    ----------
    items
        Entries that keep the schema, defaults filled in.
    source
        Name of the file, for messages.

    Returns
    -------
    The stains, and every fault: no such model, a stain or channel that the model lacks, one name twice.
    """
    stains: list[StainSettings] = []
    faults: list[Fault] = []
    for index, values in enumerate(items):
        where = f"{source} [stains.{index}"
        if values["name"] in (stain.name for stain in stains):
            faults.append(Fault(f"{where}.name]", repr(values["name"]), "a name that no other stain has"))
        channels = tuple(values["channels"])
        try:
            facts = stainer_facts(Path(values["model"]))
        except ModelError as error:
            found, _, expected = str(error).partition("; expected ")
            faults.append(Fault(f"{where}.model]", found.replace("found ", ""), expected or "a virtual stainer"))
        else:
            against = _faults_against(values, facts, where)
            faults += [Fault(f"{fault.where}]", fault.found, fault.expected) for fault in against]
            channels = channels or facts.channels
        stains.append(StainSettings(**(values | {"channels": channels})))
    return tuple(stains), faults
