"""The report of a case as a DICOM structured report, beside its JSON and plain text."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from mupd.config import Config
from mupd.contracts.artifacts import Accepted, Artifact, artifact_key, describe
from mupd.errors import CaseError
from mupd.stages.export.current import derived_is_current

SR_FILE = "report.synthetic.dcm"


def _in_order(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields in the order of the record, further ones behind them."""
    from mupd.reports.record.fields import FIELDS

    names = [name for name in FIELDS if name in fields]
    return {name: fields[name] for name in (*names, *sorted(set(fields) - set(names)))}


def export_sr(accepted: Accepted, config: Config, case_folder: Path, report: Path) -> Artifact:
    """Write the structured report of a case.

    Parameters
    ----------
    report
        The case's report as JSON, whose fields the structured report holds.

    Raises
    ------
    CaseError
        If the JSON is no report, or the written file lacks a mark.
    """
    from mupd.synthetic.dicom.sr import write_sr

    try:
        fields = _in_order(json.loads(report.read_text(encoding="utf-8"))["fields"])
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise CaseError(f"{report.name}: found no report ({error}); expected the fields of a record") from error
    digest = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
    key = artifact_key(accepted.metas, run_seed=config.seed, study_created=accepted.study_created, fields=digest)
    path = case_folder / SR_FILE
    if not derived_is_current(path, key):
        write_sr(
            fields,
            accepted.metas,
            path,
            run_seed=config.seed,
            artifact_key=key,
            study_created=accepted.study_created,
        )
    return describe(config.out, path, "dicom-sr", accepted.metas)
