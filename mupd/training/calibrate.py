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
from mupd.training.measure.bench import Bench
from mupd.training.measure.parts import stamp_metrics
from mupd.training.measure.patients import Cohort
from mupd.training.measure.records import Scored, of_groups, of_patients
from mupd.training.plan import Plan
from mupd.training.spread import fit_bulk_spread
from mupd.training.vector_pairs import tile_classes

_SEEDS = 4
LEAST_RECORDS = 20
"""Of fewer records of an organ that state a field no shares are taken."""
LEAST_ROWS = 5
"""What a direction says of a field is let stand from so many records of the validation tenth on."""


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
    """A codec whose temperatures and reliance are fitted, for each direction, to the records asked for in it.

    A field that hardly any record of a direction states (no tile comes with a grade or a T category) cannot be shown to
    be told in it: its values become equally probable there, and a record leaves it undetermined.

    Parameters
    ----------
    shares
        Of :func:`training_shares`.
    parts
        {direction: records of the same rows, once for each noise}. A direction without any (no case of the validation
        tenth has H&E and RNA) takes what fits all records of the others together.
    unchecked
        Let such a field stand as the model tells it: other records than these have taught it.
    """
    plain, names = RecordCodec(fields, shares=shares), list(fields)

    def fitted(scored: list[Scored], repeats: int) -> dict[str, tuple[float, float]]:
        logits, truth = (np.concatenate([getattr(part, name) for part in scored]) for name in ("logits", "truth"))
        told = (truth >= 0).sum(0) >= LEAST_ROWS * repeats
        mass = np.zeros_like(logits)

        def of_field(index: int) -> tuple[float, float]:
            if not told[index]:
                return (1.0 if unchecked else UNTOLD), 1.0
            return fit_calibration(logits[:, index], mass[:, index], truth[:, index], repeats)

        if ORGAN_FIELD in fields and told[place := names.index(ORGAN_FIELD)]:
            organs = apply_temperature(logits[:, place], of_field(place)[0])
            mass = plain.shares_of(torch.from_numpy(organs)).numpy()
        return {field: of_field(index) for index, field in enumerate(names)}

    every = [part for scored in parts.values() for part in scored]
    repeats = max(len(scored) for scored in parts.values())
    temperatures: Temperatures = {}
    reliance: Reliance = {}
    for direction in DIRECTIONS:
        found = fitted(parts.get(direction) or every, repeats)
        temperatures[direction] = {field: round(found[field][0], 3) for field in names}
        reliance[direction] = {field: found[field][1] for field in names}
    return RecordCodec(fields, temperatures, reliance, shares)


def calibrate(plan: Plan, pipeline: MuPDPipeline) -> RecordCodec:
    """Fit on the validation tenth what makes a model honest, and write it into its folder.

    Temperatures of the record's fields for each direction and how far they rely on the model beside the shares of
    the patients that were trained on (record.json), and the spread of bulk draws (rna_codec/spread.json). Each record
    is asked for with several noises, since its probabilities depend on it a little. Figures that were measured before
    and depend on neither are kept.

    Raises
    ------
    MupdError
        If the data hold nothing of the validation tenth.
    """
    bench = Bench(plan, pipeline)
    cohort = Cohort(bench)
    people = cohort.people("validation")
    groups = tile_classes(plan.tiles, plan.raw, pipeline.tile_encoder, "validation")
    if not (people or groups):
        raise MupdError("calibration: found no patients or groups of tiles in the validation tenth; expected some")
    parts = {
        "rna": [of_patients(pipeline, people, seed) for seed in range(_SEEDS) if people],
        "he": [of_groups(pipeline, groups, seed) for seed in range(_SEEDS) if groups],
    }
    fields = pipeline.record_codec.fields
    shares = training_shares([person.record for person in cohort.people("train")], fields)
    # What the user's own cases teach is not in the public tenth.
    codec = fit_directions(fields, shares, parts, unchecked=plan.cohort is not None)
    spread = fit_bulk_spread(bench) if people else None
    stamp_metrics(plan.out)
    codec.save_pretrained(plan.out)
    pipeline.rna_codec.with_spread("bulk", "text", spread).save_spreads(plan.out / "rna_codec")
    return codec
