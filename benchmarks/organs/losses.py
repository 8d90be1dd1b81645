"""Losses of the trunk on data it was not trained on, to compare the weights of two trainings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.organs.data import Windows
from mupd.base.progress import track
from mupd.model.pipeline import MuPDPipeline
from mupd.model.regions import from_uint8, he_extra
from mupd.training.public.pairs import Patient, read_patients, with_texts
from mupd.training.tokens import padded
from mupd.training.trunk import interpolate

_TIMES = (0.05, 0.15, 0.3, 0.5, 0.7, 0.9)
_BATCH = 32


@dataclass(frozen=True)
class Loss:
    """Mean over samples, its standard error, and how many samples there are."""

    name: str
    mean: float
    error: float
    of: int


def _loss(name: str, values: NDArray[np.float64]) -> Loss:
    return Loss(name, float(values.mean()), float(values.std() / np.sqrt(len(values))), len(values))


@torch.no_grad()
def text_to_he(pipeline: MuPDPipeline, windows: Windows) -> list[Loss]:
    """Squared error of the velocity given each window's text, by organ; the same noise and times for every model."""
    encoded = {text: pipeline.text_encoder(str(text)) for text in sorted(set(windows.texts))}
    per_window = np.zeros(len(windows))
    for start in track(range(0, len(windows), _BATCH), "losses of text to H&E"):
        rows = slice(start, start + _BATCH)
        pixels = torch.from_numpy(windows.pixels[rows]).permute(0, 3, 1, 2).float() / 127.5 - 1
        latents = pipeline.vae.encode(pixels)
        text = padded([encoded[name] for name in windows.texts[rows]], 384)
        context = pipeline.transformer.context({"text": text}, len(latents))
        extra = he_extra(None).expand(len(latents), 2)
        for number, time in enumerate(_TIMES):
            generator = torch.Generator().manual_seed(1_000 * start + number)
            t = torch.full((len(latents),), time)
            x, velocity = interpolate(latents, t, generator)
            predicted = pipeline.transformer(x, t, "he", context, extra)
            per_window[rows] += (predicted - velocity).square().mean((1, 2, 3)).numpy() / len(_TIMES)
    organs = sorted(set(windows.organs))
    return [_loss(f"text to H&E, {organ}", per_window[windows.organs == organ]) for organ in organs]


@torch.no_grad()
def _in_batches(people: Sequence[Patient], loss_of: Callable[[Sequence[Patient], int], Tensor]) -> NDArray[np.float64]:
    parts = [loss_of(people[start : start + _BATCH], start) for start in range(0, len(people), _BATCH)]
    return torch.cat(parts).double().numpy()


def of_patients(pipeline: MuPDPipeline, tcga: Path) -> list[Loss]:
    """RNA from the sentences of a record, and the record from RNA, of the validation patients."""
    people = read_patients(tcga, pipeline.rna_codec, pipeline.pathway_scorer, "validation")
    people = with_texts(people, pipeline.text_encoder, reports=False)
    model, codec = pipeline.transformer, pipeline.record_codec

    def rna(rows: Sequence[Patient], start: int) -> Tensor:
        clean = torch.from_numpy(np.stack([person.components for person in rows]))
        extra = torch.tensor([1.0, 0.0]).expand(len(rows), 2)
        context = model.context({"text": padded([person.texts[0] for person in rows], 384)}, len(rows))
        total = torch.zeros(len(rows))
        for number, time in enumerate(_TIMES):
            generator = torch.Generator().manual_seed(1_000 * start + number)
            t = torch.full((len(rows),), time)
            x, velocity = interpolate(clean, t, generator)
            total += (model(x, t, "rna", context, extra) - velocity).square().mean(1) / len(_TIMES)
        return total

    def record(rows: Sequence[Patient], start: int) -> Tensor:
        blocks = [codec.encode(person.record) for person in rows]
        clean, known = (torch.stack(column) for column in zip(*blocks, strict=True))
        condition = {
            "rna": padded([person.condition[None] for person in rows], len(rows[0].condition)),
            "pathways": padded([person.pathways[None] for person in rows], len(rows[0].pathways)),
        }
        noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(start)).flatten(1)
        t, extra = torch.zeros(len(rows)), torch.zeros(len(rows), 2)
        logits = model(noise, t, "text", model.context(condition, len(rows)), extra)
        scored = -(clean * codec.log_probabilities(logits)).sum(-1)
        return (scored * known).sum(1) / known.sum(1).clamp(min=1)

    return [
        _loss("text to RNA, validation patients", _in_batches(people, rna)),
        _loss("RNA to record, validation patients", _in_batches(people, record)),
    ]


@torch.no_grad()
def rna_to_he(pipeline: MuPDPipeline, her2st: Path, section: str, most: int) -> Loss:
    """Squared error of the velocity of windows of a section given the RNA of their spots."""
    from mupd.training.public.read import HER2ST_MPP
    from mupd.training.public.spots import read_spots, windows_at
    from mupd.training.tokens import one_token

    spots = read_spots(her2st, section, pipeline.rna_codec, pipeline.pathway_scorer)
    chosen = np.linspace(0, len(spots.xy_px) - 1, min(most, len(spots.xy_px))).astype(int)
    pixels = windows_at(spots.image, spots.xy_px[chosen])
    parts = []
    for start in range(0, len(chosen), _BATCH):
        rows = chosen[start : start + _BATCH]
        latents = pipeline.vae.encode(from_uint8(pixels[start : start + _BATCH]))
        conditions = {"rna": one_token(spots.conditions[rows]), "pathways": one_token(spots.pathways[rows])}
        context = pipeline.transformer.context(conditions, len(rows))
        total = torch.zeros(len(rows))
        for number, time in enumerate(_TIMES):
            generator = torch.Generator().manual_seed(1_000 * start + number)
            t = torch.full((len(rows),), time)
            x, velocity = interpolate(latents, t, generator)
            predicted = pipeline.transformer(x, t, "he", context, he_extra(HER2ST_MPP).expand(len(rows), 2))
            total += (predicted - velocity).square().mean((1, 2, 3)) / len(_TIMES)
        parts.append(total)
    return _loss(f"RNA to H&E, section {section}", torch.cat(parts).double().numpy())
