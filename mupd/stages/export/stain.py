"""Draws of virtual stains to DICOM whole-slide images and OME-TIFF: one folder and one file a draw."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mupd.base.ids import stain_name
from mupd.config import Config
from mupd.contracts.artifacts import Accepted, Artifact, artifact_key, checked_folder, describe
from mupd.contracts.draws import Draw
from mupd.errors import CaseError

if TYPE_CHECKING:
    import numpy as np

    from mupd.config.stains import StainSettings

STAINS = "stains"
"""Folder of a case's virtual stains."""

LAYOUT = 1
"""Raised when the same draw and settings would give other files: stains of an earlier form are written anew."""


def stain_folder(case_folder: Path, name: str, draw: int) -> Path:
    """Folder of a draw's DICOM files."""
    return case_folder / STAINS / name / f"synthetic-draw{draw}"


def stain_file(case_folder: Path, name: str, draw: int) -> Path:
    """The draw's OME-TIFF."""
    return case_folder / STAINS / name / f"synthetic-draw{draw}.ome.tiff"


def _stands(path: Path, kind: str, key: str) -> bool:
    """Whether an artifact of this key stands there with every mark and the pixels that were written."""
    from mupd.synthetic.verify.evidence import look_at
    from mupd.synthetic.verify.verify import verify_path

    if not path.exists():
        return False
    verification = verify_path(path)
    if verification.kind != kind or verification.marks_missing or verification.content != "intact":
        return False
    return look_at(path).provenance.get("artifact_key") == key


def _pixels(config: Config, draw: Draw) -> np.ndarray:
    import numpy as np

    pixels = np.load(checked_folder(config.out, draw) / "pixels.npy", mmap_mode="r", allow_pickle=False)
    count = len(draw.meta.settings["channels"])
    if pixels.ndim != 3 or pixels.shape[2] != count or pixels.dtype != np.uint8:
        raise CaseError(f"pixels.npy: found {pixels.shape} {pixels.dtype}; expected (height, width, {count}) uint8")
    return pixels


def _export_draw(draw: Draw, stain: StainSettings, accepted: Accepted, config: Config, folder: Path) -> list[Artifact]:
    from mupd.synthetic.dicom.stain import stain_appearance
    from mupd.synthetic.dicom.wsi import SlideSettings, write_wsi
    from mupd.synthetic.picture.ome_tiff import write_ome_tiff
    from mupd.synthetic.picture.pseudo_colours import in_pseudo_colours
    from mupd.synthetic.picture.watermark import embed

    meta, in_channels = draw.meta, stain.kind == "mif"
    watermark = config.slide.watermark and not in_channels
    quality = config.slide.jpeg_quality if stain.codec == "jpeg" else None
    key = artifact_key([meta], run_seed=config.seed, layout=LAYOUT, watermark=watermark)
    dicom_key = artifact_key(
        [meta], run_seed=config.seed, layout=LAYOUT, watermark=watermark, codec=stain.codec, jpeg_quality=quality
    )
    slide, ome = (place(folder, stain.name, meta.draw) for place in (stain_folder, stain_file))
    if not _stands(slide, "dicom-wsi", dicom_key):
        write_wsi(
            _pixels(config, draw),
            slide,
            meta,
            SlideSettings(
                run_seed=config.seed,
                mpp=float(meta.settings["region"]["mpp"]),
                jpeg_quality=config.slide.jpeg_quality,
                artifact_key=dicom_key,
                codec=stain.codec,
                watermark=watermark,
                study_created=accepted.study_created,
                appearance=stain_appearance(meta),
                in_colour=partial(in_pseudo_colours, channels=stain.channels) if in_channels else None,
            ),
        )
    if not _stands(ome, "ome-tiff", key):
        write_ome_tiff(_pixels(config, draw), ome, meta, artifact_key=key, mark=embed if watermark else None)
    return [describe(config.out, slide, "dicom-wsi", [meta]), describe(config.out, ome, "ome-tiff", [meta])]


def export_stain(accepted: Accepted, config: Config, case_folder: Path) -> list[Artifact]:
    """Write the stains of a task.

    Raises
    ------
    CaseError
        If a draw's pixels are not what its settings say, or a written file lacks a mark.
    """
    stain = next(stain for stain in config.stains if stain.name == stain_name(accepted.modality))
    return [
        artifact for draw in accepted.draws for artifact in _export_draw(draw, stain, accepted, config, case_folder)
    ]
