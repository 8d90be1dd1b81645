"""What one path shows of itself, kind by kind: marks found and missing, provenance, whether its digest fits."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mupd.errors import UnusableError
from mupd.synthetic.anndata.peek import TableLook, look_at_hdf5, look_at_zarr
from mupd.synthetic.picture.marks import (
    WATERMARK,
    find_watermark,
    header_marks,
    is_slide_image,
    watermark_words,
)
from mupd.synthetic.picture.ome_marks import OME_MARKS, PIXELS_DIGEST, OmeLook, look_at_ome, pixels_intact
from mupd.synthetic.picture.png_marks import PNG_TEXT, is_png
from mupd.synthetic.statement import PREFIX, synthetic_id
from mupd.synthetic.verify.recognise import (
    Kind,
    dicom_files,
    kind_of,
    text_tells,
    whole_text_marks,
)

ContentState = Literal["intact", "altered", "unknown"]

_BINARY_SUFFIXES = (".dcm", ".h5ad", ".h5mu", ".png", ".jpg", ".jpeg", ".tif", ".tiff")

SLIDE_HEADERS = "the headers of a slide: its pixels were taken into another file"


@dataclass(frozen=True)
class Look:
    """What a path shows of itself.

    Attributes
    ----------
    kind
        See :class:`mupd.synthetic.verify.verify.Verification`.
    found, missing
        Marks, in words; `missing` counts only if the path turns out to be synthetic.
    provenance
        ``case_id``, ``model_id``, ``draws``, ``given``, ``given_sha256`` and so on, as far as it states them.
    content
        Whether the content has the digest that the file itself states; ``unknown`` if it states none.
    notes
        What else there is to say, e.g. that pixels could not be looked at.
    named
        Whether the name of such a file has to say synthetic; not if it holds measured data too.
    unsearched
        Why its content could not be searched for marks; "" if it was.
    """

    kind: str
    found: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)
    content: ContentState = "unknown"
    notes: tuple[str, ...] = ()
    named: bool = True
    unsearched: str = ""


def _agreed(states: list[ContentState]) -> ContentState:
    if "altered" in states:
        return "altered"
    return "intact" if states and "unknown" not in states else "unknown"


def _frames_state(path: Path, provenance: dict[str, Any]) -> ContentState:
    from mupd.synthetic.dicom.pixel_digest import FIELD, PLACEHOLDER, frames_digest

    stated = provenance.get(FIELD, PLACEHOLDER)
    if stated == PLACEHOLDER:
        return "unknown"
    return "intact" if frames_digest(path) == stated else "altered"


def _look_for_watermark(path: Path, dicom: bool) -> tuple[list[str], str]:
    """The watermark among marks found, and why the pixels could not be searched ("" if they were)."""
    try:
        detection = find_watermark(path)
    except UnusableError as error:
        if not dicom and error.__cause__ is not None:
            raise  # damaged, and not only of a kind without such marks
        return [], f"not searched for the watermark: {error}"
    return ([watermark_words(detection)] if detection.present else []), ""


def _look_slide(path: Path) -> Look:
    """A slide's folder, or one file of it."""
    from mupd.synthetic.dicom.derived import is_derived
    from mupd.synthetic.dicom.marks import SUPPORTING, TELLING, dicom_marks, image_type_of, provenance_of, read_header
    from mupd.synthetic.dicom.readback import label_shows

    files = dicom_files(path) if path.is_dir() else [path]
    headers = {file: read_header(file) for file in files}
    if len(files) == 1 and is_derived(headers[files[0]]):
        return _look_derived(files[0])
    marks_there: dict[str, None] = {}
    missing: list[str] = []
    notes: list[str] = []
    unsearched = ""
    provenance: dict[str, Any] = {}
    states: list[ContentState] = []
    flavours: set[str] = set()
    for file, header in headers.items():
        marks, own = dicom_marks(header), provenance_of(header)
        marks_there |= dict.fromkeys(mark for mark in marks if mark in TELLING)
        missing += [f"{file.name}: {mark}" for mark in (*TELLING, *SUPPORTING) if mark not in marks]
        provenance = provenance or own
        states.append(_frames_state(file, own))
        if states[-1] == "altered":
            notes.append(f"{file.name}: the frames do not have the digest that the header states")
        flavour = (*image_type_of(header), "", "", "")[2]
        flavours.add(flavour)
        if flavour == "LABEL":
            identifier = str(header.get("ContainerIdentifier") or "")
            if own:
                identifier = synthetic_id(str(own.get("case", "")), int(own.get("draw", 0)), str(own.get("target", "")))
            if identifier.startswith(PREFIX) and not label_shows(file, identifier):
                missing.append(f"{file.name}: label pixels show the banner")
    if path.is_dir():
        missing += [f"a {flavour} image" for flavour in ("VOLUME", "LABEL", "THUMBNAIL") if flavour not in flavours]
    if any(is_slide_image(header) for header in headers.values()):
        marks, unsearched = _look_for_watermark(path, dicom=True)
        marks_there |= dict.fromkeys(marks)
    if "draw" in provenance:
        provenance["draws"] = [provenance["draw"]]
    provenance["case_id"] = provenance.get("case", "")
    kind = "dicom-wsi" if path.is_dir() else "dicom"
    return Look(
        kind, tuple(marks_there), tuple(missing), provenance, _agreed(states), tuple(notes), unsearched=unsearched
    )


