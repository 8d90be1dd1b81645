"""RNA draws to one AnnData a case, with what is known of each gene's reliability."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mupd.config import Config
from mupd.contracts.artifacts import Accepted, Artifact, artifact_key, checked_folder, describe
from mupd.errors import CaseError, ModelError
from mupd.stages.export.current import anndata_is_current

if TYPE_CHECKING:
    from numpy.typing import NDArray

RNA_FILE = "rna.synthetic.h5ad"


def read_reliability(model: Path) -> dict[str, float]:
    """{gene: Pearson correlation with the truth on held-out data} of a model; empty if it states none.

    Raises
    ------
    ModelError
        If ``reliability.json`` is there and is not a mapping of genes to numbers or null.
    """
    path = model / "reliability.json"
    if not path.is_file():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"reliability.json: found {error}; expected {{gene: number or null}}") from error
    if not isinstance(values, dict):
        raise ModelError(f"reliability.json: found {type(values).__name__}; expected {{gene: number or null}}")
    wrong = [gene for gene, value in values.items() if not (value is None or isinstance(value, int | float))]
    if wrong:
        raise ModelError(f"reliability.json [{wrong[0]}]: found {values[wrong[0]]!r}; expected a number or null")
    return {gene: math.nan if value is None else float(value) for gene, value in values.items()}


def read_original_ids(config: Config, genes: Collection[str]) -> dict[str, str]:
    """{gene: what the cohort's RNA table calls it}, where it calls it otherwise; empty without such a table.

    Raises
    ------
    UnusableError
        If the table cannot be read.
    """
    if config.tables.rna is None:
        return {}
    from mupd.rna.cohort_tables import original_ids

    return original_ids(Path(config.tables.rna), genes)


def _array(folder: Path, name: str) -> NDArray[Any] | None:
    """An array of a draw, None where the draw has none of that name."""
    import numpy as np

    path = folder / name
    return np.load(path, allow_pickle=False) if path.exists() else None


def _same(one: NDArray[Any] | None, other: NDArray[Any] | None) -> bool:
    import numpy as np

    return np.array_equal(one, other) if one is not None and other is not None else one is other


def export_rna(accepted: Accepted, config: Config, case_folder: Path, reliability: dict[str, float]) -> list[Artifact]:
    """Write the AnnData of a case.

    Raises
    ------
    CaseError
        If the draws do not share genes, shape and positions.
    """
    import numpy as np

    from mupd.synthetic.anndata.marks import GeneColumns, mark_anndata, write_anndata

    folders = {draw.meta.draw: config.out / draw.folder for draw in accepted.draws}
    first = next(iter(folders.values()))
    genes = json.loads((first / "genes.json").read_text(encoding="utf-8"))
    known = [reliability.get(gene, math.nan) for gene in genes]
    stated = hashlib.sha256(json.dumps([genes, [None if math.isnan(r) else r for r in known]]).encode()).hexdigest()
    ids = read_original_ids(config, genes)
    without_noise = [number for number, folder in folders.items() if (folder / "expected.npy").exists()]
    key = artifact_key(accepted.metas, reliability=stated, original_ids=ids, expected=without_noise)
    path = case_folder / RNA_FILE
    if not anndata_is_current(path, key):
        for draw in accepted.draws:
            checked_folder(config.out, draw)
        xy_px = _array(first, "xy_px.npy")
        for number, folder in folders.items():
            if json.loads((folder / "genes.json").read_text(encoding="utf-8")) != genes:
                raise CaseError(f"draw {number} [genes.json]: found other genes; expected those of the first draw")
            if not _same(_array(folder, "xy_px.npy"), xy_px):
                raise CaseError(f"draw {number} [xy_px.npy]: found other positions; expected those of the first draw")
        try:
            adata = mark_anndata(
                {number: np.load(folder / "values.npy", allow_pickle=False) for number, folder in folders.items()},
                GeneColumns(genes, known, ids),
                accepted.metas,
                artifact_key=key,
                xy_px=xy_px,
                expected={
                    number: np.load(folders[number] / "expected.npy", allow_pickle=False) for number in without_noise
                },
            )
        except ValueError as error:
            raise CaseError(str(error)) from error
        write_anndata(adata, path)
    return [describe(config.out, path, "anndata", accepted.metas)]
