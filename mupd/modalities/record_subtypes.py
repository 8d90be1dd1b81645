"""Rules that find the histological subtype and the predominant tissue that a text states."""

from __future__ import annotations

import re

from mupd.modalities.record_rules import GAP, mentioned

# In the order of what goes before: a rarer variant before the common one that is named beside it.
_VARIANTS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    (
        "signet ring cell",
        ("stomach", "colorectum"),
        rf"signet{GAP}ring{GAP}(cell{GAP})?(type{GAP})?(adeno)?carcinoma|adenocarcinoma[\s,.]+signet{GAP}ring",
    ),
    (
        "mucinous",
        ("stomach", "colorectum", "breast"),
        rf"(mucinous|colloid|mucoid){GAP}(type{GAP})?(adeno)?carcinoma|adenocarcinoma{GAP}(mucinos\w+|mucinous{GAP}type)",
    ),
    (
        "diffuse",
        ("stomach",),
        rf"carcinoma[^.;]{{0,60}}\bdiffuse({GAP}(infiltrative{GAP})?(type|variant|subtype|pattern|carcinoma))"
        rf"|diffuse({GAP}type)?{GAP}(gastric{GAP})?(adeno)?carcinoma|lauren[^.;]{{0,30}}\bdiffuse",
    ),
    (
        "papillary",
        ("stomach", "breast", "bladder"),
        rf"(?<!non)(?<!micro)(?<!non-)(?<!micro-)\bpapillary{GAP}(type{GAP})?(adeno|urothelial{GAP}|transitional{GAP}cell{GAP})?carcinoma",
    ),
    (
        "tubular",
        ("stomach", "breast"),
        rf"tubular{GAP}(type{GAP})?(adeno)?carcinoma|adenocarcinoma{GAP}(tubular(e|is)?\b)"
        rf"|adenocarcinoma[^.;]{{0,40}}\btubular\b(?!{GAP}adenoma)",
    ),
    ("lobular", ("breast",), rf"lobular{GAP}(\w+{GAP})?carcinoma|carcinoma{GAP}(\w+{GAP})?lobular{GAP}type"),
    ("ductal", ("breast",), rf"duct(al)?{GAP}(\w+{GAP})?(adeno)?carcinoma|carcinoma{GAP}(\w+{GAP})?duct(al)?{GAP}type"),
    ("glioblastoma", ("brain",), r"glioblastoma"),
    (
        "lower-grade glioma",
        ("brain",),
        rf"low(er)?{GAP}grade{GAP}glioma|oligodendroglioma|oligoastrocytoma|(diffuse|anaplastic){GAP}astrocytoma",
    ),
    (
        "not otherwise specified",
        ("stomach", "colorectum", "bladder", "lung"),
        rf"carcinoma{GAP}(not{GAP}otherwise{GAP}specified|nos\b)",
    ),
)
_PATTERNS = tuple((name, organs, re.compile(pattern)) for name, organs, pattern in _VARIANTS)


def find_subtype(text: str, organ: str | None) -> str | None:
    """The variant that a flattened report states of the tumour, given the organ it is about (None = not known)."""
    for name, organs, pattern in _PATTERNS:
        if organ in organs and mentioned(pattern, text):
            return name
    return None


_TISSUE_WORDS = {
    "tumour": r"(?:viable |invasive )?(?:tumou?r|carcinoma|cancer)(?: tissue)?",
    "normal parenchyma": r"(?:normal|benign|unremarkable) (?:\w+ )?(?:mucosa|glands?|parenchyma|epithelium)",
    "connective tissue": r"(?:fibrous |dense )?(?:connective tissue|stroma)|cancer-associated stroma",
    "adipose tissue": r"(?:mature |benign )?(?:adipose|fatty|fat) ?(?:tissue)?",
    "smooth muscle": r"smooth muscle",
    "immune infiltrate": r"immune infiltrate|(?:dense )?lymphocytes|lymphoid tissue",
    "mucus": r"(?:extracellular )?muc(?:us|in)",
    "necrosis": r"necrosis|necrotic (?:tumou?r|tissue|debris)|debris",
}
_PREDOMINANT = (
    r"\b(?:predominant(?:ly)?|mainly|mostly|chiefly|composed (?:almost )?entirely of|consists? (?:almost )?entirely of)"
)
_TISSUES = tuple(
    (name, re.compile(rf"{_PREDOMINANT}(?: of| tissue is| tissue:)? (?:{words})\b(?! of)"))
    for name, words in _TISSUE_WORDS.items()
)


def find_tissue(text: str) -> str | None:
    """The tissue that a flattened text says most of the sample consists of; None where it names several or none."""
    found = [name for name, pattern in _TISSUES if pattern.search(text)]
    return found[0] if len(found) == 1 else None
