"""What intake remembers of a shard's inputs, so that what did not change is not read again.

One JSON file a shard, which only that shard's job writes: no locks, nothing that two jobs could spoil. It holds
content hashes by the digest of a path (with sizes, times and inodes of its files, as Git's index does), and outcomes
by what was asked and the content hash. It names no path; reasons and facts are those of the inventory.
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
from mupd.inputs.examine import Outcome, Request
from mupd.sheet.sources import Signature

CHECKER_VERSION: dict[Modality, int] = {"he": 1, "rna": 1, "text": 1}
"""Raise one if a reader or check of that modality changes its answer by something that is not in this package's code,
such as another release of a library."""

_FORMAT = 1
_SETTLED_NS = 2_000_000_000
"""A file written to so shortly before it was hashed may be written to again within the same tick of its clock."""

_CHECKERS = ("slides", "rna", "reports", "synthetic", "inputs", "stages/intake")


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]


@cache
def _code_digest() -> str:
    """Of the source of all readers and checks: who changes one need not think of a version."""
    digest = hashlib.sha256()
    for folder in _CHECKERS:
        for path in sorted([*(PACKAGE / folder).rglob("*.py"), *(PACKAGE / folder).rglob("*.txt")]):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def checker_digest(config: Config, genes: Sequence[str]) -> str:
    """What an outcome depends on besides its request and the bytes: checks, limits, the model's genes.

    Limits of time and memory are left out: an outcome that hit one is not kept.
    """
    limits = {key: value for key, value in asdict(config.intake).items() if key not in ("file_seconds", "file_mb")}
    versions = [CHECKER_VERSION[modality] for modality in MODALITIES]
    return _digest([_code_digest(), versions, limits, list(genes)])


class Cache:
    """Outcomes and content hashes of one shard; in memory, and in `path` where there is one.

    A file that is not there, not whole, or of another checker counts as empty; :meth:`save` then replaces it.
    """

    def __init__(self, path: Path | None, checker: str) -> None:
        self._path, self._checker = path, checker
        self._hashes: dict[str, Any] = {}
        self._outcomes: dict[str, dict[str, Any]] = {}
        self._new_hashes: dict[str, Any] = {}
        self._new_outcomes: dict[str, dict[str, Any]] = {}
        self._load()

    def _load(self) -> None:
        if self._path is None:
            return
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
        # The name counts: readers go by suffixes, and marks may stand in it. The folder does not.
        asked = asdict(request) | {"path": Path(request.path).name}
        del asked["known"]
        return _digest(asked)

    def hash_of(self, path: Path, signature: Signature) -> str | None:
        """The content hash of an input whose files have not changed since it was hashed."""
        held = self._hashes.get(self._place(path))
        if held is None or held[0] != signature.digest:
            return None
        self._new_hashes[self._place(path)] = held
        return str(held[1])

    def keep_hash(self, path: Path, before: Signature, after: Signature, sha256: str) -> None:
        """Remember a content hash, if the input has been left alone long enough to be told from a later state."""
        if sha256 and before == after and after.newest_ns < time.time_ns() - _SETTLED_NS:
            self._new_hashes[self._place(path)] = [after.digest, sha256]

    def known(self, request: Request) -> tuple[str, ...]:
        """Content hashes for which this question was answered."""
        return tuple(self._outcomes.get(self._question(request), {}))

    def outcome(self, request: Request, sha256: str) -> Outcome | None:
        """The answer to a question about these bytes, if it was given before."""
        question = self._question(request)
        held = self._outcomes.get(question, {}).get(sha256)
        if held is None:
            return None
        self._new_outcomes.setdefault(question, {})[sha256] = held
        return Outcome(**held)

    def keep(self, request: Request, sha256: str, outcome: Outcome) -> None:
        """Remember an answer that the same bytes will give again."""
        if outcome.lasting and sha256:
            self._new_outcomes.setdefault(self._question(request), {})[sha256] = outcome.to_dict()

    def save(self) -> None:
        """Write what was asked for or found since it was opened; what nobody asked for is let go."""
        if self._path is None:
            return
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
    return config.out / "intake" / "cache" / f"{shard:04d}-of-{config.shards:04d}.json"
