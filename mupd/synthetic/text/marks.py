"""Imputed records as JSON (fields with probabilities) and as plain text under the banner."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mupd.base.files import write_json, write_text
from mupd.contracts.draws import DrawMeta
from mupd.reports.record.fields import nothing_told, undetermined
from mupd.synthetic.statement import BANNER, PREFIX, given_words, plain_statement, synthetic_id

Record = Mapping[str, Mapping[str, Any]]
"""{field: {"value": str or None where it abstains, "probabilities": {value: float}}}"""

BANNER_FIELD = "field SYNTHETIC holds the banner"
FLAG_FIELD = "field synthetic is true"
IDENTIFIER = f"identifier begins with {PREFIX}"
BANNER_LINE = "first line is the banner"
LAST_LINE = "the banner stands at the end too"
JSON_MARKS = (BANNER_FIELD, FLAG_FIELD, IDENTIFIER)
TXT_MARKS = (BANNER_LINE, IDENTIFIER, LAST_LINE)

_DECIMALS = 6
_FIELD_WORDS = {
    "organ": "Organ",
    "diagnosis": "Diagnosis",
    "subtype": "Subtype",
    "grade": "Grade",
    "t_category": "T category",
    "tissue": "Predominant tissue",
}


def consensus(records: Mapping[int, Record], abstain_below: float) -> dict[str, dict[str, Any]]:
    """Mean of the draws' probabilities, the most probable value of each field, and how far draws agree.

    Parameters
    ----------
    records
        {draw: record}; a value that a draw does not list counts as probability 0 there.
    abstain_below
        A field whose largest mean probability is less, or whose values are all equally probable, states no value
        (`value` None, `abstained` True).

    Returns
    -------
    dict
        {field: {"value", "abstained", "most_probable", "probability", "probabilities",
        "draws": {draw: value or None}, "agreement"}}; `probability` is that of `most_probable`, and
        `agreement` the share of draws whose own value it is. A tie goes to the value first in the alphabet.
    """
    fields: dict[str, dict[str, Any]] = {}
    for name in sorted({name for record in records.values() for name in record}):
        sums: dict[str, float] = {}
        for record in records.values():
            for value, probability in record.get(name, {}).get("probabilities", {}).items():
                sums[value] = sums.get(value, 0.0) + float(probability)
        means = {value: round(total / len(records), _DECIMALS) for value, total in sorted(sums.items())}
        if not means:
            raise ValueError(f"record [{name}]: found no probabilities; expected {{value: probability}}")
        best = min(means, key=lambda value: (-means[value], value))
        own = {str(draw): record[name]["value"] for draw, record in sorted(records.items()) if name in record}
        abstained = undetermined(means, abstain_below)
        agreeing = sum(value == best for value in own.values())
        fields[name] = {
            "value": None if abstained else best,
            "abstained": abstained,
            "most_probable": best,
            "probability": means[best],
            "probabilities": means,
            "draws": own,
            "agreement": round(agreeing / len(records), _DECIMALS),
        }
    return fields


def _digest(report: Mapping[str, Any]) -> str:
    values = {name: value for name, value in report.items() if name != "report_sha256"}
    return hashlib.sha256(json.dumps(values, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def build_report(
    records: Mapping[int, Record], metas: Sequence[DrawMeta], *, artifact_key: str, abstain_below: float
) -> dict[str, Any]:
    """The marked report of a case's accepted text draws, as plain JSON values; see :func:`consensus`."""
    if not metas or sorted(records) != [meta.draw for meta in metas]:
        raise ValueError(f"records: found draws {sorted(records)}; expected {[meta.draw for meta in metas]}")
    first = metas[0]
    report: dict[str, Any] = {
        # Upper case sorts before the other keys: the banner stands in the first bytes of the file.
        "SYNTHETIC": plain_statement(first),
        "synthetic": True,
        "id": synthetic_id(first.case_id),
        "case_id": first.case_id,
        "fields": consensus(records, abstain_below),
        "mupd": {
            "target": first.target,
            "given": list(first.given),
            "given_sha256": first.given_sha256,
            "model_id": first.model_id,
            "model_sha256": first.model_sha256,
            "mupd_version": first.mupd_version,
            "draws": [meta.draw for meta in metas],
            "seeds": [meta.seed for meta in metas],
            "created": [meta.created for meta in metas],
            "content_sha256": {str(meta.draw): meta.content_sha256 for meta in metas},
            "settings": first.settings,
            "abstain_below": abstain_below,
            "notes": list(dict.fromkeys(note for meta in metas for note in meta.notes)),
            "artifact_key": artifact_key,
        },
    }
    report["report_sha256"] = _digest(report)
    return report


