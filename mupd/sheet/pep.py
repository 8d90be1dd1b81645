"""Rows of a sample sheet given as a PEP project (portable encapsulated project): its configuration in YAML.

peppy merges subsample tables and applies the sample modifiers; ``sample_name`` is the ``case_id`` here. peppy would
fetch configurations and tables from URLs: they are refused before it sees them, and its client of PEPhub is not used.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from mupd.errors import Fault
from mupd.sheet.paths import Places, Wanted
from mupd.sheet.rows import MAX_BYTES, RawRow

_MAX_IMPORTS = 16
_TABLE = Wanted(several=False, folder=False, what="file")
_FILES = ("sample_table", "subsample_table")


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _strings(part)
    elif isinstance(value, list):
        for part in value:
            yield from _strings(part)


def _listed(value: Any) -> list[str]:
    return [item for item in (value if isinstance(value, list) else [value]) if isinstance(item, str)]


def _load(path: Path) -> tuple[dict[str, Any], list[Fault]]:
    if path.stat().st_size > 1 << 20:
        return {}, [Fault(path.name, "more than a megabyte", "the configuration of a PEP project")]
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        words = (str(error).splitlines() or [type(error).__name__])[0]
        return {}, [Fault(path.name, words, "YAML")]
    if not isinstance(loaded, dict):
        return {}, [Fault(path.name, type(loaded).__name__, "a mapping with `sample_table`")]
    return loaded, []


def _unsafe(path: Path, roots: Sequence[str], seen: set[Path]) -> list[Fault]:
    """Faults of a configuration and of those that it imports: URLs, and files outside the roots."""
    if path.resolve() in seen or len(seen) >= _MAX_IMPORTS:
        return [Fault(path.name, "imports in a circle, or too many", f"at most {_MAX_IMPORTS} imported configurations")]
    seen.add(path.resolve())
    config, faults = _load(path)
    if faults:
        return faults
    for text in _strings(config):
        if "://" in os.path.expandvars(text):
            faults.append(Fault(path.name, f"{text!r}, a URL", "paths on this machine: nothing is fetched"))
    modifiers = config.get("project_modifiers")
    imports = _listed(modifiers.get("import")) if isinstance(modifiers, dict) else []
    named = [(key, name) for key in _FILES for name in _listed(config.get(key))]
    places = Places(path.parent, roots)
    for key, name in [*named, *(("project_modifiers.import", name) for name in imports)]:
        found, problem = places.find(os.path.expandvars(name), _TABLE)
        if problem:
            faults.append(Fault(f"{path.name} [{key}]", *problem))
        elif found[0].stat().st_size > MAX_BYTES:
            faults.append(Fault(f"{path.name} [{key}]", f"{found[0].stat().st_size:,} bytes", f"at most {MAX_BYTES:,}"))
        elif name in imports:
            faults += _unsafe(found[0], roots, seen)
    return faults


def _cell(value: Any) -> str:
    """Several values of an attribute (of subsamples, or of a derived wildcard) become `;`; equal ones are one."""
    values: Iterable[Any] = value if isinstance(value, list | tuple) else [value]
    texts = ["" if each is None or each != each else str(each).strip(" ") for each in values]
    return ";".join(dict.fromkeys(text for text in texts if text))


def read_pep(path: Path, roots: Sequence[str]) -> tuple[list[RawRow], list[Fault]]:
    """Header and a row for each sample, and what is wrong with the project as a whole."""
    if faults := _unsafe(path, roots, set()):
        return [], faults
    import logging

    import peppy
    from pandas.errors import EmptyDataError, ParserError
    from peppy.exceptions import PeppyError

    logging.getLogger("peppy").setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            project = peppy.Project(str(path))
            index = str(project.sample_table_index)
            samples = [
                {key: _cell(value) for key, value in sample.to_dict().items() if not key.startswith("_")}
                for sample in project.samples
            ]
    except (
        *(PeppyError, AssertionError, AttributeError, IndexError, KeyError, TypeError, ValueError),
        *(EmptyDataError, ParserError, UnicodeDecodeError),
    ) as error:
        words = (str(error).splitlines() or [type(error).__name__])[0][:200]
        return [], [Fault(path.name, f"no readable PEP project ({words})", "a configuration with `sample_table`")]
    if not samples:
        return [], [Fault(path.name, "no samples", "a `sample_table` with a row for each case")]
    # subsample_name only numbers what was merged; a sheet may give case_id beside sample_name.
    names = list(dict.fromkeys(key for sample in samples for key in sample if key != "subsample_name"))
    if "case_id" in names and index != "case_id":
        names.remove(index) if index in names else None
        index = "case_id"
    header = ["case_id" if name == index else name for name in names]
    rows = [
        RawRow(f"{path.name}:sample {number}", number, [sample.get(name, "") for name in names])
        for number, sample in enumerate(samples, start=1)
    ]
    return [RawRow(f"{path.name}:attributes", 0, header), *rows], []
