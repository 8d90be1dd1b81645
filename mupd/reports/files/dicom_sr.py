"""The text of a DICOM structured report: its content tree as lines; of an encapsulated PDF its text layer."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mupd.base.messages import reason_of
from mupd.errors import UnusableError
from mupd.reports.deidentify.mask import Known
from mupd.reports.files.pdf import MOST_PDF_BYTES, pdf_text

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

MOST_SR_BYTES = 64 << 20
_UNDEFINED_LENGTH = 0xFFFFFFFF
_DEFLATED = ("1.2.840.10008.1.2.1.99",)
_ENCAPSULATED_PDF = "1.2.840.10008.5.1.4.1.1.104.1"
_MOST_ITEMS, _MOST_DEPTH = 20_000, 40
_ERRORS = (
    AttributeError,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)


def _meaning(item: Dataset, keyword: str) -> str:
    codes = item.get(keyword)
    return str(codes[0].get("CodeMeaning", "")).strip() if codes else ""


def _value(item: Dataset) -> str:
    kind = str(item.get("ValueType", ""))
    if kind == "TEXT":
        return str(item.get("TextValue", ""))
    if kind == "CODE":
        return _meaning(item, "ConceptCodeSequence")
    if kind == "NUM" and item.get("MeasuredValueSequence"):
        measured = item.MeasuredValueSequence[0]
        unit = measured.get("MeasurementUnitsCodeSequence")
        # The code of a UCUM unit is what people write (mm), its meaning is spelled out.
        return f"{measured.get('NumericValue', '')} {unit[0].get('CodeValue', '') if unit else ''}".strip()
    # Names, times and references are no findings, and may identify people.
    return ""


def _lines(dataset: Dataset) -> list[str]:
    lines: list[str] = []
    stack: list[tuple[Dataset, int]] = [(dataset, 0)]
    for _ in range(_MOST_ITEMS):
        if not stack:
            return lines
        item, depth = stack.pop()
        if depth > _MOST_DEPTH:
            raise UnusableError(f"a structured report nested deeper than {_MOST_DEPTH}: refused")
        name, value = _meaning(item, "ConceptNameCodeSequence"), _value(item)
        if value:
            lines.append(f"{name}: {value}" if name else value)
        elif str(item.get("ValueType", "")) == "CONTAINER" and name:
            lines.append(name)
        stack += [(child, depth + 1) for child in reversed(item.get("ContentSequence") or [])]
    raise UnusableError(f"a structured report of over {_MOST_ITEMS} items: refused")


def _known(dataset: Dataset) -> Known:
    def values(*keywords: str) -> tuple[str, ...]:
        words = (str(dataset.get(keyword, "") or "").strip() for keyword in keywords)
        return tuple(value for value in words if value)

    names = values("PatientName", "ReferringPhysicianName", "OperatorsName", "NameOfPhysiciansReadingStudy")
    names = tuple(name.replace("^", " ").replace("=", " ") for name in names)
    return Known(names, values("PatientID", "AccessionNumber"), values("PatientBirthDate", "StudyDate"))


def _refuse_cut(dataset: Any) -> None:
    """Raise if an element is shorter than it declares: pydicom reads truncated files without an error."""
    from pydicom.dataelem import RawDataElement

    for tag in dataset.keys():  # noqa: SIM118 - iterating a Dataset decodes its elements
        raw = dataset.get_item(tag)
        if not isinstance(raw, RawDataElement) or raw.length == _UNDEFINED_LENGTH:
            continue
        if len(raw.value or b"") < raw.length:
            raise UnusableError("truncated: an element of the report is longer than what is there; copy the file anew")


def sr_text(path: Path) -> tuple[str, dict[str, Any], Known]:
    """Lines ``concept: value`` of the content tree, facts (of a PDF), and what the header states of persons.

    Raises
    ------
    UnusableError
        If it is damaged, of another kind, too large, or has no text.
    """
    import pydicom
    from pydicom.errors import InvalidDicomError
    from pydicom.filereader import read_file_meta_info

    try:
        if (size := path.stat().st_size) > max(MOST_SR_BYTES, MOST_PDF_BYTES):
            raise UnusableError(f"a DICOM file of {size} bytes: not a report")
        if str(read_file_meta_info(path).get("TransferSyntaxUID", "")) in _DEFLATED:
            raise UnusableError("deflated DICOM: refused; store it in Explicit VR Little Endian")
        dataset = pydicom.dcmread(path)
        modality, kind = str(dataset.get("Modality", "")), str(dataset.get("SOPClassUID", ""))
        if kind == _ENCAPSULATED_PDF:
            return *pdf_text(bytes(dataset.get("EncapsulatedDocument", b"")), path), _known(dataset)
        if "ContentSequence" not in dataset or modality != "SR":
            raise UnusableError(f"DICOM of modality {modality[:16]!r}: expected a structured report (SR)")
        _refuse_cut(dataset)
        lines, known = _lines(dataset), _known(dataset)
    except (InvalidDicomError, *_ERRORS) as error:
        raise UnusableError(f"a damaged DICOM file: {reason_of(error, path)}") from error
    if not any(": " in line for line in lines):
        raise UnusableError("a structured report without text")
    return "\n".join(lines), {}, known
