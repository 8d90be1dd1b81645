"""Which files of a run go to the server, and the account of what became of them."""

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
    """The artifact folders of the named cases (by their id in the sheet or by their name in files), or of all.

    Raises
    ------
    InputFaults
        With each named case that has no artifacts.
    MupdError
        If the run has none at all, or no manifest yet.
    """
    root, manifest = Layout(config.out).artifacts, Layout(config.out).manifest
    if not manifest.is_file():
        raise MupdError(f"{manifest}: not there; run the workflow, or `mupd cohort`, first")
    there = {folder.name: folder for folder in sorted(root.iterdir()) if folder.is_dir()} if root.is_dir() else {}
    names = {case: case if case in there else artifact_name(case) for case in cases}
    faults = [Fault("--case", case, f"a case with artifacts in {root}") for case in cases if names[case] not in there]
    if faults:
        raise InputFaults("command line", faults)
    found = [there[name] for name in dict.fromkeys(names.values())] if cases else list(there.values())
    if not found:
        raise MupdError(f"{root}: found no artifacts; nothing to push")
    return found


def _why_not(found: Verification) -> str:
    """Why an artifact must not be sent; empty if it may."""
    if found.kind == "unreadable":
        return f"not readable ({found.problem})"
    if not found.synthetic:
        return "not marked synthetic"
    if found.marks_missing:
        return f"marks are missing ({'; '.join(found.marks_missing)})"
    if found.hash_state != "intact":
        return {"altered": "altered since the run", "unknown": "the manifest does not know it"}[found.hash_state]
    return ""


def _instance(file: Path) -> InstanceFile:
    header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=list(_IDENTIFIERS))
    return InstanceFile(file, *(str(header[tag].value) for tag in _IDENTIFIERS))


def _by_artifact(config: Config, folders: Sequence[Path]) -> dict[Path, list[Path]]:
    """{artifact that the manifest lists, or the file itself: its DICOM files}."""
    known = known_hashes(Layout(config.out).manifest)
    found: dict[Path, list[Path]] = {}
    for folder in folders:
        for file in sorted(folder.rglob("*.dcm")):
            if file.is_file() and not any(part.startswith(".") for part in file.relative_to(folder).parts):
                found.setdefault(artifact_of(file, known) or file, []).append(file)
    return found


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

    A file that `mupd verify` does not find synthetic, with all its marks, and as the manifest has it, is
    not sent. One that the server already has is not sent again.

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
