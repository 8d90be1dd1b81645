"""Marks in DICOM headers: how they read, how they are looked for, how provenance is carried.

Tags are those of DICOM PS3.6; Synthetic Data and Content Qualification as in PS3.3 C.12.1 (SOP
Common) and C.8.13.2; Contributing Equipment as in C.12.1 with purpose (109100, DCM); Image Type and
Frame Type as in C.8.12.4.1.1 and C.8.12.9.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mupd.base.messages import warnings_with_name
from mupd.contracts.draws import DrawMeta
from mupd.errors import UnusableError
from mupd.synthetic.dicom.pixel_digest import FIELD as DIGEST_FIELD
from mupd.synthetic.dicom.pixel_digest import PLACEHOLDER
from mupd.synthetic.statement import BANNER, PREFIX, WORD

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

SYNTHETIC_DATA = "Synthetic Data (0008,001C) = YES"
EQUIPMENT = "Contributing Equipment Sequence (0018,A001) with purpose Synthesizing Equipment"
SERIES = "Series Description (0008,103E) begins with SYNTHETIC"
DERIVATION = "Derivation Description (0008,2111) begins with SYNTHETIC"
CONTAINER = "Container Identifier (0040,0512) begins with SYN-"
LABEL_TEXT = f"Label Text (2200,0002) = {BANNER}"
QUALIFICATION = "Content Qualification (0018,9004) = RESEARCH"
IMAGE_TYPE = "Image Type (0008,0008) and Frame Type (0008,9007) begin with DERIVED\\PRIMARY"

TELLING = (SYNTHETIC_DATA, EQUIPMENT, SERIES, DERIVATION, CONTAINER, LABEL_TEXT)
"""Each of these alone shows that an image is synthetic."""

SUPPORTING = (QUALIFICATION, IMAGE_TYPE)
"""Set on every synthetic image, but real images may carry them too."""

SYNTHESIZING_CODE = "109100"
_ST_LENGTH = 1024
_TAGS = (
    "ImageType",
    "SOPClassUID",
    "SeriesInstanceUID",
    "SyntheticData",
    "SeriesDescription",
    "DerivationDescription",
    "ContentQualification",
    "ContributingEquipmentSequence",
    "ContainerIdentifier",
    "LabelText",
    "SharedFunctionalGroupsSequence",
    "PatientID",
    "NumberOfFrames",
    "PhotometricInterpretation",
    "TotalPixelMatrixColumns",
    "TotalPixelMatrixRows",
)


def read_header(path: Path) -> Dataset:
    """The attributes that marks are looked for in, without pixels.

    Raises
    ------
    UnusableError
        If the file is not readable as DICOM; names the file.
    """
    import pydicom
    from pydicom.errors import BytesLengthException, InvalidDicomError

    damaged = (InvalidDicomError, BytesLengthException, OSError, EOFError, ValueError, KeyError, AttributeError)
    try:
        with warnings_with_name(path):
            dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_TAGS))
            for _ in dataset.iterall():
                pass  # values are parsed when they are asked for: a damaged one shows here
    except (*damaged, NotImplementedError) as error:
        raise UnusableError(f"{path.name}: found bytes that are not DICOM ({error}); expected a DICOM file") from error
    if len(dataset) == 0 and "MediaStorageSOPClassUID" not in dataset.file_meta:
        raise UnusableError(f"{path.name}: found a DICOM preamble and no data; expected a DICOM file")
    return dataset


def _text(dataset: Dataset, keyword: str) -> str:
    return str(dataset.get(keyword) or "")


def synthesizing_items(dataset: Dataset) -> list[Dataset]:
    """Items of the Contributing Equipment Sequence whose purpose is Synthesizing Equipment."""
    items = []
    for item in dataset.get("ContributingEquipmentSequence") or []:
        codes = item.get("PurposeOfReferenceCodeSequence") or []
        if any(_text(code, "CodeValue") == SYNTHESIZING_CODE for code in codes):
            items.append(item)
    return items


def image_type_of(dataset: Dataset) -> list[str]:
    """Image Type as a list of its values."""
    value = dataset.get("ImageType") or []
    return [value] if isinstance(value, str) else [str(part) for part in value]


def frame_type_of(dataset: Dataset) -> list[str]:
    """Frame Type of the shared functional groups, empty if there is none."""
    for group in dataset.get("SharedFunctionalGroupsSequence") or []:
        for item in group.get("WholeSlideMicroscopyImageFrameTypeSequence") or []:
            return [str(part) for part in item.get("FrameType") or []]
    return []


def dicom_marks(dataset: Dataset) -> list[str]:
    """The marks, telling and supporting, that an image's header carries."""
    image, frame = image_type_of(dataset), frame_type_of(dataset)
    there = {
        SYNTHETIC_DATA: _text(dataset, "SyntheticData") == "YES",
        EQUIPMENT: bool(synthesizing_items(dataset)),
        SERIES: _text(dataset, "SeriesDescription").startswith(WORD),
        DERIVATION: _text(dataset, "DerivationDescription").startswith(WORD),
        CONTAINER: _text(dataset, "ContainerIdentifier").startswith(PREFIX),
        LABEL_TEXT: _text(dataset, "LabelText") == BANNER,
        QUALIFICATION: _text(dataset, "ContentQualification") == "RESEARCH",
        IMAGE_TYPE: image[:2] == ["DERIVED", "PRIMARY"] and frame[:2] == ["DERIVED", "PRIMARY"],
    }
    return [mark for mark, present in there.items() if present]


def provenance_json(values: dict[str, Any]) -> str:
    """Provenance as JSON for Contribution Description (VR ST). Leaves out the sources' hashes if they do not fit.

    Raises
    ------
    ValueError
        If it is longer than 1,024 characters all the same.
    """
    text = json.dumps(values, sort_keys=True)
    if len(text) > _ST_LENGTH:
        # The manifest has the sources' hashes too; identity and model must not be cut.
        text = json.dumps({name: value for name, value in values.items() if name != "given_sha256"}, sort_keys=True)
    if len(text) > _ST_LENGTH:
        raise ValueError(f"provenance: found {len(text)} characters; expected at most {_ST_LENGTH} (model id too long)")
    return text


def provenance_text(meta: DrawMeta, artifact_key: str) -> str:
    """Provenance of one draw (:func:`provenance_json`).

    The digest of the frames is a placeholder until :func:`mupd.synthetic.dicom.pixel_digest.stamp_digest`.
    """
    values: dict[str, Any] = {
        "case": meta.case_id,
        "target": meta.target,
        "draw": meta.draw,
        "seed": meta.seed,
        "given": list(meta.given),
        "given_sha256": meta.given_sha256,
        "model_id": meta.model_id,
        "model_sha256": meta.model_sha256,
        "content_sha256": meta.content_sha256,
        "artifact_key": artifact_key,
        DIGEST_FIELD: PLACEHOLDER,
    }
    return provenance_json(values)


def provenance_of(dataset: Dataset) -> dict[str, Any]:
    """What :func:`provenance_text` wrote, from a header; empty if it is not there or not readable."""
    for item in synthesizing_items(dataset):
        try:
            values = json.loads(_text(item, "ContributionDescription"))
        except json.JSONDecodeError:
            continue
        if isinstance(values, dict):
            return values
    return {}
