"""RNA draws of a case as one AnnData that says in several places that nothing in it was measured.

A default ``anndata.concat`` with unmarked data drops ``uns``, ``var``, ``layers`` and the ``obs``
columns; observation names survive it, so they carry the mark too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mupd.base.files import atomic_path
from mupd.contracts.draws import DrawMeta
from mupd.synthetic.statement import BANNER, PREFIX, plain_statement, synthetic_id

if TYPE_CHECKING:
    from anndata import AnnData

OBS_NAMES = f"observation names begin with {PREFIX}"
OBS_COLUMN = 'obs["synthetic"] is true'
UNS = 'uns["mupd"] says so'
ANNDATA_MARKS = (OBS_NAMES, OBS_COLUMN, UNS)

UNITS = "natural log of 1 + counts per 10,000"
_SPATIAL_NOTE = (
    "obsm['spatial']: x and y of each tile's centre, pixels of level 0 of the case's measured slide "
    "(its sha256 is in given_sha256)"
)


def observation_names(case_id: str, count: int) -> list[str]:
    """``SYN-CASE`` for one observation, ``SYN-CASE-T0001`` ... for several tiles."""
    if count == 1:
        return [synthetic_id(case_id)]
    return [f"{synthetic_id(case_id)}-T{number:04d}" for number in range(1, count + 1)]


def values_digest(adata: AnnData) -> str:
    """SHA-256 of names, X and layers: tells an edited file from an intact one without a manifest."""
    digest = hashlib.sha256()
    digest.update("\n".join([*adata.obs_names, "", *adata.var_names]).encode())
    for name in ("X", *sorted(adata.layers)):
        matrix = adata.X if name == "X" else adata.layers[name]
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(np.asarray(matrix, dtype="<f4")).tobytes())
    return digest.hexdigest()


def _mean_words(metas: Sequence[DrawMeta], expected: Mapping[int, np.ndarray]) -> str:
    """What the mean is the mean of."""
    if not expected:
        return "mean over the draws"
    if len(expected) == len(metas):
        return "mean over the draws, each without the noise of a measurement; layers draw_N hold that noise"
    without = ", ".join(str(draw) for draw in sorted(expected))
    return f"mean over the draws, those of {without} without the noise of a measurement; layers draw_N hold that noise"


def _provenance(metas: Sequence[DrawMeta], artifact_key: str, several: bool, mean: str) -> dict[str, Any]:
    first = metas[0]
    return {
        "banner": BANNER,
        "statement": plain_statement(first),
        "synthetic": True,
        "case_id": first.case_id,
        "target": first.target,
        "given": np.array(first.given, dtype=object),
        "given_sha256": dict(first.given_sha256),
        "model_id": first.model_id,
        "model_sha256": first.model_sha256,
        "mupd_version": first.mupd_version,
        "draws": np.array([meta.draw for meta in metas], dtype=np.int64),
        "seeds": np.array([meta.seed for meta in metas], dtype=np.int64),
        "created": np.array([meta.created for meta in metas], dtype=object),
        "content_sha256": {str(meta.draw): meta.content_sha256 for meta in metas},
        "settings": json.dumps(first.settings, sort_keys=True),
        "notes": "\n".join(dict.fromkeys(note for meta in metas for note in meta.notes)),
        "units": UNITS,
        "mean": mean,
        "sd": "sample standard deviation over the draws (n - 1); NaN for a single draw",
        "spatial": _SPATIAL_NOTE if several else "one observation, no position",
        "artifact_key": artifact_key,
    }


@dataclass(frozen=True)
class GeneColumns:
    """The genes of a marked AnnData.

    Attributes
    ----------
    symbols
        One per column.
    reliability
        Pearson correlation of each gene with the truth on held-out data; NaN if unknown.
    original_ids
        {symbol: its name in the cohort's own table}; kept in ``var`` if there are any.
    """

    symbols: Sequence[str]
    reliability: Sequence[float]
    original_ids: Mapping[str, str] = field(default_factory=dict)


def mark_anndata(
    draws: Mapping[int, np.ndarray],
    genes: GeneColumns,
    metas: Sequence[DrawMeta],
    *,
    artifact_key: str,
    xy_px: np.ndarray | None = None,
    expected: Mapping[int, np.ndarray] | None = None,
) -> AnnData:
    """Build the marked AnnData of a case's accepted RNA draws.

    Parameters
    ----------
    draws
        {draw: (observations, genes) float32}, log1p of counts per 10,000.
    genes
        One per column.
    metas
        Of the same draws, in ascending order of draw.
    artifact_key
        Digest of what the artifact depends on; kept in ``uns``.
    xy_px
        (observations, 2) float64, tile centres in pixels of the source slide's level 0.
    expected
        {draw: the same without the noise of a measurement}, for those draws that have it.

    Returns
    -------
    AnnData
        ``X`` = layer ``mean`` = mean over draws (of `expected` where there is one); layers ``sd`` and ``draw_N`` of
        the draws themselves; ``raw`` unset.

    Raises
    ------
    ValueError
        If shapes, draws and metas do not fit each other.
    """
    import pandas as pd
    from anndata import AnnData

    if not metas or sorted(draws) != [meta.draw for meta in metas] or not set(expected or ()) <= set(draws):
        raise ValueError(f"draws: found {sorted(draws)} with metas {[m.draw for m in metas]}; expected the same draws")
    expected, symbols = expected or {}, genes.symbols
    shapes = {values.shape for values in (*draws.values(), *expected.values())}
    if len(shapes) != 1 or next(iter(shapes))[1:] != (len(symbols),) or len(genes.reliability) != len(symbols):
        raise ValueError(f"draws: found shapes {sorted(shapes)}; expected one (observations, {len(symbols)})")
    observations = next(iter(shapes))[0]
    if observations > 1 and (xy_px is None or xy_px.shape != (observations, 2)):
        shape = None if xy_px is None else xy_px.shape
        raise ValueError(f"xy_px: found {shape}; expected ({observations}, 2) for {observations} observations")

    stack = np.stack([draws[meta.draw] for meta in metas]).astype(np.float64)
    centres = [expected.get(meta.draw, draws[meta.draw]) for meta in metas]
    mean = np.mean(centres, axis=0, dtype=np.float64).astype(np.float32)
    spread = stack.std(axis=0, ddof=1) if len(metas) > 1 else np.full(mean.shape, np.nan)
    case_id = metas[0].case_id
    names = observation_names(case_id, observations)
    obs = pd.DataFrame(
        {"synthetic": np.ones(observations, dtype=bool), "case_id": case_id, "given": "+".join(metas[0].given)},
        index=pd.Index(names),
    )
    var = pd.DataFrame(
        {"units": UNITS, "reliability": np.asarray(genes.reliability, dtype=np.float64)}, index=pd.Index(list(symbols))
    )
    if genes.original_ids:
        var["original_id"] = [genes.original_ids.get(symbol, "") for symbol in symbols]
    adata = AnnData(X=mean, obs=obs, var=var)
    adata.layers["mean"] = mean.copy()
    adata.layers["sd"] = spread.astype(np.float32)
    for meta in metas:
        adata.layers[f"draw_{meta.draw}"] = np.asarray(draws[meta.draw], dtype=np.float32)
    if xy_px is not None:
        adata.obsm["spatial"] = np.asarray(xy_px, dtype=np.float64)
    adata.uns["mupd"] = _provenance(metas, artifact_key, observations > 1, _mean_words(metas, expected))
    adata.uns["mupd"]["values_sha256"] = values_digest(adata)
    return adata


def write_anndata(adata: AnnData, path: Path) -> None:
    """Write atomically as gzip-compressed .h5ad; the same AnnData gives the same bytes (no times in it)."""
    with atomic_path(path) as temporary:
        adata.write_h5ad(temporary, compression="gzip")
