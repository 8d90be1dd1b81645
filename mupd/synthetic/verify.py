"""Says of any file whether it is synthetic, by which model, from what, and whether it was altered since."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mupd.errors import MupdError, UnusableError
from mupd.synthetic.manifest_hashes import HashState, artifact_of, find_manifest, hash_state, known_hashes
from mupd.synthetic.recognise import FILE_NAME, dicom_files, is_dicom, is_hdf5, named_synthetic, synthetic_marks
from mupd.synthetic.statement import synthetic_id

MEASURED, UNREADABLE, INTACT, ALTERED = 0, 1, 3, 4
"""Exit codes: no sign of synthesis; not readable; synthetic and intact; synthetic and altered or stripped."""


@dataclass(frozen=True)
class Verification:
    """What is known of one path.

    Attributes
    ----------
    kind
        ``dicom-wsi``, ``dicom``, ``dicom-map``, ``dicom-sr``, ``anndata``, ``mudata``, ``report-json``,
        ``report-text``, ``other``, or ``unreadable`` (then `problem` says why).
    marks_found, marks_missing
        In words; missing ones only for something synthetic.
    draw
        The draws it holds; empty if not stated.
    hash_state
        Against the manifest; ``altered`` also where the content belies the digest inside the file.
    """

    path: Path
    kind: str
    synthetic: bool
    marks_found: tuple[str, ...] = ()
    marks_missing: tuple[str, ...] = ()
    model_id: str = ""
    case: str = ""
    draw: tuple[int, ...] = ()
    given: tuple[str, ...] = ()
    hash_state: HashState = "unknown"
    problem: str = ""

    @property
    def exit_code(self) -> int:
        """See :data:`MEASURED` and its neighbours."""
        if self.kind == "unreadable":
            return UNREADABLE
        if not self.synthetic:
            return MEASURED
        return ALTERED if self.marks_missing or self.hash_state == "altered" else INTACT


@dataclass(frozen=True)
class _Look:
    """What one file kind shows: marks found and missing, provenance, whether its own digest fits."""

    kind: str
    found: tuple[str, ...]
    missing: tuple[str, ...]
    provenance: dict[str, Any]
    belied: bool = False


def _look_dicom(path: Path) -> _Look:
    from mupd.synthetic.dicom_derived import is_derived
    from mupd.synthetic.dicom_marks import SUPPORTING, TELLING, dicom_marks, image_type_of, provenance_of, read_header
    from mupd.synthetic.dicom_readback import label_shows

    files = dicom_files(path) if path.is_dir() else [path]
    if len(files) == 1 and is_derived(read_header(files[0])):
        return _look_derived(files[0])
    found: dict[str, None] = {}
    missing: list[str] = []
    provenance: dict[str, Any] = {}
    flavours: set[str] = set()
    for file in files:
        header = read_header(file)
        marks = dicom_marks(header)
        found |= dict.fromkeys(mark for mark in marks if mark in TELLING)
        missing += [f"{file.name}: {mark}" for mark in (*TELLING, *SUPPORTING) if mark not in marks]
        provenance = provenance or provenance_of(header)
        flavour = (*image_type_of(header), "", "", "")[2]
        flavours.add(flavour)
        if flavour == "LABEL":
            identifier = str(header.get("ContainerIdentifier") or "")
            stated = provenance_of(header)
            if stated:
                identifier = synthetic_id(str(stated.get("case", "")), int(stated.get("draw", 0)))
            if identifier.startswith("SYN-") and not label_shows(file, identifier):
                missing.append(f"{file.name}: label pixels show the banner")
    if path.is_dir():
        missing += [f"a {flavour} image" for flavour in ("VOLUME", "LABEL", "THUMBNAIL") if flavour not in flavours]
    if "draw" in provenance:
        provenance["draws"] = [provenance["draw"]]
    provenance["case_id"] = provenance.get("case", "")
    return _Look("dicom-wsi" if path.is_dir() else "dicom", tuple(found), tuple(missing), provenance)


def _look_derived(path: Path) -> _Look:
    """A structured report or a parametric map."""
    from mupd.synthetic.dicom_derived import look_at_derived

    look = look_at_derived(path)
    provenance = look.provenance | {"case_id": look.provenance.get("case", "")}
    return _Look(look.kind, look.found, look.missing, provenance, look.altered)


def _look_hdf5(path: Path) -> _Look:
    from mupd.synthetic.anndata_marks import ANNDATA_MARKS, UNS
    from mupd.synthetic.hdf5_peek import hdf5_marks

    found, provenance = hdf5_marks(path)
    if path.suffix.lower() == ".h5mu":
        # Measured and imputed rows share a cohort file, so no mark need hold for all of it.
        return _Look("mudata", tuple(found), (), provenance)
    missing = tuple(mark for mark in ANNDATA_MARKS if mark not in found)
    belied = False
    if UNS in found and "values_sha256" in provenance:
        belied = not _values_fit(path, str(provenance["values_sha256"]))
    return _Look("anndata", tuple(found), missing if found else (), provenance, belied)


def _values_fit(path: Path, digest: str) -> bool:
    import anndata

    from mupd.synthetic.anndata_marks import values_digest

    try:
        return values_digest(anndata.read_h5ad(path)) == digest
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise UnusableError(f"{path.name}: found .h5ad that cannot be read ({error}); expected AnnData") from error


def _look_json(path: Path) -> _Look:
    from mupd.synthetic.text_marks import JSON_MARKS, json_marks, report_intact

    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UnusableError(f"{path.name}: found {error}; expected JSON") from error
    found = json_marks(report)
    missing = tuple(mark for mark in JSON_MARKS if mark not in found)
    said = report.get("mupd") if isinstance(report, dict) else None
    provenance = dict(said) if isinstance(said, dict) else {}
    provenance["case_id"] = report.get("case_id", "") if isinstance(report, dict) else ""
    belied = bool(found) and not report_intact(report)
    return _Look("report-json", tuple(found), missing, provenance, belied)


def _look_text(path: Path) -> _Look:
    from mupd.synthetic.text_marks import TXT_MARKS, text_intact, text_marks, text_provenance

    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UnusableError(f"{path.name}: found {error}; expected UTF-8 text") from error
    found = text_marks(text)
    missing = tuple(mark for mark in TXT_MARKS if mark not in found)
    provenance = text_provenance(text) if found else {}
    return _Look("report-text", tuple(found), missing, provenance, bool(found) and not text_intact(text))


def _look(path: Path) -> _Look:
    if path.is_dir():
        if not dicom_files(path):
            raise UnusableError(f"{path.name}: found a folder without DICOM files; expected an artifact")
        return _look_dicom(path)
    if is_dicom(path):
        return _look_dicom(path)
    if is_hdf5(path):
        return _look_hdf5(path)
    suffix = path.suffix.lower()
    if suffix in (".dcm", ".h5ad", ".h5mu"):
        raise UnusableError(f"{path.name}: found other bytes; expected what {suffix} promises")
    if suffix == ".json":
        return _look_json(path)
    if suffix == ".txt":
        return _look_text(path)
    return _Look("other", tuple(mark for mark in synthetic_marks(path) if mark != FILE_NAME), (), {})


def verify_path(path: Path, manifest: Path | None = None) -> Verification:
    """Verify one file, or the folder of one DICOM slide; never raises for what it finds there.

    Parameters
    ----------
    path
        What to look at.
    manifest
        The run's manifest.tsv; looked for in the folders above `path` if not given.
    """
    try:
        if not path.exists():
            raise UnusableError(f"{path}: found nothing; expected a file or a folder")
        manifest = manifest or find_manifest(path)
        known = known_hashes(manifest) if manifest else {}
        listed = artifact_of(path, known)
        state = hash_state(path, known) if known else "unknown"
        look = _look(path)
    except (MupdError, OSError, KeyError, json.JSONDecodeError) as error:
        return Verification(path, "unreadable", False, problem=str(error))
    named = named_synthetic(path)
    synthetic = bool(look.found) or named or listed is not None or state == "intact"
    missing = list(look.missing)
    if not named:
        missing.append(FILE_NAME)
    said = look.provenance
    return Verification(
        path=path,
        kind=look.kind,
        synthetic=synthetic,
        marks_found=(*([FILE_NAME] if named else []), *look.found),
        marks_missing=tuple(missing) if synthetic else (),
        model_id=str(said.get("model_id", "")),
        case=str(said.get("case_id", "")),
        draw=tuple(int(draw) for draw in said.get("draws", ())),
        given=tuple(str(modality) for modality in said.get("given", ())),
        hash_state="altered" if synthetic and look.belied else state,
    )


def exit_code(verifications: Iterable[Verification]) -> int:
    """One exit code for several paths: unreadable before altered before intact before measured."""
    codes = {verification.exit_code for verification in verifications}
    return next((code for code in (UNREADABLE, ALTERED, INTACT) if code in codes), MEASURED)


_ARTIFACT_FILE = re.compile(r"(?i)\.(dcm|h5ad|h5mu|json|txt)$")


def paths_to_verify(path: Path) -> list[Path]:
    """`path` itself, or, for a folder that is not one slide, the slides and artifact files below it."""
    if not path.is_dir() or dicom_files(path):
        return [path]
    found: list[Path] = []
    for child in sorted(path.iterdir()):
        if child.is_dir():
            found += paths_to_verify(child)
        elif _ARTIFACT_FILE.search(child.name):
            found.append(child)
    return found


def _lines(found: Verification) -> list[str]:
    if found.kind == "unreadable":
        return [f"{found.path}: unreadable", f"  {found.problem}"]
    if not found.synthetic:
        return [f"{found.path}: no sign of synthesis ({found.kind})"]
    words = {"intact": "unaltered since the run", "altered": "ALTERED since the run"}
    state = words.get(found.hash_state, "no manifest knows its hash")
    lines = [f"{found.path}: SYNTHETIC ({found.kind}), {state}"]
    facts = {
        "case": found.case,
        "generated from": "+".join(found.given),
        "model": found.model_id,
        "draw": ", ".join(str(draw) for draw in found.draw),
    }
    lines += [f"  {name}: {value}" for name, value in facts.items() if value]
    lines += [f"  mark: {mark}" for mark in found.marks_found]
    return lines + [f"  MISSING MARK: {mark}" for mark in found.marks_missing]


def render(verifications: Iterable[Verification], as_json: bool = False) -> None:
    """Print the findings to standard output, in words or as a JSON list."""
    found = list(verifications)
    if as_json:
        values = [asdict(item) | {"path": str(item.path), "exit_code": item.exit_code} for item in found]
        print(json.dumps(values, indent=2, ensure_ascii=False))
        return
    for item in found:
        print("\n".join(_lines(item)))
