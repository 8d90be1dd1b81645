"""Parts of an AnnData group beside its matrix: positions, tissue, libraries and donors, and the scale it states."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mupd.base.rna_scales import LOG1P, LOG2P1, LOG10P1
from mupd.errors import UnusableError
from mupd.rna.size_limits import h5_numbers, h5_strings

_LIBRARY_COLUMNS = ("library_id", "library", "slide", "slide_id", "sample", "sample_id", "sampleid", "orig.ident")
_DONOR_COLUMNS = ("donor", "donor_id", "patient", "patient_id", "subject", "subject_id", "individual")
_LEAST_POSITIONS = 30
_SAME_PITCH = 0.1
_LEAST_SHARE_AT_PITCH = 0.5


def part_of(group: Any, *names: str) -> Any:
    """The node at a path of names, or None. AnnData may write an empty array in place of a group."""
    import h5py

    for name in names:
        if not isinstance(group, h5py.Group) or name not in group:
            return None
        group = group[name]
    return group


def is_null(node: Any) -> bool:
    """Whether a node of an AnnData file stands for None."""
    import h5py

    encoding = node.attrs.get("encoding-type", "")
    return encoding == "null" or (isinstance(node, h5py.Dataset) and node.shape is None)


def stated_scale(group: Any, stored: NDArray[Any]) -> str:
    """The scale that ``uns["log1p"]`` states, as :func:`mupd.base.rna_scales.check_stated` names it; else ``auto``.

    scanpy writes the base, or None for the natural logarithm.
    """
    import h5py

    node = part_of(group, "uns", "log1p")
    if node is None or not stored.size or not np.any(stored != np.rint(stored)):
        return "auto"
    base_node = part_of(group, "uns", "log1p", "base")
    if base_node is None or is_null(base_node):
        return LOG1P.name
    value = base_node[()] if isinstance(base_node, h5py.Dataset) and base_node.shape == () else None
    if value is None or not np.isreal(value):
        return "auto"
    base = float(value)
    named = {2.0: LOG2P1.name, 10.0: LOG10P1.name}
    if abs(base - np.e) < 1e-6:
        return LOG1P.name
    if base not in named:
        raise UnusableError(f"uns['log1p']['base'] is {base:g}: expected 2, e or 10")
    return named[base]


def positions_of(file: Any, group: Any, rows: int) -> NDArray[np.float64] | None:
    """``obsm["spatial"]``: (rows, 2) x and y in pixels of the slide's level 0; None if it is missing.

    Raises
    ------
    UnusableError
        If it has another shape, or lacks positions.
    """
    # In MuData, those of the modality take precedence over those of the whole file.
    nodes = [node for item in (group, file) if (node := part_of(item, "obsm", "spatial")) is not None]
    if not nodes:
        return None
    array = h5_numbers(nodes[0], "obsm['spatial']")
    if len(array.shape) != 2 or array.shape[0] != rows or array.shape[1] < 2:
        raise UnusableError(f"obsm['spatial'] has the shape {array.shape}: expected ({rows}, 2), x and y in pixels")
    xy = array[:, :2].astype(np.float64)
    if lost := int((~np.isfinite(xy)).any(1).sum()):
        raise UnusableError(f"{lost} of {rows} spots have no position in obsm['spatial'] (NaN)")
    return xy


def in_tissue(group: Any, rows: int) -> NDArray[np.bool_] | None:
    """The column ``in_tissue``, stored as numbers, booleans or words; None where it is missing or all false."""
    import h5py

    if (node := part_of(group, "obs", "in_tissue")) is None:
        return None
    if isinstance(node, h5py.Dataset) and node.dtype.kind in "iufb":
        flags = np.asarray(h5_numbers(node, "in_tissue")[()] > 0)
    else:
        flags = np.array([word.lower() in ("1", "true", "1.0") for word in h5_strings(node, "in_tissue")], bool)
    return flags if len(flags) == rows and flags.any() else None


def refuse_several_donors(group: Any, rows: int) -> None:
    """Raise UnusableError if the observations are of several libraries, samples or donors.

    Libraries and samples are named in the message; donors are counted, because their names may identify them.
    """
    import h5py

    spatial = part_of(group, "uns", "spatial")
    libraries = [str(name) for name in spatial if isinstance(spatial[name], h5py.Group)] if _is_group(spatial) else []
    if len(libraries) > 1:
        _refuse_several(len(libraries), "libraries", "uns['spatial']", libraries)
    for column in group["obs"]:
        name = str(column).lower()
        if name not in (*_LIBRARY_COLUMNS, *_DONOR_COLUMNS):
            continue
        try:
            names = h5_strings(group["obs"][column], "obs")
        except UnusableError:  # numbers with fractions, or no list of names: it tells no donors apart
            continue
        distinct = sorted(set(filter(None, names)))
        # As many as rows: a name of each observation.
        if len(names) == rows and 1 < len(distinct) < rows:
            is_donor = name in _DONOR_COLUMNS
            what = "donors" if is_donor else "libraries or samples"
            _refuse_several(len(distinct), what, f"obs[{str(column)!r}]", [] if is_donor else distinct)


def _is_group(node: Any) -> bool:
    import h5py

    return isinstance(node, h5py.Group)


def _refuse_several(count: int, what: str, where: str, names: list[str]) -> None:
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    shown = f" ({', '.join(names[:4])}{more})" if names else ""
    raise UnusableError(f"{count} {what} in one input, by {where}{shown}: give each case a file of its own")


def refuse_cells(xy: NDArray[np.float64]) -> None:
    """Raise UnusableError if positions (observations, 2) lie on no grid, as those of single cells or beads.

    Spots and bins of an array have their nearest neighbour at one distance; in a random arrangement about a quarter
    have it within 10 % of the commonest.
    """
    if len(xy) < _LEAST_POSITIONS:
        return
    from scipy.spatial import cKDTree

    distances = cKDTree(xy).query(xy, k=2)[0][:, 1]
    pitch = float(np.median(distances))
    share = float(np.mean(np.abs(distances - pitch) <= _SAME_PITCH * pitch))
    if share < _LEAST_SHARE_AT_PITCH:
        raise UnusableError(
            f"positions on no grid ({share:.0%} of the observations have their neighbour at the usual distance): "
            "single cells or beads, which are no spots; bin them to squares of about 100 um, or give their sum"
        )
