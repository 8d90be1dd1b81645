"""Draw-to-draw uncertainty of a case's generated slides as a DICOM Parametric Map."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mupd.config import Config
from mupd.contracts.artifacts import Accepted, Artifact, artifact_key, checked_folder, describe
from mupd.errors import CaseError
from mupd.stages.export.current import derived_is_current

MAP_FOLDER = "synthetic-uncertainty"


def map_folder(case_folder: Path) -> Path:
    """Folder of a case's uncertainty map."""
    return case_folder / "he" / MAP_FOLDER


def _is_current(folder: Path, key: str) -> bool:
    """Whether the map of this key stands in the folder, alone."""
    from mupd.synthetic.dicom.parametric_map import MAP_FILE

    alone = folder.is_dir() and [path.name for path in folder.iterdir()] == [MAP_FILE]
    return alone and derived_is_current(folder / MAP_FILE, key)


def export_uncertainty(
    accepted: Accepted, config: Config, case_folder: Path, slides: Sequence[Artifact]
) -> list[Artifact]:
    """Write the map of a case with two or more accepted draws; nothing for a single one.

    Parameters
    ----------
    slides
        The draws' DICOM slides as exported, in the order of `accepted.draws`.

    Raises
    ------
    CaseError
        If a draw or its slide cannot be read as what it should be, or the written file lacks a mark.
    """
    if len(accepted.draws) < 2:
        return []
    import numpy as np
    import pydicom

    from mupd.synthetic.dicom.parametric_map import write_map
    from mupd.synthetic.dicom.readback import level_file

    headers = [pydicom.dcmread(config.out / slide.path / level_file(0), stop_before_pixels=True) for slide in slides]
    # The map names the slides' own instances: with other ones it is another map.
    key = artifact_key(accepted.metas, run_seed=config.seed, sources=[str(header.SOPInstanceUID) for header in headers])
    folder = map_folder(case_folder)
    if not _is_current(folder, key):
        draws = [
            np.load(checked_folder(config.out, draw) / "pixels.npy", mmap_mode="r", allow_pickle=False)
            for draw in accepted.draws
        ]
        try:
            write_map(draws, headers, accepted.metas, folder, run_seed=config.seed, artifact_key=key)
        except ValueError as error:
            raise CaseError(f"uncertainty map: {error}") from error
    return [describe(config.out, folder, "dicom-map", accepted.metas)]