def _look_derived(path: Path) -> Look:
    """A structured report or a parametric map."""
    from mupd.synthetic.dicom.derived import look_at_derived

    look = look_at_derived(path)
    provenance = look.provenance | {"case_id": look.provenance.get("case", "")}
    stated = "values_sha256" in provenance
    content: ContentState = "altered" if look.altered else "intact" if stated else "unknown"
    return Look(look.kind, look.found, look.missing, provenance, content)


def _values_state(path: Path, provenance: dict[str, Any]) -> ContentState:
    import anndata

    from mupd.synthetic.anndata.marks import values_digest

    if "values_sha256" not in provenance:
        return "unknown"
    try:
        table = anndata.read_zarr(path) if path.is_dir() else anndata.read_h5ad(path)
        return "intact" if values_digest(table) == str(provenance["values_sha256"]) else "altered"
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise UnusableError(f"{path.name}: found a file that cannot be read ({error}); expected AnnData") from error


def _look_tables(path: Path, look: TableLook) -> Look:
    """AnnData or MuData, as HDF5 or zarr; measured and imputed rows may share a file."""
    from mupd.synthetic.anndata.marks import ANNDATA_MARKS, OBS_NAMES

    if not look.tables and not look.marks:
        return Look("other", unsearched="HDF5 or zarr without names of observations: no AnnData, MuData or 10x matrix")
    notes = tuple(
        f"{name}: {synthetic} of {total} observations are synthetic"
        for name, (synthetic, total) in look.tables.items()
        if name and synthetic
    )
    disagree = tuple(f"{name or 'obs'}: names and obs['synthetic'] disagree" for name in look.contradictions)
    if any(name for name in look.tables):
        return Look("mudata", look.marks, disagree, look.provenance, notes=notes, named=False)
    # What was joined with measured data has lost what need not hold for all of it.
    joined = any(0 < synthetic < total for synthetic, total in look.tables.values())
    wanted = (OBS_NAMES,) if joined else ANNDATA_MARKS
    missing = tuple(mark for mark in wanted if not any(mark_there.startswith(mark) for mark_there in look.marks))
    if joined:
        notes = tuple(f"{some} of {total} observations are synthetic" for some, total in look.tables.values())
    content = _values_state(path, look.provenance) if look.marks else "unknown"
    missing = (*missing, *disagree) if look.marks else ()
    return Look("anndata", look.marks, missing, look.provenance, content, notes, named=not joined)


