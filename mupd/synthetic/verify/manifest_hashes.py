"""What the manifest says about an artifact's hash: intact, altered or not known."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Literal

from mupd.base.files import sha256_path
from mupd.base.spreadsheet import restore
from mupd.errors import UnusableError

HashState = Literal["intact", "altered", "unknown"]
MANIFEST = "manifest.tsv"


def find_manifest(path: Path) -> Path | None:
    """The nearest manifest.tsv in the folders above `path`."""
    return next((folder / MANIFEST for folder in path.resolve().parents if (folder / MANIFEST).is_file()), None)


def known_hashes(manifest: Path) -> dict[Path, str]:
    """{artifact: sha256} of a run.

    Read from the manifest (columns ``artifact`` and ``sha256``, ``further_artifacts`` and ``further_sha256``;
    several of a row are separated by ``;``). A manifest of an earlier version has no column of further
    artifacts: then the ``exported/*.json`` beside it are read too, which list them.

    Raises
    ------
    UnusableError
        If the manifest lacks a column.
    """
    root = manifest.resolve().parent
    known: dict[Path, str] = {}
    with manifest.open(encoding="utf-8", newline="") as stream:
        rows = csv.DictReader(stream, delimiter="\t")
        columns = set(rows.fieldnames or ())
        missing = {"artifact", "sha256"} - columns
        if missing:
            raise UnusableError(f"{manifest.name}: found no column {sorted(missing)}; expected artifact and sha256")
        if "further_artifacts" not in columns:
            known |= _exported_hashes(root)
        for row in rows:
            for names, values in (("artifact", "sha256"), ("further_artifacts", "further_sha256")):
                paths, digests = (
                    [part.strip() for part in restore(row.get(column) or "").split(";") if part.strip()]
                    for column in (names, values)
                )
                if len(paths) == len(digests):
                    known |= {(root / path).resolve(): digest for path, digest in zip(paths, digests, strict=True)}
    return known


def _exported_hashes(root: Path) -> dict[Path, str]:
    return {
        (root / artifact["path"]).resolve(): artifact["sha256"]
        for index in sorted((root / "exported").glob("*.json"))
        for artifact in json.loads(index.read_text(encoding="utf-8"))["artifacts"]
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