def report_intact(report: Mapping[str, Any]) -> bool:
    """Whether a report's own digest still fits its content."""
    return report.get("report_sha256") == _digest(report)


def render_report(report: Mapping[str, Any]) -> str:
    """The report as plain text: banner first and last, provenance, one line a field, digest."""
    mupd, fields = report["mupd"], report["fields"]
    draws = len(mupd["draws"])
    names = [name for name in _FIELD_WORDS if name in fields] + sorted(set(fields) - set(_FIELD_WORDS))
    lines = [
        BANNER,
        "",
        report["SYNTHETIC"],
        "",
        f"Identifier: {report['id']}",
        f"Case: {report['case_id']}",
        f"Generated from: {given_words(tuple(mupd['given']))}",
        f"Given: {'+'.join(mupd['given'])}",
        f"Model: {mupd['model_id']}",
        f"Model SHA-256: {mupd['model_sha256']}",
        f"Draws: {', '.join(str(draw) for draw in mupd['draws'])}",
        "",
    ]
    for name in names:
        field = fields[name]
        agreeing = sum(value == field["most_probable"] for value in field["draws"].values())
        label, share = _FIELD_WORDS.get(name, name), field["probability"]
        if field["abstained"] and nothing_told(field["probabilities"]):
            lines.append(f"{label}: undetermined (all values equally probable)")
        elif field["abstained"]:
            lines.append(f"{label}: undetermined (most probable: {field['most_probable']}, p={share:.2f})")
        else:
            lines.append(f"{label}: {field['value']} (probability {share:.2f}; {agreeing} of {draws} draws agree)")
    lines += [f"Note: {note}" for note in mupd["notes"]]
    body = "\n".join([*lines, "", BANNER, ""])
    return f"{body}Text SHA-256: {hashlib.sha256(body.encode()).hexdigest()}\n"


def text_intact(text: str) -> bool:
    """Whether a plain-text report's own digest still fits the lines above it."""
    body, mark, digest = text.rpartition("Text SHA-256: ")
    return bool(mark) and hashlib.sha256(body.encode()).hexdigest() == digest.strip()


def write_report(report: Mapping[str, Any], json_path: Path, text_path: Path) -> None:
    """Write both forms, each atomically; the JSON last, because it is what stands for the artifact."""
    write_text(text_path, render_report(report))
    write_json(json_path, report)


def json_marks(report: Any) -> list[str]:
    """Marks of parsed JSON."""
    if not isinstance(report, dict):
        return []
    there = {
        BANNER_FIELD: str(report.get("SYNTHETIC", "")).startswith(BANNER),
        FLAG_FIELD: report.get("synthetic") is True,
        IDENTIFIER: str(report.get("id", "")).startswith(PREFIX),
    }
    return [mark for mark, present in there.items() if present]


_IDENTIFIER_LINE = re.compile(rf"(?m)^Identifier: {PREFIX}\S")


def text_marks(text: str) -> list[str]:
    """Marks of a plain text; the banner is found wherever a line holds it."""
    lines = [line.strip() for line in text.lstrip("\ufeff").splitlines()]
    filled = [line for line in lines if line]
    marks = []
    if filled and filled[0] == BANNER:
        marks.append(BANNER_LINE)
    elif any(BANNER in line for line in filled):
        marks.append("a line holds the banner")
    if _IDENTIFIER_LINE.search(text):
        marks.append(IDENTIFIER)
    if BANNER in filled[1:][-2:]:
        marks.append(LAST_LINE)
    return marks


def text_provenance(text: str) -> dict[str, Any]:
    """Case, model, conditions and draws as the lines of :func:`render_report` state them."""
    stated = dict(re.findall(r"(?m)^(Case|Given|Model|Draws): (.+)$", text))
    provenance: dict[str, Any] = {}
    if "Case" in stated:
        provenance["case_id"] = stated["Case"].strip()
    if "Model" in stated:
        provenance["model_id"] = stated["Model"].strip()
    if "Given" in stated:
        provenance["given"] = stated["Given"].strip().split("+")
    if "Draws" in stated:
        provenance["draws"] = [int(draw) for draw in re.findall(r"\d+", stated["Draws"])]
    return provenance
