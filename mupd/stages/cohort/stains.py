"""Virtual stains in the report: the slide's part beside its stain in pseudo-colours, with a legend."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mupd.base.ids import stain_name
from mupd.config import Config
from mupd.config.stains import StainSettings
from mupd.stages.cohort.join_shards import CheckedDraw, CohortCase, Part
from mupd.stages.cohort.thumbnails import data_uri, mark_synthetic

_SIDE_PX = 420
_REDUCED_PX = 1024
_MOST_DRAWS = 2
_WORDS = {"accepted": "synthetic", "rejected": "rejected", "failed": "failed", "": "not stained"}


def _small(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    from PIL import Image

    image = Image.fromarray(pixels)
    image.thumbnail((_SIDE_PX, _SIDE_PX))
    return np.asarray(image)


def _source(case: CohortCase, region: Mapping[str, Any]) -> NDArray[np.uint8]:
    """The part of the slide that was stained, reduced."""
    from mupd.slides.reader import open_slide
    from mupd.slides.region import Region, RegionReader

    step = max(1, -(-max(region["width_px"], region["height_px"]) // _SIDE_PX))
    sides = (max(1, region["width_px"] // step), max(1, region["height_px"] // step))
    part = Region(region["x_px"], region["y_px"], *sides, region["mpp"] * step, False)
    entry = case.parts["he"].entry
    with open_slide(Path(entry.source), entry.facts["mpp"]) as reader:
        return RegionReader(reader, part).read(0, 0, *sides)


def _stained(draw: CheckedDraw, stain: StainSettings, config: Config) -> NDArray[np.uint8]:
    """A draw in colour, reduced."""
    from mupd.slides.stain_density import reduce_picture
    from mupd.synthetic.picture.pseudo_colours import in_pseudo_colours

    pixels = np.load(config.out / draw.folder / "pixels.npy", mmap_mode="r", allow_pickle=False)
    reduced = reduce_picture(pixels, _REDUCED_PX)
    return _small(reduced if stain.kind == "ihc" else in_pseudo_colours(reduced, stain.channels))


def _pictures(case: CohortCase, part: Part, stain: StainSettings, config: Config) -> list[dict[str, Any]]:
    from mupd.base.messages import reason_of
    from mupd.errors import MupdError
    from mupd.slides.reader import READ_ERRORS
    from mupd.slides.region import region_from

    shown: list[dict[str, Any]] = []
    draws = [draw for draw in part.accepted if draw.meta is not None][:_MOST_DRAWS]
    if not draws or draws[0].meta is None:
        return shown
    region = draws[0].meta.settings["region"]
    try:
        pixels = _source(case, region)
        words = region_from(region).words()
        shown.append({"uri": data_uri(pixels), "synthetic": False, "caption": f"The H&E it was made from: {words}"})
    except (*READ_ERRORS, MupdError) as error:
        why = reason_of(error, Path(case.parts["he"].entry.source))
        shown.append({"uri": "", "synthetic": False, "caption": f"The slide cannot be read: {why}"})
    for draw in draws:
        uri = data_uri(mark_synthetic(_stained(draw, stain, config)))
        shown.append({"uri": uri, "synthetic": True, "caption": f"Draw {draw.draw}."})
    return shown


def _legend(stain: StainSettings) -> list[dict[str, str]]:
    from mupd.synthetic.picture.pseudo_colours import colours_of

    if stain.kind == "ihc":
        return []
    colours = colours_of(stain.channels)
    return [
        {"name": name, "colour": "#{:02x}{:02x}{:02x}".format(*colour)}
        for name, colour in zip(stain.channels, colours, strict=True)
    ]


def stain_views(case: CohortCase, config: Config, pictured: bool) -> list[dict[str, Any]]:
    """What the template shows of a case's stains, in the order of the configuration."""
    views = []
    for stain in config.stains:
        part = next((part for target, part in case.stains.items() if stain_name(target) == stain.name), None)
        if part is None:
            continue
        views.append(
            {
                "name": stain.name,
                "task": part.task.replace("->", " \u2192 "),
                "state": part.verdict or "none",
                "word": _WORDS[part.verdict],
                "why": part.why,
                "pictures": _pictures(case, part, stain, config) if pictured else [],
                "legend": _legend(stain),
                "artifacts": [item.path for item in part.artifacts],
                "made": sum(draw.draw >= 0 for draw in part.draws),
                "accepted": len(part.accepted),
                "part": part,
            }
        )
    return views
