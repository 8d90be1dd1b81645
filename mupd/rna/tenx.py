"""10x inputs: which matrix of a folder is read, and where its spots are on the slide."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mupd.base.rna_scales import ScaleName
from mupd.errors import UnusableError
from mupd.rna.assemble import RawRna, ReadOptions, assemble, column_sums
from mupd.rna.input_names import genome_species
from mupd.rna.positions import Places, position_files, read_places
from mupd.rna.profiles import RnaProfile
from mupd.rna.tenx_matrix import MatrixFolder, TenxMatrix, matrix_folder, read_folder_matrix, read_h5_matrix

SPOT_UM = 65.0
"""The length of Space Ranger's ``spot_diameter_fullres``: a theoretical spot of 65 um, not the printed one of 55 um."""
BIN_UM = 100.0
"""Side of the squares to which bins of Visium HD are added up: the pitch of the spots that models are trained on."""

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
    """The matrix to read from a folder: the folder itself, or a ``.h5`` or a matrix folder in it or in its ``outs/``.

    Filtered matrices take precedence over raw ones, HDF5 over folders, bins of 16 um over smaller ones.

    Raises
    ------
    UnusableError
        If there is none, or several with similar names.
    """
    if matrix_folder(folder) is not None:
        return folder
    for name in _IN_ORDER:
        path = folder / name
        if path.is_file() and path.suffix == ".h5":
            return path
        if path.is_dir():
            if matrix_folder(path) is not None:
                return path
            if genomes := [sub for sub in sorted(path.iterdir()) if sub.is_dir()]:
                return _human_of(genomes)
        prefixed = sorted(folder.glob(f"*[_.-]{name}")) if name.endswith(".h5") else []
        if len(prefixed) > 1:
            raise UnusableError(f"{len(prefixed)} files whose name ends in {name}: expected one; give the file itself")
        if prefixed:
            return prefixed[0]
    inside = ("outs", *(f"binned_outputs/{bins}" for bins in _BINS), *_BINS)
    for inner in (folder / name for name in inside):
        if inner.is_dir() and not inner.is_symlink():
            return matrix_in(inner)
    raise UnusableError(
        "a folder without a 10x matrix: expected matrix.mtx, barcodes.tsv and features.tsv (.gz), or "
        "filtered_feature_bc_matrix(.h5)"
    )


def _human_of(genomes: list[Path]) -> Path:
    human = [folder for folder in genomes if genome_species(folder.name) == "human"]
    chosen = human if len(human) == 1 else genomes
    if len(chosen) != 1:
        raise UnusableError(f"{len(genomes)} genomes in a matrix folder, not one known as human: keep the human one")
    return chosen[0]


def _market_files(path: Path) -> MatrixFolder:
    """A ``matrix.mtx`` and its two lists of names, which have the same prefix."""
    files = matrix_folder(path.parent, path.name[: path.name.lower().rindex("matrix.mtx")])
    if files is None:
        raise UnusableError("no matrix.mtx at the path")
    return files


def _folder_files(path: Path) -> MatrixFolder:
    files = matrix_folder(path)
    if files is None:
        raise UnusableError("a folder without a 10x matrix")
    return files


def tenx_files(matrix: Path) -> list[Path]:
    """All files that are read for a matrix, sorted: its own and those of the positions beside it."""
    own = [matrix]
    if matrix.is_dir():
        own = _folder_files(matrix).all()
    elif matrix.name.lower().endswith(MARKET_SUFFIXES):
        own, matrix = _market_files(matrix).all(), matrix.parent
    return sorted([*own, *position_files(matrix)])


