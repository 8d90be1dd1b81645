"""Pathway scores of RNA profiles: ssGSEA (Barbie et al. 2009, Nature 462:108) by gseapy, standardised within kind.

Genes are ranked by how far each is from its own mean over the training profiles, so that a profile
that lacks genes is not scored by which ones it lacks. A score then says how far towards the top of
its own profile the genes of a set stand. The enrichment score is taken as it is: the normalised one
(NES) divides by the range over all profiles of a call, so that it would depend on the batch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from mupd.base.files import atomic_path, write_json
from mupd.base.messages import first_line
from mupd.errors import ModelError
from mupd.model.rna_codec import KINDS, Kind
from mupd.model.tensors import read_tensors
from mupd.rna.gene_sets import members_among

LIBRARY = "gseapy"
LEAST_GENES = 3
_WEIGHT = 0.25
_LEAST_SD = 0.05
_LEAST_SCORE_SD = 1e-4
_MOST_SD = 8.0
# The library holds a running sum over all genes for each profile and set.
_BATCH = 64
_TENSORS = ("share", "mean", "sd", "score_mean", "score_sd")


class PathwayScores(NamedTuple):
    """Standardised scores (observations, pathways) float32, and (pathways,) which of them were scored."""

    values: NDArray[np.float32]
    scored: NDArray[np.bool_]


@dataclass(frozen=True)
class Reference:
    """What one kind of profile is scored against.

    Attributes
    ----------
    genes
        The genes that count, g of them; what a profile has beside them does not.
    share
        (g,) of all counts of the training profiles' genes; it sums to 1.
    mean, sd
        (g,) of log1p counts per 10,000 of these genes over the training profiles.
    score_mean, score_sd
        (p,) of the training profiles' enrichment scores.
    """

    genes: tuple[str, ...]
    share: NDArray[np.float32]
    mean: NDArray[np.float32]
    sd: NDArray[np.float32]
    score_mean: NDArray[np.float32]
    score_sd: NDArray[np.float32]


def universe(
    gene_sets: Mapping[str, Sequence[str]], genes: Sequence[str], level: NDArray[np.floating], most: int
) -> list[str]:
    """The `most` genes of the highest level, and all that are in a set: what scores need, and no more.

    Parameters
    ----------
    level
        (genes,) mean expression.
    """
    members = {gene for some in members_among(gene_sets, genes).values() for gene in some}
    high = set(np.argsort(-np.asarray(level), kind="stable")[:most].tolist())
    return [gene for column, gene in enumerate(genes) if column in high or gene in members]


def enrichment(values: NDArray[np.float64], sets: dict[str, list[str]]) -> NDArray[np.float64]:
    """Enrichment scores (observations, sets) over the number of genes: -0.5 to 0.5, roughly.

    Parameters
    ----------
    values
        (observations, genes); gene number i is named ``G{i}`` in `sets`.
    """
    # The function under gseapy.ssgsea, which spends four fifths of its time on tables of leading edges.
    from gseapy.gse import CorrelType, ssgsea_rs
    from scipy.stats import rankdata

    count = values.shape[1]
    genes, column = [f"G{number}" for number in range(count)], {name: index for index, name in enumerate(sets)}
    scores = np.zeros((len(values), len(sets)))
    for start in range(0, len(values), _BATCH):
        ranks = 1e4 * rankdata(values[start : start + _BATCH], axis=1) / count
        results = ssgsea_rs(genes, ranks.T.tolist(), sets, _WEIGHT, 1, count, 0, CorrelType.Rank, 1, 0)
        for summary in results.summaries:
            scores[start + summary.index, column[summary.term]] = summary.es
    return scores / count


class PathwayScorer:
    """Scores profiles of both kinds by gene sets."""

    def __init__(
        self,
        gene_sets: Mapping[str, Sequence[str]],
        references: Mapping[Kind, Reference],
        least_genes: int = LEAST_GENES,
    ) -> None:
        self.gene_sets = {name: tuple(members) for name, members in gene_sets.items()}
        self.references = dict(references)
        self.least_genes = least_genes
        self._members = {
            kind: members_among(self.gene_sets, reference.genes) for kind, reference in self.references.items()
        }

    @property
    def names(self) -> list[str]:
        """Names of the pathways, in the order of the scores."""
        return list(self.gene_sets)

    @property
    def dim(self) -> int:
        """Number of pathways."""
        return len(self.gene_sets)

    @classmethod
    def fit(
        cls,
        gene_sets: Mapping[str, Sequence[str]],
        profiles: Mapping[Kind, NDArray[np.floating]],
        genes: Mapping[Kind, Sequence[str]],
        least_genes: int = LEAST_GENES,
    ) -> PathwayScorer:
        """Learn the mean and spread of each pathway's score from training profiles.

        Parameters
        ----------
        profiles
            For each kind, (n, genes) log1p counts per 10,000, without missing values.
        genes
            For each kind, the genes of its columns: those that count from then on.
        """
        references: dict[Kind, Reference] = {}
        for kind in KINDS:
            values = _checked(profiles[kind], genes[kind])
            linear = np.expm1(values)
            values = np.log1p(1e4 * linear / _positive(linear.sum(1, keepdims=True)))
            total = linear.sum(0)
            none = np.zeros(len(gene_sets), np.float32)
            plain = Reference(
                tuple(genes[kind]),
                (total / _positive(total.sum())).astype(np.float32),
                values.mean(0).astype(np.float32),
                np.maximum(values.std(0), _LEAST_SD).astype(np.float32),
                none,
                none + 1,
            )
            raw = cls(gene_sets, {kind: plain}, least_genes)._raw(profiles[kind], genes[kind], kind).values
            spread = np.maximum(raw.std(0), _LEAST_SCORE_SD)
            references[kind] = replace(plain, score_mean=raw.mean(0), score_sd=spread)
        return cls(gene_sets, references, least_genes)

    def score(self, log_cp10k: NDArray[np.floating], genes: Sequence[str], kind: Kind) -> PathwayScores:
        """Standardised scores of profiles, and which pathways were scored.

        A pathway of which fewer than `least_genes` genes are there has 0, the training profiles'
        mean. A profile without any expression has 0 in all.

        Parameters
        ----------
        log_cp10k
            (observations, genes), log1p counts per 10,000.

        Raises
        ------
        ValueError
            If the values are not of shape (observations, genes) or not finite, or no gene counts.
        """
        reference = self.references[kind]
        raw = self._raw(log_cp10k, genes, kind)
        scores = np.clip((raw.values - reference.score_mean) / reference.score_sd, -_MOST_SD, _MOST_SD)
        scores[:, ~raw.scored] = 0
        scores[~np.asarray(log_cp10k).any(1)] = 0
        return PathwayScores(scores.astype(np.float32), raw.scored)

    def _raw(self, log_cp10k: NDArray[np.floating], genes: Sequence[str], kind: Kind) -> PathwayScores:
        reference = self.references[kind]
        values = _checked(log_cp10k, genes)
        where = {gene: column for column, gene in enumerate(genes)}
        # In the model's order: scores must not depend on the order of a file.
        present = [row for row, gene in enumerate(reference.genes) if gene in where]
        if not present:
            raise ValueError(f"rna: found none of the model's {len(reference.genes)} {kind} genes; expected some")
        number = {reference.genes[row]: f"G{column}" for column, row in enumerate(present)}
        sets = {
            name: here
            for name, members in self._members[kind].items()
            # Against the rest: a set that is all of the profile has no score.
            if self.least_genes <= len(here := [number[gene] for gene in members if gene in number]) < len(present)
        }
        scored = np.array([name in sets for name in self.gene_sets], bool)
        raw = np.zeros((len(values), self.dim), np.float32)
        if sets and len(values):
            columns = [where[reference.genes[row]] for row in present]
            raw[:, scored] = enrichment(_standardised(values[:, columns], reference, present), sets)
        return PathwayScores(raw, scored)

    def save_pretrained(self, folder: Path) -> None:
        """Write config.json (gene sets, genes, library) and scores.safetensors."""
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {
            f"{kind}.{name}": torch.from_numpy(np.ascontiguousarray(getattr(reference, name)))
            for kind, reference in self.references.items()
            for name in _TENSORS
        }
        with atomic_path(folder / "scores.safetensors") as temporary:
            save_file(tensors, temporary)
        config = {
            "method": "ssGSEA enrichment score",
            "library": LIBRARY,
            "library_version": version(LIBRARY),
            "least_genes": self.least_genes,
            # Pairs, because the order of the sets is the order of the scores and JSON objects have none.
            "gene_sets": [[name, list(members)] for name, members in self.gene_sets.items()],
            "genes": {kind: list(reference.genes) for kind, reference in self.references.items()},
        }
        write_json(folder / "config.json", config)

    @classmethod
    def from_pretrained(cls, folder: Path) -> PathwayScorer:
        """Load what :meth:`save_pretrained` wrote.

        Raises
        ------
        ModelError
            If a file is missing or damaged, or names and tensors disagree.
        """
        sets, genes, least_genes = _read_config(folder / "config.json")
        shapes: dict[str, tuple[int, ...]] = {}
        for kind, names in genes.items():
            sizes = (*3 * (len(names),), *2 * (len(sets),))
            shapes |= {f"{kind}.{name}": (size,) for name, size in zip(_TENSORS, sizes, strict=True)}
        tensors = {name: tensor.numpy() for name, tensor in read_tensors(folder / "scores.safetensors", shapes).items()}
        references = {
            kind: Reference(names, *(tensors[f"{kind}.{name}"] for name in _TENSORS)) for kind, names in genes.items()
        }
        return cls(sets, references, least_genes)


def _checked(log_cp10k: NDArray[np.floating], genes: Sequence[str]) -> NDArray[np.float64]:
    values = np.asarray(log_cp10k, np.float64)
    if values.ndim != 2 or values.shape[1] != len(genes):
        raise ValueError(f"rna: found values of shape {values.shape}; expected (observations, {len(genes)} genes)")
    if bad := int((~np.isfinite(values)).sum()):
        raise ValueError(f"rna: found {bad} values that are NaN or infinite; expected numbers")
    return values


def _positive(total: Any) -> Any:
    return np.where(total > 0, total, 1.0)


def _standardised(values: NDArray[np.float64], reference: Reference, present: list[int]) -> NDArray[np.float64]:
    """Log1p counts per 10,000 of the genes that are there, in standard deviations from their means.

    Depth is taken over these genes, against the share of all counts that they have on average: a
    profile with half of the genes does not come out twice as deep.
    """
    linear = np.expm1(values)
    depth = linear.sum(1, keepdims=True) / float(_positive(reference.share[present].sum()))
    return (np.log1p(1e4 * linear / _positive(depth)) - reference.mean[present]) / reference.sd[present]


def _read_config(path: Path) -> tuple[dict[str, tuple[str, ...]], dict[Kind, tuple[str, ...]], int]:
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        sets = {str(name): tuple(map(str, members)) for name, members in config["gene_sets"]}
        genes: dict[Kind, tuple[str, ...]] = {kind: tuple(map(str, config["genes"][kind])) for kind in KINDS}
        return sets, genes, int(config["least_genes"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = first_line(error)
        raise ModelError(f"{path}: {reason}; expected the gene sets and genes of pathway scores") from error
