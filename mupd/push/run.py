"""Selects the files of a run, verifies and sends them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pydicom

from mupd.base.ids import artifact_name
from mupd.base.progress import track
from mupd.config import Config
from mupd.contracts.layout import Layout
from mupd.errors import Fault, InputFaults, MupdError
from mupd.push.account import Account, Outcome
from mupd.push.stow import DicomwebStore, InstanceFile, credentials
from mupd.synthetic.verify.manifest_hashes import artifact_of, known_hashes
from mupd.synthetic.verify.verify import Verification, verify_path

_IDENTIFIERS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


def case_folders(config: Config, cases: Sequence[str]) -> list[Path]:
    """Artifact folders of the named cases, or of all. A case is named by its id in the sheet or its name in files.

    Raises
    ------
    InputFaults
        Lists the named cases that have no artifacts.
    MupdError
        If the run has no artifacts, or no manifest yet.
    """
    root, manifest = Layout(config.out).artifacts, Layout(config.out).manifest
    if not manifest.is_file():
        raise MupdError(f"{manifest}: not there; run the workflow, or `mupd cohort`, first")
    there = {folder.name: folder for folder in sorted(root.iterdir()) if folder.is_dir()} if root.is_dir() else {}
    names = {case: case if case in there else artifact_name(case) for case in cases}
    faults = [Fault("--case", case, f"a case with artifacts in {root}") for case in cases if names[case] not in there]
    if faults:
        raise InputFaults("command line", faults)
    folders = [there[name] for name in dict.fromkeys(names.values())] if cases else list(there.values())
    if not folders:
        raise MupdError(f"{root}: found no artifacts; nothing to push")
    return folders


def _why_not(verification: Verification) -> str:
    """Why an artifact must not be sent; empty if it may be sent."""
    if verification.kind == "unreadable":
        return f"not readable ({verification.problem})"
    if not verification.synthetic:
        return "not marked synthetic"
    if verification.marks_missing:
        return f"marks are missing ({'; '.join(verification.marks_missing)})"
    if verification.hash_state != "intact":
        return {"altered": "altered since the run", "unknown": "not in the manifest"}[verification.hash_state]
    return ""


def _instance(file: Path) -> InstanceFile:
    header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=list(_IDENTIFIERS))
    return InstanceFile(file, *(str(header[tag].value) for tag in _IDENTIFIERS))


def _by_artifact(config: Config, folders: Sequence[Path]) -> dict[Path, list[Path]]:
    """{artifact listed in the manifest, else the file itself: its DICOM files}."""
    known = known_hashes(Layout(config.out).manifest)
    files_of: dict[Path, list[Path]] = {}
    for folder in folders:
        for file in sorted(folder.rglob("*.dcm")):
            if file.is_file() and not any(part.startswith(".") for part in file.relative_to(folder).parts):
                files_of.setdefault(artifact_of(file, known) or file, []).append(file)
    return files_of


def _sendable(config: Config, folders: Sequence[Path]) -> list[InstanceFile | Outcome]:
    """Each DICOM file of the folders, or why it is not sent."""
    sendable: list[InstanceFile | Outcome] = []
    for artifact, files in track(_by_artifact(config, folders).items(), "verify"):
        reason = _why_not(verify_path(artifact, Layout(config.out).manifest))
        if reason:
            sendable += [Outcome(file.relative_to(config.out).as_posix(), "refused", reason) for file in files]
        else:
            sendable += [_instance(file) for file in files]
    return sendable


def push(config: Config, url: str, cases: Sequence[str] = ()) -> Account:
    """Send the DICOM artifacts of some cases, or of all, to a DICOMweb server.

    A file is sent only if `mupd verify` finds all its marks and the hash in the manifest. Files that the server already
    has are not sent again.

    Parameters
    ----------
    url
        Root of DICOMweb, e.g. ``https://pacs.example.org/dicom-web``.
    cases
        Case ids; all if empty.

    Raises
    ------
    InputFaults
        If a case has no artifacts, or the URL cannot be used.
    MupdError
        If there is nothing to send.
    """
    store = DicomwebStore(url, credentials(url))
    sendable = _sendable(config, case_folders(config, cases))
    if not sendable:
        raise MupdError(f"{config.out / 'artifacts'}: found no DICOM artifacts; nothing to push")
    there: dict[tuple[str, str], set[str]] = {}
    outcomes = []
    try:
        for file in track(sendable, "push"):
            if isinstance(file, Outcome):
                outcomes.append(file)
                continue
            series = (file.study, file.series)
            if series not in there:
                there[series] = store.stored(*series)
            name = file.path.relative_to(config.out).as_posix()
            if file.instance in there[series]:
                outcomes.append(Outcome(name, "already there"))
            else:
                outcomes.append(Outcome(name, *store.store(file)))
    finally:
        store.close()
    return Account.of(outcomes)
