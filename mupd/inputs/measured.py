"""What the cohort's files show of a measured input, read in a worker and passed on as plain JSON values."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mupd.base.ids import Modality
from mupd.config import Config
from mupd.inputs.readers import read_profile, read_report_text
from mupd.rna.stored_values import StoredValues, Values2D, summed
from mupd.sheet.sources import Source

_REDUCED_PX = 1024


@dataclass(frozen=True)
class MeasuredSlide:
    """A reduced picture (height, width, 3) uint8 of a slide, and the slide's size and scale at level 0."""

    pixels: NDArray[np.uint8]
    size_px: tuple[int, int]
    mpp: float | None


@dataclass(frozen=True)
class MeasuredRna:
    """A profile on the model's genes, log1p CP10k float32 (genes,); NaN for genes that the input lacks.

    Attributes
    ----------
    mean
        The profile; of several spots that of their pseudobulk.
    low, high
        10th and 90th percentile over observations; None for a single one.
    observations, spots
        Rows of the input, and how many of them are spots.
    stored, unit
        All genes of the input and their values as the file stores them, in one row (of several observations their sum
        or mean, as the unit says).
    """

    mean: NDArray[np.float32]
    low: NDArray[np.float32] | None
    high: NDArray[np.float32] | None
    observations: int
    spots: int
    stored: StoredValues
    unit: str


@dataclass(frozen=True)
class MeasuredText:
    """Words of a report, the fields that it states, and its text ("" unless report.show_measured_text)."""

    words: int
    stated: dict[str, str]
    text: str


Measured = MeasuredSlide | MeasuredRna | MeasuredText


def read_measured(
    modality: Modality, source: Source, mpp: float | None, picture_px: int, config: Config, genes: tuple[str, ...]
) -> Measured:
    """Read an input that intake found usable.

    Parameters
    ----------
    mpp
        Micrometres per pixel that the sheet states of a slide.
    picture_px
        Longest side of a slide's picture.
    genes
        The model's gene symbols.

    Raises
    ------
    UnusableError, OSError, ValueError
        If it does not read any more.
    """
    if modality == "he":
        return _read_slide(source.path, mpp, picture_px)
    return _read_rna(source, config, genes) if modality == "rna" else _read_text(source, config)


def _read_slide(path: Path, mpp: float | None, picture_px: int) -> MeasuredSlide:
    from PIL import Image

    from mupd.slides.reader import open_slide

    with open_slide(path, mpp) as slide:
        picture = Image.fromarray(slide.thumbnail(_REDUCED_PX))
        picture.thumbnail((picture_px, picture_px))
        return MeasuredSlide(np.asarray(picture), slide.size_px, slide.mpp)


@lru_cache(maxsize=4)
def _panels(model: str) -> dict[str, tuple[str, ...]]:
    from mupd.model_folder.contents import read_panels

    return read_panels(Path(model))


@lru_cache(maxsize=64)
def _mapped(symbols: tuple[str, ...], genes: tuple[str, ...]) -> tuple[str, ...]:
    from mupd.rna.gene_ids import map_names

    return tuple(map_names(symbols, genes)[0])


def _read_rna(source: Source, config: Config, genes: tuple[str, ...]) -> MeasuredRna:
    from mupd.rna.gene_ids import to_model_genes
    from mupd.rna.panels import GenePanels, log_on_panel, mean_profile

    profile = read_profile(source, genes, keep_stored=True)
    if profile.stored is None:
        raise ValueError("profile: found no values as stored; expected them to be kept")
    stored = replace(profile.stored, symbols=_mapped(profile.stored.symbols, genes))
    profile = to_model_genes(profile, genes)[0]
    panels, rows = GenePanels(genes, _panels(config.model)), len(profile.matrix)
    log_rows = log_on_panel(profile, panels)
    spots = rows if profile.kind == "spot" else 0
    if rows == 1:
        return MeasuredRna(log_rows[0], None, None, 1, spots, stored, profile.values)
    unit: str = profile.values
    summable = bool(spots) and profile.values == "counts"
    if summable:
        whole = profile.matrix.sum(axis=0, dtype=np.float64).astype(np.float32)
        mean = log_on_panel(replace(profile, matrix=whole[None], xy_px=None), panels)[0]
    else:
        # Other scales have lost the depth of each row: all rows weigh the same.
        mean, unit = mean_profile(log_rows), f"{unit}, mean over {rows} {'spots' if spots else 'samples'}"
    low, high = np.quantile(log_rows, [0.1, 0.9], axis=0).astype(np.float32)
    return MeasuredRna(mean, low, high, rows, spots, summed(stored, mean=not summable), unit)


def _read_text(source: Source, config: Config) -> MeasuredText:
    from mupd.reports.record.fields import extract_record

    text = read_report_text(source).text
    return MeasuredText(len(text.split()), extract_record(text), text if config.report.show_measured_text else "")


def to_plain(measured: Measured) -> dict[str, Any]:
    """As JSON values; :func:`from_plain` gives the same back."""
    values = dict(vars(measured))
    if isinstance(measured, MeasuredRna):
        stored = measured.stored
        # One string: thousands of rows of a table have the same names, which the reader then parses once.
        values["stored"] = [json.dumps([stored.names, stored.symbols]), _plain_matrix(stored.matrix)]
    return {name: _plain_array(value) if isinstance(value, np.ndarray) else value for name, value in values.items()}


def from_plain(modality: Modality, values: dict[str, Any]) -> Measured:
    """What :func:`to_plain` wrote of an input of this modality."""
    if modality == "text":
        return MeasuredText(**values)
    if modality == "he":
        return MeasuredSlide(_array(values["pixels"]), (values["size_px"][0], values["size_px"][1]), values["mpp"])
    layout, matrix = values["stored"]
    arrays = {name: None if values[name] is None else _array(values[name]) for name in ("mean", "low", "high")}
    return MeasuredRna(**(values | arrays | {"stored": StoredValues(*_names(layout), _matrix(matrix))}))


@lru_cache(maxsize=64)
def _names(layout: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    names, symbols = json.loads(layout)
    return tuple(names), tuple(symbols)


def _plain_array(array: NDArray[Any]) -> dict[str, Any]:
    packed = b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")
    return {"dtype": array.dtype.str, "shape": array.shape, "base64": packed}


def _array(values: dict[str, Any]) -> NDArray[Any]:
    return np.frombuffer(bytearray(b64decode(values["base64"])), values["dtype"]).reshape(values["shape"])


def _plain_matrix(matrix: Values2D) -> list[dict[str, Any]]:
    parts = [matrix] if isinstance(matrix, np.ndarray) else [matrix.data, matrix.indices, matrix.indptr]
    shape = [] if isinstance(matrix, np.ndarray) else [np.array(matrix.shape)]
    return [_plain_array(part) for part in (*parts, *shape)]


def _matrix(parts: list[dict[str, Any]]) -> Values2D:
    arrays = [_array(part) for part in parts]
    if len(arrays) == 1:
        return arrays[0]
    from scipy.sparse import csr_matrix

    data, columns, ends, shape = arrays
    return csr_matrix((data, columns, ends), shape=tuple(shape))
