"""Batches of a user's own cases, and batches drawn from several sources together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mupd.model.attention import Conditions
from mupd.model.encoders import TEXT_DIM, TextEncoder, TileEncoder
from mupd.model.pathway_scores import PathwayScorer
from mupd.model.record_codec import RecordCodec
from mupd.model.regions import HE_WINDOW_PX, NATIVE_MPP, he_extra
from mupd.model.rna_codec import RnaCodec
from mupd.reports.record.fields import render_record
from mupd.rna.profiles import to_log_cp10k
from mupd.training.cohort.cases import TrainingCase
from mupd.training.cohort.windows import MARGIN_PX, Windows
from mupd.training.he_batches import RNA_NOISE as SPOT_NOISE
from mupd.training.he_batches import STREAM_DROPOUT
from mupd.training.vector_batches import FEATURE_NOISE, SCORE_NOISE, noisy, noisy_profile
from mupd.training.vector_pairs import bag, padded

_MOST_CHUNKS, _MOST_TILES, _MOST_SPOTS = 8, 16, 64
Rows = list[NDArray[np.float32] | None]


@dataclass(frozen=True)
class EncodedCase:
    """A case as the trunk reads it.

    Attributes
    ----------
    windows, tiles
        Windows of its slide, and their projected features (n, dim).
    components
        (m, dim) of its RNA: a row a spot, or one.
    conditions, pathways
        The same profiles as conditions.
    he_conditions
        (m, dim + 1) as conditions of H&E: of a bulk profile, its genes read as a spot's.
    bulk
        Whether the profile is a bulk one.
    texts
        Forms of its text, each (chunks, 384).
    """

    case_id: str
    windows: Windows | None
    tiles: NDArray[np.float32] | None
    components: NDArray[np.float32] | None
    conditions: NDArray[np.float32] | None
    pathways: NDArray[np.float32] | None
    he_conditions: NDArray[np.float32] | None
    bulk: bool
    texts: list[NDArray[np.float32]]
    record: dict[str, str]

    @property
    def spatial(self) -> bool:
        """Whether each window has a spot of its own."""
        return self.windows is not None and len(self.windows.spots) > 0


def encode_case(
    case: TrainingCase,
    windows: Windows | None,
    codec: RnaCodec,
    scorer: PathwayScorer,
    tiles: TileEncoder,
    texts: TextEncoder | Any,
    records: RecordCodec,
) -> EncodedCase:
    """Encode a case; fields and values that the model's records lack are dropped."""
    components = conditions = pathways = he_conditions = None
    profile = case.profile
    if profile is not None:
        values = to_log_cp10k(profile)
        components = codec.encode(values, profile.genes, profile.kind)
        conditions = codec.condition(components, profile.kind)
        pathways = scorer.score(values, profile.genes, profile.kind)[0]
        he_conditions = conditions
        if profile.kind == "bulk":
            he_conditions = codec.condition(codec.bulk_as_spot(values, profile.genes), "spot")
    record = {k: v for k, v in case.record.items() if v in records.fields.get(k, ())}
    forms = [] if case.text is None else [texts(case.text)]
    if record:
        forms.append(texts(render_record(record)))
    return EncodedCase(
        case.case_id,
        windows,
        None if windows is None else tiles.project(windows.raw),
        components,
        conditions,
        pathways,
        he_conditions,
        profile is not None and profile.kind == "bulk",
        forms if case.text is not None else [],
        record,
    )


def _kept(rows: NDArray[np.float32], rng: np.random.Generator, dropout: float) -> NDArray[np.float32] | None:
    return None if rng.random() < dropout else rows


def _text_of(case: EncodedCase, rng: np.random.Generator, dropout: float) -> NDArray[np.float32] | None:
    if not case.texts or rng.random() < dropout:
        return None
    return bag(case.texts[rng.integers(len(case.texts))], _MOST_CHUNKS, rng)


@dataclass
class CohortHe:
    """Windows of H&E given the RNA of their spot or of the case, its text, or both."""

    cases: list[EncodedCase]
    rna_dim: int
    sets: int

    def batch(self, size: int, rng: np.random.Generator) -> tuple[Tensor, Conditions, Tensor]:
        """Images (size, 3, 128, 128) in [-1, 1], conditions, extra (size, 2)."""
        rna, pathways, texts = Rows(), Rows(), Rows()
        crops, extra = [], torch.zeros(size, 2)
        for index in range(size):
            case = self.cases[rng.integers(len(self.cases))]
            windows = case.windows
            if windows is None:
                raise ValueError(f"{case.case_id}: found no windows; expected a case with H&E")
            row = int(rng.integers(len(windows.pixels)))
            y, x = rng.integers(0, 2 * MARGIN_PX + 1, 2)
            crop = np.rot90(windows.pixels[row, y : y + HE_WINDOW_PX, x : x + HE_WINDOW_PX], int(rng.integers(4)))
            crops.append(np.ascontiguousarray(crop[:, ::-1] if rng.random() < 0.5 else crop))
            if case.he_conditions is None or case.pathways is None:
                rna.append(None)
                pathways.append(None)
                texts.append(_text_of(case, rng, STREAM_DROPOUT))
            else:
                spot = int(windows.spots[row]) if case.spatial else 0
                found = noisy(case.he_conditions[spot][None], SPOT_NOISE, rng)
                found[:, -1] = case.he_conditions[spot, -1]  # the kind of profile is known exactly
                rna.append(_kept(found, rng, 2 * STREAM_DROPOUT))
                pathways.append(_kept(case.pathways[spot][None], rng, STREAM_DROPOUT))
                texts.append(_text_of(case, rng, 0.5))
            if rng.random() < 0.5:
                extra[index] = he_extra(NATIVE_MPP)
        images = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 127.5 - 1
        conditions = {
            "rna": padded(rna, self.rna_dim),
            "pathways": padded(pathways, self.sets),
            "text": padded(texts, TEXT_DIM),
        }
        return images, conditions, extra


