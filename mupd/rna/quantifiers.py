"""Tables of quantification programs, recognised by their columns, and the rule for which column is used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mupd.base.rna_scales import ScaleName

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class QuantLayout:
    """A program's table of one sample: its columns with gene ids, symbols, TPM and reads; "" if there is none.

    `also` are further columns that identify the program.
    """

    program: str
    names: str
    symbols: str
    tpm: str
    counts: str
    also: tuple[str, ...] = ()

    def columns(self) -> frozenset[str]:
        """The columns that the table must have."""
        return frozenset(filter(None, (self.names, self.symbols, self.tpm, self.counts, *self.also)))


LAYOUTS = (
    QuantLayout("GDC STAR counts", "gene_id", "gene_name", "tpm_unstranded", "unstranded", ("stranded_first",)),
    QuantLayout("RSEM genes.results", "gene_id", "", "TPM", "expected_count", ("transcript_id(s)", "FPKM")),
    QuantLayout("RSEM isoforms.results", "transcript_id", "", "TPM", "expected_count", ("gene_id", "IsoPct")),
    QuantLayout("Salmon", "Name", "", "TPM", "NumReads", ("EffectiveLength",)),
    QuantLayout("kallisto", "target_id", "", "tpm", "est_counts", ("eff_length",)),
    QuantLayout("StringTie gene abundances", "Gene ID", "Gene Name", "TPM", "", ("Coverage", "FPKM")),
)
_FEATURE_COUNTS = ("Geneid", "Chr", "Start", "End", "Strand", "Length")
_STAR_COLUMNS = 4


def layout_of(columns: list[str]) -> QuantLayout | None:
    """The program whose table has these columns, or None."""
    present = set(columns)
    return next((layout for layout in LAYOUTS if layout.columns() <= present), None)


def chosen_column(layout: QuantLayout, declared: str) -> tuple[str, ScaleName, str]:
    """The column to use, its scale, and the reason in words.

    It is the TPM, as in the model's bulk profiles, unless ``intake.rna_values`` is ``counts`` or there is no TPM.
    """
    if layout.counts and (declared == "counts" or not layout.tpm):
        why = "as intake.rna_values is counts" if declared == "counts" else "it has no TPM"
        return layout.counts, "counts", f"{layout.program}, column {layout.counts} ({why})"
    return layout.tpm, "tpm", f"{layout.program}, column {layout.tpm} (TPM, as the model's bulk profiles are)"


def without_annotation(frame: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """A table of featureCounts without its five annotation columns, and what was done, in words; others unchanged."""
    if tuple(str(column) for column in frame.columns[:6]) != _FEATURE_COUNTS:
        return frame, ""
    return frame.drop(columns=frame.columns[1:6]), "featureCounts, annotation left out"


def is_star_genes(frame: pd.DataFrame, names: list[str]) -> bool:
    """Whether a table is STAR's ReadsPerGene.out.tab: a gene and its reads under three strand protocols."""
    return frame.shape[1] == _STAR_COLUMNS and names[:1] == ["N_unmapped"]
