"""Batches of a user's own cases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mupd.model.encoders import TileEncoder
from mupd.model.pathway_scores import PathwayScorer
from mupd.model.record_codec import RecordCodec
from mupd.model.regions import he_extra
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
from mupd.training.batches import Batch, Dims, HeSample, RecordSample, RnaSample, he_batch, record_batch, rna_batch
from mupd.training.cohort.cases import TrainingCase
from mupd.training.cohort.windows import MARGIN_PX, Windows


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
    dims: Dims

    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        """Windows, every case as often as any other; the scale is stated for half of them."""
        return he_batch([self._sample(rng) for _ in range(size)], self.dims)

    def _sample(self, rng: np.random.Generator) -> HeSample:
        case = self.cases[int(rng.integers(len(self.cases)))]
        windows = case.windows
        if windows is None:
            raise ValueError(f"{case.case_id}: found no windows; expected a case with H&E")
        row = int(rng.integers(len(windows.pixels)))
        y, x = rng.integers(0, 2 * MARGIN_PX + 1, 2)
        window = turned(windows.pixels[row, y : y + TRAINED.window_px, x : x + TRAINED.window_px], rng)
        if case.he_conditions is None or case.pathways is None:
            rna = pathways = None
            text = _text_of(case, STREAM_DROPOUT, rng)
        else:
            spot = int(windows.spots[row]) if case.spatial else 0
            rna = dropped(noisy_profile(case.he_conditions[spot][None], SPOT_NOISE, rng), 2 * STREAM_DROPOUT, rng)
            pathways = dropped(case.pathways[spot][None], STREAM_DROPOUT, rng)
            text = _text_of(case, 0.5, rng)
        extra = he_extra(TRAINED.mpp) if rng.random() < 0.5 else torch.zeros(2)
        return HeSample(window, rna, pathways, text, extra)


@dataclass
class CohortRna:
    """RNA of spots given their tile and the case's text, and bulk RNA given the text."""

    cases: Sequence[EncodedCase]
    dims: Dims

    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        """Components, every case as often as any other."""
        return rna_batch([self._sample(rng) for _ in range(size)], self.dims)

    def _sample(self, rng: np.random.Generator) -> RnaSample:
        case = self.cases[int(rng.integers(len(self.cases)))]
        if case.components is None:
            raise ValueError(f"{case.case_id}: found no RNA; expected a case with a profile")
        if case.spatial and case.windows is not None and case.tiles is not None:
            row = int(rng.integers(len(case.tiles)))
            tiles = dropped(noisy(case.tiles[row][None], FEATURE_NOISE, rng), STREAM_DROPOUT, rng)
            text = _text_of(case, 0.5, rng)
            return RnaSample(case.components[case.windows.spots[row]], tiles, text, case.bulk)
        components = case.components[rng.integers(len(case.components))]
        return RnaSample(components, None, _text_of(case, STREAM_DROPOUT, rng), case.bulk)


@dataclass
class CohortRecords:
    """Records that the texts state, given bags of tiles, RNA, or both."""

    cases: Sequence[EncodedCase]
    codec: RecordCodec
    dims: Dims

    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        """Records, every case as often as any other."""
        return record_batch([self._sample(rng) for _ in range(size)], self.dims, self.codec)

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
