"""Text draws to one consensus report a case, as JSON and as plain text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mupd.config import Config
from mupd.contracts.artifacts import Accepted, Artifact, artifact_key, checked_folder, describe
from mupd.errors import CaseError

JSON_FILE = "report.synthetic.json"
TEXT_FILE = "report.synthetic.txt"


def _is_current(json_path: Path, text_path: Path, key: str) -> bool:
    """Whether both forms of the report of this key stand there, unaltered."""
    from mupd.synthetic.text.marks import render_report, report_intact

    if not (json_path.is_file() and text_path.is_file()):
        return False
    try:
        report = json.loads(json_path.read_text(encoding="utf-8"))
        text = text_path.read_text(encoding="utf-8")
    except (json.JSONDecodeError, UnicodeDecodeError):
        return False
    if not isinstance(report, dict) or not report_intact(report):
        return False
    return report["mupd"]["artifact_key"] == key and render_report(report) == text


def export_text(accepted: Accepted, config: Config, case_folder: Path) -> list[Artifact]:
    """Write the report of a case: mean probabilities over the draws, their own values beside them.

    Raises
    ------
    CaseError
        If a draw's record is not one, or was altered since it was checked.
    """
    from mupd.synthetic.text.marks import build_report, write_report

    abstain_below = config.check.abstain_below
    key = artifact_key(accepted.metas, abstain_below=abstain_below)
    json_path, text_path = case_folder / JSON_FILE, case_folder / TEXT_FILE
    if not _is_current(json_path, text_path, key):
        records: dict[int, Any] = {}
        for draw in accepted.draws:
            path = checked_folder(config.out, draw) / "record.json"
            records[draw.meta.draw] = json.loads(path.read_text(encoding="utf-8"))
        try:
            report = build_report(records, accepted.metas, artifact_key=key, abstain_below=abstain_below)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CaseError(f"record.json: found no record ({error}); expected {{field: value, ...}}") from error
        write_report(report, json_path, text_path)
    return [describe(config.out, path, "report", accepted.metas) for path in (json_path, text_path)]
