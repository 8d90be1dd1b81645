"""Writes the draw-to-draw uncertainty of a generated slide as a DICOM Parametric Map, aligned with the draws.

PS3.3 A.75: tiled sparse, 16-bit integers with a real-world value mapping (PACS serve these; float pixels many do
not), one value for each block of pixels of level 0 (:mod:`mupd.synthetic.dicom.draw_spread`). Its frame of reference,
orientation and origin are those of the first draw, whose pixel grid all draws share; its pixel spacing is that
of the blocks. The level-0 images of all draws are its source images.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mupd.base.files import atomic_path
from mupd.contracts.draws import DrawMeta
from mupd.synthetic.dicom.derived import (
    assert_derived_marked,
    mark_derived,
    pixel_digest,
    provenance_of_draws,
    synthesizing_equipment,
)
from mupd.synthetic.dicom.draw_spread import block_px, draw_spread
from mupd.synthetic.dicom.metadata import created_utc
from mupd.synthetic.dicom.uids import derived_uid
from mupd.synthetic.statement import FILE_WORD, WARNING, WORD

if TYPE_CHECKING:
    from highdicom.pm import ParametricMap
    from pydicom.dataset import Dataset

MAP_FILE = f"{FILE_WORD}-uncertainty.dcm"
OD_PER_STEP = 0.0001
"""Optical density of one step of the stored integers."""

SERIES_DESCRIPTION = f"{WORD} H&E uncertainty (mupd) - {WARNING}"
SERIES_NUMBER = 1000
"""Of the map; the draws of the same study have 1, 2, ..."""

_TILE_PX = 512
_WINDOW_OD = 0.5
_MOST_STEPS = 65535


def _plane(source: Dataset, side: int) -> tuple[list[float], list[float], tuple[float, float], float]:
    """Orientation, position of the map's first pixel's centre (mm), its spacing (row, column; mm), thickness.

    Total Pixel Matrix Origin names the centre of the first pixel (PS3.3 C.8.12.14): that of a block lies half a
    block less half a pixel further along both axes.
    """
    measures = source.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    row_mm, column_mm = (float(value) for value in measures.PixelSpacing)
    orientation = [float(value) for value in source.ImageOrientationSlide]
    origin = source.TotalPixelMatrixOriginSequence[0]
    along, down = (side - 1) / 2 * column_mm, (side - 1) / 2 * row_mm
    position = [
        float(origin.XOffsetInSlideCoordinateSystem) + along * orientation[0] + down * orientation[3],
        float(origin.YOffsetInSlideCoordinateSystem) + along * orientation[1] + down * orientation[4],
        float(origin.get("ZOffsetInSlideCoordinateSystem") or 0.0),
    ]
    return orientation, position, (row_mm * side, column_mm * side), float(measures.get("SliceThickness") or 0.001)


def _steps(spread: NDArray[np.float32]) -> NDArray[np.uint16]:
    # The largest spread there can be, of black and white in two draws, is 1.7: far below 6.5535.
    return np.rint(spread / OD_PER_STEP).astype(np.uint16)


def build_map(
    spread: NDArray[np.float32],
    side: int,
    sources: Sequence[Dataset],
    metas: Sequence[DrawMeta],
    *,
    run_seed: int,
    artifact_key: str,
) -> ParametricMap:
    """The parametric map of a spread.

    Parameters
    ----------
    spread
        (rows, columns) float32, optical density.
    side
        Pixels of level 0 to a side of one value.
    sources
        Headers of the draws' level-0 images, of one study, in the order of `metas`.
    metas
        Of the draws, in ascending order.
    run_seed, artifact_key
        For the UIDs; the key is kept in the file.
    """
    import highdicom
    from highdicom.pm import ParametricMap, RealWorldValueMapping
    from pydicom.sr.codedict import codes

    first = metas[0]
    identity = (run_seed, first.case_id, "uncertainty", artifact_key)
    orientation, position, spacing, thickness = _plane(sources[0], side)
    mapping = RealWorldValueMapping(
        lut_label="SD",
        lut_explanation="Standard deviation over draws of optical density",
        unit=codes.UCUM.NoUnits,
        value_range=(0, _MOST_STEPS),
        slope=OD_PER_STEP,
        intercept=0.0,
        quantity_definition=codes.SCT.StandardDeviation,
    )
    moment = created_utc(max(meta.created for meta in metas))
    dataset = ParametricMap(
        [sources[0]],
        _steps(spread),
        series_instance_uid=derived_uid("series", *identity),
        series_number=SERIES_NUMBER,
        sop_instance_uid=derived_uid("instance", *identity),
        instance_number=1,
        manufacturer="mupd",
        manufacturer_model_name="mupd generator",
        software_versions=first.mupd_version,
        device_serial_number="none",
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[mapping],
        voi_lut_transformations=[
            highdicom.VOILUTTransformation(
                window_center=_WINDOW_OD / 2 / OD_PER_STEP, window_width=_WINDOW_OD / OD_PER_STEP
            )
        ],
        content_label="UNCERTAINTY",
        content_description=f"{WORD}: SD of optical density over {len(metas)} draws (mupd)",
        pixel_measures=highdicom.PixelMeasuresSequence(pixel_spacing=spacing, slice_thickness=thickness),
        plane_orientation=highdicom.PlaneOrientationSequence("SLIDE", orientation),
        plane_positions=[highdicom.PlanePositionSequence("SLIDE", position, pixel_matrix_position=(1, 1))],
        tile_pixel_array=True,
        tile_size=(min(_TILE_PX, spread.shape[0]), min(_TILE_PX, spread.shape[1])),
        dimension_organization_type="TILED_SPARSE",
        image_flavor="VOLUME",
        derived_pixel_contrast="NONE",
        further_source_images=list(sources[1:]),
        series_description=SERIES_DESCRIPTION,
        content_date=moment.date(),
        content_time=moment.time(),
    )
    # highdicom takes these from the source images; the values come from the draws before they were compressed.
    dataset.LossyImageCompression = "00"
    for keyword in ("LossyImageCompressionRatio", "LossyImageCompressionMethod"):
        if keyword in dataset:
            del dataset[keyword]
    organization = derived_uid("dimension organization", *identity)
    dataset.DimensionOrganizationSequence[0].DimensionOrganizationUID = organization
    for item in dataset.DimensionIndexSequence:
        item.DimensionOrganizationUID = organization
    provenance = provenance_of_draws(metas, artifact_key, pixel_digest(dataset.PixelData))
    mark_derived(dataset, synthesizing_equipment(first, provenance, moment), moment)
    return dataset


def write_map(
    draws: Sequence[NDArray[np.uint8]],
    sources: Sequence[Dataset],
    metas: Sequence[DrawMeta],
    folder: Path,
    *,
    run_seed: int,
    artifact_key: str,
) -> Path:
    """Write the uncertainty of a slide's draws into `folder`, replacing what stands there, atomically.

    Parameters
    ----------
    draws
        Pixels of two or more draws, (height, width, 3) uint8, memory-mapped or not.
    sources
        Headers (without pixels) of their level-0 images as written, in the same order.
    metas, run_seed, artifact_key
        See :func:`build_map`.

    Returns
    -------
    Path
        ``FOLDER/synthetic-uncertainty.dcm``.

    Raises
    ------
    ValueError
        If the draws are fewer than two or do not fit each other or the headers.
    CaseError
        If the written file lacks a mark; nothing is left under the final name then.
    """
    height, width = draws[0].shape[:2]
    sizes = {(int(source.TotalPixelMatrixRows), int(source.TotalPixelMatrixColumns)) for source in sources}
    if len(sources) != len(draws) or len(metas) != len(draws) or sizes != {(height, width)}:
        shape = (
            f"{len(draws)} draws of {width} x {height} px, {len(metas)} metas, {len(sources)} images {sorted(sizes)}"
        )
        raise ValueError(f"map: found {shape}; expected one meta and one image of the same size a draw")
    side = block_px(width, height)
    dataset = build_map(draw_spread(draws, side), side, sources, metas, run_seed=run_seed, artifact_key=artifact_key)
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        dataset.save_as(temporary / MAP_FILE)
        assert_derived_marked(temporary / MAP_FILE)
    return folder / MAP_FILE


def read_map(path: Path) -> NDArray[np.float32]:
    """The spread that a map holds, (rows, columns) float32, optical density."""
    import highdicom

    matrix = highdicom.imread(path).get_total_pixel_matrix(apply_real_world_transform=True)
    return np.asarray(matrix, np.float32)
