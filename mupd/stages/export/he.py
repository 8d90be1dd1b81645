"""H&E draws to DICOM whole-slide images: one folder and one series a draw."""

from __future__ import annotations

from pathlib import Path

from mupd.config import Config
from mupd.contracts.artifacts import Accepted, Artifact, artifact_key, checked_folder, describe
from mupd.errors import CaseError
from mupd.stages.export.current import slide_is_current

LAYOUT = 2
"""Raised when the same draw and settings would give other files: slides of an earlier form are written anew."""


def slide_folder(case_folder: Path, draw: int) -> Path:
    """Folder of a draw's slide."""
    return case_folder / "he" / f"synthetic-draw{draw}"


def export_he(accepted: Accepted, config: Config, case_folder: Path) -> list[Artifact]:
    """Write the slides of a case.

    Raises
    ------
    CaseError
        If a draw's pixels are not (height, width, 3) uint8, or a written file lacks a mark.
    """
    import numpy as np

    from mupd.synthetic.dicom.wsi import SlideSettings, write_wsi

    artifacts = []
    for draw in accepted.draws:
        folder = slide_folder(case_folder, draw.meta.draw)
        mpp = draw.meta.mpp or config.slide.mpp
        slide = config.slide
        # Only a lossy codec has a quality: another one changes nothing of the other codecs' files.
        quality = slide.jpeg_quality if slide.codec == "jpeg" else None
        written_as = {"codec": slide.codec, "jpeg_quality": quality, "watermark": slide.watermark, "layout": LAYOUT}
        key = artifact_key([draw.meta], mpp=mpp, run_seed=config.seed, **written_as)
        if not slide_is_current(folder, key):
            pixels = np.load(checked_folder(config.out, draw) / "pixels.npy", mmap_mode="r", allow_pickle=False)
            if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
                shape = f"{pixels.shape} {pixels.dtype}"
                raise CaseError(f"pixels.npy: found {shape}; expected (height, width, 3) uint8")
            write_wsi(
                pixels,
                folder,
                draw.meta,
                SlideSettings(
                    run_seed=config.seed,
                    mpp=mpp,
                    jpeg_quality=slide.jpeg_quality,
                    artifact_key=key,
                    codec=slide.codec,
                    watermark=slide.watermark,
                    study_created=accepted.study_created,
                ),
            )
        artifacts.append(describe(config.out, folder, "dicom-wsi", [draw.meta]))
    return artifacts
