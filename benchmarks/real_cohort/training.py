"""The training data that the baselines of the real cohort draw on, encoded once."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.real_cohort.figures import look_of
from mupd.base.files import atomic_path
from mupd.base.progress import track
from mupd.model.encoders import TileEncoder
from mupd.model.pipeline import MuPDPipeline
from mupd.model.rna_codec import RnaCodec, panel_values
from mupd.model_folder.geometry import TRAINED
from mupd.slides.tissue import stain_density
from mupd.training.public.labels import tcga_records, tile_record
from mupd.training.public.read import HER2ST_MPP, TCGA_COHORTS, log_cp10k, read_her2st_section, read_tcga, read_tiles
from mupd.training.public.splits import is_held_out
from mupd.training.public.spots import Spots, organ_tiles, spot_tiles

VERSION = 3
_MARGIN_PX = 140
_MOST_TILES = 64
"""Tiles of each class of another organ: some classes have hundreds that look alike."""
_SMALL_SPOTS, _SMALL_TILES = 12, 1

Record = dict[str, str]
Array = NDArray[np.float32]


@dataclass(frozen=True)
class Training:
    """Training data as arrays.

    Attributes
    ----------
    spot_section, spot_features, spot_conditions, spot_values, spot_haematoxylin
        Of each spot (n): its section, tile features (n, d), RNA conditions (n, k + 1), log1p CP10k over the
        spot panel (n, genes), mean haematoxylin optical density of the 100 um around it.
    spot_nuclei_mm2, spot_tissue
        Of the same 100 um (n,): nuclei per square millimetre and share of tissue.
    tile_features, tile_records
        Of each tile of another organ (m, d), and its record.
    patient_ids, patient_conditions, patient_values, patient_records
        Of each TCGA patient (p): the id, (p, k + 1) and (p, genes of the bulk panel), and the record.
    """

    spot_section: NDArray[np.str_]
    spot_features: Array
    spot_conditions: Array
    spot_values: Array
    spot_haematoxylin: Array
    spot_nuclei_mm2: Array
    spot_tissue: Array
    tile_features: Array
    tile_records: list[Record]
    patient_ids: NDArray[np.str_]
    patient_conditions: Array
    patient_values: Array
    patient_records: list[Record]

    def others(self, section: str) -> NDArray[np.bool_]:
        """Which spots are of another section."""
        return self.spot_section != section

    def other_patients(self, source: str) -> NDArray[np.int64]:
        """Rows of the patients that are not `source`: nobody is a baseline of oneself."""
        return np.flatnonzero(self.patient_ids != source)


def spot_window_haematoxylin(image: NDArray[np.uint8], xy_px: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """Mean haematoxylin optical density of the window of `side` pixels around each point; all must lie inside."""
    half = side // 2
    corners = np.rint(xy_px).astype(int) - half
    return np.array([stain_density(image[y : y + side, x : x + side])[0].mean() for x, y in corners])


def _spots(her2st: Path, name: str, codec: RnaCodec, encoder: TileEncoder, most: int | None) -> dict[str, Any]:
    section = read_her2st_section(her2st, name)
    if section.image is None:
        raise FileNotFoundError(f"{name}: the model was trained on this section, and its picture is not there")
    height, width = section.image.shape[:2]
    far = (section.xy_px > _MARGIN_PX).all(1) & (section.xy_px < np.array([width, height]) - _MARGIN_PX).all(1)
    rows = np.flatnonzero(far)
    if most is not None:
        rows = rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int)]
    values = log_cp10k(section.counts.to_numpy(np.float32)[rows])
    genes = list(section.counts.columns)
    components = codec.encode(values, genes, "spot")
    conditions = codec.condition(components, "spot")
    # The baselines read no pathway scores.
    none = np.zeros((len(rows), 0), np.float32)
    spots = Spots(name, section.image, section.xy_px[rows], components, conditions, none)
    corners = np.rint(spots.xy_px).astype(int) - TRAINED.window_px // 2
    windows = [section.image[y : y + TRAINED.window_px, x : x + TRAINED.window_px] for x, y in corners]
    looks = [look_of(window, HER2ST_MPP) for window in windows]
    return {
        "spot_section": np.array([name] * len(rows)),
        "spot_features": encoder(spot_tiles(spots)),
        "spot_conditions": conditions,
        "spot_values": np.nan_to_num(panel_values(values, genes, codec.panels["spot"].genes)),
        "spot_haematoxylin": spot_window_haematoxylin(section.image, spots.xy_px, TRAINED.window_px).astype(np.float32),
        "spot_nuclei_mm2": np.array([look.nuclei_mm2 for look in looks], np.float32),
        "spot_tissue": np.array([look.tissue for look in looks], np.float32),
    }


def _tiles(folder: Path, encoder: TileEncoder, most: int) -> dict[str, Any]:
    table = read_tiles(folder)
    table = table[[not is_held_out(str(group)) for group in table["group"]]]
    table = table.groupby(["organ", "diagnosis"]).head(most)
    features = [
        encoder(organ_tiles(table.iloc[i : i + 64])) for i in track(range(0, len(table), 64), "tiles of organs")
    ]
    records = [tile_record(str(row.organ), str(row.diagnosis)) for row in table.itertuples()]
    return {"tile_features": np.concatenate(features), "tile_records": np.array(json.dumps(records))}


def _people(tcga: Path, codec: RnaCodec) -> dict[str, Any]:
    ids: list[str] = []
    conditions, panel, records = [], [], []
    for cohort in track(TCGA_COHORTS, "patients"):
        table, known = read_tcga(tcga, cohort), tcga_records(tcga, cohort)
        cases = [case for case in table.index if case in known and not is_held_out(case)]
        values, genes = log_cp10k(table.loc[cases].to_numpy(np.float32)), list(table.columns)
        conditions.append(codec.condition(codec.encode(values, genes, "bulk"), "bulk"))
        panel.append(np.nan_to_num(panel_values(values, genes, codec.panels["bulk"].genes)))
        records += [known[case] for case in cases]
        ids += cases
    return {
        "patient_ids": np.array(ids),
        "patient_conditions": np.concatenate(conditions),
        "patient_values": np.concatenate(panel),
        "patient_records": np.array(json.dumps(records)),
    }


def _encode(data: Path, pipeline: MuPDPipeline, sections: tuple[str, ...], small: bool) -> dict[str, Any]:
    codec, encoder = pipeline.rna_codec, pipeline.tile_encoder
    if small:
        sections = sections[:1]
    most_spots, most_tiles = (_SMALL_SPOTS, _SMALL_TILES) if small else (None, _MOST_TILES)
    parts = [
        _spots(data / "her2st", name, codec, encoder, most_spots)
        for name in track(sections, "spots of training sections")
    ]
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return arrays | _tiles(data / "he_tiles", encoder, most_tiles) | _people(data / "tcga", codec)


def load_training(out: Path, data: Path, pipeline: MuPDPipeline, sections: tuple[str, ...], *, small: bool) -> Training:
    """The training data of the baselines, encoded once and kept under ``baselines/`` for this model."""
    identity = f"{VERSION}\0{pipeline.sha256}\0{','.join(sections)}\0{small}"
    path = out / "baselines" / f"{hashlib.sha256(identity.encode()).hexdigest()[:16]}.npz"
    if not path.exists():
        encoded = _encode(data, pipeline, sections, small)
        with atomic_path(path) as temporary:
            np.savez(temporary, allow_pickle=False, **encoded)
    with np.load(path, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    for name in ("tile_records", "patient_records"):
        arrays[name] = json.loads(str(arrays[name]))
    return Training(**arrays)
