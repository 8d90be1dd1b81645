"""10x outputs as folders: which matrix is taken, and where on the slide its spots lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mupd.errors import UnusableError
from mupd.rna.assemble import RawRna, assemble
from mupd.rna.positions import Places, position_files, read_places
from mupd.rna.profiles import RnaProfile, Values
from mupd.rna.tenx import MatrixFolder, TenxMatrix, matrix_folder, read_folder_matrix, read_h5_matrix

SPOT_UM = 65.0
"""What ``spot_diameter_fullres`` of Space Ranger stands for: a theoretical spot of 65 um, not the 55 um printed."""
BIN_UM = 100.0
"""Bins of Visium HD are added up to squares of about this: the pitch of the spots that models here know."""

MARKET_SUFFIXES = ("matrix.mtx", "matrix.mtx.gz")
_IN_ORDER = (
    "filtered_feature_bc_matrix.h5",
    "filtered_feature_bc_matrix",
    "sample_filtered_feature_bc_matrix.h5",
    "sample_filtered_feature_bc_matrix",
    "filtered_gene_bc_matrices_h5.h5",
    "filtered_gene_bc_matrices",
    "raw_feature_bc_matrix.h5",
    "raw_feature_bc_matrix",
    "raw_gene_bc_matrices_h5.h5",
    "raw_gene_bc_matrices",
    "raw_probe_bc_matrix.h5",
)
_BINS = ("square_016um", "square_008um", "square_002um")


def matrix_in(folder: Path) -> Path:
    """The matrix that is read of a folder: a matrix folder itself, or a ``.h5`` or matrix folder in it.

    Filtered matrices go before raw ones, HDF5 before folders, bins of 16 um before smaller ones; ``outs/`` is looked
    into.

    Raises
    ------
    UnusableError
        If there is none, or several that are named alike.
    """
    if matrix_folder(folder) is not None:
        return folder
    for name in _IN_ORDER:
        found = folder / name
        if found.is_file() and found.suffix == ".h5":
            return found
        if found.is_dir():
            genomes = [sub for sub in sorted(found.iterdir()) if sub.is_dir()]
            if matrix_folder(found) is not None:
                return found
            if genomes:
                return _human_of(genomes)
        alike = sorted(folder.glob(f"*[_.-]{name}")) if name.endswith(".h5") else []
        if len(alike) > 1:
            raise UnusableError(f"{len(alike)} files whose name ends in {name}: expected one; give the file itself")
        if alike:
            return alike[0]
    for inner in (folder / "outs", *(folder / "binned_outputs" / bins for bins in _BINS), *(folder / b for b in _BINS)):
        if inner.is_dir() and not inner.is_symlink():
            return matrix_in(inner)
    raise UnusableError(
        "a folder without a 10x matrix: expected matrix.mtx, barcodes.tsv and features.tsv (.gz), or "
        "filtered_feature_bc_matrix(.h5)"
    )


def _human_of(genomes: list[Path]) -> Path:
    from mupd.rna.input_names import genome_species

    human = [folder for folder in genomes if genome_species(folder.name) == "human"]
    chosen = human if len(human) == 1 else genomes
    if len(chosen) != 1:
        raise UnusableError(f"{len(genomes)} genomes in a matrix folder, not one known as human: keep the human one")
    return chosen[0]


def files_of_market(path: Path) -> MatrixFolder:
    """The three files that belong to a ``matrix.mtx``, by what stands before that in its name."""
    files = matrix_folder(path.parent, path.name[: path.name.lower().rindex("matrix.mtx")])
    if files is None:
        raise UnusableError("no matrix.mtx at the path")
    return files


def tenx_files(matrix: Path) -> list[Path]:
    """All files that are read of a matrix: its own and those of the positions beside it, sorted."""
    own = [matrix]
    if matrix.name.lower().endswith(MARKET_SUFFIXES):
        market = files_of_market(matrix)
        own, matrix = [market.matrix, market.barcodes, market.features], matrix.parent
    elif matrix.is_dir():
        files = matrix_folder(matrix)
        own = [files.matrix, files.barcodes, files.features] if files else [matrix]
    return sorted([*own, *position_files(matrix)])


def _at(matrix: TenxMatrix, places: Places) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows of the matrix that lie in tissue, and their rows of the positions."""
    where = {barcode: index for index, barcode in enumerate(places.barcodes)}
    rows = [(row, where[name]) for row, name in enumerate(matrix.barcodes) if name in where]
    if len(rows) < 0.5 * len(matrix.barcodes):
        raise UnusableError(
            f"{places.source} knows {len(rows)} of {len(matrix.barcodes)} barcodes of the matrix: it is of another one"
        )
    both = np.array(rows, np.intp).reshape(-1, 2)
    both = both[places.in_tissue[both[:, 1]]]
    if not len(both):
        raise UnusableError(f"no barcode of the matrix is in tissue by {places.source}")
    return both[:, 0], both[:, 1]


