"""The vocabulary of scales of expression values, for the configuration, the sheet and the readers.

Imported by the Snakefile, which every cluster job parses: no heavy imports here.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal, cast

Base = Literal["2", "e", "10"]
ScaleName = str
"""A name that :attr:`Scale.name` gives: ``counts``, ``tpm``, ``log1p``, ``log2p1``, ``log2(x+0.001)``, ..."""


@dataclass(frozen=True)
class Scale:
    """A scale of expression values x: ``counts``, another linear one, or log_base(x + offset).

    Attributes
    ----------
    base
        Base of the logarithm; None for a linear scale.
    offset
        What is added before the logarithm; 0 for a linear scale.
    counts
        Whether the values are numbers of reads, and a sum of rows is meaningful.
    """

    base: Base | None = None
    offset: float = 0.0
    counts: bool = False

    @property
    def name(self) -> str:
        """As configuration, sheet and inventory name it, e.g. ``tpm``, ``log2p1``, ``log2(x+0.001)``."""
        if self.base is None:
            return "counts" if self.counts else "tpm"
        if self.offset == 1:
            return {"2": "log2p1", "e": "log1p", "10": "log10p1"}[self.base]
        return f"{'ln' if self.base == 'e' else f'log{self.base}'}(x+{self.offset:g})"

    @property
    def zero(self) -> float:
        """What a gene without expression has."""
        if self.base is None:
            return 0.0
        return {"2": math.log2, "e": math.log, "10": math.log10}[self.base](self.offset)


COUNTS = Scale(counts=True)
TPM = Scale()
LOG1P = Scale("e", 1.0)
LOG2P1 = Scale("2", 1.0)
LOG10P1 = Scale("10", 1.0)
XENA = Scale("2", 0.001)
"""UCSC Xena's TOIL tables hold log2(TPM + 0.001): zero is -9.9658."""

_NAMED = {scale.name: scale for scale in (COUNTS, TPM, LOG2P1, LOG1P, LOG10P1)}
_LINEAR_ALIASES = ("fpkm", "rpkm", "cpm", "linear")
_FORMULA = re.compile(r"^(?P<base>log2|log10|log|ln)\((?:x|tpm|fpkm|cpm)\+(?P<offset>\d*\.?\d+(e-?\d+)?)\)$")
"""log2(x+0.001), ln(x+1), log10(tpm+0.1)"""
NOT_REVERSIBLE = {
    "vst": "variance-stabilised values (VST)",
    "rlog": "regularised logarithms (rlog)",
    "rma": "microarray intensities (RMA)",
    "microarray": "microarray intensities",
    "zscore": "z-scores",
}
"""Scales that cannot be turned back into expression, by the name that states them."""

STATABLE = ("auto", *_NAMED, "log2(x+0.001)", "log", *NOT_REVERSIBLE)
"""Examples of what `rna_values` may be; any offset is possible."""


def check_stated(name: str) -> str:
    """`name` in its canonical form, if it states a scale.

    Raises
    ------
    ValueError
        If it is neither a scale nor ``auto``, ``log`` (a logarithm, whose base the numbers must show), nor one of
        :data:`NOT_REVERSIBLE`.

    >>> check_stated("log2(TPM + 1)"), check_stated("log2(x+0.001)"), check_stated("VST")
    ('log2p1', 'log2(x+0.001)', 'vst')
    """
    plain = name.strip().lower().replace(" ", "").replace("z-score", "zscore")
    if plain in ("auto", "log", *NOT_REVERSIBLE, *_NAMED):
        return plain
    if plain in _LINEAR_ALIASES:
        return TPM.name
    if (match := _FORMULA.match(plain)) and float(match["offset"]) > 0:
        base = {"log2": "2", "log10": "10", "log": "e", "ln": "e"}[match["base"]]
        return Scale(cast(Base, base), float(match["offset"])).name
    raise ValueError(f"rna_values {name!r}: expected one of {', '.join(STATABLE)}")


def scale_named(name: ScaleName) -> Scale:
    """The scale of a name that :attr:`Scale.name` gives."""
    if name in _NAMED:
        return _NAMED[name]
    match = _FORMULA.match(name)
    if match is None:
        raise ValueError(f"scale {name!r}: expected one of {', '.join(_NAMED)}, or such as log2(x+0.001)")
    base = {"log2": "2", "log10": "10", "ln": "e", "log": "e"}[match["base"]]
    return Scale(cast(Base, base), float(match["offset"]))
