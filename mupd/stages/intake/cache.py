"""What intake remembers of a shard's inputs, so that unchanged inputs are not read again.

One JSON file per shard, written by that shard's job alone, so no locks are needed. It holds content hashes by the
digest of a path (with sizes, times and inodes of the files, as Git's index does), and outcomes by request and content
hash. It contains no paths. Reasons and facts are those of the inventory.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from mupd.base.files import atomic_path
from mupd.base.ids import MODALITIES, Modality
from mupd.base.package_files import PACKAGE
from mupd.config import Config
from mupd.contracts.layout import Layout
from mupd.inputs.examine import Outcome, Request
from mupd.sheet.sources import Signature

CHECKER_VERSION: dict[Modality, int] = {"he": 1, "rna": 1, "text": 1}
"""Raise one if readings of that modality change for a reason outside this package's code, such as another release of a
library."""

_FORMAT = 1
SETTLED_NS = 2_000_000_000
"""A file written this short a time before it was hashed may be written again within the same tick of its clock."""

_CHECKERS = ("slides", "rna", "reports", "synthetic", "inputs", "stages/intake")


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]


@cache
def _code_digest() -> str:
    """Digest of the source of all readers and checks: a change to the code needs no new version number."""
    digest = hashlib.sha256()
    for folder in _CHECKERS:
        for path in sorted([*(PACKAGE / folder).rglob("*.py"), *(PACKAGE / folder).rglob("*.txt")]):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def checker_digest(config: Config, genes: Sequence[str]) -> str:
    """Digest of what an outcome depends on besides its request and the bytes: checks, limits, the model's genes.

    Limits of time and memory do not count: an outcome that hit one is not kept.
    """
    limits = {key: value for key, value in asdict(config.intake).items() if key not in ("file_seconds", "file_mb")}
    versions = [CHECKER_VERSION[modality] for modality in MODALITIES]
    return _digest([_code_digest(), versions, limits, list(genes)])


class Cache:
    """Outcomes and content hashes of one shard, in memory and in a file.

    A file that is missing, incomplete or of another checker counts as empty; :meth:`save` then replaces it.
    """

    def __init__(self, path: Path, checker: str) -> None:
        self._path, self._checker = path, checker
        self._hashes: dict[str, Any] = {}
        self._outcomes: dict[str, dict[str, Any]] = {}
        self._new_hashes: dict[str, Any] = {}
        self._new_outcomes: dict[str, dict[str, Any]] = {}
        self._load()

    def _load(self) -> None:
        try:
            held = json.loads(self._path.read_text(encoding="utf-8"))
            if held["format"] != _FORMAT:
                return
            self._hashes = {str(key): [str(value[0]), str(value[1])] for key, value in held["hashes"].items()}
            if held["checker"] == self._checker:
                self._outcomes = {
                    str(key): {str(sha256): Outcome(**outcome).to_dict() for sha256, outcome in value.items()}
                    for key, value in held["outcomes"].items()
                }
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            self._hashes, self._outcomes = {}, {}

    @staticmethod
    def _place(path: Path) -> str:
        return _digest(str(path.absolute()))

    @staticmethod
    def _question(request: Request) -> str:
        # The file's name counts, because readers look at suffixes and it may hold marks. Its folder does not.
        asked = asdict(request) | {"path": Path(request.path).name}
        del asked["known"]
        return _digest(asked)

    def hash_of(self, path: Path, signature: Signature) -> str | None:
        """The content hash of an input whose files have not changed since it was hashed; else None."""
        held = self._hashes.get(self._place(path))
        if held is None or held[0] != signature.digest:
            return None
        self._new_hashes[self._place(path)] = held
        return str(held[1])

    def keep_hash(self, path: Path, before: Signature, after: Signature, sha256: str) -> None:
        """Remember a content hash, if a later change of the input would show in its signature."""
        if sha256 and before == after and after.newest_ns < time.time_ns() - SETTLED_NS:
            self._new_hashes[self._place(path)] = [after.digest, sha256]

    def known(self, request: Request) -> tuple[str, ...]:
        """Content hashes for which this request has an outcome."""
        return tuple(self._outcomes.get(self._question(request), {}))

    def outcome(self, request: Request, sha256: str) -> Outcome | None:
        """The outcome of a request on these bytes; None if it is not known."""
        question = self._question(request)
        held = self._outcomes.get(question, {}).get(sha256)
        if held is None:
            return None
        self._new_outcomes.setdefault(question, {})[sha256] = held
        return Outcome(**held)

    def keep(self, request: Request, sha256: str, outcome: Outcome) -> None:
        """Remember an outcome, if the same bytes will give it again."""
        if outcome.lasting and sha256:
            self._new_outcomes.setdefault(self._question(request), {})[sha256] = outcome.to_dict()

    def save(self) -> None:
        """Write what was used or added since it was opened; everything else is dropped."""
        held = {
            "format": _FORMAT,
            "checker": self._checker,
            "hashes": self._new_hashes,
            "outcomes": self._new_outcomes,
        }
        with atomic_path(self._path) as temporary:
            temporary.write_text(json.dumps(held, sort_keys=True, ensure_ascii=False), encoding="utf-8")


def cache_path(config: Config, shard: int) -> Path:
    """Where a shard's cache stands: beside its inventory."""
    return Layout(config.out).intake_cache / f"{shard:04d}-of-{config.shards:04d}.json"
