"""Scores of probabilities of a record's fields: calibration errors, log loss, and a baseline from training shares."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from mupd.model.calibration import expected_calibration_error
from mupd.model_folder.contents import ORGAN_FIELD


def field_error(probabilities: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    """Mean over the fields of their calibration errors, without fields whose truth is unknown.

    Over all fields together one that is too sure and one that is not sure enough cancel in a bin.
    """
    fields = [index for index in range(truth.shape[1]) if (truth[:, index] >= 0).any()]
    return float(np.mean([expected_calibration_error(probabilities[:, i], truth[:, i]) for i in fields]))


def log_loss(probabilities: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    """Mean negative log-probability of the true values that are known."""
    known = truth >= 0
    stated = np.take_along_axis(probabilities, np.maximum(truth, 0)[..., None], axis=2)[..., 0][known]
    return float(-np.log(np.maximum(stated, 1e-12)).mean())


def share_probabilities(
    fields: Collection[str], trained: NDArray[np.int64], truth: NDArray[np.int64], block: int
) -> NDArray[np.float64]:
    """Probabilities (n, fields, block) from shares in training, for rows whose organ is known.

    Of each field, the shares of its values among training records (rows of `trained`, -1 where unknown) of the row's
    true organ, and of all of them as one record more, so that no value is impossible that was seen at all.
    """
    shares = np.zeros((*truth.shape, block))
    organ = list(fields).index(ORGAN_FIELD) if ORGAN_FIELD in fields else None
    for index in range(truth.shape[1]):
        known = trained[:, index] >= 0
        if not known.any():
            continue
        overall = np.bincount(trained[known, index], minlength=block) / known.sum()
        shares[:, index] = overall
        for value in () if organ in (None, index) else np.unique(truth[:, organ]):
            same = known & (trained[:, organ] == value) & (value >= 0)
            counts = np.bincount(trained[same, index], minlength=block) + overall
            shares[truth[:, organ] == value, index] = counts / counts.sum()
    return shares
