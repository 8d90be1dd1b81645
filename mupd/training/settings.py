"""Sections of a training configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from mupd.config.section import NotNegative, section
from mupd.model.transformer import Target

Positive = Annotated[int, Field(ge=1)]

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")]
"""Name of a model, e.g. ``mupd-mini``."""
Preset = Literal["mini", "S", "B", "L", "XL"]
"""Named size of a trunk, see :mod:`mupd.model.presets`."""
TileBalance = Literal["classes", "organs"]
"""How often each tile is drawn, see :func:`mupd.training.public.he_batches.tile_weights`."""


@section
class LoopSettings:
    """How long and how a network is optimised.

    Attributes
    ----------
    steps
        Optimiser steps in total, resumed runs included.
    learning_rate, warmup_steps
        Peak of AdamW's cosine schedule and its linear warm-up.
    ema
        Decay of the exponential moving average of the weights.
    clip
        Largest norm of the gradient over all parameters.
    checkpoint_every
        Steps between checkpoints: as many are lost at most if the process is killed.
    max_minutes
        Save and stop after this time; 0 = no limit.
    bf16
        Compute losses under bfloat16 autocast; weights stay 32-bit.
    """

    steps: Positive = 1000
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    warmup_steps: Annotated[int, Field(ge=0)] = 100
    weight_decay: NotNegative = 0.01
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.999
    clip: Annotated[float, Field(gt=0)] = 1.0
    checkpoint_every: Positive = 100
    log_every: Positive = 20
    max_minutes: NotNegative = 0.0
    seed: Annotated[int, Field(ge=0)] = 0
    bf16: bool = False


@section
class TargetSettings:
    """How a target takes part in training.

    Attributes
    ----------
    batch_size
        Samples per step and process.
    every
        The target takes part in every n-th step; small data sets are memorised otherwise.
    weight
        Of its loss.
    dropout
        In the trunk's feed-forward layers.
    """

    batch_size: Positive
    every: Positive = 1
    weight: Annotated[float, Field(gt=0)] = 1.0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


@section
class AlignSettings:
    """How the trunk's features are aligned to those of a frozen encoder.

    Attributes
    ----------
    encoder
        Folder of a vision transformer of ``transformers``, or ``timm:NAME``.
    block
        Block of the trunk whose tokens are aligned, from 0.
    weight, cls_weight
        Weights of the two losses beside the velocity's.
    """

    encoder: Annotated[str, Field(min_length=1)]
    block: Annotated[int, Field(ge=0)]
    weight: NotNegative = 0.5
    cls_weight: NotNegative = 0.03


@section
class CohortSettings:
    """A user's own cohort as training data.

    Attributes
    ----------
    configfile
        Run configuration with the sample sheet.
    share
        Of the samples of a batch, where public data are given too.
    windows
        Most windows of a slide.
    """

    configfile: Path
    share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    windows: Positive = 512


@section
class DataSettings:
    """What is trained on: the three public sets, a cohort, or both.

    Attributes
    ----------
    her2st, tcga, tiles
        Folders of the public data: all three or none.
    tile_share, tile_balance
        Share of the public H&E windows that are tiles, and how often each tile is drawn.
    tile_reports
        Whether real reports are among the texts of tiles.
    """

    her2st: Path | None = None
    tcga: Path | None = None
    tiles: Path | None = None
    tile_share: Annotated[float, Field(ge=0, lt=1)] = 0.25
    tile_balance: TileBalance = "classes"
    tile_reports: bool = False
    cohort: CohortSettings | None = None


@section
class VaeSettings(LoopSettings):
    """Training of the autoencoder.

    Attributes
    ----------
    finish_steps, finish_noise
        Steps in which the decoder alone is refined, and the largest noise on the latents in them.
    """

    batch_size: Positive = 16
    finish_steps: Annotated[int, Field(ge=0)] = 0
    finish_noise: Annotated[float, Field(ge=0, le=1)] = 0.15


def _all_targets() -> dict[Target, TargetSettings]:
    return {
        "he": TargetSettings(32),
        "rna": TargetSettings(128, every=2, dropout=0.1),
        "text": TargetSettings(128, every=8, dropout=0.3),
    }


@section
class TrunkSettings(LoopSettings):
    """Size and training of the trunk.

    Attributes
    ----------
    preset
        Named size. None = that of the base's trunk or, without a base, mini.
    width, depth, heads, stem_width
        Instead of those of the preset.
    """

    preset: Preset | None = None
    width: Annotated[int, Field(ge=32, multiple_of=32)] | None = None
    depth: Positive | None = None
    heads: Positive | None = None
    stem_width: Annotated[int, Field(ge=8, multiple_of=8)] | None = None
    align: AlignSettings | None = None
    targets: Annotated[dict[Target, TargetSettings], Field(min_length=1)] = Field(default_factory=_all_targets)