def _rows_in_tissue(matrix: TenxMatrix, places: Places) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The rows of the matrix that are in tissue, and the rows of the positions that belong to them."""
    where = {barcode: index for index, barcode in enumerate(places.barcodes)}
    rows = [(row, where[name]) for row, name in enumerate(matrix.barcodes) if name in where]
    if len(rows) < 0.5 * len(matrix.barcodes):
        raise UnusableError(
            f"{places.source} has {len(rows)} of {len(matrix.barcodes)} barcodes of the matrix: it is of another one"
        )
    both = np.array(rows, np.intp).reshape(-1, 2)
    both = both[places.in_tissue[both[:, 1]]]
    if not len(both):
        raise UnusableError(f"no barcode of the matrix is in tissue by {places.source}")
    return both[:, 0], both[:, 1]


def _binned(raw: RawRna, array: NDArray[np.int64], bin_um: float) -> RawRna:
    """Bins added up to squares of about 100 um; `array` is the row and column of each bin, (bins, 2)."""
    from scipy.sparse import csr_matrix

    side = max(1, round(BIN_UM / bin_um))
    if side == 1:
        return raw
    square = np.unique(array // side, axis=0, return_inverse=True)[1].reshape(-1)
    squares, bins = int(square.max()) + 1, len(square)
    to_square = csr_matrix((np.ones(bins, np.int64), (square, np.arange(bins))), shape=(squares, bins))
    return replace(
        raw,
        matrix=csr_matrix(to_square @ raw.matrix),
        observations=[f"square_{index}" for index in range(squares)],
        evidence=f"{raw.evidence}; {bins} bins of {bin_um:g} um added up to {squares} squares of {side * bin_um:g} um",
        xy_px=np.asarray(to_square @ raw.xy_px) / np.bincount(square)[:, None],
        details=raw.details | {"bin_um": bin_um},
    )


def _placed(matrix: TenxMatrix, places: Places, raw: RawRna) -> RawRna:
    """The spots in tissue, with their positions."""
    rows, at = _rows_in_tissue(matrix, places)
    left_out = len(matrix.barcodes) - len(rows)
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
    placed = replace(
        raw,
        matrix=matrix.counts[rows],
        observations=[matrix.barcodes[row] for row in rows],
        evidence="; ".join((raw.evidence, *words)),
        xy_px=places.xy_px[at],
        details=details,
    )
    return _binned(placed, places.array[at], bin_um) if bin_um else placed


def _added_up(raw: RawRna) -> RawRna:
    """All barcodes as one profile, whatever their names."""
    from scipy.sparse import csr_matrix

    barcodes = len(raw.observations)
    return replace(
        raw,
        matrix=csr_matrix(column_sums(raw.matrix)),
        observations=["sum"],
        evidence=f"{raw.evidence}; {barcodes} barcodes without positions added up to one profile (pseudobulk)",
        details=raw.details | {"barcodes": barcodes},
    )


def _profile(matrix: TenxMatrix, places: Places | None, options: ReadOptions) -> RnaProfile:
    """The spots in tissue, or all barcodes added up where there are no positions."""
    evidence = "; ".join((matrix.format, *matrix.evidence))
    scale: ScaleName | None = "counts" if matrix.whole_numbers else None
    details = {"format": matrix.format}
    raw = RawRna(matrix.ids, matrix.symbols, matrix.counts, matrix.barcodes, evidence, None, scale, details)
    if places is None and not matrix.barcodes:
        raise UnusableError("a 10x matrix without barcodes")
    return assemble(_placed(matrix, places, raw) if places is not None else _added_up(raw), options)


def read_tenx_h5(path: Path, options: ReadOptions) -> RnaProfile:
    """The profile in a 10x ``.h5`` file, with the positions in ``spatial/`` beside it."""
    return _profile(read_h5_matrix(path), read_places(path), options)


def read_market(path: Path, options: ReadOptions) -> RnaProfile:
    """The profile in a ``matrix.mtx`` and the two lists of names beside it."""
    return _profile(read_folder_matrix(_market_files(path)), read_places(path.parent), options)


def read_tenx_folder(path: Path, options: ReadOptions) -> RnaProfile:
    """The profile in a 10x matrix folder or an output folder of Cell Ranger or Space Ranger."""
    matrix = matrix_in(path)
    if not matrix.is_dir():
        return read_tenx_h5(matrix, options)
    return _profile(read_folder_matrix(_folder_files(matrix)), read_places(matrix), options)
