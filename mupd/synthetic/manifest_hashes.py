"""What the manifest says about an artifact's hash: intact, altered or not known."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Literal

from mupd.errors import UnusableError
from mupd.files import sha256_path

HashState = Literal["intact", "altered", "unknown"]
MANIFEST = "manifest.tsv"


def find_manifest(path: Path) -> Path | None:
    """The nearest manifest.tsv in the folders above `path`."""
    return next((folder / MANIFEST for folder in path.resolve().parents if (folder / MANIFEST).is_file()), None)


def known_hashes(manifest: Path) -> dict[Path, str]:
    """{artifact: sha256} of a run.

    Read from the manifest (columns ``artifact`` and ``sha256``, ``further_artifacts`` and ``further_sha256``;
    several of a row are separated by ``;``) and from the ``exported/*.json`` beside it.

    Raises
    ------
    UnusableError
        If the manifest lacks a column.
    """
    root = manifest.resolve().parent
    known: dict[Path, str] = {}
    for index in sorted((root / "exported").glob("*.json")):
        for artifact in json.loads(index.read_text(encoding="utf-8"))["artifacts"]:
            known[(root / artifact["path"]).resolve()] = artifact["sha256"]
    with manifest.open(encoding="utf-8", newline="") as stream:
        rows = csv.DictReader(stream, delimiter="\t")
        missing = {"artifact", "sha256"} - set(rows.fieldnames or ())
        if missing:
            raise UnusableError(f"{manifest.name}: found no column {sorted(missing)}; expected artifact and sha256")
        for row in rows:
            for paths_of, digests_of in (("artifact", "sha256"), ("further_artifacts", "further_sha256")):
                paths = [part.strip() for part in (row.get(paths_of) or "").split(";") if part.strip()]
                digests = [part.strip() for part in (row.get(digests_of) or "").split(";") if part.strip()]
                if len(paths) == len(digests):
                    known |= {(root / path).resolve(): digest for path, digest in zip(paths, digests, strict=True)}
    return known


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