def _squares(array: NDArray[np.int64], side: int) -> NDArray[np.intp]:
    """The number of the square of `side` x `side` bins that each bin lies in."""
    coarse = array // side
    return np.unique(coarse, axis=0, return_inverse=True)[1].reshape(-1).astype(np.intp)


def _binned(raw: RawRna, array: NDArray[np.int64], bin_um: float) -> RawRna:
    """Bins added up to squares of about 100 um."""
    from scipy.sparse import csr_matrix

    side = max(1, round(BIN_UM / bin_um))
    if side == 1:
        return raw
    square = _squares(array, side)
    number = int(square.max()) + 1
    of_square = csr_matrix(
        (np.ones(len(square), np.int64), (square, np.arange(len(square)))), shape=(number, len(square))
    )
    xy = np.asarray(of_square @ raw.xy_px) / np.bincount(square)[:, None]
    evidence = (
        f"{raw.evidence}; {len(square)} bins of {bin_um:g} um added up to {number} squares of {side * bin_um:g} um"
    )
    names = [f"square_{index}" for index in range(number)]
    matrix = csr_matrix(of_square @ raw.matrix)
    return RawRna(raw.names, raw.symbols, matrix, names, evidence, xy, raw.values, raw.details | {"bin_um": bin_um})


def _placed(matrix: TenxMatrix, places: Places, raw: RawRna) -> RawRna:
    rows, at = _at(matrix, places)
    xy, left_out = places.xy_px[at], len(matrix.barcodes) - len(rows)
    details = raw.details | {"out_of_tissue": left_out}
    words = [f"{len(rows)} spots in tissue, in full-resolution pixels ({places.source})"]
    if left_out:
        words.append(f"{left_out} barcodes out of tissue or without a place left out")
    bin_um = places.scale.get("bin_size_um", 0)
    if "microns_per_pixel" in places.scale:
        details["mpp_of_spots"] = round(places.scale["microns_per_pixel"], 4)
    elif "spot_diameter_fullres" in places.scale and not bin_um:
        details["mpp_of_spots"] = round(SPOT_UM / places.scale["spot_diameter_fullres"], 4)
    if "mpp_of_spots" in details:
        words.append(f"the picture's scale by scalefactors_json.json is {details['mpp_of_spots']:g} um/px")
    evidence = "; ".join((raw.evidence, *words))
    names = [matrix.barcodes[row] for row in rows]
    placed = RawRna(raw.names, raw.symbols, matrix.counts[rows], names, evidence, xy, raw.values, details)
    return _binned(placed, places.array[at], bin_um) if bin_um else placed


def profile_of_tenx(matrix: TenxMatrix, places: Places | None, values: str, keep_given: bool) -> RnaProfile:
    """A 10x matrix as a profile: its spots in tissue, or all barcodes added up where there are no positions."""
    scale: Values | None = "counts" if matrix.whole_numbers else None
    evidence = "; ".join((matrix.format, *matrix.evidence))
    details: dict[str, Any] = {"format": matrix.format}
    raw = RawRna(matrix.ids, matrix.symbols, matrix.counts, matrix.barcodes, evidence, None, scale, details)
    if places is not None:
        raw = _placed(matrix, places, raw)
    elif not matrix.barcodes:
        raise UnusableError("a 10x matrix without barcodes")
    else:
        raw = _added_up(raw)
    return assemble(raw, values, keep_given)


def _added_up(raw: RawRna) -> RawRna:
    """All barcodes as one profile, whatever they are called."""
    from scipy.sparse import csr_matrix

    barcodes = len(raw.observations)
    kind = np.float64 if raw.matrix.dtype.kind == "f" else np.int64
    total = csr_matrix(np.asarray(raw.matrix.sum(axis=0, dtype=kind)).reshape(1, -1))
    evidence = f"{raw.evidence}; {barcodes} barcodes without positions added up to one profile (pseudobulk)"
    details = raw.details | {"barcodes": barcodes}
    return RawRna(raw.names, raw.symbols, total, ["sum"], evidence, None, raw.values, details)


def read_tenx_h5(path: Path, values: str, keep_given: bool) -> RnaProfile:
    """The profile in a 10x ``.h5`` file, with the positions of ``spatial/`` beside it."""
    return profile_of_tenx(read_h5_matrix(path), read_places(path), values, keep_given)


def read_market(path: Path, values: str, keep_given: bool) -> RnaProfile:
    """The profile of a ``matrix.mtx`` and the two lists of names beside it."""
    return profile_of_tenx(read_folder_matrix(files_of_market(path)), read_places(path.parent), values, keep_given)


def read_tenx_folder(path: Path, values: str, keep_given: bool) -> RnaProfile:
    """The profile in a 10x matrix folder or an output folder of Cell Ranger or Space Ranger."""
    matrix = matrix_in(path)
    if not matrix.is_dir():
        return read_tenx_h5(matrix, values, keep_given)
    files = matrix_folder(matrix)
    if files is None:
        raise UnusableError("a folder without a 10x matrix")
    return profile_of_tenx(read_folder_matrix(files), read_places(matrix), values, keep_given)
