"""How a virtual stain is described in DICOM: one optical path a channel, or a picture in colour."""

from __future__ import annotations

from wsidicom.conceptcode import IlluminationCode, IlluminationColorCode
from wsidicom.metadata import OpticalPath

from mupd.base.ids import stain_name
from mupd.contracts.draws import DrawMeta
from mupd.slides.region import region_from
from mupd.synthetic.dicom.metadata import Appearance, bright_field_path

_LO, _ST = 64, 1024
_STUDY = "virtual stain by mupd"
_VIRTUAL = "virtual stain, no light and no dye used"


def _fluorescence_path(index: int, channel: str) -> OpticalPath:
    """The optical path of a channel.

    Illumination Type and one of wave length or colour are type 1: fluorescence of unknown colour is what an image of
    this kind would have had; the description says that there was none. MONOCHROME2 needs no ICC profile.
    """
    return OpticalPath(
        identifier=str(index),
        description=channel,
        illumination_types=[IlluminationCode("Epifluorescence illumination")],
        illumination=IlluminationColorCode("Full Spectrum"),
    )


def stain_appearance(meta: DrawMeta) -> Appearance:
    """What the headers of a virtual stain say of it, by its draw's settings ``stain``, ``channels`` and ``region``."""
    name = stain_name(meta.target) or ""
    channels, region = tuple(meta.settings["channels"]), region_from(meta.settings["region"])
    addition = f" A virtual stain of {region.words()}: no light and no dye was used."
    if meta.settings["stain"] == "ihc":
        path = bright_field_path(f"{name} ({_VIRTUAL})")
        return Appearance(name, _STUDY, f"{name} ({_VIRTUAL})", path, said=addition)
    listed = ", ".join(channels)
    room = _ST - 600 - len(addition)
    addition = f" A virtual stain of {region.words()}, channels {listed[:room]}: no light and no dye was used."
    path = bright_field_path("pseudo-colours of the channels")
    paths = tuple(_fluorescence_path(index, channel[:_LO]) for index, channel in enumerate(channels))
    return Appearance(name, _STUDY, f"{listed[: _LO - 16]} (virtual stain)", path, paths, addition)
