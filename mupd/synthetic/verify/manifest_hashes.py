"""What the manifest says about an artifact's hash: intact, altered or not known."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from mupd.base.files import sha256_path
from mupd.contracts.manifest import MANIFEST, artifact_hashes, read_manifest

HashState = Literal["intact", "altered", "unknown"]


def find_manifest(path: Path) -> Path | None:
    """The nearest manifest.tsv in the folders above `path`."""
    return next((folder / MANIFEST for folder in path.resolve().parents if (folder / MANIFEST).is_file()), None)


def known_hashes(manifest: Path) -> dict[Path, str]:
    """{artifact: sha256} of all artifacts that a run's manifest lists.

    Raises
    ------
    UnusableError
        If the manifest lacks a column.
    """
    root = manifest.resolve().parent
    return {
        (root / path).resolve(): digest
        for row in read_manifest(manifest)
        for path, digest in artifact_hashes(row).items()
    }


def artifact_of(path: Path, known: dict[Path, str]) -> Path | None:
    """The listed artifact that `path` is, or lies in (a file of a slide's folder)."""
    resolved = path.resolve()
    return next((candidate for candidate in (resolved, *resolved.parents) if candidate in known), None)


def hash_state(path: Path, known: dict[Path, str]) -> HashState:
    """Whether the artifact at `path` still has the hash that the run recorded.

    A file that is not where the run put it is intact if any artifact has its hash, else unknown.
    """
    artifact = artifact_of(path, known)
    if artifact is not None:
        return "intact" if sha256_path(artifact) == known[artifact] else "altered"
    return "intact" if sha256_path(path) in known.values() else "unknown"
