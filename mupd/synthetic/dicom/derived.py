"""Marks of the DICOM objects that are no slides: the structured report and the parametric map.

The same ways of saying so as in slides (:mod:`mupd.synthetic.dicom.marks`), as far as these IODs have the
attributes, and what only they can say: a report its banner in the content tree, a map its content description.
Each carries a digest of its own values, so that an edit shows without a manifest.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mupd.contracts.draws import DrawMeta
from mupd.errors import CaseError, UnusableError
from mupd.synthetic.dicom.marks import (
    CONTAINER,
    EQUIPMENT,
    QUALIFICATION,
    SERIES,
    SYNTHESIZING_CODE,
    SYNTHETIC_DATA,
    image_type_of,
    provenance_json,
    provenance_of,
    synthesizing_items,
)
from mupd.synthetic.statement import BANNER, PREFIX, WORD

if TYPE_CHECKING:
    from highdicom import ContributingEquipment
    from pydicom.dataset import Dataset

# It tells at INFO of every module that it copies.
logging.getLogger("highdicom").setLevel(logging.WARNING)

REPORT_CLASS = "1.2.840.10008.5.1.4.1.1.88.33"
"""SOP Class UID of Comprehensive SR Storage (PS3.4 B.5)."""

MAP_CLASS = "1.2.840.10008.5.1.4.1.1.30"
"""SOP Class UID of Parametric Map Storage."""

CONTENT = f"the content tree states {BANNER}"
DESCRIPTION = "Content Description (0070,0081) begins with SYNTHETIC"
UNVERIFIED = "Verification Flag (0040,A493) = UNVERIFIED"
MAP_TYPE = "Image Type (0008,0008) and Frame Type (0008,9007) = DERIVED\\PRIMARY\\VOLUME\\NONE"

MARKS = {
    REPORT_CLASS: (SYNTHETIC_DATA, EQUIPMENT, SERIES, CONTENT, QUALIFICATION, UNVERIFIED),
    MAP_CLASS: (SYNTHETIC_DATA, EQUIPMENT, SERIES, CONTAINER, DESCRIPTION, QUALIFICATION, MAP_TYPE),
}
"""Every mark that an object of the SOP class carries when it is written."""

_SUPPORTING = (QUALIFICATION, UNVERIFIED, MAP_TYPE)


def _text(dataset: Dataset, keyword: str) -> str:
    return str(dataset.get(keyword) or "")


def _content_says(item: Dataset) -> bool:
    texts = (_text(child, "TextValue") for child in item.get("ContentSequence") or [])
    return any(text.startswith(BANNER) for text in texts)


def _map_type(dataset: Dataset) -> bool:
    expected = ["DERIVED", "PRIMARY", "VOLUME", "NONE"]
    groups = dataset.get("SharedFunctionalGroupsSequence") or []
    frames = [item for group in groups for item in group.get("ParametricMapFrameTypeSequence") or []]
    types = [[str(part) for part in item.get("FrameType") or []] for item in frames]
    return image_type_of(dataset) == expected and types == [expected]


def derived_marks(dataset: Dataset) -> list[str]:
    """The marks that a structured report or a parametric map carries; an empty list for other objects."""
    there = {
        SYNTHETIC_DATA: _text(dataset, "SyntheticData") == "YES",
        EQUIPMENT: bool(synthesizing_items(dataset)),
        SERIES: _text(dataset, "SeriesDescription").startswith(WORD),
        CONTAINER: _text(dataset, "ContainerIdentifier").startswith(PREFIX),
        CONTENT: _content_says(dataset),
        DESCRIPTION: _text(dataset, "ContentDescription").startswith(WORD),
        QUALIFICATION: _text(dataset, "ContentQualification") == "RESEARCH",
        UNVERIFIED: _text(dataset, "VerificationFlag") == "UNVERIFIED",
        MAP_TYPE: _map_type(dataset),
    }
    return [mark for mark in MARKS.get(_text(dataset, "SOPClassUID"), ()) if there[mark]]


def provenance_of_draws(metas: Sequence[DrawMeta], artifact_key: str, values_sha256: str) -> str:
    """Provenance of an object made from several draws (:func:`mupd.synthetic.dicom.marks.provenance_json`).

    `contents_sha256` is the digest of the draws' content hashes, one a line in the order of `draws`.
    """
    first = metas[0]
    contents = "\n".join(meta.content_sha256 for meta in metas)
    values: dict[str, Any] = {
        "case": first.case_id,
        "target": first.target,
        "draws": [meta.draw for meta in metas],
        "given": list(first.given),
        "given_sha256": first.given_sha256,
        "model_id": first.model_id,
        "model_sha256": first.model_sha256,
        "contents_sha256": hashlib.sha256(contents.encode()).hexdigest(),
        "values_sha256": values_sha256,
        "artifact_key": artifact_key,
    }
    return provenance_json(values)


def synthesizing_equipment(meta: DrawMeta, provenance: str, moment: datetime.datetime) -> ContributingEquipment:
    """The Contributing Equipment item that says what made the object (PS3.3 C.12.1)."""
    from highdicom import ContributingEquipment
    from pydicom.sr.coding import Code

    return ContributingEquipment(
        manufacturer="mupd",
        purpose_of_reference=Code(SYNTHESIZING_CODE, "DCM", "Synthesizing Equipment"),
        manufacturer_model_name=f"{meta.model_id[:40]} sha256:{meta.model_sha256[:12]}",
        software_versions=meta.mupd_version,
        contribution_datetime=moment,
        contribution_description=provenance,
    )


def mark_derived(dataset: Dataset, equipment: ContributingEquipment, moment: datetime.datetime) -> None:
    """Set what highdicom does not know, and take the clock out of what it does.

    Replaces the whole Contributing Equipment Sequence: highdicom adds the source image's equipment as
    Acquisition Equipment, and nothing was acquired.
    """
    dataset.SyntheticData = "YES"
    dataset.ContentQualification = "RESEARCH"
    dataset.ContributingEquipmentSequence = [equipment]
    dataset.InstanceCreationDate = dataset.SeriesDate = moment.date()
    dataset.InstanceCreationTime = dataset.SeriesTime = moment.time()
    dataset.TimezoneOffsetFromUTC = "+0000"
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = "Generated data; holds a research case id only"


def _walk(item: Dataset, depth: int) -> list[Any]:
    nodes: list[Any] = []
    for child in item.get("ContentSequence") or []:
        node: list[Any] = [depth, _text(child, "RelationshipType"), _text(child, "ValueType")]
        codes = [
            *(child.get("ConceptNameCodeSequence") or []),
            *(child.get("ConceptCodeSequence") or []),
            *(code for value in child.get("MeasuredValueSequence") or [] for code in _units(value)),
        ]
        for code in codes:
            node.append(
                [_text(code, "CodeValue") or _text(code, "LongCodeValue"), _text(code, "CodingSchemeDesignator")]
            )
        node += [_text(child, "TextValue"), _text(child, "UID"), _text(child, "PersonName")]
        node += [str(value.get("NumericValue")) for value in child.get("MeasuredValueSequence") or []]
        nodes += [node, *_walk(child, depth + 1)]
    return nodes


def _units(value: Dataset) -> list[Dataset]:
    return list(value.get("MeasurementUnitsCodeSequence") or [])


def content_digest(dataset: Dataset) -> str:
    """SHA-256 of an SR document's content tree: codes, texts, numbers and units in their order."""
    return hashlib.sha256(json.dumps(_walk(dataset, 0), sort_keys=True).encode()).hexdigest()


