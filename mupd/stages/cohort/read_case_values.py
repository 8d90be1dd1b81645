"""Reads what each case has, measured and generated, into :mod:`mupd.stages.cohort.case_values`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import numpy as np

from mupd.base.ids import MODALITIES, Modality
from mupd.base.progress import track
from mupd.config import Config
from mupd.errors import MupdError
from mupd.inputs.examine import Outcome, Request
from mupd.inputs.measured import Measured, MeasuredRna, MeasuredText, from_plain
from mupd.inputs.runners import Runner
from mupd.rna.panels import mean_profile, on_genes
from mupd.stages.cohort.case_values import (
    THUMBNAIL_PX,
    CaseValues,
    HeValues,
    Picture,
    RnaValues,
    TextValues,
    Vector,
)
from mupd.stages.cohort.join_shards import CheckedDraw, CohortCase

_REDUCED_PX = 1024
_MOST_PICTURES = 4
"""Pictures of draws that a case shows at most."""

Key = tuple[str, Modality]


def _synthetic_rna(draws: tuple[CheckedDraw, ...], config: Config, genes: tuple[str, ...]) -> RnaValues:
    profiles: dict[int, Vector] = {}
    expected: list[Vector] = []
    tiles = []
    for draw in draws:
        folder = config.out / draw.folder
        names = json.loads((folder / "genes.json").read_text(encoding="utf-8"))
        values = on_genes(genes, names, np.load(folder / "values.npy", allow_pickle=False))
        profiles[draw.draw] = mean_profile(values)
        # What a draw expects is the better guess at its mean: the noise of a measurement is not in it.
        without_noise = folder / "expected.npy"
        known = np.load(without_noise, allow_pickle=False) if without_noise.exists() else None
        expected.append(profiles[draw.draw] if known is None else mean_profile(on_genes(genes, names, known)))
        tiles.append(values)
    mean = np.asarray(np.mean(expected, axis=0, dtype=np.float64), np.float32)
    low = high = None
    observations = len(tiles[0])
    if observations > 1:
        low, high = np.quantile(np.concatenate(tiles), [0.1, 0.9], axis=0).astype(np.float32)
    return RnaValues(mean, profiles, low, high, observations)


_STAIN_FACTS = ("haematoxylin_od", "eosin_od", "tissue_fraction")


def _floats(facts: list[float | None]) -> tuple[float, float, float]:
    haematoxylin, eosin, tissue = (float("nan") if value is None else float(value) for value in facts)
    return haematoxylin, eosin, tissue


def _synthetic_he(case: CohortCase, draws: tuple[CheckedDraw, ...], config: Config, pictured: bool) -> HeValues:
    from PIL import Image

    from mupd.slides.stain_density import reduce_picture

    pictures = []
    for draw in draws[: _MOST_PICTURES if pictured else 0]:
        pixels = np.load(config.out / draw.folder / "pixels.npy", mmap_mode="r", allow_pickle=False)
        small = Image.fromarray(reduce_picture(pixels, _REDUCED_PX))
        small.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
        size, mpp = (pixels.shape[1], pixels.shape[0]), draw.meta.mpp if draw.meta else None
        pictures.append(Picture(np.asarray(small), size, mpp, draw.draw))
    means = {}
    for name in _STAIN_FACTS:
        # The check stage measured them with the same functions; a value that is no number was not measured.
        deviations = [draw.checks.get(name, {}).get("value") for draw in draws]
        numbers = [float(value) for value in deviations if isinstance(value, int | float)]
        means[name] = float(np.mean(numbers)) if numbers else float("nan")
    shown = (*pictures, *(_uncertainty(case, config) if pictured else ()))
    return HeValues(means["haematoxylin_od"], means["eosin_od"], means["tissue_fraction"], shown)


def _uncertainty(case: CohortCase, config: Config) -> tuple[Picture, ...]:
    """The map of how far the draws of a case's slide differ, in colours; none for a single draw."""
    from PIL import Image

    from mupd.stages.cohort.thumbnails import heat
    from mupd.synthetic.dicom.parametric_map import MAP_FILE, read_map

    shown = []
    for artifact in (item for item in case.parts["he"].artifacts if item.kind == "dicom-map"):
        spread = read_map(config.out / artifact.path / MAP_FILE)
        largest = float(spread.max())
        small = Image.fromarray(heat(spread, largest))
        small.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
        note = (
            f"Where the {len(artifact.draws)} draws differ: standard deviation of optical density, "
            f"dark 0 to light {largest:.2f}"
        )
        shown.append(Picture(np.asarray(small), (spread.shape[1], spread.shape[0]), None, None, note))
    return tuple(shown)


