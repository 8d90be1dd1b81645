"""RNA profiles to whitened components and back, one panel of genes for each kind of profile."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from mupd.base.files import write_json
from mupd.errors import ModelError
from mupd.model.tensors import read_tensors
from mupd.model_folder.contents import read_json_file, read_panels

Kind = Literal["spot", "bulk"]
KINDS: tuple[Kind, ...] = ("spot", "bulk")
SPREAD_FILE = "spread.json"
_LEAST_SD = 0.05


@dataclass(frozen=True)
class Panel:
    """Genes of one kind of profile and the linear code over them.

    Attributes
    ----------
    genes
        Gene symbols, g of them.
    mean, sd
        (g,), of log1p counts per 10,000 of the panel's genes over the training profiles.
    components, scale
        (k, g) principal axes of the standardised values, and (k,) standard deviations along them.
    residual
        (g,) standard deviation of what the components leave of the standardised values: count noise
        for the most part.
    """

    genes: tuple[str, ...]
    mean: NDArray[np.float32]
    sd: NDArray[np.float32]
    components: NDArray[np.float32]
    scale: NDArray[np.float32]
    residual: NDArray[np.float32]


@dataclass(frozen=True)
class Spread:
    """What draws of one direction lack in spread: noise of mean 0 that a measurement of them gets.

    Attributes
    ----------
    components
        (k,) standard deviations of noise on the whitened components, so that genes of one programme move together.
    residual
        Factor on the panel's residual.
    """

    components: tuple[float, ...]
    residual: float


Spreads = dict[tuple[Kind, str], Spread]
"""Spread by kind of profile and given modalities (``text``, ``he+text``); none = draws are taken as they are."""

_TENSORS = ("mean", "sd", "components", "scale", "residual")


def panel_values(log_cp10k: NDArray[np.floating], genes: Sequence[str], panel: Sequence[str]) -> NDArray[np.float32]:
    """Values over a panel, NaN where the profile lacks the gene.

    Depth is taken over the panel's own genes, so that a profile of the whole transcriptome and one
    of a gene panel come out alike.

    Parameters
    ----------
    log_cp10k
        (observations, genes), log1p of counts per 10,000.
    """
    where = {gene: column for column, gene in enumerate(genes)}
    columns = [where.get(gene, -1) for gene in panel]
    present = np.array([column >= 0 for column in columns])
    values = np.full((len(log_cp10k), len(panel)), np.nan, np.float32)
    linear = np.expm1(np.asarray(log_cp10k, np.float64)[:, [c for c in columns if c >= 0]])
    total = linear.sum(1, keepdims=True)
    values[:, present] = np.log1p(1e4 * linear / np.where(total > 0, total, 1.0))
    return values


def _check_width(values: NDArray[np.floating], width: int, of: str) -> None:
    if np.ndim(values) != 2 or values.shape[1] != width:
        raise ValueError(f"rna: found values of shape {np.shape(values)}; expected (observations, {width} {of})")


class RnaCodec:
    """Encodes profiles of both kinds to `dim` whitened components and decodes them."""

    def __init__(self, panels: dict[Kind, Panel], spreads: Spreads | None = None) -> None:
        self.panels, self.spreads = panels, dict(spreads or {})

    def with_spread(self, kind: Kind, given: str, spread: Spread | None) -> RnaCodec:
        """The same codec with another spread of the draws of one direction; None = none."""
        others = {key: value for key, value in self.spreads.items() if key != (kind, given)}
        return RnaCodec(self.panels, others if spread is None else others | {(kind, given): spread})

    @property
    def dim(self) -> int:
        """Number of components."""
        return int(self.panels["spot"].scale.shape[0])

    @property
    def genes(self) -> list[str]:
        """All genes of either panel, sorted."""
        return sorted(set(self.panels["spot"].genes) | set(self.panels["bulk"].genes))

    def standardise(self, log_cp10k: NDArray[np.floating], genes: Sequence[str], kind: Kind) -> NDArray[np.float32]:
        """Standardised panel values (observations, g), 0 (the model's mean) where a gene is missing.

        Raises
        ------
        ValueError
            If the values are not of shape (observations, genes), one is not finite, or no gene is in
            the panel.
        """
        panel = self.panels[kind]
        _check_width(log_cp10k, len(genes), "genes")
        if bad := int((~np.isfinite(log_cp10k)).sum()):
            raise ValueError(f"rna: found {bad} values that are NaN or infinite; expected numbers")
        values = panel_values(log_cp10k, genes, panel.genes)
        if np.isnan(values).all():
            raise ValueError(f"rna: found none of the model's {len(panel.genes)} {kind} genes; expected some")
        return np.nan_to_num((values - panel.mean) / panel.sd, nan=0.0)

    def encode(self, log_cp10k: NDArray[np.floating], genes: Sequence[str], kind: Kind) -> NDArray[np.float32]:
        """Whitened components (observations, dim) of log1p CP10k values (observations, genes)."""
        panel = self.panels[kind]
        return (self.standardise(log_cp10k, genes, kind) @ panel.components.T / panel.scale).astype(np.float32)

    def bulk_as_spot(self, log_cp10k: NDArray[np.floating], genes: Sequence[str]) -> NDArray[np.float32]:
        """Spot components (observations, dim) of bulk profiles, by the genes that both panels share.

        A gene counts by how far it is from a typical bulk tumour, in that panel's standard
        deviations. This leaves the trained domain of whatever was trained on spots alone.
        """
        bulk, spot = self.panels["bulk"], self.panels["spot"]
        values = self.standardise(log_cp10k, genes, "bulk")
        where = {gene: column for column, gene in enumerate(bulk.genes)}
        shared = [(column, where[gene]) for column, gene in enumerate(spot.genes) if gene in where]
        moved = np.zeros((len(values), len(spot.genes)), np.float32)
        moved[:, [to for to, _ in shared]] = values[:, [source for _, source in shared]]
        return (moved @ spot.components.T / spot.scale).astype(np.float32)

    def condition(self, components: NDArray[np.floating], kind: Kind) -> NDArray[np.float32]:
        """Vectors (observations, dim + 1) that the transformers read: component scores and the kind.

        The scores keep their relative variances (whitened ones would give count noise the weight
        of the leading programmes); the last column is 1 for bulk, 0 for spots.
        """
        _check_width(components, self.dim, "components")
        scale = self.panels[kind].scale
        scores = components * scale / np.median(scale)
        return np.pad(scores, ((0, 0), (0, 1)), constant_values=float(kind == "bulk")).astype(np.float32)

    def decode(self, components: NDArray[np.floating], kind: Kind) -> NDArray[np.float32]:
        """Expected panel values (observations, g), log1p counts per 10,000 of the panel, not negative."""
        return self._values(self._standardised(components, kind), kind)

    def measure(
        self, components: NDArray[np.floating], kind: Kind, rng: np.random.Generator, given: str | None = None
    ) -> NDArray[np.float32]:
        """Panel values as a measurement would give them: :meth:`decode` with the noise that components leave out.

        The noise is normal, independent between genes, and of the size seen in training. Where draws from what is
        `given` (``text``) were found too narrow, it is wider by their :class:`Spread`; its mean stays 0.
        """
        standardised = self._standardised(components, kind)
        noise = rng.standard_normal(standardised.shape, np.float32) * self.panels[kind].residual
        spread = self.spreads.get((kind, given)) if given is not None else None
        if spread is not None:
            wider = rng.standard_normal(components.shape, np.float32) * np.asarray(spread.components, np.float32)
            noise = noise * np.float32(spread.residual) + self._standardised(wider, kind)
        return self._values(standardised + noise, kind)

    def _standardised(self, components: NDArray[np.floating], kind: Kind) -> NDArray[np.floating]:
        _check_width(components, self.dim, "components")
        panel = self.panels[kind]
        return (components * panel.scale) @ panel.components

    def _values(self, standardised: NDArray[np.floating], kind: Kind) -> NDArray[np.float32]:
        panel = self.panels[kind]
        return np.clip(standardised * panel.sd + panel.mean, 0, None).astype(np.float32)

    def save_pretrained(self, folder: Path) -> None:
        """Write codec.safetensors and config.json (genes of each kind)."""
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {}
        for kind, panel in self.panels.items():
            for name in _TENSORS:
                tensors[f"{kind}.{name}"] = torch.from_numpy(np.ascontiguousarray(getattr(panel, name)))
        save_file(tensors, folder / "codec.safetensors")
        write_json(folder / "config.json", {kind: list(panel.genes) for kind, panel in self.panels.items()})

        self.save_spreads(folder)

    def save_spreads(self, folder: Path) -> None:
        """Write spread.json, {kind: {given: {components, residual}}}, or remove it where there is none."""
        if not self.spreads:
            (folder / SPREAD_FILE).unlink(missing_ok=True)
            return
        value: dict[str, dict[str, object]] = {}
        for (kind, given), spread in sorted(self.spreads.items()):
            value.setdefault(kind, {})[given] = asdict(spread)
        write_json(folder / SPREAD_FILE, value)

    @classmethod
    def from_pretrained(cls, folder: Path) -> RnaCodec:
        """Load what :meth:`save_pretrained` wrote.

        Raises
        ------
        ModelError
            If a file is missing or damaged, or genes and tensors disagree.
        """
        genes = read_panels(folder.parent, folder.name)
        if set(genes) != set(KINDS):
            raise ModelError(f"{folder / 'config.json'}: found {sorted(genes)}; expected the genes of {sorted(KINDS)}")
        path = folder / "codec.safetensors"
        dim = _components_of(path)
        shapes: dict[str, tuple[int, ...]] = {}
        for kind in KINDS:
            count = len(genes[kind])
            shapes |= {f"{kind}.{name}": (count,) for name in ("mean", "sd", "residual")}
            shapes |= {f"{kind}.components": (dim, count), f"{kind}.scale": (dim,)}
        tensors = {name: tensor.numpy() for name, tensor in read_tensors(path, shapes).items()}
        panels: dict[Kind, Panel] = {
            kind: Panel(genes[kind], *(tensors[f"{kind}.{name}"] for name in _TENSORS)) for kind in KINDS
        }
        return cls(panels, _read_spreads(folder / SPREAD_FILE, dim))


def _read_spreads(path: Path, dim: int) -> Spreads:
    value = read_json_file(path)
    if value is None:
        return {}
    where = f"{path.parent.name}/{path.name} of the model"
    if not (isinstance(value, dict) and all(isinstance(row, dict) for row in value.values())):
        raise ModelError(f"{where}: found {value!r:.80}; expected {{kind: {{given: spread}}}}")
    if unknown := sorted(set(value) - set(KINDS)):
        raise ModelError(f"{where}: found {unknown}; expected some of {list(KINDS)}")
    spreads: Spreads = {}
    for kind in KINDS:
        for given, row in value.get(kind, {}).items():
            keys = sorted(row) if isinstance(row, dict) else row
            if keys != ["components", "residual"]:
                raise ModelError(f"{where} [{kind}.{given}]: found {keys!r:.80}; expected components and residual")
            numbers = row["components"]
            if not (isinstance(numbers, list) and len(numbers) == dim and all(map(_size, [*numbers, row["residual"]]))):
                raise ModelError(f"{where} [{kind}.{given}]: expected {dim} numbers and a factor, none under 0")
            spreads[kind, given] = Spread(tuple(float(number) for number in numbers), float(row["residual"]))
    return spreads


def _size(number: object) -> bool:
    return isinstance(number, int | float) and not isinstance(number, bool) and 0 <= number < math.inf


def _components_of(path: Path) -> int:
    """Number of components, by the spot panel's scale; 0 if the file does not say."""
    try:
        with safe_open(path, "pt") as stream:
            return int(stream.get_slice("spot.scale").get_shape()[0])
    except (OSError, SafetensorError, IndexError):
        return 0


def fit_panel(values: NDArray[np.float32], genes: Sequence[str], dim: int) -> Panel:
    """Fit a panel to log1p CP10k values (profiles, genes) without missing values."""
    from sklearn.decomposition import PCA

    mean, sd = values.mean(0), np.maximum(values.std(0), _LEAST_SD)
    standardised = (values - mean) / sd
    pca = PCA(dim, random_state=0).fit(standardised)
    left = standardised - pca.inverse_transform(pca.transform(standardised))
    return Panel(
        tuple(genes),
        mean.astype(np.float32),
        sd.astype(np.float32),
        pca.components_.astype(np.float32),
        np.sqrt(pca.explained_variance_).astype(np.float32),
        left.std(0).astype(np.float32),
    )
