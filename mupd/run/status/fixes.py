"""What a person can do about a reason, in one sentence."""

from __future__ import annotations

import re

from mupd.base.ids import Modality
from mupd.contracts.inventory import Entry

_COPY = "Copy the file again from where it came from, and compare its size."
_ALL: tuple[Modality, ...] = ("he", "rna", "text")
# The first that fits counts. Words are looked for at their beginning: "pen" is not in "does not open".
_RULES: tuple[tuple[tuple[Modality, ...], str, str], ...] = (
    (
        _ALL,
        r"synthetic",
        "Give the measured file. Only to let a marked file in by name, add it to intake.allow_synthetic.",
    ),
    (_ALL, r"intake\.file_seconds", "Raise intake.file_seconds if the file is worth the wait, or convert it."),
    (
        _ALL,
        r"intake\.file_mb|more memory",
        "Raise intake.file_mb if the machine has the memory, or give a smaller file.",
    ),
    (
        ("he",),
        r"convert it with|export it (?:from|with)|cannot be read here",
        "Give the slide in a form that is read, as the reason says: SVS, NDPI, DICOM, OME-TIFF or another of the list.",
    ),
    (
        ("he",),
        r"he_mpp_over_file",
        "Compare the two scales: empty he_mpp, or set intake.he_mpp_over_file to true.",
    ),
    (("he",), r"red and blue are swapped: ", "Write the picture again with its channels in the order RGB."),
    (
        _ALL,
        r"file is empty|of 0 bytes|truncated|cut short|cut off|stored of|end-of-stream|copy (?:the file|it) anew|"
        r"file signature not found|first bytes are (?:of no|not)|stream has ended|file is not a zip|"
        r"unterminated string|preamble and no data|processed\)",
        _COPY,
    ),
    (
        _ALL,
        r"symbolic links|link to another file|takes its values from other files|link traversal|outside",
        "Put the file itself where the sheet points to, with all its data inside.",
    ),
    (
        _ALL,
        r"row of this case|rows of this case|one case has at most|table::row|no row",
        "Name the case's row in the sheet (TABLE::ROW); a case has exactly one.",
    ),
    (
        ("he",),
        r"several|series|names? the one|name one",
        "Name one of them in the sheet: one file of the series that is meant.",
    ),
    (("he",), r"mpp|micrometres", "State the scale in the sheet's column he_mpp (micrometres per pixel of level 0)."),
    (("he",), r"out of focus|blur", "Scan the slide again in focus."),
    (("he",), r"saturated", "Give the picture as it was scanned, without its contrast stretched."),
    (("he",), r"marks of a pen", "Clean the slide of pen marks and scan it again, or give another one."),
    (
        ("he",),
        r"(?:no|of) tissue",
        "Give another slide or scan of the case; for small biopsies lower intake.min_tissue_mm2.",
    ),
    (("he",), r"h&e|stain|fluorescence|brown|immuno|eosin", "Give the H&E-stained slide of the case."),
    (("he",), r"mirax", "Put the slide's folder, with the same name, beside the .mrxs file."),
    (("he",), r"pixels of kind|8-bit rgb", "Convert it to 8-bit RGB, or give the bright-field scan."),
    (("he",), r"decoded whole|megapixels", "Convert it to a tiled pyramid (vips tiffsave --tile --pyramid)."),
    (
        ("he",),
        r"sop class|no dicom whole-slide|whole-slide image",
        "Give the VOLUME image of the slide's DICOM series.",
    ),
    (("text",), r"ocr|scanned", "Run OCR on the document and give the text."),
    (("text",), r"encrypted|password", "Save the document without its password."),
    (("text",), r"utf-8|encoding|utf-16|wrongly decoded", "Save the text as UTF-8."),
    (("text",), r"language|english|\bis in\b", "Give the report in English."),
    (
        ("text",),
        r"another case|other case|organ",
        "Compare the report with the sheet: it seems to belong to another case or organ.",
    ),
    (("text",), r"expected one case's", "Give the report of this case alone; name a row of a table as TABLE::ROW."),
    (
        ("text",),
        r"words|the text is empty|headings|a pointer|without pages",
        "Give the full report; for terse ones lower intake.min_text_words.",
    ),
    (
        ("text",),
        r"structured report|fhir|diagnosticreport",
        "Give the structured report itself (DICOM SR, or FHIR DiagnosticReport in JSON), or its text.",
    ),
    (
        ("text",),
        r"expected \.txt|suffix|save it as|unpack",
        "Save it in a form that is read: .txt, .md, .pdf, .docx, FHIR .json, DICOM SR.",
    ),
    (
        ("text",),
        r"bomb|entities|nested|digits",
        "Save the document anew from its own program: as it is, it is refused as unsafe.",
    ),
    (("text",), r"not json", "Correct the JSON: it does not parse where the reason says."),
    (("rna",), r"not human|species|mouse", "Give human data: the model knows human genes only."),
    (("rna",), r"swapped|transpos|axes", "Turn the matrix so that genes and observations stand where the reason says."),
    (
        ("rna",),
        r"z-scores|below 0|negative|nan|infinite|same value|are zero|finite|constant",
        "Export the matrix again as counts, TPM or their logarithm: these values cannot be expression.",
    ),
    (("rna",), r"library|counts in all|genes? detected|detected", "Give a profile of a deeper library."),
    (
        ("rna",),
        r"min_gene_overlap|overlap|gene in common|genes of the model|model's genes",
        "Check that genes are named by symbols or Ensembl ids.",
    ),
    (
        ("rna",),
        r"one column|tokenizing|column of numbers|holds words|header|nul bytes|line of sizes",
        "Save it anew as a plain table of numbers with a header: .csv with commas, .tsv with tabs.",
    ),
    (("rna",), r"suffix|10x matrix", "Give a form that is read: .h5ad, .h5mu, 10x, or a table (.csv, .tsv, .gz)."),
    (
        ("rna",),
        r"object|declares|obs|no x\b|beyond the|features and|cannot be read",
        "Write the file anew with anndata or Cell Ranger: its parts do not fit together.",
    ),
    (_ALL, r"damaged|corrupt|cannot be read|decode|tags", _COPY),
)
_COMPILED = tuple((modalities, re.compile(rf"(?<![a-z])(?:{words})"), fix) for modalities, words, fix in _RULES)
ANOTHER = "Give another file of the case, or leave the cell empty."


def fix_of(entry: Entry) -> str:
    """What to do about an entry that is not measured; "" for one that is."""
    if entry.status == "measured":
        return ""
    if entry.status == "missing":
        return f"To use it, name it in the sheet's column {entry.modality}; else it is generated."
    reason = entry.reason.lower()
    for modalities, words, fix in _COMPILED:
        if entry.modality in modalities and words.search(reason):
            return fix
    return ANOTHER
