"""The tables that suites speak of, and their columns."""

from __future__ import annotations

from typing import Literal, get_args

Table = Literal["sheet", "inventory", "rna_profiles", "generated_rna", "manifest"]
TABLES: tuple[Table, ...] = get_args(Table)
Kind = Literal["text", "number", "flag"]

_MANIFEST = (
    "case_id modality status reason task synthetic artifact verdict why draws sha256 model_id "
    "further_artifacts further_sha256"
)
COLUMNS: dict[Table, dict[str, Kind]] = {
    "sheet": {
        "case_id": "text",
        "organ": "text",
        "diagnosis": "text",
        "he_mpp": "number",
        "slides": "number",
        "has_he": "flag",
        "has_rna": "flag",
        "has_text": "flag",
    },
    "inventory": {
        "case_id": "text",
        "modality": "text",
        "status": "text",
        "reason": "text",
        "source_sha256": "text",
        "let_in": "flag",
        "mpp": "number",
        "tissue_mm2": "number",
        "words": "number",
        "masked": "number",
    },
    "rna_profiles": {
        "case_id": "text",
        "kind": "text",
        "values": "text",
        "evidence": "text",
        "observations": "number",
        "genes": "number",
        "genes_in_model": "number",
        "gene_overlap": "number",
        "genes_detected": "number",
        "detected_fraction": "number",
        "library_size": "number",
        "empty_observations": "number",
        "empty_fraction": "number",
        "has_positions": "flag",
    },
    "generated_rna": {
        "case_id": "text",
        "draw": "number",
        "kind": "text",
        "observations": "number",
        "genes": "number",
        "not_finite": "number",
        "smallest": "number",
        "largest": "number",
        "library_size": "number",
        "genes_detected": "number",
    },
    "manifest": {name: "text" for name in _MANIFEST.split()},
}
"""Columns of each table. A table has a row a case, except: inventory and manifest one for each modality of a case,
generated_rna one a draw. Numbers that are not known, and empty texts, are null."""
