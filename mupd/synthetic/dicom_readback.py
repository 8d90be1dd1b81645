"""Names the files that wsidicom wrote, fixes what it takes from clock and threads, reads the marks back."""

from __future__ import annotations

import datetime
from pathlib import Path

import pydicom
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from mupd.errors import CaseError
from mupd.synthetic.dicom_marks import (
    SUPPORTING,
    TELLING,
    dicom_marks,
    frame_type_of,
    image_type_of,
    provenance_of,
    read_header,
)
from mupd.synthetic.label import label_agrees
from mupd.synthetic.pixel_digest import FIELD as DIGEST_FIELD
from mupd.synthetic.pixel_digest import PLACEHOLDER, stamp_digest
from mupd.synthetic.statement import FILE_WORD

LABEL_FILE = f"{FILE_WORD}-label.dcm"
THUMBNAIL_FILE = f"{FILE_WORD}-thumbnail.dcm"


def level_file(level: int) -> str:
    """File name of a pyramid level, 0 = full resolution."""
    return f"{FILE_WORD}-level{level}.dcm"


def _overwrite(path: Path, values: dict[str, str]) -> None:
    """Replace values in place; each must fit the room its element has (padded with spaces)."""
    dataset = pydicom.dcmread(path, stop_before_pixels=True)
    with path.open("r+b") as stream:
        for keyword, value in values.items():
            element = dataset.get_item(keyword)
            if not isinstance(element, RawDataElement) or len(value) > element.length:
                raise CaseError(f"{path.name} [{keyword}]: no room for {value!r}; expected what wsidicom 0.36 writes")
            stream.seek(element.value_tell)
            stream.write(value.encode("ascii").ljust(element.length))


def name_and_stamp(folder: Path, created: datetime.datetime) -> list[str]:
    """Rename the files of `folder` by what they are and make them independent of clock and threads.

    wsidicom writes the current time as Instance Creation Date and Time (0008,0012), (0008,0013), and
    gives Instance Numbers (0020,0013) in the order in which its threads open files. The digest of each image's
    frames is put into its provenance.

    Returns
    -------
    list of str
        The new names: levels from large to small, thumbnail, label.
    """
    headers = {path: read_header(path) for path in sorted(folder.glob("*.dcm"))}
    levels = [path for path, header in headers.items() if image_type_of(header)[2] == "VOLUME"]
    levels.sort(key=lambda path: -int(headers[path].TotalPixelMatrixColumns))
    names = {path: level_file(index) for index, path in enumerate(levels)}
    for flavour, name in (("THUMBNAIL", THUMBNAIL_FILE), ("LABEL", LABEL_FILE)):
        names |= {path: name for path, header in headers.items() if image_type_of(header)[2] == flavour}
    for number, (path, name) in enumerate(names.items(), start=1):
        _overwrite(
            path,
            {
                "InstanceCreationDate": created.strftime("%Y%m%d"),
                "InstanceCreationTime": created.strftime("%H%M%S"),
                "InstanceNumber": str(number),
            },
        )
        stamp_digest(path)
        path.rename(folder / name)
    return list(names.values())


def _faults_of(path: Path, dataset: Dataset, flavour: str, resampled: bool) -> list[str]:
    faults = [f"lacks {mark}" for mark in (*TELLING, *SUPPORTING) if mark not in dicom_marks(dataset)]
    expected = ["DERIVED", "PRIMARY", flavour, "RESAMPLED" if resampled else "NONE"]
    for name, found in (("Image Type", image_type_of(dataset)), ("Frame Type", frame_type_of(dataset))):
        if found != expected:
            faults.append(f"{name} is {found}, expected {expected}")
    if dataset.get("LossyImageCompression") != "01" or not dataset.get("LossyImageCompressionRatio"):
        faults.append("Lossy Image Compression (0028,2110) is not 01 with a ratio")
    if dataset.get("LossyImageCompressionMethod") != "ISO_10918_1":
        faults.append("Lossy Image Compression Method (0028,2114) is not ISO_10918_1")
    if dataset.get("DimensionOrganizationType") != "TILED_FULL":
        faults.append("Dimension Organization Type (0020,9311) is not TILED_FULL")
    if any("ICCProfile" not in item for item in dataset.get("OpticalPathSequence") or [Dataset()]):
        faults.append("Optical Path Sequence (0048,0105) without ICC Profile")
    provenance = provenance_of(dataset)
    if not provenance:
        faults.append("no provenance in Contribution Description (0018,A003)")
    elif provenance.get(DIGEST_FIELD, PLACEHOLDER) == PLACEHOLDER:
        faults.append("no digest of the frames in Contribution Description (0018,A003)")
    return [f"{path.name}: {fault}" for fault in faults]


def assert_marked(folder: Path, identifier: str, size: tuple[int, int]) -> None:
    """Check every file of a written slide.

    Parameters
    ----------
    identifier
        Container id that the label shows.
    size
        Width and height of level 0 in pixels.

    Raises
    ------
    CaseError
        Listing everything that is not as it should be.
    """
    faults: list[str] = []
    headers = {path.name: pydicom.dcmread(path, stop_before_pixels=True) for path in sorted(folder.glob("*.dcm"))}
    levels = sorted(name for name in headers if name.startswith(f"{FILE_WORD}-level"))
    wanted = {level_file(index) for index in range(max(1, len(levels)))} | {LABEL_FILE, THUMBNAIL_FILE}
    if set(headers) != wanted:
        raise CaseError(f"DICOM slide: found files {sorted(headers)}; expected {sorted(wanted)}")
    for name, dataset in headers.items():
        flavour = {LABEL_FILE: "LABEL", THUMBNAIL_FILE: "THUMBNAIL"}.get(name, "VOLUME")
        resampled = flavour == "THUMBNAIL" or (flavour == "VOLUME" and name != level_file(0))
        faults += _faults_of(folder / name, dataset, flavour, resampled)
    base = headers[level_file(0)]
    if (base.TotalPixelMatrixColumns, base.TotalPixelMatrixRows) != size:
        found = (base.TotalPixelMatrixColumns, base.TotalPixelMatrixRows)
        faults.append(f"{level_file(0)}: Total Pixel Matrix is {found}, expected {size}")
    if not label_shows(folder / LABEL_FILE, identifier):
        faults.append(f"{LABEL_FILE}: pixels do not show the banner")
    if faults:
        raise CaseError("DICOM slide: " + "; ".join(faults))


def label_shows(path: Path, identifier: str) -> bool:
    """Whether the label image's decoded pixels show the banner and the identifier."""
    from io import BytesIO

    import numpy as np
    from PIL import Image, UnidentifiedImageError
    from pydicom.encaps import generate_frames

    dataset = pydicom.dcmread(path)
    try:
        frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
        with Image.open(BytesIO(frame)) as picture:
            pixels = np.asarray(picture.convert("RGB"))
    except (UnidentifiedImageError, OSError, ValueError, StopIteration, AttributeError):
        return False
    return label_agrees(pixels, identifier)
