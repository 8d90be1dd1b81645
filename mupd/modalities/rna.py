"""RNA profiles: reading, checking, and the scale of the model."""

from mupd.modalities.profiles import RnaProfile, detect_values, to_linear, to_log_cp10k
from mupd.modalities.rna_checks import check_rna
from mupd.modalities.rna_files import SUFFIXES, read_rna, source_files
from mupd.modalities.rna_tables import has_rna_row, original_ids, read_rna_row

__all__ = [
    "SUFFIXES",
    "RnaProfile",
    "check_rna",
    "detect_values",
    "has_rna_row",
    "original_ids",
    "read_rna",
    "read_rna_row",
    "source_files",
    "to_linear",
    "to_log_cp10k",
]
