"""The files that a cell of the sample sheet names. They must lie under the roots that the user allows.

The person who runs a sheet has often not written it, and a folder of slides is often full of links. A person can read
and judge what a cell *says*, but not where a link, a ``..`` or a wildcard leads. Therefore, with links resolved:

- A relative path must end in the sheet's folder, the working folder or a folder of ``roots``.
- An absolute path (or ``~``) without ``..`` says where it leads. It may also end in the folder that it names, unless
  ``roots`` names any folder.
"""

from __future__ import annotations

import fnmatch
import os
import re
import stat
import unicodedata
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MAX_SLIDES = 64
"""Most slides of one case. A wildcard that matches more is too general."""

_MAX_WALKED = 20_000
_WILD = re.compile(r"[*?\[]")  # slides/A-*.svs
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://|file:", re.ASCII)  # https://host/a.svs
_RELATIVE = " (relative paths start at the sheet's folder)"


@dataclass(frozen=True)
class Wanted:
    """What a column takes: one file or `several`, whether a folder is allowed, and `what` it is in words."""

    several: bool
    folder: bool
    what: str


Problem = tuple[str, str]
"""What was found and what was expected."""


class Places:
    """Finds the files that cells name. Listings and resolved folders are kept, so that 10,000 rows take little time.

    Parameters
    ----------
    folder
        Folder of the sheet: relative paths start there.
    roots
        ``roots`` of the configuration.
    """

    def __init__(self, folder: Path, roots: Sequence[str] = ()) -> None:
        self.folder = str(folder)
        self.strict = bool(roots)
        allowed = (self.folder, os.getcwd(), *(os.path.expanduser(root) for root in roots))
        self.roots = tuple(dict.fromkeys(os.path.realpath(root) for root in allowed))
        self._real: dict[str, str] = {}
        self._inside: dict[str, bool] = {}
        self._names: dict[str, tuple[list[str], list[str]]] = {}

    def find(self, cell: str, wanted: Wanted, check: bool = True) -> tuple[tuple[Path, ...], Problem | None]:
        """The files that a cell names, and what is wrong with them.

        A name that exists and contains ``;`` or a wildcard is taken literally. Without `check`, files are not looked
        for, but wildcards are still expanded.
        """
        if _URL.match(cell):
            return (), (f"{cell!r}, a URL", "a path on this machine: download the file first, nothing is fetched")
        special = ";" in cell or _WILD.search(cell)
        if not special or os.path.lexists(self._absolute(cell)):
            return self._one(cell, wanted, check)
        parts = [part.strip() for part in cell.split(";")]
        if len(parts) > 1 and not wanted.several:
            return (), (
                f"{cell!r}, {len(parts)} paths",
                f"one {wanted.what}: only `he` takes several, separated by ';'",
            )
        if "" in parts:
            return (), (f"{cell!r}, with an empty part", "a path on each side of every ';'")
        paths: list[Path] = []
        for part in parts:
            matches, problem = self._part(part, wanted, check)
            if problem:
                return (), problem
            paths += matches
        if len(paths) > MAX_SLIDES:
            return (), (f"{cell!r}, {len(paths)} files", f"at most {MAX_SLIDES} slides of a case")
        unique = tuple(dict.fromkeys(paths))
        if len(unique) < len(paths):
            return unique, (f"{cell!r}, which names a file twice", "each slide once")
        return unique, None

    def _part(self, part: str, wanted: Wanted, check: bool) -> tuple[tuple[Path, ...], Problem | None]:
        if _URL.match(part) or not _WILD.search(part) or os.path.lexists(self._absolute(part)):
            if _URL.match(part):
                return (), (f"{part!r}, a URL", "a path on this machine: download the file first")
            return self._one(part, wanted, check)
        if "**" in part:
            return (), (f"{part!r}", "wildcards of one folder each: '**' is not expanded")
        start, matches = self._expand(self._absolute(part))
        if not matches:
            return (), (f"{part!r}, which matches nothing", "a wildcard that matches a file" + _RELATIVE)
        if len(matches) > 1 and not wanted.several:
            names = ", ".join(os.path.basename(match) for match in matches[:5])
            more = ", ..." if len(matches) > 5 else ""
            return (), (f"{part!r}, which matches {len(matches)}: {names}{more}", f"one {wanted.what}")
        allowed = start if self._names_folder(part) else None
        if check:
            for match in matches[: MAX_SLIDES + 1]:
                if problem := self._problem(match, match, wanted, allowed):
                    return (), problem
        return tuple(Path(match) for match in matches), None

    def _one(self, cell: str, wanted: Wanted, check: bool) -> tuple[tuple[Path, ...], Problem | None]:
        path = self._absolute(cell)
        allowed = os.path.dirname(path) if self._names_folder(cell) else None
        problem = self._problem(path, cell, wanted, allowed) if check else None
        return (Path(path),), problem

    def _absolute(self, cell: str) -> str:
        path = os.path.join(self.folder, os.path.expanduser(cell) if cell.startswith("~") else cell)
        return path if path.isascii() or os.path.lexists(path) else _as_stored(path)

    def _names_folder(self, cell: str) -> bool:
        """Whether the cell itself says which folder is meant: absolute and without ``..``."""
        return not self.strict and cell.startswith(("/", "~")) and ".." not in cell.split("/")

    def _problem(self, path: str, cell: str, wanted: Wanted, allowed: str | None) -> Problem | None:
        """What is wrong with a path; `allowed` is a folder that counts as a root for it."""
        try:
            status = os.lstat(path)
            is_link = stat.S_ISLNK(status.st_mode)
            if is_link:
                status = os.stat(path)
        except FileNotFoundError:
            return f"{cell!r}, which is not there", f"an existing {wanted.what}{_RELATIVE}"
        except OSError as error:
            return f"{cell!r}: {error.strerror or type(error).__name__}", f"an existing {wanted.what}"
        is_folder = stat.S_ISDIR(status.st_mode)
        if not (stat.S_ISREG(status.st_mode) or is_folder):
            return f"{cell!r}, a device, pipe or socket", f"an existing {wanted.what}"
        if is_folder and not wanted.folder:
            return f"{cell!r}, a folder", f"an existing {wanted.what}{_RELATIVE}"
        parent, name = os.path.split(path)
        if is_link or name in ("", ".", ".."):
            real = os.path.realpath(path)
            outside = not self._is_inside(real, allowed)
        else:
            real = os.path.join(self._real_of(parent), name)
            outside = not self._is_inside(self._real_of(parent), allowed) and real not in self.roots
        if outside:
            return self._escape(cell, real)
        return self._links_out(path, real, cell, allowed) if is_folder else None

    def _links_out(self, path: str, real: str, cell: str, allowed: str | None) -> Problem | None:
        """A problem if a link inside a folder leads out of the roots."""
        walked = 0
        for parent, folders, files in os.walk(path):
            for name in (*folders, *files):
                inner = os.path.join(parent, name)
                if os.path.islink(inner) and not self._is_inside(target := os.path.realpath(inner), allowed):
                    if target.startswith(real + os.sep):
                        continue
                    return self._escape(f"{cell}/{os.path.relpath(inner, path)}", target)
            walked += len(folders) + len(files)
            if walked > _MAX_WALKED:
                return f"{cell!r}, a folder of more than {_MAX_WALKED:,} files", "the folder of one case"
        return None

    def _escape(self, cell: str, real: str) -> Problem:
        outside = "outside the sheet's folder, the working folder and `roots`"
        return (
            f"{cell!r}, which leads to {real}, {outside}",
            f"add {os.path.dirname(real)!r} to `roots`, if you trust it",
        )

    def _real_of(self, folder: str) -> str:
        if folder not in self._real:
            self._real[folder] = os.path.realpath(folder)
        return self._real[folder]

    def _is_inside(self, real: str, allowed: str | None) -> bool:
        if real not in self._inside:
            self._inside[real] = any(_lies_in(real, root) for root in self.roots)
        return self._inside[real] or (allowed is not None and _lies_in(real, self._real_of(allowed)))

    def _expand(self, pattern: str) -> tuple[str, list[str]]:
        """The folder before the first wildcard, and the sorted paths that match."""
        parts = pattern.split("/")
        first = next(index for index, part in enumerate(parts) if _WILD.search(part))
        start = "/".join(parts[:first]) or ("/" if pattern.startswith("/") else ".")
        paths = [start]
        for part in parts[first:]:
            paths = [
                os.path.join(folder, name)
                for folder in paths
                for name in (self._matching(folder, part) if _WILD.search(part) else [part])
            ]
        return start, sorted(path for path in paths if os.path.lexists(path))

    def _matching(self, folder: str, pattern: str) -> list[str]:
        """Names in a folder that match; looked up by the start or end of the pattern, because most rows match few."""
        if folder not in self._names:
            try:
                names = os.listdir(folder)
            except OSError:
                names = []
            self._names[folder] = sorted(names), sorted(name[::-1] for name in names)
        forwards, backwards = self._names[folder]
        head, tail = _WILD.split(pattern, maxsplit=1)[0], re.split(r"[*?\]]", pattern)[-1]
        if head:
            names = _beginning_with(forwards, head)
        else:
            names = [name[::-1] for name in _beginning_with(backwards, tail[::-1])]
        matches = re.compile(fnmatch.translate(pattern)).match
        hidden = pattern.startswith(".")
        return [name for name in names if matches(name) and (hidden or not name.startswith("."))]


def _as_stored(path: str) -> str:
    """The path as its folders store it: macOS and some archives store é as e and an accent, and sheets have one sign.

    A path that is there in neither form stays as it is.
    """
    stored = "/" if path.startswith("/") else ""
    for part in filter(None, path.split("/")):
        forms = [part, *(unicodedata.normalize(form, part) for form in ("NFC", "NFD"))]
        here = next((form for form in forms if os.path.lexists(os.path.join(stored, form))), None)
        if here is None:
            return path
        stored = os.path.join(stored, here)
    return stored


def _lies_in(real: str, root: str) -> bool:
    return real == root or real.startswith(root.rstrip(os.sep) + os.sep)


def _beginning_with(names: list[str], head: str) -> list[str]:
    start = bisect_left(names, head)
    end = start
    while end < len(names) and names[end].startswith(head):
        end += 1
    return names[start:end]