def pixel_digest(pixel_data: bytes) -> str:
    """SHA-256 of the native (uncompressed, little endian) Pixel Data."""
    return hashlib.sha256(pixel_data).hexdigest()


def _values_fit(dataset: Dataset, stated: str) -> bool:
    if _text(dataset, "SOPClassUID") == REPORT_CLASS:
        return content_digest(dataset) == stated
    return "PixelData" in dataset and pixel_digest(dataset.PixelData) == stated


@dataclass(frozen=True)
class DerivedLook:
    """What a structured report or parametric map shows of itself.

    Attributes
    ----------
    kind
        ``dicom-sr`` or ``dicom-map``.
    found, missing
        Marks, in words; `found` holds only such as no real object carries.
    provenance
        As in Contribution Description: case, target, draws, given, model_id, ...; empty if not stated.
    altered
        Whether the values belie the digest that the object states of them.
    """

    kind: str
    found: tuple[str, ...]
    missing: tuple[str, ...]
    provenance: dict[str, Any]
    altered: bool


def is_derived(dataset: Dataset) -> bool:
    """Whether a header is of the SOP class of a report or a map (synthetic or not)."""
    return _text(dataset, "SOPClassUID") in MARKS


def look_at_derived(path: Path) -> DerivedLook:
    """Marks, provenance and integrity of a structured report or parametric map.

    Raises
    ------
    UnusableError
        If the file is not readable as DICOM, or is of another SOP class.
    """
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        dataset = pydicom.dcmread(path)
        sop_class = _text(dataset, "SOPClassUID")
        marks = derived_marks(dataset)
        provenance = provenance_of(dataset)
        stated = str(provenance.get("values_sha256", ""))
        altered = bool(stated) and not _values_fit(dataset, stated)
    except (InvalidDicomError, OSError, EOFError, ValueError, KeyError, AttributeError, NotImplementedError) as error:
        raise UnusableError(f"{path.name}: found bytes that are not DICOM ({error}); expected a DICOM file") from error
    if sop_class not in MARKS:
        raise UnusableError(f"{path.name} [SOPClassUID]: found {sop_class}; expected a structured report or map")
    return DerivedLook(
        kind="dicom-sr" if sop_class == REPORT_CLASS else "dicom-map",
        found=tuple(mark for mark in marks if mark not in _SUPPORTING),
        missing=tuple(mark for mark in MARKS[sop_class] if mark not in marks),
        provenance=provenance,
        altered=altered,
    )


def assert_derived_marked(path: Path) -> None:
    """Check a written report or map as it lies on disk.

    Raises
    ------
    CaseError
        Listing the marks it lacks, or if its values are not those it states.
    """
    look = look_at_derived(path)
    faults = [f"lacks {mark}" for mark in look.missing]
    if not look.provenance:
        faults.append("no provenance in Contribution Description (0018,A003)")
    if look.altered:
        faults.append("values do not have the stated digest")
    if faults:
        raise CaseError(f"{look.kind}: " + "; ".join(faults))
