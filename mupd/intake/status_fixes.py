"""What a person can do about a reason, in one sentence."""

from __future__ import annotations

from mupd.inventory import Entry

_BY_WORDS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("synthetic",), "Give the measured file. Only to let a marked file in by name, add it to intake.allow_synthetic."),
    (("intake.file_seconds", "seconds"), "Raise intake.file_seconds if the file is worth the wait, or convert it."),
    (("intake.file_mb", "memory"), "Raise intake.file_mb if the machine has the memory, or give a smaller file."),
    (("mpp", "micrometres"), "State the scale in the sheet's column he_mpp (micrometres per pixel of level 0)."),
    (("tissue",), "Give another slide or scan of the case; for small biopsies lower intake.min_tissue_mm2."),
    (("focus", "blur"), "Scan the slide again in focus."),
    (("pen",), "Clean the slide of pen marks and scan it again, or give another one."),
    (("stain", "fluorescence", "brown", "immuno", "eosin"), "Give the H&E-stained slide of the case."),
    (("ocr", "scanned"), "Run OCR on the document and give the text."),
    (("utf-8", "encoding", "utf-16"), "Save the text as UTF-8."),
    (("min_text_words", "words"), "Give the full report; for terse ones lower intake.min_text_words."),
    (("language",), "Give the report in English."),
    (
        ("min_gene_overlap", "overlap", "genes of the model", "model's genes"),
        "Check that genes are named by symbols or Ensembl ids.",
    ),
    (
        ("swapped", "transpos", "genes in rows"),
        "Turn the matrix so that genes and observations stand where the reason says.",
    ),
    (("one case has at most", "table::row"), "Name the case's row in the sheet: TABLE::ROW."),
    (("library", "counts", "detected"), "Give a profile of a deeper library."),
    (
        ("negative", "not finite", "nan", "inf", "constant", "same value", "zero"),
        "Export the matrix again: its values cannot be expression.",
    ),
    (("species", "mouse"), "Give human data: the model knows human genes only."),
    (
        ("truncated", "damaged", "cut short", "empty file", "0 bytes", "corrupt", "cannot be read", "decode"),
        "Copy the file again from where it came from, and compare its size.",
    ),
    (("link", "outside"), "Put the file itself where the sheet points to."),
)


def fix_of(entry: Entry) -> str:
    """What to do about an entry that is not measured; "" for one that is."""
    if entry.status == "measured":
        return ""
    if entry.status == "missing":
        return f"To use it, name it in the sheet's column {entry.modality}; else it is generated."
    reason = entry.reason.lower()
    for words, fix in _BY_WORDS:
        if any(word in reason for word in words):
            return fix
    return "Give another file of the case, or leave the cell empty."
