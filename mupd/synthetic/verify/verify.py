"""Says of any file whether it is synthetic, by which model, from what, and whether it was altered since."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from mupd.base.zarr_store import is_zarr
from mupd.errors import MupdError, UnusableError
from mupd.synthetic.picture.marks import is_picture
from mupd.synthetic.verify.evidence import ContentState, look_at
from mupd.synthetic.verify.manifest_hashes import HashState, artifact_of, find_manifest, hash_state, known_hashes
from mupd.synthetic.verify.recognise import FILE_NAME, dicom_files, is_hdf5, named_synthetic

if TYPE_CHECKING:
    from mupd.synthetic.signature import SignatureState

MEASURED, UNREADABLE, INTACT, ALTERED, UNKNOWN = 0, 1, 3, 4, 5
"""Exit codes.

Searched, and no sign of synthesis; not readable; synthetic and intact; synthetic and altered or stripped; not searched,
and no sign of synthesis outside the content.
"""


@dataclass(frozen=True)
class Verification:
    """What is known of one path.

    Attributes
    ----------
    kind
        ``dicom-wsi`` (a slide's folder), ``dicom``, ``dicom-map``, ``dicom-sr``, ``anndata``, ``mudata``,
        ``report-json``, ``report-text``, ``picture``, ``ome-tiff``, ``other``, or ``unreadable`` (then `problem` says
        why).
    marks_found, marks_missing
        In words; missing ones only for something synthetic.
    draw
        The draws it holds; empty if not stated.
    given_sha256
        {modality: SHA-256} of the sources it was generated from.
    hash_state
        Against the manifest; ``altered`` also where the content belies the digest inside the file.
    content
        Against the digest inside the file alone; ``unknown`` if it holds none.
    signature
        Of the manifest, or of the path itself if it has one beside it; None if neither was looked at.
    unsearched
        Why the content could not be searched for marks; "" if it was.
    """

    path: Path
    kind: str
    synthetic: bool
    marks_found: tuple[str, ...] = ()
    marks_missing: tuple[str, ...] = ()
    model_id: str = ""
    model_sha256: str = ""
    case: str = ""
    draw: tuple[int, ...] = ()
    given: tuple[str, ...] = ()
    given_sha256: dict[str, str] = field(default_factory=dict)
    hash_state: HashState = "unknown"
    content: ContentState = "unknown"
    signature: SignatureState | None = None
    notes: tuple[str, ...] = ()
    problem: str = ""
    unsearched: str = ""

    @property
    def exit_code(self) -> int:
        """See :data:`MEASURED` and its neighbours; a signature that does not fit counts as altered."""
        if self.kind == "unreadable":
            return UNREADABLE
        if self.signature == "invalid":
            return ALTERED
        if not self.synthetic:
            return UNKNOWN if self.unsearched else MEASURED
        return ALTERED if self.marks_missing or self.hash_state == "altered" else INTACT


def _signature(path: Path, manifest: Path | None, public_key: Path | None) -> SignatureState | None:
    from mupd.synthetic.signature import check_signature, signature_files

    own = path.is_file() and signature_files(path)[0].is_file()
    signed = path if own else manifest
    return None if signed is None else check_signature(signed, public_key)


@lru_cache(maxsize=4)
def _known(manifest: Path, _modified_ns: int) -> dict[Path, str]:
    """A manifest is read once for all the paths of a call."""
    return known_hashes(manifest)


def verify_path(path: Path, manifest: Path | None = None, public_key: Path | None = None) -> Verification:
    """Verify one file, a zarr store, or the folder of one DICOM slide; never raises for what it finds there.

    Parameters
    ----------
    path
        What to look at.
    manifest
        The run's manifest.tsv; looked for beside `path` and in the folders above it if not given.
    public_key
        The key (PEM) that the manifest should be signed with.

    Raises
    ------
    InputFaults
        If `public_key` cannot be used.
    """
    from mupd.synthetic.signature import read_public_key

    if public_key is not None:
        read_public_key(public_key)
    try:
        if not path.exists():
            raise UnusableError(f"{path}: found nothing; expected a file or a folder")
        manifest = manifest or find_manifest(path)
        known = _known(manifest, manifest.stat().st_mtime_ns) if manifest else {}
        listed = artifact_of(path, known)
        state = hash_state(path, known) if known else "unknown"
        signature = _signature(path, manifest, public_key)
        look = look_at(path)
    except (MupdError, OSError, KeyError, json.JSONDecodeError) as error:
        return Verification(path, "unreadable", False, problem=str(error))
    named = named_synthetic(path)
    synthetic = bool(look.found) or named or listed is not None or state == "intact"
    missing = list(look.missing)
    if look.named and not named:
        missing.append(FILE_NAME)
    provenance = look.provenance
    return Verification(
        path=path,
        kind=look.kind,
        synthetic=synthetic,
        marks_found=(*([FILE_NAME] if named else []), *look.found),
        marks_missing=tuple(missing) if synthetic else (),
        model_id=str(provenance.get("model_id", "")),
        model_sha256=str(provenance.get("model_sha256", "")),
        case=str(provenance.get("case_id", "")),
        draw=tuple(int(draw) for draw in provenance.get("draws", ())),
        given=tuple(str(modality) for modality in provenance.get("given", ())),
        given_sha256={str(name): str(digest) for name, digest in dict(provenance.get("given_sha256", {})).items()},
        hash_state="altered" if synthetic and look.content == "altered" else state,
        content=look.content,
        signature=signature,
        notes=look.notes,
        unsearched=look.unsearched,
    )


def exit_code(verifications: Iterable[Verification]) -> int:
    """The exit code for several paths is that of the gravest.

    In this order: unreadable (1), altered or stripped (4), not searched (5), synthetic and intact (3), measured (0).
    """
    codes = {verification.exit_code for verification in verifications}
    return next((code for code in (UNREADABLE, ALTERED, UNKNOWN, INTACT) if code in codes), MEASURED)


_UNSEARCHED = (".pdf", ".webp", ".gif", ".jp2", ".jxl", ".avif", ".heic", ".docx", ".parquet", ".rds", ".loom")
"""Kinds of files below a folder that may hold artifacts, though marks are not searched for in them."""
_TEXTS = (".json", ".txt", ".csv", ".tsv", ".csv.gz", ".tsv.gz")


def _is_one_slide(files: list[Path]) -> bool:
    """Whether the DICOM files of a folder are one slide: at most one series of them holds its levels."""
    from mupd.synthetic.dicom.derived import is_derived
    from mupd.synthetic.dicom.marks import read_header

    series = set()
    for file in files:
        try:
            header = read_header(file)
        except UnusableError:
            return False  # it has to be named
        if is_derived(header) and len(files) > 1:
            return False
        if "VOLUME" in (header.get("ImageType") or []):
            series.add(str(header.get("SeriesInstanceUID")))
    return len(series) <= 1


def _is_candidate(file: Path) -> bool:
    """Whether a file is of a kind that artifacts, or pictures of them, have."""
    if file.name.lower().endswith((*_TEXTS, *_UNSEARCHED)) or file.suffix.lower() in (".dcm", ".h5ad", ".h5mu"):
        return True
    return is_hdf5(file) or is_picture(file)


def paths_to_verify(path: Path) -> list[Path]:
    """What is to be verified of `path`: itself, or what lies below a folder.

    A zarr store and the folder of one slide count as one; the other files and folders beside a slide's
    are looked through too. A folder with nothing to verify in it is returned itself, and turns out unreadable.
    """
    return _below(path) or [path]


def _below(path: Path) -> list[Path]:
    if not path.is_dir() or is_zarr(path):
        return [path]
    dicom = dicom_files(path)
    paths: list[Path] = ([path] if _is_one_slide(dicom) else dicom) if dicom else []
    for child in sorted(path.iterdir()):
        if child.is_dir():
            if not child.name.startswith("."):
                paths += _below(child)
        elif child not in dicom and child.is_file() and _is_candidate(child):
            paths.append(child)
    return paths
