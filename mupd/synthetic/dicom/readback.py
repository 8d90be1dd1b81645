"""Reads back what was written of a slide: every mark, every field, frames as they were encoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset

from mupd.errors import CaseError
from mupd.synthetic.dicom.codecs import Pixels, decode_frame
from mupd.synthetic.dicom.label import label_agrees
from mupd.synthetic.dicom.marks import (
    SUPPORTING,
    TELLING,
    dicom_marks,
    frame_type_of,
    image_type_of,
    provenance_of,
)
from mupd.synthetic.dicom.pixel_digest import FIELD as DIGEST_FIELD
from mupd.synthetic.dicom.pixel_digest import PLACEHOLDER
from mupd.synthetic.dicom.pyramid import Tile
from mupd.synthetic.dicom.uids import SlideUids
from mupd.synthetic.statement import FILE_WORD

LABEL_FILE = f"{FILE_WORD}-label.dcm"
OVERVIEW_FILE = f"{FILE_WORD}-overview.dcm"
THUMBNAIL_FILE = f"{FILE_WORD}-thumbnail.dcm"
_FLAVOURS = {LABEL_FILE: "LABEL", OVERVIEW_FILE: "OVERVIEW", THUMBNAIL_FILE: "THUMBNAIL"}

_MOST_LOSS = 48.0
"""Mean absolute difference, in grey levels, that no JPEG of a picture reaches and swapped colours do."""


def level_file(level: int) -> str:
    """File name of a pyramid level, 0 = full resolution."""
    return f"{FILE_WORD}-level{level}.dcm"


def _compression_faults(dataset: Dataset, lossy: bool) -> list[str]:
    if not lossy:
        there = [name for name in ("Ratio", "Method") if f"LossyImageCompression{name}" in dataset]
        right = dataset.get("LossyImageCompression") == "00" and not there
        return [] if right else ["Lossy Image Compression (0028,2110) is not 00 alone over frames without loss"]
    faults = []
    if dataset.get("LossyImageCompression") != "01" or not dataset.get("LossyImageCompressionRatio"):
        faults.append("Lossy Image Compression (0028,2110) is not 01 with a ratio")
    if dataset.get("LossyImageCompressionMethod") != "ISO_10918_1":
        faults.append("Lossy Image Compression Method (0028,2114) is not ISO_10918_1")
    return faults


def _channel_faults(dataset: Dataset, channels: Sequence[str]) -> list[str]:
    """Whether the levels of a slide in channels are what PS3.3 C.8.12.4 and C.8.12.5 ask, an optical path a channel."""
    faults = []
    if dataset.get("PhotometricInterpretation") != "MONOCHROME2" or dataset.get("PresentationLUTShape") != "IDENTITY":
        faults.append("Photometric Interpretation (0028,0004) is not MONOCHROME2 with an identity LUT")
    if (dataset.get("RescaleIntercept"), dataset.get("RescaleSlope")) != (0, 1):
        faults.append("Rescale Intercept and Slope are not 0 and 1")
    names = [str(item.get("OpticalPathDescription")) for item in dataset.get("OpticalPathSequence") or []]
    if names != list(channels) or dataset.get("NumberOfOpticalPaths") != len(channels):
        faults.append(f"Optical Path Sequence (0048,0105) is of {names}, expected {list(channels)}")
    return faults


def _field_faults(
    dataset: Dataset, flavour: str, resampled: bool, lossy: bool, uids: SlideUids, channels: Sequence[str]
) -> list[str]:
    faults = [f"lacks {mark}" for mark in (*TELLING, *SUPPORTING) if mark not in dicom_marks(dataset)]
    expected = ["DERIVED", "PRIMARY", flavour, "RESAMPLED" if resampled else "NONE"]
    for name, values in (("Image Type", image_type_of(dataset)), ("Frame Type", frame_type_of(dataset))):
        if values != expected:
            faults.append(f"{name} is {values}, expected {expected}")
    faults += _compression_faults(dataset, lossy)
    if dataset.get("DimensionOrganizationType") != "TILED_FULL":
        faults.append("Dimension Organization Type (0020,9311) is not TILED_FULL")
    if channels:
        faults += _channel_faults(dataset, channels)
    elif any("ICCProfile" not in item for item in dataset.get("OpticalPathSequence") or [Dataset()]):
        faults.append("Optical Path Sequence (0048,0105) without ICC Profile")
    if dataset.get("BurnedInAnnotation") != "NO":
        faults.append("Burned In Annotation (0028,0301) is not NO")
    provenance = provenance_of(dataset)
    if not provenance:
        faults.append("no provenance in Contribution Description (0018,A003)")
    elif provenance.get(DIGEST_FIELD, PLACEHOLDER) == PLACEHOLDER:
        faults.append("no digest of the frames in Contribution Description (0018,A003)")
    width, height = int(dataset.TotalPixelMatrixColumns), int(dataset.TotalPixelMatrixRows)
    series = uids.label_series if flavour == "LABEL" else uids.series
    for keyword, value in {
        "StudyInstanceUID": uids.study,
        "SeriesInstanceUID": series,
        "SOPInstanceUID": uids.instance(flavour, width, height),
    }.items():
        if dataset.get(keyword) != value or (keyword == "SOPInstanceUID" and _meta_uid(dataset) != value):
            faults.append(f"{keyword} does not follow from the draw")
    tiles = -(-width // int(dataset.Columns)) * -(-height // int(dataset.Rows)) * (len(channels) or 1)
    if int(dataset.NumberOfFrames) != tiles:
        faults.append(f"Number of Frames (0028,0008) is {dataset.NumberOfFrames}, expected {tiles}")
    return faults


def _meta_uid(dataset: Dataset) -> str:
    return str(dataset.file_meta.MediaStorageSOPInstanceUID)


def read_frame(path: Path, index: int) -> tuple[bytes, str]:
    """One frame's bytes as they lie in the file, found by its offset table, and the transfer syntax.

    Raises
    ------
    ValueError
        If there is no such frame.
    """
    from pydicom.encaps import get_frame

    with path.open("rb") as stream:
        dataset = pydicom.dcmread(stream, stop_before_pixels=True, force=True)
        extended = (dataset.get("ExtendedOffsetTable"), dataset.get("ExtendedOffsetTableLengths"))
        # Behind what was read stands the pixel data's tag, VR and length, 12 bytes; then its items.
        stream.seek(12, 1)
        frame = get_frame(
            stream,
            index,
            number_of_frames=int(dataset.NumberOfFrames),
            extended_offsets=extended if all(extended) else None,
        )
        return frame, str(dataset.file_meta.TransferSyntaxUID)


def _frame_faults(path: Path, index: int, written: Tile, lossy: bool) -> list[str]:
    try:
        frame, transfer_syntax = read_frame(path, index)
        # Fragments have an even length (PS3.5 A.4), padded with one byte.
        if frame[: len(written.encoded)] != written.encoded or len(frame) - len(written.encoded) > 1:
            return [f"frame {index} is not the one that was encoded"]
        pixels = decode_frame(frame, transfer_syntax)
    except ValueError as error:
        return [f"frame {index}: {error}"]
    if pixels.shape != written.pixels.shape:
        return [f"frame {index} is {pixels.shape}, expected {written.pixels.shape}"]
    if lossy:
        loss = float(np.abs(pixels.astype(np.int16) - written.pixels).mean())
        return [] if loss <= _MOST_LOSS else [f"frame {index} differs by {loss:.0f} grey levels from what was drawn"]
    return [] if np.array_equal(pixels, written.pixels) else [f"frame {index} has other pixels than were drawn"]


def assert_marked(
    folder: Path,
    identifier: str,
    size: tuple[int, int],
    uids: SlideUids,
    lossy: bool,
    samples: Mapping[str, Mapping[int, Tile]],
    channels: Sequence[str] = (),
) -> None:
    """Check every file of a written slide.

    Parameters
    ----------
    identifier
        Container id that the label shows.
    size
        Width and height of level 0 in pixels.
    uids
        That its images must have.
    lossy
        Whether the codec changes pixels.
    samples
        {file name: {index of a frame: what was written there}}; each is read and decoded.
    channels
        Descriptions of the levels' optical paths, where they are not in colour.

    Raises
    ------
    CaseError
        Listing everything that is not as it should be.
    """
    faults: list[str] = []
    headers = {path.name: pydicom.dcmread(path, stop_before_pixels=True) for path in sorted(folder.glob("*.dcm"))}
    levels = sorted(name for name in headers if name.startswith(f"{FILE_WORD}-level"))
    wanted = {level_file(index) for index in range(max(1, len(levels)))} | set(_FLAVOURS)
    if set(headers) != wanted:
        raise CaseError(f"DICOM slide: found files {sorted(headers)}; expected {sorted(wanted)}")
    for name, dataset in headers.items():
        flavour = _FLAVOURS.get(name, "VOLUME")
        resampled = flavour in ("THUMBNAIL", "OVERVIEW") or (flavour == "VOLUME" and name != level_file(0))
        own_faults = _field_faults(dataset, flavour, resampled, lossy, uids, channels if flavour == "VOLUME" else ())
        for index, tile in samples.get(name, {}).items():
            own_faults += _frame_faults(folder / name, index, tile, lossy)
        faults += [f"{name}: {fault}" for fault in own_faults]
    base = headers[level_file(0)]
    if (base.TotalPixelMatrixColumns, base.TotalPixelMatrixRows) != size:
        actual = (base.TotalPixelMatrixColumns, base.TotalPixelMatrixRows)
        faults.append(f"{level_file(0)}: Total Pixel Matrix is {actual}, expected {size}")
    if not label_shows(folder / LABEL_FILE, identifier):
        faults.append(f"{LABEL_FILE}: pixels do not show the banner")
    if faults:
        raise CaseError("DICOM slide: " + "; ".join(faults))


def label_shows(path: Path, identifier: str) -> bool:
    """Whether the label image's decoded pixels show the banner and the identifier."""
    try:
        pixels: Pixels = decode_frame(*read_frame(path, 0))
    except (ValueError, AttributeError, EOFError, OSError):
        return False
    return label_agrees(pixels, identifier)
