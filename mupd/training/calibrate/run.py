"""Calibration of a model on patients and tile groups that its trunk was not trained on: records and bulk draws."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from mupd.errors import MupdError
from mupd.model.calibration import UNTOLD, apply_temperature, fit_calibration
from mupd.model.pipeline import MuPDPipeline
from mupd.model.record_codec import RecordCodec
from mupd.model_folder.contents import DIRECTIONS, ORGAN_FIELD, Reliance, Shares, Temperatures
from mupd.training.cache import TextCache
from mupd.training.calibrate.records import Scored, records_of_groups, records_of_patients
from mupd.training.calibrate.spread import fit_bulk_spread
from mupd.training.plan import Plan
from mupd.training.public.pairs import read_patients, tile_classes

_SEEDS = 4
LEAST_RECORDS = 20
"""Fewest records of an organ that state a field for its shares to be taken."""
LEAST_ROWS = 5
"""Fewest validation records with a field for a direction to be calibrated in it."""


def training_shares(records: Sequence[Mapping[str, str]], fields: Mapping[str, tuple[str, ...]]) -> Shares:
    """Shares of each field's values among the records of an organ, where enough of these state the field."""
    shares: Shares = {}
    for organ in fields.get(ORGAN_FIELD, ()):
        own = [record for record in records if record.get(ORGAN_FIELD) == organ]
        for field, values in fields.items():
            counts = Counter(record[field] for record in own if field in record)
            if field != ORGAN_FIELD and counts.total() >= LEAST_RECORDS:
                row = {value: round(counts[value] / counts.total(), 4) for value in values if counts[value]}
                shares.setdefault(organ, {})[field] = row
    return shares


def fit_directions(
    fields: Mapping[str, tuple[str, ...]], shares: Shares, parts: Mapping[str, list[Scored]], *, unchecked: bool = False
) -> RecordCodec:
    """A codec with temperatures and reliance fitted for each direction.

    If hardly any record of a direction states a field (no tile comes with a grade or a T category), the data cannot
    support it: its values become equally probable in this direction, and a record leaves the field undetermined.

    Parameters
    ----------
    shares
        Of :func:`training_shares`.
    parts
        {direction: the records asked for in it, once for each noise}. A direction without any (no validation case has
        H&E and RNA) gets what fits all records of the others together.
    unchecked
        Keep the model's own probabilities of such a field: it was learned from other records than these.
    """
    plain, names = RecordCodec(fields, shares=shares), list(fields)

    def fitted(scored: list[Scored], repeats: int) -> dict[str, tuple[float, float]]:
        logits = np.concatenate([part.logits for part in scored])
        truth = np.concatenate([part.truth for part in scored])
        supported = (truth >= 0).sum(0) >= LEAST_ROWS * repeats
        mass = np.zeros_like(logits)

        def of_field(index: int) -> tuple[float, float]:
            if not supported[index]:
                return (1.0 if unchecked else UNTOLD), 1.0
            return fit_calibration(logits[:, index], mass[:, index], truth[:, index], repeats)

        if ORGAN_FIELD in fields and supported[place := names.index(ORGAN_FIELD)]:
            organs = apply_temperature(logits[:, place], of_field(place)[0])
            mass = plain.shares_of(torch.from_numpy(organs)).numpy()
        return {field: of_field(index) for index, field in enumerate(names)}

    every = [part for scored in parts.values() for part in scored]
    repeats = max(len(scored) for scored in parts.values())
    temperatures: Temperatures = {}
    reliance: Reliance = {}
    for direction in DIRECTIONS:
        fits = fitted(parts.get(direction) or every, repeats)
        temperatures[direction] = {field: round(fits[field][0], 3) for field in names}
        reliance[direction] = {field: fits[field][1] for field in names}
    return RecordCodec(fields, temperatures, reliance, shares)


def calibrate(plan: Plan, pipeline: MuPDPipeline) -> RecordCodec:
    """Calibrate a model on the validation tenth of the public data and write the result into its folder.

    Fitted are, for each direction, the temperatures of the record's fields and how far they rely on the model beside
    the shares of the training patients (record.json), and the spread of bulk draws (rna_codec/spread.json). Each
    record is asked for with several noises, since its probabilities depend on the noise a little.

    Raises
    ------
    MupdError
        If the data hold nothing of the validation tenth.
    """
    people = read_patients(plan.tcga, pipeline.rna_codec, pipeline.pathway_scorer, "validation")
    groups = tile_classes(plan.tiles, plan.raw, pipeline.tile_encoder, "validation")
    if not (people or groups):
        raise MupdError("calibration: found no patients or groups of tiles in the validation tenth; expected some")
    parts = {
        "rna": [records_of_patients(pipeline, people, seed) for seed in range(_SEEDS) if people],
        "he": [records_of_groups(pipeline, groups, seed) for seed in range(_SEEDS) if groups],
    }
    fields = pipeline.record_codec.fields
    trained = read_patients(plan.tcga, pipeline.rna_codec, pipeline.pathway_scorer, "train")
    shares = training_shares([person.record for person in trained], fields)
    # The public validation tenth says nothing of what the user's own cases teach.
    codec = fit_directions(fields, shares, parts, unchecked=plan.data.cohort is not None)
    texts = TextCache(pipeline.text_encoder, plan.work)
    spread = fit_bulk_spread(pipeline, people, texts, plan.tcga) if people else None
    codec.save_pretrained(plan.out)
    pipeline.rna_codec.with_spread("bulk", "text", spread).save_spreads(plan.out / "rna_codec")
    return codec
