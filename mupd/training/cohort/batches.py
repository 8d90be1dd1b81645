"""Batches of a user's own cases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mupd.model.encoders import TEXT_DIM, TileEncoder
from mupd.model.pathway_scores import PathwayScorer
from mupd.model.record_codec import RecordCodec
from mupd.model.regions import from_uint8, he_extra
from mupd.model.rna_codec import RnaCodec
from mupd.model_folder.geometry import TRAINED
from mupd.reports.record.fields import render_record
from mupd.rna.profiles import to_log_cp10k
from mupd.training.augment import (
    FEATURE_NOISE,
    MOST_CHUNKS,
    MOST_SPOTS,
    MOST_TILES,
    RNA_NOISE,
    SCORE_NOISE,
    SPOT_NOISE,
    STREAM_DROPOUT,
    bag,
    dropped,
    noisy,
    noisy_profile,
    turned,
)
from mupd.training.batches import Batch
from mupd.training.cohort.cases import TrainingCase
from mupd.training.cohort.windows import MARGIN_PX, Windows
from mupd.training.public.vector_batches import RecordSample, record_batch
from mupd.training.tokens import Rows, padded


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
    record
        The fields and values that the model's records have.
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


@dataclass(frozen=True)
class Encoders:
    """What turns the inputs of a case into vectors."""

    codec: RnaCodec
    scorer: PathwayScorer
    tiles: TileEncoder
    texts: Callable[[str], NDArray[np.float32]]
    records: RecordCodec


def encode_case(case: TrainingCase, windows: Windows | None, encoders: Encoders) -> EncodedCase:
    """Encode a case; fields and values that the model's records lack are dropped."""
    components = conditions = pathways = he_conditions = None
    profile, codec = case.profile, encoders.codec
    if profile is not None:
        values = to_log_cp10k(profile)
        components = codec.encode(values, profile.genes, profile.kind)
        conditions = codec.condition(components, profile.kind)
        pathways = encoders.scorer.score(values, profile.genes, profile.kind)[0]
        he_conditions = conditions
        if profile.kind == "bulk":
            he_conditions = codec.condition(codec.bulk_as_spot(values, profile.genes), "spot")
    record = {k: v for k, v in case.record.items() if v in encoders.records.fields.get(k, ())}
    texts = []
    if case.text is not None:
        texts = [encoders.texts(text) for text in (case.text, render_record(record) if record else "") if text]
    return EncodedCase(
        case_id=case.case_id,
        windows=windows,
        tiles=None if windows is None else encoders.tiles.project(windows.raw),
        components=components,
        conditions=conditions,
        pathways=pathways,
        he_conditions=he_conditions,
        bulk=profile is not None and profile.kind == "bulk",
        texts=texts,
        record=record,
    )


def _text_of(case: EncodedCase, dropout: float, rng: np.random.Generator) -> NDArray[np.float32] | None:
    if not case.texts or rng.random() < dropout:
        return None
    return bag(case.texts[rng.integers(len(case.texts))], MOST_CHUNKS, rng)


@dataclass
class CohortHe:
    """Windows of H&E given the RNA of their spot or of the case, its text, or both."""

    cases: Sequence[EncodedCase]
    rna_dim: int
    pathways_dim: int

    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        """Windows, every case as often as any other; the scale is stated for half of them."""
        rna, pathways, texts = Rows(), Rows(), Rows()
        crops, extra = [], torch.zeros(size, 2)
        for index in range(size):
            case = self.cases[int(rng.integers(len(self.cases)))]
            windows = case.windows
            if windows is None:
                raise ValueError(f"{case.case_id}: found no windows; expected a case with H&E")
            row = int(rng.integers(len(windows.pixels)))
            y, x = rng.integers(0, 2 * MARGIN_PX + 1, 2)
            crops.append(turned(windows.pixels[row, y : y + TRAINED.window_px, x : x + TRAINED.window_px], rng))
            if case.he_conditions is None or case.pathways is None:
                rna.append(None)
                pathways.append(None)
                texts.append(_text_of(case, STREAM_DROPOUT, rng))
            else:
                spot = int(windows.spots[row]) if case.spatial else 0
                own = noisy_profile(case.he_conditions[spot][None], SPOT_NOISE, rng)
                rna.append(dropped(own, 2 * STREAM_DROPOUT, rng))
                pathways.append(dropped(case.pathways[spot][None], STREAM_DROPOUT, rng))
                texts.append(_text_of(case, 0.5, rng))
            if rng.random() < 0.5:
                extra[index] = he_extra(TRAINED.mpp)
        conditions = {
            "rna": padded(rna, self.rna_dim),
            "pathways": padded(pathways, self.pathways_dim),
            "text": padded(texts, TEXT_DIM),
        }
        return Batch(from_uint8(np.stack(crops)), conditions, extra)


@dataclass
class CohortRna:
    """RNA of spots given their tile and the case's text, and bulk RNA given the text."""

    cases: Sequence[EncodedCase]
    tile_dim: int

    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        """Components, every case as often as any other."""
        targets, tiles, texts, extra = [], Rows(), Rows(), torch.zeros(size, 2)
        for index in range(size):
            case = self.cases[int(rng.integers(len(self.cases)))]
            if case.components is None:
                raise ValueError(f"{case.case_id}: found no RNA; expected a case with a profile")
            if case.spatial and case.windows is not None and case.tiles is not None:
                row = int(rng.integers(len(case.tiles)))
                targets.append(case.components[case.windows.spots[row]])
                tiles.append(dropped(noisy(case.tiles[row][None], FEATURE_NOISE, rng), STREAM_DROPOUT, rng))
                texts.append(_text_of(case, 0.5, rng))
            else:
                targets.append(case.components[rng.integers(len(case.components))])
                tiles.append(None)
                texts.append(_text_of(case, STREAM_DROPOUT, rng))
            extra[index, 0] = float(case.bulk)
        conditions = {"he": padded(tiles, self.tile_dim), "text": padded(texts, TEXT_DIM)}
        return Batch(torch.from_numpy(np.stack(targets)), conditions, extra)


@dataclass
class CohortRecords:
    """Records that the texts state, given bags of tiles, RNA, or both."""

    cases: Sequence[EncodedCase]
    codec: RecordCodec
    dims: dict[str, int]

    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        """Records, every case as often as any other."""
        return record_batch([self._sample(rng) for _ in range(size)], self.codec, self.dims)

    def _sample(self, rng: np.random.Generator) -> RecordSample:
        case = self.cases[int(rng.integers(len(self.cases)))]
        which = rng.random()
        both = case.tiles is not None and case.conditions is not None
        tiles = None
        if case.tiles is not None and (not both or which < 2 / 3):
            tiles = noisy(bag(case.tiles, MOST_TILES, rng), FEATURE_NOISE, rng)
        if case.conditions is None or case.pathways is None or (both and which < 1 / 3):
            return RecordSample(case.record, tiles, None, None)
        both_kinds = np.concatenate([case.conditions, case.pathways], axis=1)
        mean = bag(both_kinds, MOST_SPOTS, rng).mean(0, keepdims=True)
        rna, pathways = np.split(mean, [case.conditions.shape[1]], axis=1)
        kept = dropped(noisy_profile(rna, RNA_NOISE, rng), STREAM_DROPOUT, rng)
        return RecordSample(case.record, tiles, kept, noisy(pathways, SCORE_NOISE, rng))
