"""Small pictures of a cohort's slides for the status page, with the tissue outlined."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence

from mupd.base.progress import track
from mupd.contracts.inventory import CaseInventory
from mupd.inputs.examine import Request
from mupd.inputs.runners import Runner
from mupd.synthetic.statement import WORD

_MAX_PX = 300
_MAGENTA = (194, 24, 122)
# Words of reasons for which a slide would hit the same limit again.
_LEFT_ALONE = ("seconds", "memory", "cannot be read", "ended", "crash", "truncated", "damaged", "refused", "declares")


def _stamped(picture: bytes) -> bytes:
    """The picture (JPEG) with a magenta band that reads SYNTHETIC, so that copies of it say so too."""
    from PIL import Image, ImageDraw, ImageFont

    with Image.open(io.BytesIO(picture)) as opened:
        image = opened.convert("RGB")
    band = max(18, image.height // 9)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, image.height - band, image.width, image.height), fill=_MAGENTA)
    place = (image.width / 2, image.height - band / 2)
    draw.text(place, WORD, (255, 255, 255), ImageFont.load_default(round(band * 0.68)), anchor="mm")
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=82)
    return stream.getvalue()


def _has_picture(case: CaseInventory) -> bool:
    entry = case.entries["he"]
    if not entry.source:
        return False
    return entry.status == "measured" or not any(word in entry.reason.lower() for word in _LEFT_ALONE)


def pictures_of(
    cases: Sequence[CaseInventory], mpps: Mapping[str, float | None], most: int, run: Runner
) -> dict[str, str]:
    """Data URIs of the first `most` slides that have a picture, by case id.

    Parameters
    ----------
    mpps
        Micrometres per pixel from the sheet, by case id; None = not stated.
    run
        Reads the slides in workers under limits (:func:`mupd.inputs.runners.in_workers`).
    """
    made = {}
    wanted = [case for case in cases if _has_picture(case)][: max(0, most)]
    requests = [
        (
            number,
            Request("he", case.entries["he"].source, mpp=mpps.get(case.case_id), want="outline", picture_px=_MAX_PX),
        )
        for number, case in enumerate(wanted)
    ]
    for number, outcome in track(run(requests), "thumbnails", len(requests)) if requests else ():
        case = wanted[number]
        if "jpeg" not in outcome.facts:
            # The page shows the reason from the inventory.
            continue
        picture = base64.b64decode(outcome.facts["jpeg"])
        if "synthetic_input" in case.entries["he"].facts:
            picture = _stamped(picture)
        made[case.case_id] = "data:image/jpeg;base64," + base64.b64encode(picture).decode("ascii")
    return made
