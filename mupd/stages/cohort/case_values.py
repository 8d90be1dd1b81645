"""The values of each case, measured and generated, read once for the cohort file and the report."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mupd.rna.stored_values import StoredValues

THUMBNAIL_PX = 512

Vector = NDArray[np.float32]


@dataclass(frozen=True)
class Picture:
    """A reduced picture, (height, width, 3) uint8, at most :data:`THUMBNAIL_PX`.

    `draw` is None if measured; `note` says what a picture shows that is no slide but how far its draws differ.
    """

    pixels: NDArray[np.uint8]
    size_px: tuple[int, int]
    mpp: float | None
    draw: int | None
    note: str = ""


@dataclass(frozen=True)
class HeValues:
    """Mean optical densities of tissue and its share of the picture; NaN where not measured."""

    haematoxylin_od: float
    eosin_od: float
    tissue_fraction: float
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True)
class RnaValues:
    """A case's profile on the model's genes, log1p CP10k; NaN for genes the input or the generated kind lacks.

    Attributes
    ----------
    mean
        The profile: of the pseudobulk if it was measured in spots, the mean over draws if generated.
    draws
        Of generated ones, each draw's profile (over tiles: mean of CP10k, then log1p, as a pseudobulk is made).
    low, high
        10th and 90th percentile over measured spots, or over all tiles of all draws; None for one observation.
    observations
        Spots or samples measured, or tiles of one draw; 1 for a bulk profile.
    given, unit
        Of measured ones: all genes of the input and their values as they stand there, in one row (of several
        spots or samples: their sum or mean, as the unit says).
    """

    mean: Vector
    draws: dict[int, Vector] = field(default_factory=dict)
    low: Vector | None = None
    high: Vector | None = None
    observations: int = 1
    given: StoredValues | None = None
    unit: str = ""
    spots: int = 0


@dataclass(frozen=True)
class TextValues:
    """A measured text's words and stated fields, or the records of the generated draws.

    A generated field whose most probable value is less probable than `abstain_below`, or whose values are all equally
    probable, is undetermined.
    """

    words: int = 0
    stated: dict[str, str] = field(default_factory=dict)
    shown: str = ""
    draws: dict[int, dict[str, Any]] = field(default_factory=dict)
    abstain_below: float = 0.0

    def probabilities(self) -> dict[str, dict[str, float]]:
        """Mean over draws of each field's probabilities."""
        means: dict[str, dict[str, float]] = {}
        for record in self.draws.values():
            for name, part in record.items():
                shares = means.setdefault(name, {})
                for value, share in part["probabilities"].items():
                    shares[value] = shares.get(value, 0.0) + float(share) / len(self.draws)
        return means

    def agreement(self) -> dict[str, float]:
        """Share of the draws whose value is the one that the mean probabilities favour."""
        favoured = {name: max(shares, key=lambda value: shares[value]) for name, shares in self.probabilities().items()}
        return {
            name: sum(record.get(name, {}).get("value") == value for record in self.draws.values()) / len(self.draws)
            for name, value in favoured.items()
        }


@dataclass(frozen=True)
class CaseValues:
    """All values of one case, and what could not be read again."""

    he: HeValues | None = None
    rna: RnaValues | None = None
    text: TextValues | None = None
    problems: tuple[str, ...] = ()