def _synthetic_text(draws: tuple[CheckedDraw, ...], config: Config) -> TextValues:
    records = {
        draw.draw: json.loads((config.out / draw.folder / "record.json").read_text(encoding="utf-8")) for draw in draws
    }
    return TextValues(draws=records, abstain_below=config.check.abstain_below)


def _request(case: CohortCase, modality: Modality) -> Request:
    origin = case.parts[modality].entry.origin
    return Request(
        modality,
        str(origin.path),
        origin.row,
        mpp=case.he_mpp,
        rna_values=origin.rna_values,
        want="values",
        picture_px=THUMBNAIL_PX,
    )


def _measured_inputs(
    cases: Sequence[CohortCase], run: Runner, pictured: set[str]
) -> Iterator[tuple[Key, Measured | str]]:
    """Each measured input of the cases; of one that does not read any more the reason, in words."""
    keys: list[Key] = [
        (case.case_id, modality)
        for case in cases
        for modality in MODALITIES
        # Intake has measured a slide's stain: it is opened again only for its picture.
        if case.parts[modality].entry.status == "measured" and (modality != "he" or case.case_id in pictured)
    ]
    of_id = {case.case_id: case for case in cases}
    stream = run([(number, _request(of_id[case_id], modality)) for number, (case_id, modality) in enumerate(keys)])
    with closing(stream):  # type: ignore[type-var]
        for number, outcome in track(stream, "cohort: measured inputs", len(keys)):
            yield keys[number], _measured(keys[number][1], outcome)


def _measured(modality: Modality, outcome: Outcome) -> Measured | str:
    return from_plain(modality, outcome.facts) if outcome.status == "measured" else outcome.reason


def _of_measured(measured: Measured, entry_facts: Mapping[str, Any]) -> HeValues | RnaValues | TextValues:
    if isinstance(measured, MeasuredText):
        return TextValues(measured.words, measured.stated, measured.text)
    if isinstance(measured, MeasuredRna):
        return RnaValues(
            measured.mean,
            {},
            measured.low,
            measured.high,
            measured.observations,
            measured.stored,
            measured.unit,
            measured.spots,
        )
    return _measured_he(entry_facts, (Picture(measured.pixels, measured.size_px, measured.mpp, None),))


def _measured_he(entry_facts: Mapping[str, Any], pictures: tuple[Picture, ...] = ()) -> HeValues:
    return HeValues(*_floats([entry_facts.get(name) for name in _STAIN_FACTS]), pictures)


def read_case_values(
    cases: Sequence[CohortCase], config: Config, genes: tuple[str, ...], run: Runner, most_pictured: int
) -> list[CaseValues]:
    """Every measured and accepted modality of each case.

    An input that cannot be read any more (it was readable at intake), and one that hangs or crashes its reader, becomes
    a problem in words of its case; everything else goes on.

    Parameters
    ----------
    genes
        The model's gene symbols.
    run
        Who reads the measured inputs (:mod:`mupd.inputs.runners`).
    most_pictured
        How many cases, the first ones, keep pictures.
    """
    pictured = {case.case_id for case in cases[:most_pictured]}
    measured = dict(_measured_inputs(cases, run, pictured))
    return [
        _values_of(case, config, genes, measured, case.case_id in pictured) for case in track(cases, "cohort: cases")
    ]


def _values_of(
    case: CohortCase,
    config: Config,
    genes: tuple[str, ...],
    measured: Mapping[Key, Measured | str],
    pictured: bool,
) -> CaseValues:
    values: dict[str, Any] = {}
    problems = []
    for modality in MODALITIES:
        part = case.parts[modality]
        reason = ""
        try:
            if part.entry.status == "measured":
                what = measured.get((case.case_id, modality))
                if isinstance(what, str):
                    reason = what
                elif what is None:
                    values[modality] = _measured_he(part.entry.facts)
                else:
                    values[modality] = _of_measured(what, part.entry.facts)
            elif part.accepted:
                values[modality] = _synthetic(case, modality, config, genes, pictured)
        except (MupdError, OSError, ValueError) as error:
            reason = (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__
        if reason:
            problems.append(f"{modality} could not be read for the cohort files: {reason}")
    return CaseValues(**values, problems=tuple(problems))


def _synthetic(
    case: CohortCase, modality: Modality, config: Config, genes: tuple[str, ...], pictured: bool
) -> HeValues | RnaValues | TextValues:
    draws = case.parts[modality].accepted
    if modality == "he":
        return _synthetic_he(case, draws, config, pictured)
    return _synthetic_rna(draws, config, genes) if modality == "rna" else _synthetic_text(draws, config)
