"""Temperatures of the record's fields, fitted on patients and tile groups that the trunk was not trained on."""

from __future__ import annotations

import numpy as np

from mupd.errors import MupdError
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

    Raises
    ------
    MupdError
        If the data hold nothing of the validation tenth.
    """
    people = Cohort(Bench(plan, pipeline)).people("validation")
    groups = tile_classes(plan.tiles, plan.raw, pipeline.tile_encoder, "validation")
    fields = pipeline.record_codec.fields
    parts = [of_patients(pipeline, people, seed) for seed in range(_SEEDS) if people]
    parts += [of_groups(pipeline, groups, seed) for seed in range(_SEEDS) if groups]
    if not parts:
        raise MupdError("calibration: found no patients or groups of tiles in the validation tenth; expected some")
    logits = np.concatenate([part.logits for part in parts])
    truth = np.concatenate([part.truth for part in parts])
    found = fit_temperatures(
        {field: logits[:, index] for index, field in enumerate(fields)},
        {field: truth[:, index] for index, field in enumerate(fields)},
    )
    temperatures = {field: round(value, 3) for field, value in found.items()}
    RecordCodec(fields, temperatures).save_pretrained(plan.out)
    return temperatures
