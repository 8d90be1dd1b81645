"""The RNA codec and the pathway scorer, fitted to training profiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mupd.base.progress import track
from mupd.errors import Fault, InputFaults
from mupd.model.pathway_scores import PathwayScorer, universe
from mupd.model.rna_codec import RnaCodec, fit_panel, panel_values
from mupd.rna.gene_sets import read_gmt
from mupd.training.public.read import HELD_OUT_SECTION, TCGA_COHORTS, log_cp10k, read_her2st_counts, read_tcga
from mupd.training.public.splits import is_held_out

_SPOT_GENES = 1_000
_SCORED_GENES, _SCORED_SPOTS = 2_000, 3_000
_LEAST_GENES = 50


@dataclass(frozen=True)
class TrainingProfiles:
    """Profiles that codecs are fitted to, none of them held out.

    Attributes
    ----------
    spots
        log1p CP10k of each section, (spots, genes).
    spot_genes
        The genes that all sections have.
    bulk
        (patients, bulk genes) log1p CP10k.
    """

    spots: list[NDArray[np.float32]]
    spot_genes: list[str]
    bulk: NDArray[np.float32]
    bulk_genes: list[str]


def training_profiles(her2st: Path, tcga: Path) -> TrainingProfiles:
    """All HER2ST sections but the held-out one, and the TCGA patients that are not held out."""
    names = sorted(path.name.split(".")[0] for path in (her2st / "counts").glob("*.tsv.gz"))
    sections = [read_her2st_counts(her2st, name)[1] for name in track(names, "spots") if name != HELD_OUT_SECTION]
    shared = sorted(set.intersection(*(set(section.columns) for section in sections)))
    bulk = pd.concat([read_tcga(tcga, cohort) for cohort in TCGA_COHORTS])
    bulk = bulk[[not is_held_out(case) for case in bulk.index]]
    return TrainingProfiles(
        [log_cp10k(section[shared].to_numpy(np.float32)) for section in sections],
        shared,
        log_cp10k(bulk.to_numpy(np.float32)),
        list(bulk.columns),
    )


def on_shared_genes(
    tables: Sequence[tuple[NDArray[np.float32], list[str]]],
) -> tuple[list[NDArray[np.float32]], list[str]]:
    """Tables of log1p CP10k on the genes that all of them have, in the order of the first.

    Raises
    ------
    InputFaults
        If too few genes are shared.
    """
    shared = set.intersection(*(set(genes) for _, genes in tables))
    order = [gene for gene in tables[0][1] if gene in shared]
    if len(order) < min(_LEAST_GENES, min(len(genes) for _, genes in tables)):
        expected = "profiles of one platform, or the codecs of a model as `base`"
        raise InputFaults("training data", [Fault("[data]", f"{len(order)} genes that all profiles have", expected)])
    aligned = []
    for values, genes in tables:
        column = {gene: index for index, gene in enumerate(genes)}
        linear = np.expm1(values[:, [column[gene] for gene in order]].astype(np.float64))
        aligned.append(log_cp10k(linear))
    return aligned, order


def fit_rna_codec(profiles: TrainingProfiles, dim: int) -> RnaCodec:
    """Panels of spots (the genes of highest mean) and of bulk tumours (all their genes)."""
    level = sum(section.mean(0) for section in profiles.spots)
    genes = [profiles.spot_genes[i] for i in sorted(np.argsort(-level)[:_SPOT_GENES])]
    spots = np.concatenate([panel_values(section, profiles.spot_genes, genes) for section in profiles.spots])
    spots = spots[np.isfinite(spots).all(1) & (spots.sum(1) > 0)]
    values = panel_values(profiles.bulk, profiles.bulk_genes, profiles.bulk_genes)
    return RnaCodec({"spot": fit_panel(spots, genes, dim), "bulk": fit_panel(values, profiles.bulk_genes, dim)})


def fit_pathways(gene_sets: Path, profiles: TrainingProfiles) -> PathwayScorer:
    """Scorer of a GMT file's gene sets, standardised on a sample of the training profiles of each kind."""
    sets = read_gmt(gene_sets)
    level = sum(section.mean(0) for section in profiles.spots)
    genes = universe(sets, profiles.spot_genes, level, _SCORED_GENES)
    columns = [profiles.spot_genes.index(gene) for gene in genes]
    spots = np.concatenate([section[:, columns] for section in profiles.spots])
    spots = spots[spots.any(1)]
    chosen = np.random.default_rng(0).choice(len(spots), min(_SCORED_SPOTS, len(spots)), replace=False)
    return PathwayScorer.fit(
        sets, {"spot": spots[chosen], "bulk": profiles.bulk}, {"spot": genes, "bulk": profiles.bulk_genes}
    )
