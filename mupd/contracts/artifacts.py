"""Artifacts: their index ``exported/SHARD.json``, and the key by which a rerun recognises a finished one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from mupd.base.files import sha256_path, write_json
from mupd.base.ids import Target
from mupd.contracts.draws import Draw, DrawMeta, content_sha256
from mupd.errors import CaseError, MupdError

Kind = Literal["dicom-wsi", "dicom-map", "anndata", "report", "dicom-sr", "ome-tiff"]

FORM = 1
"""Version of the artifacts' form. Raise it when the form changes: older artifacts are then written again."""


@dataclass(frozen=True)
class Artifact:
    """A file or folder under ``artifacts/``; `path` is relative to the output folder."""

    case_id: str
    modality: Target
    path: str
    kind: Kind
    draws: tuple[int, ...]
    sha256: str
    content_sha256: dict[str, str]
    given: tuple[str, ...]
    model_id: str
    model_sha256: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ExportFailure:
    """An accepted modality of a case that could not be written, and why."""

    case_id: str
    modality: Target
    reason: str


def write_artifacts(path: Path, artifacts: Sequence[Artifact], failed: Sequence[ExportFailure]) -> None:
    """Write a shard's index as JSON, atomically."""
    entries = {"artifacts": [asdict(artifact) for artifact in artifacts], "failed": [asdict(item) for item in failed]}
    write_json(path, entries)


def read_artifacts(path: Path) -> tuple[list[Artifact], list[ExportFailure]]:
    """Read what :func:`write_artifacts` wrote.

    Raises
    ------
    MupdError
        If the file holds anything else, e.g. an unknown key.
    """
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        artifacts = [
            Artifact(**(entry | {name: tuple(entry[name]) for name in ("draws", "given", "notes")}))
            for entry in index["artifacts"]
        ]
        return artifacts, [ExportFailure(**entry) for entry in index["failed"]]
    except (ValueError, TypeError, KeyError) as error:
        raise MupdError(
            f"{path}: found {type(error).__name__}: {error}; expected an index of artifacts: run `mupd export` on this "
            "shard again"
        ) from error


def describe(out: Path, path: Path, kind: Kind, metas: Sequence[DrawMeta]) -> Artifact:
    """The entry of a written artifact, with the hash of the file or folder."""
    first = metas[0]
    return Artifact(
        case_id=first.case_id,
        modality=first.target,
        path=path.relative_to(out).as_posix(),
        kind=kind,
        draws=tuple(meta.draw for meta in metas),
        sha256=sha256_path(path),
        content_sha256={str(meta.draw): meta.content_sha256 for meta in metas},
        given=first.given,
        model_id=first.model_id,
        model_sha256=first.model_sha256,
        notes=tuple(dict.fromkeys(note for meta in metas for note in meta.notes)),
    )


def artifact_key(metas: Sequence[DrawMeta], **settings: Any) -> str:
    """SHA-256 of everything that an artifact's content depends on.

    The artifact contains its key, so that a rerun does not write it a second time. Times of draws are left out.
    """
    draws = [
        {name: value for name, value in asdict(meta).items() if name not in ("created", "seconds")} for meta in metas
    ]
    identity = {"form": FORM, "draws": draws, "settings": settings}
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Accepted:
    """The accepted draws of one task, in ascending order."""

    case_id: str
    modality: Target
    draws: tuple[Draw, ...]
    study_created: str
    """When the task's first draw was made, accepted or not (ISO 8601)."""

    @property
    def metas(self) -> tuple[DrawMeta, ...]:
        """Their metas."""
        return tuple(draw.meta for draw in self.draws)


def checked_folder(out: Path, draw: Draw) -> Path:
    """Folder of a draw, after a check that its values have not changed since generation.

    Raises
    ------
    CaseError
        If they have changed.
    OSError, ValueError
        If they cannot be read.
    """
    folder = out / draw.folder
    if content_sha256(folder, draw.meta.target) != draw.meta.content_sha256:
        raise CaseError(f"draw {draw.meta.draw}: found values altered since they were checked; expected the same hash")
    return folder