def _look_json(path: Path) -> Look:
    from mupd.synthetic.text.marks import JSON_MARKS, json_marks, report_intact

    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UnusableError(f"{path.name}: found {error}; expected JSON") from error
    stated = report.get("mupd") if isinstance(report, dict) else None
    provenance = dict(stated) if isinstance(stated, dict) else {}
    marks = json_marks(report)
    if not marks and "model_sha256" in provenance:
        marks = ["block mupd names the model"]
    missing = tuple(mark for mark in JSON_MARKS if mark not in marks)
    provenance["case_id"] = report.get("case_id", "") if isinstance(report, dict) else ""
    content: ContentState = ("intact" if report_intact(report) else "altered") if marks else "unknown"
    return Look("report-json", tuple(marks), missing, provenance, content)


def _look_text(path: Path) -> Look:
    from mupd.synthetic.text.marks import TXT_MARKS, text_intact, text_marks, text_provenance

    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UnusableError(f"{path.name}: found {error}; expected UTF-8 text") from error
    marks = text_marks(text)
    marks = marks or text_tells(text)
    missing = tuple(mark for mark in TXT_MARKS if mark not in marks)
    content: ContentState = ("intact" if text_intact(text) else "altered") if marks else "unknown"
    return Look("report-text", tuple(marks), missing, text_provenance(text) if marks else {}, content)


def _look_ome(path: Path, ome: OmeLook) -> Look:
    """An OME-TIFF that holds at least one mark."""
    provenance = dict(ome.provenance)
    provenance |= {
        "case_id": provenance.get("case", ""),
        "draws": [provenance["draw"]] if str(provenance.get("draw", "")).isdecimal() else [],
        "given": [name for name in str(provenance.get("given", "")).split("+") if name],
        "given_sha256": {
            name: provenance[f"{name}_sha256"] for name in ("he", "rna", "text") if f"{name}_sha256" in provenance
        },
    }
    content: ContentState = "unknown"
    if digest := str(provenance.get(PIXELS_DIGEST, "")):
        content = "intact" if pixels_intact(path, digest) else "altered"
    missing = tuple(mark for mark in OME_MARKS if mark not in ome.found)
    return Look("ome-tiff", ome.found, missing, provenance, content)


def _look_picture(path: Path) -> Look:
    ome = look_at_ome(path)
    if ome is not None and ome.found:
        return _look_ome(path, ome)
    header = header_marks(path)
    marks, unsearched = _look_for_watermark(path, dicom=False)
    missing = (PNG_TEXT,) if is_png(path) and not header else ()
    if marks and not header:
        missing = (*missing, SLIDE_HEADERS)
    return Look("picture", (*header, *marks), missing, unsearched=unsearched)


def look_at(path: Path) -> Look:
    """Look at a file, a zarr store or the folder of a DICOM slide.

    Raises
    ------
    UnusableError
        If it is not readable as what it claims to be; names it.
    OSError
        If it cannot be read at all.
    """
    return _READERS[kind_of(path)](path)


def _look_folder(path: Path) -> Look:
    if not dicom_files(path):
        raise UnusableError(f"{path.name}: found a folder without DICOM files; expected an artifact")
    return _look_slide(path)


def _look_hdf5(path: Path) -> Look:
    return _look_tables(path, look_at_hdf5(path))


def _look_report(path: Path) -> Look:
    reader = {".json": _look_json, ".txt": _look_text}.get(path.suffix.lower(), _look_other)
    return reader(path)


def _look_other(path: Path) -> Look:
    suffix = path.suffix.lower()
    if suffix in _BINARY_SUFFIXES:
        raise UnusableError(f"{path.name}: found other bytes; expected what {suffix} promises")
    if kind_of(path) == "text":
        return Look("other", tuple(whole_text_marks(path)))
    return Look("other", unsearched=f"{suffix or 'a file without a suffix'}: a kind that marks are not searched for in")


_READERS: dict[Kind, Callable[[Path], Look]] = {
    "zarr": lambda path: _look_tables(path, look_at_zarr(path)),
    "folder": _look_folder,
    "dicom": _look_slide,
    "hdf5": _look_hdf5,
    "picture": _look_picture,
    "text": _look_report,
    "other": _look_other,
}


def has_watermark(marks: tuple[str, ...]) -> bool:
    """Whether the watermark is among marks."""
    return any(mark.startswith(WATERMARK) for mark in marks)
