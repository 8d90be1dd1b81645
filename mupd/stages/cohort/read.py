"""Reads what a case has, measured and generated, into :mod:`mupd.stages.cohort.values`."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mupd.config import Config
from mupd.errors import MupdError
from mupd.rna.stored_values import StoredValues
from mupd.stages.cohort.gather import CheckedDraw, CohortCase
from mupd.stages.cohort.measured import summed
from mupd.stages.cohort.values import (
    THUMBNAIL_PX,
    CaseValues,
    GenePanels,
    HeValues,
    Picture,
    RnaValues,
    TextValues,
    Vector,
)

if TYPE_CHECKING:
    from mupd.rna.profiles import RnaProfile

_REDUCED_PX = 1024
_MOST_PICTURES = 4
"""Pictures of draws that a case shows at most."""


def on_genes(genes: tuple[str, ...], given: list[str], values: NDArray[Any]) -> NDArray[np.float32]:
    """Columns of `values` (..., given genes) put in the order of `genes`; NaN for those not given."""
    position = {gene: index for index, gene in reversed(list(enumerate(given)))}
    result = np.full((*values.shape[:-1], len(genes)), np.nan, np.float32)
    for column, gene in enumerate(genes):
        if gene in position:
            result[..., column] = values[..., position[gene]]
    return result


def _mean_over(log_values: NDArray[Any]) -> NDArray[np.float32]:
    """Profile of several observations (observations, genes): mean of CP10k, back to log1p."""
    if len(log_values) == 1:
        return np.asarray(log_values[0], np.float32)
    return np.log1p(np.expm1(log_values.astype(np.float64)).mean(axis=0)).astype(np.float32)


def _log_on(model: GenePanels, profile: RnaProfile) -> NDArray[np.float32]:
    """log1p CP10k (observations, model's genes) of a profile, on the scale of the model's own draws.

    The model takes the depth over the genes of the profile's kind, so a whole transcriptome is brought to
    them first; genes that only the other kind has are scaled by the same depth.
    """
    from mupd.rna.profiles import to_linear

    linear = to_linear(profile).astype(np.float64)
    wanted = set(model.panels.get(profile.kind) or model.genes)
    depth = linear[:, [gene in wanted for gene in profile.genes]].sum(axis=1, keepdims=True)
    scaled = np.divide(1e4 * linear, depth, out=np.zeros_like(linear), where=depth > 0)
    return on_genes(model.genes, profile.genes, np.log1p(scaled))


@lru_cache(maxsize=64)
def _one_of(names: tuple[str, ...]) -> tuple[str, ...]:
    """The first of equal tuples: thousands of cases with the same genes hold their names once."""
    return names


@lru_cache(maxsize=64)
def _mapped(symbols: tuple[str, ...], genes: tuple[str, ...]) -> tuple[str, ...]:
    from mupd.rna.gene_ids import map_names

    return tuple(map_names(symbols, genes)[0])


def _under_model_names(given: StoredValues | None, genes: tuple[str, ...]) -> StoredValues:
    if given is None:
        raise ValueError("profile: found no values as given; expected them to be kept")
    return StoredValues(_one_of(given.names), _mapped(given.symbols, genes), given.matrix)


def _measured_rna(case: CohortCase, config: Config, model: GenePanels) -> RnaValues:
    from mupd.rna.cohort_tables import read_rna_row
    from mupd.rna.files import read_rna
    from mupd.rna.gene_ids import to_model_genes

    source = case.parts["rna"].entry.source
    if "::" in source:
        table, row = source.rsplit("::", 1)
        profile = read_rna_row(Path(table), row, config.intake.rna_values, keep_stored=True)
    else:
        profile = read_rna(Path(source), config.intake.rna_values, model.genes, keep_stored=True)
    given, rows = _under_model_names(profile.stored, model.genes), len(profile.matrix)
    profile = to_model_genes(profile, model.genes)[0]
    log_rows = _log_on(model, profile)
    if rows == 1:
        spots = 1 if profile.kind == "spot" else 0
        return RnaValues(log_rows[0], given=given, unit=profile.values, spots=spots)
    spots = rows if profile.kind == "spot" else 0
    unit: str = profile.values
    summable = bool(spots) and profile.values == "counts"
    if summable:
        whole = profile.matrix.sum(axis=0, dtype=np.float64).astype(np.float32)
        mean = _log_on(model, replace(profile, matrix=whole[None], xy_px=None))[0]
    else:
        # Other scales have lost the depth of each row: all rows weigh the same.
        mean, unit = _mean_over(log_rows), f"{unit}, mean over {rows} {'spots' if spots else 'samples'}"
    low, high = np.quantile(log_rows, [0.1, 0.9], axis=0).astype(np.float32)
    return RnaValues(mean, {}, low, high, rows, summed(given, mean=not summable), unit, spots)


def _synthetic_rna(draws: tuple[CheckedDraw, ...], config: Config, genes: tuple[str, ...]) -> RnaValues:
    profiles: dict[int, Vector] = {}
    expected: list[Vector] = []
    tiles = []
    for draw in draws:
        folder = config.out / draw.folder
        names = json.loads((folder / "genes.json").read_text(encoding="utf-8"))
        values = on_genes(genes, names, np.load(folder / "values.npy", allow_pickle=False))
        profiles[draw.draw] = _mean_over(values)
        # What a draw expects is the better guess at its mean: the noise of a measurement is not in it.
        without_noise = folder / "expected.npy"
        known = np.load(without_noise, allow_pickle=False) if without_noise.exists() else None
        expected.append(profiles[draw.draw] if known is None else _mean_over(on_genes(genes, names, known)))
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


def _measured_he(case: CohortCase, pictures: bool) -> HeValues:
    from PIL import Image

    from mupd.slides.reader import open_slide
    from mupd.slides.stain_density import tissue_stain
    from mupd.slides.tissue import tissue_mask

    entry = case.parts["he"].entry
    facts = [entry.facts.get(name) for name in _STAIN_FACTS]
    # Intake has measured the stain with the same functions: without pictures no slide is opened again.
    known = all(isinstance(value, int | float) for value in facts)
    if known and not pictures:
        return HeValues(*_floats(facts))
    with open_slide(Path(entry.source), case.he_mpp) as slide:
        reduced = slide.thumbnail(_REDUCED_PX)
        if not known:
            mask = tissue_mask(reduced)
            stain = tissue_stain(slide.read, slide.size_px, mask)
            facts = [stain.haematoxylin_od, stain.eosin_od, float(mask.mean())]
        size, mpp = slide.size_px, slide.mpp
    small = Image.fromarray(reduced)
    small.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    shown = (Picture(np.asarray(small), size, mpp, None),) if pictures else ()
    return HeValues(*_floats(facts), shown)


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
        found = [draw.checks.get(name, {}).get("value") for draw in draws]
        numbers = [float(value) for value in found if isinstance(value, int | float)]
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


def _measured_text(case: CohortCase, config: Config) -> TextValues:
    from mupd.reports.read import extract_record, read_text, read_text_row

    source = case.parts["text"].entry.source
    if "::" in source:
        table, row = source.rsplit("::", 1)
        text = read_text_row(Path(table), row)
    else:
        text = read_text(Path(source))
    shown = text if config.report.show_measured_text else ""
    return TextValues(len(text.split()), extract_record(text), shown)


def _synthetic_text(draws: tuple[CheckedDraw, ...], config: Config) -> TextValues:
    records = {
        draw.draw: json.loads((config.out / draw.folder / "record.json").read_text(encoding="utf-8")) for draw in draws
    }
    return TextValues(draws=records, abstain_below=config.check.abstain_below)


def read_values(case: CohortCase, config: Config, model: GenePanels, pictures: bool = True) -> CaseValues:
    """Read every measured and accepted modality of a case.

    A measured input that cannot be read any more (it was readable at intake) becomes a problem, in words, and
    the other modalities go on.

    Parameters
    ----------
    model
        The model's genes.
    pictures
        Whether thumbnails are kept.
    """
    found: dict[str, Any] = {}
    problems = []
    readers = {
        "he": (
            lambda: _measured_he(case, pictures),
            lambda d: _synthetic_he(case, d, config, pictures),
        ),
        "rna": (lambda: _measured_rna(case, config, model), lambda d: _synthetic_rna(d, config, model.genes)),
        "text": (lambda: _measured_text(case, config), lambda d: _synthetic_text(d, config)),
    }
    for modality, (measured, synthetic) in readers.items():
        part = case.parts[modality]  # type: ignore[index]
        try:
            if part.entry.status == "measured":
                found[modality] = measured()
            elif part.accepted:
                found[modality] = synthetic(part.accepted)
        except (MupdError, OSError, ValueError) as error:
            what = (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__
            source = part.entry.source.rsplit("::", 1)[0]
            words = what.replace(source, "the input") if source else what
            problems.append(f"{modality} could not be read for the cohort files: {words}")
    return CaseValues(**found, problems=tuple(problems))
