"""Stains that the workflow has written, read back from their artifacts."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mupd.errors import MupdError
from mupd.synthetic.verify.verify import INTACT, exit_code, paths_to_verify, verify_path

Picture = NDArray[np.uint8]


def manifest_rows(results: Path) -> dict[tuple[str, str], dict[str, str]]:
    """Rows of the manifest by case and modality."""
    with (results / "manifest.tsv").open(encoding="utf-8", newline="") as stream:
        return {(row["case_id"], row["modality"]): row for row in csv.DictReader(stream, delimiter="\t")}


def read_dicom(folder: Path, channels: Sequence[str]) -> Picture:
    """(h, w, channels) of a DICOM slide, each channel found by the description of its optical path."""
    from wsidicom import WsiDicom

    with WsiDicom.open(folder) as slide:
        by_name = {path.description: path.identifier for path in slide.metadata.pyramid.optical_paths}
        size = (slide.size.width, slide.size.height)
        planes = [np.asarray(slide.read_region((0, 0), 0, size, path=by_name[name])) for name in channels]
    return np.stack(planes, axis=-1)


def read_ome(path: Path, channels: Sequence[str]) -> Picture:
    """(h, w, channels) of an OME-TIFF, each channel found by its name."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        told = tifffile.xml2dict(file.ome_metadata or "")["OME"]["Image"]["Pixels"]["Channel"]
        names = [channel["Name"] for channel in (told if isinstance(told, list) else [told])]
        planes = file.series[0].asarray()
    return np.stack([planes[names.index(name)] for name in channels], axis=-1)


def artifacts_of(row: dict[str, str], results: Path, channels: Sequence[str]) -> Picture:
    """The stain of a manifest's row, read from both its forms.

    Raises
    ------
    MupdError
        If the forms differ, or one is not marked and intact.
    """
    dicom, ome = results / row["artifact"], results / row["further_artifacts"]
    for path in (dicom, ome):
        verdicts = [verify_path(file) for file in paths_to_verify(path)]
        if exit_code(verdicts) != INTACT:
            raise MupdError(
                f"{path}: mupd verify ends with {exit_code(verdicts)}; expected {INTACT}, synthetic and intact"
            )
    one, other = read_dicom(dicom, channels), read_ome(ome, channels)
    if not np.array_equal(one, other):
        raise MupdError(f"{dicom} and {ome}: found other pixels in the one than in the other; expected the same")
    return one
