"""Calibration of a model on patients and tile groups that its trunk was not trained on: records and bulk draws."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mupd.errors import MupdError
from mupd.model.calibration import fit_temperatures
from mupd.model.facts import DIRECTIONS, Temperatures
from mupd.model.pipeline import MuPDPipeline
from mupd.model.record_codec import RecordCodec
from mupd.model.training.measure_bench import Bench
from mupd.model.training.measure_parts import stamp_metrics
from mupd.model.training.measure_patients import Cohort
from mupd.model.training.measure_records import Scored, of_groups, of_patients
from mupd.model.training.plan import Plan
from mupd.model.training.spread import fit_bulk_spread
from mupd.model.training.vector_pairs import tile_classes

_SEEDS = 4


def direction_temperatures(fields: Mapping[str, tuple[str, ...]], parts: Mapping[str, list[Scored]]) -> Temperatures:
    """Temperatures of each direction, fitted to the records that were asked for in it.

    Parameters
    ----------
    parts
        {direction: records}. A direction without any (no case of the validation tenth has H&E and RNA) takes the
        temperatures that fit all records of the others together.
    """

    def fitted(scored: list[Scored]) -> dict[str, float]:
        logits, truth = (np.concatenate([getattr(part, name) for part in scored]) for name in ("logits", "truth"))
        found = fit_temperatures(
            {field: logits[:, index] for index, field in enumerate(fields)},
            {field: truth[:, index] for index, field in enumerate(fields)},
        )
        return {field: round(value, 3) for field, value in found.items()}

    every = [part for scored in parts.values() for part in scored]
    return {direction: fitted(parts.get(direction) or every) for direction in DIRECTIONS}


def calibrate(plan: Plan, pipeline: MuPDPipeline) -> Temperatures:
    """Fit on the validation tenth what makes a model honest, and write it into its folder.

    Temperatures of the record's fields for each direction (record.json) and the spread of bulk draws
    (rna_codec/spread.json). Each record is asked for with several noises, since its probabilities depend on it a
    little. Figures that were measured before and depend on neither are kept.

    Raises
    ------
    MupdError
        If the data hold nothing of the validation tenth.
    """
    bench = Bench(plan, pipeline)
    people = Cohort(bench).people("validation")
    groups = tile_classes(plan.tiles, plan.raw, pipeline.tile_encoder, "validation")
    if not (people or groups):
        raise MupdError("calibration: found no patients or groups of tiles in the validation tenth; expected some")
    parts = {
        "rna": [of_patients(pipeline, people, seed) for seed in range(_SEEDS) if people],
        "he": [of_groups(pipeline, groups, seed) for seed in range(_SEEDS) if groups],
    }
    fields = pipeline.record_codec.fields
    temperatures = direction_temperatures(fields, parts)
    spread = fit_bulk_spread(bench) if people else None
    stamp_metrics(plan.out)
    RecordCodec(fields, temperatures).save_pretrained(plan.out)
    pipeline.rna_codec.with_spread("bulk", "text", spread).save_spreads(plan.out / "rna_codec")
    return temperatures
