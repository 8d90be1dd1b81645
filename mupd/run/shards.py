"""What the job of a shard depends on: its own rows and files, so that other changes do not rerun it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from mupd.base.ids import Modality
from mupd.config import Config
from mupd.errors import Fault, InputFaults
from mupd.run.table_rows import TableRows, table_rows_of
from mupd.sheet import Sheet, SheetCase


def inputs_of(cases: Sequence[SheetCase], config: Config, known: TableRows | None = None) -> list[str]:
    """Files that the rows of some cases name, then the cohort tables.

    Tables with a digest for every row (`known`) are not among them: the job depends on
    :meth:`mupd.run.table_rows.TableRows.digest` instead.
    """
    rows = known or TableRows()
    files: dict[str, None] = {}
    for case in cases:
        own = [case.he, *case.further_he]
        own += [path for path, row in ((case.rna, case.rna_row), (case.text, case.text_row)) if not row]
        files |= {str(path): None for path in own if path is not None}
        files |= {
            path: None
            for modality, path, _ in table_rows_of(case, config)
            if not rows.knows(modality, path) and path not in (config.tables.rna, config.tables.text)
        }
    tables: list[tuple[Modality, str | None]] = [("rna", config.tables.rna), ("text", config.tables.text)]
    return sorted(files) + [path for modality, path in tables if path is not None and not rows.knows(modality, path)]


def suite_files(config: Config, *tables: str) -> list[str]:
    """Files of the expectation suites of some tables (of all if none is named): shipped ones first, then the user's."""
    from mupd.config.suite_columns import TABLES
    from mupd.config.suites import shipped_folder

    wanted = [table for table in TABLES if not tables or table in tables]
    shipped = [str(shipped_folder() / f"{table}.json") for table in wanted]
    return shipped + [path for table in wanted for path in getattr(config.expectations.suites, table)]


def refuse_braces(sheet: Sheet, config: Config) -> None:
    """Refuse paths with braces: Snakemake takes ``{...}`` in a path for a wildcard.

    Raises
    ------
    InputFaults
        With every such path.
    """
    named = [(f"configuration [{key}]", getattr(config, key)) for key in ("outdir", "model")]
    named += [(f"configuration [stains.{index}.model]", stain.model) for index, stain in enumerate(config.stains)]
    named += [(f"configuration [tables.{key}]", getattr(config.tables, key)) for key in ("rna", "text")]
    for table, paths in vars(config.expectations.suites).items():
        named += [(f"configuration [expectations.suites.{table}]", path) for path in paths]
    for case in sheet.cases:
        where = f"{sheet.path.name}:{case.line}"
        named += [(f"{where} [{key}]", str(getattr(case, key) or "")) for key in ("he", "rna", "text")]
        named += [(f"{where} [he]", str(path)) for path in case.further_he]
    faults = [
        Fault(where, repr(path), "a path without braces: the workflow reads them as wildcards")
        for where, path in named
        if path and ("{" in path or "}" in path)
    ]
    if faults:
        raise InputFaults(f"sample sheet {config.cases}", faults)


def model_files(config: Config) -> list[str]:
    """Index, record vocabulary and weights of the model: a newly trained part reruns what it makes.

    Raises
    ------
    InputFaults
        If there is no model.
    """
    folder = Path(config.model)
    index = folder / "model_index.json"
    if not index.is_file():
        fault = Fault("configuration [model]", f"{config.model!r} without a model_index.json", "a model's folder")
        raise InputFaults("configuration", [fault])
    record = folder / "record.json"
    fixed = [str(path) for path in (index, record) if path.is_file()]
    return [*fixed, *sorted(str(path) for path in folder.glob("*/*.safetensors"))]


def stainer_files(config: Config) -> list[str]:
    """Index, configurations and weights of the configured stainers."""
    folders = dict.fromkeys(Path(stain.model) for stain in config.stains)
    kinds = ("model_index.json", "*/config.json", "*/*.safetensors")
    return [str(path) for folder in folders for kind in kinds for path in sorted(folder.glob(kind))]


def rows_digest(cases: Sequence[SheetCase]) -> str:
    """Short SHA-256 of the rows of some cases; line numbers do not count."""
    digest = hashlib.sha256()
    for case in cases:
        values = sorted((name, str(value)) for name, value in vars(case).items() if name != "line")
        digest.update(repr(values).encode())
    return digest.hexdigest()[:16]
