"""Settings that the training configurations of models and of stainers share."""

from __future__ import annotations

from typing import Annotated, TypeVar, cast, dataclass_transform

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as pydantic_dataclass

Positive = Annotated[int, Field(ge=1)]
NotNegative = Annotated[float, Field(ge=0)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")]
"""Name of a model, e.g. ``mupd-mini``."""


Settings = TypeVar("Settings")


@dataclass_transform(frozen_default=True, field_specifiers=(Field,))
def settings(cls: type[Settings]) -> type[Settings]:
    """A frozen dataclass that checks its values; keys that it does not have are refused."""
    return cast("type[Settings]", pydantic_dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True))(cls))


@settings
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


@settings
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


@settings
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
