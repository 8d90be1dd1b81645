"""Generated H&E of the six patients on one sheet, from each condition, alone or beside the real pictures.

The sheet with real pictures stays in the run's folder: their licences are their own.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.real_cohort.compare import Bench
from benchmarks.real_cohort.compare_patients import pixels_of, slide_pixels
from benchmarks.real_cohort.pattern import Case
from mupd.model_folder.geometry import TRAINED

CELL_PX = 224
_GAP_PX, _HEAD_PX, _SIDE_PX = 6, 22, 120
_WHITE = (255, 255, 255)


def cell(picture: Image.Image, side_px: int = CELL_PX) -> Image.Image:
    """The middle of a picture, `side_px` wide, with white where the picture is smaller."""
    left, top = (picture.width - side_px) // 2, (picture.height - side_px) // 2
    middle = Image.new("RGB", (side_px, side_px), _WHITE)
    middle.paste(picture, (-left, -top))
    return middle


def _real(bench: Bench, case: Case) -> Image.Image:
    picture = Image.fromarray(pixels_of(bench.data / "tcga" / "he" / case.pictures[0]))
    if case.mpp is None:
        return picture
    return picture.resize(
        (round(picture.width * case.mpp / TRAINED.mpp), round(picture.height * case.mpp / TRAINED.mpp)),
        Image.Resampling.LANCZOS,
    )


def _made(bench: Bench, case: Case) -> Image.Image:
    slides = bench.artifacts(case, "he") if bench.manifest[case.case_id, "he"]["verdict"] == "accepted" else []
    if not slides:
        return Image.fromarray(np.full((CELL_PX, CELL_PX, 3), 255, np.uint8))
    return Image.fromarray(slide_pixels(slides[0])[0])


def plate(bench: Bench, cases: list[Case], *, with_real: bool) -> Image.Image | None:
    """One row a patient, one column a condition; None if no case had its slide withheld.

    Parameters
    ----------
    with_real
        Whether the patient's own picture stands in the first column.
    """
    made = [case for case in cases if case.pictures and "he" in case.withheld]
    if not made:
        return None
    sources = list(dict.fromkeys(case.source for case in made))
    conditions = list(dict.fromkeys("+".join(case.given) for case in made))
    heads = (["real"] if with_real else []) + [f"SYNTHETIC, from {name}" for name in conditions]
    step = CELL_PX + _GAP_PX
    size = (_SIDE_PX + len(heads) * step, _HEAD_PX + len(sources) * step)
    sheet, font = Image.new("RGB", size, _WHITE), ImageFont.load_default(12)
    draw = ImageDraw.Draw(sheet)
    for column, head in enumerate(heads):
        draw.text((_SIDE_PX + column * step + 2, 4), head, "black", font)
    for row, source in enumerate(sources):
        own = [case for case in made if case.source == source]
        top = _HEAD_PX + row * step
        draw.text((4, top + 4), f"{source}\n{own[0].record['organ']}", "black", font)
        cells = [_real(bench, own[0])] if with_real else []
        cells += [_made(bench, case) for name in conditions for case in own if "+".join(case.given) == name]
        if with_real and own[0].mpp is None:
            draw.text((4, top + 40), "real: scale\nnot stated", "black", font)
        for column, picture in enumerate(cells):
            sheet.paste(cell(picture), (_SIDE_PX + column * step, top))
    return sheet