@dataclass
class CohortRna:
    """RNA of spots given their tile and the case's text, and bulk RNA given the text."""

    cases: list[EncodedCase]
    tile_dim: int

    def batch(self, size: int, rng: np.random.Generator) -> tuple[Tensor, Conditions, Tensor]:
        """Components (size, dim), conditions, extra (size, 2) whose first entry is 1 for bulk."""
        targets, tiles, texts, extra = [], Rows(), Rows(), torch.zeros(size, 2)
        for index in range(size):
            case = self.cases[rng.integers(len(self.cases))]
            if case.components is None:
                raise ValueError(f"{case.case_id}: found no RNA; expected a case with a profile")
            if case.spatial and case.windows is not None and case.tiles is not None:
                row = int(rng.integers(len(case.tiles)))
                targets.append(case.components[case.windows.spots[row]])
                tiles.append(_kept(noisy(case.tiles[row][None], FEATURE_NOISE, rng), rng, STREAM_DROPOUT))
                texts.append(_text_of(case, rng, 0.5))
            else:
                targets.append(case.components[rng.integers(len(case.components))])
                tiles.append(None)
                texts.append(_text_of(case, rng, STREAM_DROPOUT))
            extra[index, 0] = float(case.bulk)
        conditions = {"he": padded(tiles, self.tile_dim), "text": padded(texts, TEXT_DIM)}
        return torch.from_numpy(np.stack(targets)), conditions, extra


@dataclass
class CohortRecords:
    """Records that the texts state, given bags of tiles, RNA, or both."""

    cases: list[EncodedCase]
    codec: RecordCodec
    dims: dict[str, int]

    def batch(self, size: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, Conditions]:
        """One-hot blocks (size, fields, block), known fields (size, fields) bool, conditions."""
        rows: dict[str, Rows] = {name: Rows() for name in ("he", "rna", "pathways")}
        pairs = []
        for _ in range(size):
            case = self.cases[rng.integers(len(self.cases))]
            pairs.append(self.codec.encode(case.record))
            which = rng.random()
            both = case.tiles is not None and case.conditions is not None
            tiles = case.tiles if not both or which < 2 / 3 else None
            rows["he"].append(None if tiles is None else noisy(bag(tiles, _MOST_TILES, rng), FEATURE_NOISE, rng))
            if case.conditions is None or case.pathways is None or (both and which < 1 / 3):
                rows["rna"].append(None)
                rows["pathways"].append(None)
                continue
            both_kinds = np.concatenate([case.conditions, case.pathways], axis=1)
            mean = bag(both_kinds, _MOST_SPOTS, rng).mean(0, keepdims=True)
            rna, scores = np.split(mean, [case.conditions.shape[1]], axis=1)
            rows["rna"].append(_kept(noisy_profile(rna, rng), rng, STREAM_DROPOUT))
            rows["pathways"].append(noisy(scores, SCORE_NOISE, rng))
        conditions = {name: padded(column, self.dims[name]) for name, column in rows.items()}
        return torch.stack([values for values, _ in pairs]), torch.stack([known for _, known in pairs]), conditions

    def log_probabilities(self, logits: Tensor) -> Tensor:
        """Log-probabilities of each field's values."""
        return self.codec.log_probabilities(logits)


def join_conditions(parts: Sequence[tuple[int, Conditions]]) -> Conditions:
    """Conditions of batches of known sizes, one behind the other; a stream that one lacks is absent in its rows."""
    names = dict.fromkeys(name for _, conditions in parts for name in conditions)
    joined: Conditions = {}
    for name in names:
        found = [conditions[name] for _, conditions in parts if name in conditions]
        most, dim = max(tokens.shape[1] for tokens, _ in found), found[0][0].shape[2]
        total = sum(size for size, _ in parts)
        tokens, mask = torch.zeros(total, most, dim), torch.zeros(total, most, dtype=torch.bool)
        start = 0
        for size, conditions in parts:
            if name in conditions:
                own, given = conditions[name]
                tokens[start : start + size, : own.shape[1]] = own
                mask[start : start + size, : own.shape[1]] = given
            start += size
        joined[name] = (tokens, mask)
    return joined


@dataclass
class Mixed:
    """Several sources of one target as one: each sample comes from one of them, by their shares."""

    sources: list[Any]
    shares: list[float]
    codec: RecordCodec | None = field(default=None)

    def batch(self, size: int, rng: np.random.Generator) -> Any:
        """As the sources' own batches."""
        counts = rng.multinomial(size, np.array(self.shares) / sum(self.shares))
        chosen = [(int(n), source.batch(int(n), rng)) for n, source in zip(counts, self.sources, strict=True) if n]
        columns: list[Any] = []
        for place in range(3):
            values = [batch[place] for _, batch in chosen]
            if isinstance(values[0], dict):
                columns.append(join_conditions([(n, batch[place]) for n, batch in chosen]))
            else:
                columns.append(torch.cat(values))
        return tuple(columns)

    def log_probabilities(self, logits: Tensor) -> Tensor:
        """Log-probabilities of a record's fields."""
        if self.codec is None:
            raise ValueError("codec: found none; expected that of the records")
        return self.codec.log_probabilities(logits)
