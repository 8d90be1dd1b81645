"""Temperatures of the record's fields, fitted on patients and tile groups that the trunk was not trained on."""

from __future__ import annotations

import numpy as np

from mupd.model.calibration import fit_temperatures
from mupd.model.pipeline import MuPDPipeline
from mupd.model.record_codec import RecordCodec
from mupd.model.training.measure_bench import Bench
from mupd.model.training.measure_patients import Cohort
from mupd.model.training.measure_records import of_groups, of_patients
from mupd.model.training.plan import Plan
from mupd.model.training.vector_pairs import tile_classes

_SEEDS = 4


def calibrate(plan: Plan, pipeline: MuPDPipeline) -> dict[str, float]:
    """Fit a temperature a field on the validation tenth and write it into the model's record.json.

    Each record is asked for with several noises, since its probabilities depend on it a little.
    """
    people = Cohort(Bench(plan, pipeline)).people("validation")
    groups = tile_classes(plan.tiles, plan.raw, pipeline.tile_encoder, "validation")
    parts = [
        scored
        for seed in range(_SEEDS)
        for scored in (of_patients(pipeline, people, seed), of_groups(pipeline, groups, seed))
    ]
    logits = np.concatenate([part.logits for part in parts])
    truth = np.concatenate([part.truth for part in parts])
    fields = pipeline.record_codec.fields
    found = fit_temperatures(
        {field: logits[:, index] for index, field in enumerate(fields)},
        {field: truth[:, index] for index, field in enumerate(fields)},
    )
    temperatures = {field: round(value, 3) for field, value in found.items()}
    RecordCodec(fields, temperatures).save_pretrained(plan.out)
    return temperatures
