"""Cases from a folder whose file names contain the case id, by patterns such as ``slides/{case}.svs``."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mupd.base.ids import MODALITIES, Modality
from mupd.errors import Fault, InputFaults
from mupd.sheet.make.write import Left, Made, NewCase
from mupd.sheet.paths import MAX_SLIDES

_TOKENS = re.compile(r"(\{case\}|\*|\?)")  # slides/{case}_*.svs
_BARE_WILDCARD = re.compile(r"\{case\}[*?]|[*?]\{case\}")  # {case}*.svs
_MOST_NAMED = 3


def expression_of(pattern: str) -> re.Pattern[str]:
    """A pattern as a regular expression.

    ``{case}`` stands for one or more characters of a name, the same at each place; ``*`` and ``?`` as in a shell.
    """
    parts, seen = [], False
    for token in _TOKENS.split(pattern):
        if token == "{case}":
            parts.append("(?P=case)" if seen else "(?P<case>[^/]+?)")
            seen = True
        else:
            parts.append({"*": "[^/]*", "?": "[^/]"}.get(token, re.escape(token)))
    return re.compile("".join(parts))


def ids_of(name: str, pattern: str) -> list[str]:
    """Every id that ``{case}`` can stand for in a name, the shortest first; none if the pattern does not match.

    >>> ids_of("P1_a.svs", "{case}_*.svs"), ids_of("P_1_a.svs", "{case}_*.svs")
    (['P1'], ['P', 'P_1'])
    """
    whole = expression_of(pattern)
    if not whole.fullmatch(name):
        return []
    lengths = (whole.pattern.replace("[^/]+?", f"[^/]{{{length}}}", 1) for length in range(1, len(name) + 1))
    return [match["case"] for length in lengths if (match := re.fullmatch(length, name))]


def _pattern_fault(option: str, pattern: str) -> Fault | None:
    braces = re.sub(r"\{case\}", "", pattern)
    if "{case}" not in pattern or "{" in braces or "}" in braces:
        return Fault(option, repr(pattern), "a pattern with {case} where the case's id stands, e.g. slides/{case}.svs")
    if _BARE_WILDCARD.search(pattern):
        expected = (
            "what separates the id from the rest between {case} and the wildcard, e.g. {case}_*.svs or {case}-*.svs"
        )
        return Fault(option, f"{pattern!r}, in which one letter can be the id", expected)
    if pattern.startswith(("/", "~")) or ".." in pattern.split("/") or "**" in pattern or "://" in pattern:
        return Fault(option, repr(pattern), "a path below the folder, without '..' and '**'")
    return None


def _names_that_match(folder: Path, parts: list[str]) -> list[str]:
    """Paths below a folder that match part by part; those that begin with a dot only where the pattern does so too."""
    paths = [""]
    for part in parts:
        wild = _TOKENS.search(part)
        matches = re.compile(expression_of(part).pattern.replace("(?P=case)", "[^/]+?")).fullmatch
        deeper = []
        for parent in paths:
            if not wild:
                deeper.append(os.path.join(parent, part))
                continue
            try:
                names = os.listdir(folder / parent)
            except (NotADirectoryError, FileNotFoundError):
                continue
            deeper += [
                os.path.join(parent, name)
                for name in names
                if (part[0] == "." or name[0] != ".") and matches(_composed(name))
            ]
        paths = deeper
    return sorted(path for path in paths if (folder / path).exists())


def _composed(name: str) -> str:
    """A name with composed characters (NFC): macOS and some archives store é as e and an accent."""
    return unicodedata.normalize("NFC", name)


@dataclass(frozen=True)
class _Match:
    """A file that matches a pattern, and every id that it may be of."""

    path: Path
    ids: tuple[str, ...]


def _matches(folder: Path, pattern: str) -> list[_Match]:
    parts = [_composed(part) for part in pattern.split("/") if part not in ("", ".")]
    whole = "/".join(parts)
    ids = ((name, ids_of(_composed(name), whole)) for name in _names_that_match(folder, parts))
    return [_Match(folder / name, tuple(of_name)) for name, of_name in ids if of_name]


def _cases_of(matches: Mapping[Modality, list[_Match]]) -> dict[Modality, dict[str, list[Path]]]:
    """The files of each case by modality.

    A name that fits several ids is of the one that another name has alone, by any pattern.

    Raises
    ------
    InputFaults
        If names remain that fit several ids.
    """
    certain = {match.ids[0] for of_modality in matches.values() for match in of_modality if len(match.ids) == 1}
    cases: dict[Modality, dict[str, list[Path]]] = {modality: {} for modality in matches}
    faults = []
    for modality, of_modality in matches.items():
        doubtful = []
        for match in of_modality:
            ids = match.ids if len(match.ids) == 1 else tuple(name for name in match.ids if name in certain)
            if len(ids) == 1:
                cases[modality].setdefault(ids[0], []).append(match.path)
            else:
                doubtful.append(f"{match.path.name!r} ({' or '.join(match.ids[:_MOST_NAMED])})")
        if doubtful:
            more = f" and {len(doubtful) - _MOST_NAMED} more" if len(doubtful) > _MOST_NAMED else ""
            names = ", ".join(doubtful[:_MOST_NAMED])
            expected = "a pattern in which one id alone fits each name: write out more of what follows {case}"
            faults.append(Fault(f"--{modality}", f"names that fit several ids: {names}{more}", expected))
    if faults:
        raise InputFaults("command line", faults)
    return cases


def cases_from_folder(folder: Path, patterns: Mapping[Modality, str], he_mpp: float | None = None) -> Made:
    """A case for each id that a pattern matches; all slides of a case are taken.

    If a link leads out of `folder`, the sheet names its target.

    Raises
    ------
    InputFaults
        If the folder does not exist, no pattern is given, one has no place for the id, or names fit several ids.
    """
    faults = [fault for name, pattern in patterns.items() if (fault := _pattern_fault(f"--{name}", pattern))]
    if not folder.is_dir():
        faults.append(Fault("DIR", str(folder), "an existing folder"))
    if not patterns:
        faults.append(Fault("command line", "no pattern", "at least one of --he, --rna, --text"))
    if faults:
        raise InputFaults("command line", faults)
    root = Path(os.path.abspath(folder))
    real_root, links = root.resolve(), 0
    files: dict[str, dict[Modality, tuple[Path, ...]]] = {}
    left: list[Left] = []
    notes: list[str] = []
    matches = {modality: _matches(root, pattern) for modality, pattern in patterns.items()}
    notes += [f"--{name} {patterns[name]} matches nothing below {folder}" for name in patterns if not matches[name]]
    for modality, by_case in _cases_of(matches).items():
        for case_id, paths in by_case.items():
            most = MAX_SLIDES if modality == "he" else 1
            if len(paths) > most:
                why = f"{len(paths)} files of one case match --{modality}: {most} can be taken"
                left += [Left(case_id, path.name, why) for path in paths]
                continue
            resolved = [path if path.resolve().is_relative_to(real_root) else path.resolve() for path in paths]
            links += sum(a != b for a, b in zip(paths, resolved, strict=True))
            files.setdefault(case_id, {})[modality] = tuple(resolved)
    if links:
        notes.append(f"{links} links lead out of {folder}: the sheet names what they lead to")
    mpp = "" if he_mpp is None else f"{he_mpp:g}"
    cases = tuple(NewCase(case_id, own, he_mpp=mpp if "he" in own else "") for case_id, own in sorted(files.items()))
    rule = "a case for each id that {case} stands for in any pattern; all slides of a case, but one file of RNA or text"
    kept = [name for name in MODALITIES if name in patterns]
    return Made(
        cases, tuple(left), (rule, "patterns: " + ", ".join(f"{name} {patterns[name]}" for name in kept)), tuple(notes)
    )
