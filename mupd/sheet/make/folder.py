"""Cases from a folder whose file names contain the case id, by patterns such as ``slides/{case}.svs``."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from mupd.base.ids import MODALITIES, Modality
from mupd.errors import Fault, InputFaults
from mupd.sheet.make.write import Left, Made, NewCase
from mupd.sheet.paths import MAX_SLIDES

_TOKENS = re.compile(r"(\{case\}|\*|\?)")  # slides/{case}_*.svs


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


def _pattern_fault(option: str, pattern: str) -> Fault | None:
    braces = re.sub(r"\{case\}", "", pattern)
    if "{case}" not in pattern or "{" in braces or "}" in braces:
        return Fault(option, repr(pattern), "a pattern with {case} where the case's id stands, e.g. slides/{case}.svs")
    if pattern.startswith(("/", "~")) or ".." in pattern.split("/") or "**" in pattern or "://" in pattern:
        return Fault(option, repr(pattern), "a path below the folder, without '..' and '**'")
    return None


def _matches(folder: Path, pattern: str) -> dict[str, list[Path]]:
    """{case id: sorted files}; names that begin with a dot match only a pattern that does so too."""
    paths = [""]
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
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
                os.path.join(parent, name) for name in names if part[0] == "." or name[0] != "." if matches(name)
            ]
        paths = deeper
    whole = expression_of("/".join(parts)).fullmatch
    cases: dict[str, list[Path]] = {}
    for name in sorted(paths):
        match = whole(name)
        if match and (folder / name).exists():
            cases.setdefault(match["case"], []).append(folder / name)
    return cases


def cases_from_folder(folder: Path, patterns: Mapping[Modality, str], he_mpp: float | None = None) -> Made:
    """A case for each id that a pattern matches; all slides of a case are taken.

    If a link leads out of `folder`, the sheet names its target.

    Raises
    ------
    InputFaults
        If the folder does not exist, no pattern is given, or one has no place for the id.
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
    for modality, pattern in patterns.items():
        matches = _matches(root, pattern)
        if not matches:
            notes.append(f"--{modality} {pattern} matches nothing below {folder}")
        for case_id, paths in matches.items():
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
