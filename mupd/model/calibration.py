"""Calibration of a record's probabilities: temperature scaling, a mixture with shares, and how far off they are.

Guo et al. 2017, "On calibration of modern neural networks" (ICML, arXiv:1706.04599): dividing the logits of a
field by one number leaves the most probable value as it is and makes its probability honest. A model that says
hardly more of a field than how frequent its values are is still surely wrong now and then, at any temperature: a
mixture with these shares (a linear opinion pool; Stone 1961, Ann Math Stat 32:1339) mends that.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

TEMPERATURE_RANGE = (0.25, 10.0)
"""A field that is always right would get a temperature of 0, one that knows nothing an infinite one."""
UNTOLD = 1e6
"""Temperature of a field that nothing shows to be told: all its values are equally probable."""
RELIANCES = tuple(round(0.05 * number, 2) for number in range(1, 20))
"""Weights of a model's own probabilities that are tried beside 1."""
UNKNOWN = -1
"""Truth of a row whose field is not known."""

Array = NDArray[Any]
Bins = Literal["width", "mass"]


def _checked(scores: ArrayLike, truth: ArrayLike, what: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Rows with a known truth, after making sure that they are what they should be."""
    rows, values = np.asarray(scores, np.float64), np.asarray(truth)
    if rows.ndim != 2 or values.shape != rows.shape[:1]:
        raise ValueError(f"{what}: found shapes {rows.shape} and {values.shape}; expected (n, values) and (n,)")
    if values.size and not (np.issubdtype(values.dtype, np.integer) and values.max() < rows.shape[1]):
        raise ValueError(
            f"{what}: found truth {values.dtype} up to {values.max()}; expected places below {rows.shape[1]}"
        )
    known = values > UNKNOWN
    rows = rows[known]
    if np.isnan(rows).any():
        raise ValueError(f"{what}: found {int(np.isnan(rows).sum())} values that are not numbers; expected none")
    return rows, values[known].astype(np.int64)


def apply_temperature(logits: ArrayLike, temperature: float) -> NDArray[np.float64]:
    """Probabilities (n, values) of logits or log-probabilities (n, values) at a temperature over 0."""
    if not temperature > 0:
        raise ValueError(f"temperature: found {temperature!r}; expected a number over 0")
    return np.exp(log_softmax(np.asarray(logits, np.float64) / temperature, axis=-1))


def fit_temperature(logits: ArrayLike, truth: ArrayLike) -> float:
    """The temperature, in :data:`TEMPERATURE_RANGE`, at which the truth is most probable (least mean log loss).

    Parameters
    ----------
    logits
        (n, values) logits or log-probabilities of rows that the model was not trained on.
    truth
        (n,) place of the true value; :data:`UNKNOWN` rows are left out.

    Returns
    -------
    float
        1 where nothing is known to fit it to.

    Raises
    ------
    ValueError
        If the shapes do not fit, a true value is not there, or a logit is no number.
    """
    rows, values = _checked(logits, truth, "fit_temperature")
    if not len(rows):
        return 1.0
    places = np.arange(len(rows))

    def loss(log_temperature: float) -> float:
        return -float(log_softmax(rows / np.exp(log_temperature), axis=1)[places, values].mean())

    # One minimum: the loss is convex in 1 / temperature.
    fit = minimize_scalar(loss, bounds=np.log(TEMPERATURE_RANGE), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(fit.x))


def mixed(own: Any, shares: Any, reliance: Any) -> Any:
    """Probabilities of a mixture: `reliance` of a model's own ones, the rest of shares.

    Parameters
    ----------
    own
        (..., values) probabilities, an array or a tensor.
    shares
        (..., values), rows that sum to at most 1: what is missing of 1 stays the model's own.
    reliance
        From 0 to 1, a number or (..., 1).
    """
    return own * (1 - (1 - reliance) * shares.sum(-1)[..., None]) + (1 - reliance) * shares


def fit_calibration(logits: ArrayLike, shares: ArrayLike, truth: ArrayLike, repeats: int = 1) -> tuple[float, float]:
    """Temperature and reliance of :func:`mixed` that rows of a validation set ask for.

    Each is a number more to fit, which has to add over 1 to the log-likelihood to be taken (Akaike 1974, IEEE Trans
    Automat Contr 19:716). Where every row is right no temperature is under 1: it would state the field as certain.

    Parameters
    ----------
    logits, truth
        As for :func:`fit_temperature`.
    shares
        (n, values), see :func:`mixed`.
    repeats
        How often each independent row stands there (with other noise).

    Returns
    -------
    tuple
        1 and 1 where nothing, or no more, can be said.

    Raises
    ------
    ValueError
        As :func:`fit_temperature`, or if the shapes of logits and shares differ.
    """
    if np.shape(logits) != np.shape(shares):
        raise ValueError(f"fit_calibration: found shapes {np.shape(logits)} and {np.shape(shares)}; expected the same")
    rows, values = _checked(logits, truth, "fit_calibration")
    if not len(rows):
        return 1.0, 1.0
    mass, places = _checked(shares, truth, "fit_calibration")[0], np.arange(len(rows))

    def loss(log_temperature: float, reliance: float = 1.0) -> float:
        calibrated = mixed(apply_temperature(rows, np.exp(log_temperature)), mass, reliance)
        return -float(np.log(np.maximum(calibrated[places, values], 1e-12)).sum()) / repeats

    least = TEMPERATURE_RANGE[0] if (rows.argmax(1) != values).any() else 1.0
    alone = max(fit_temperature(logits, truth), least)
    candidates = [(loss(0.0), 1.0, 1.0), (loss(np.log(alone)) + 1, alone, 1.0)]
    for weight in RELIANCES:
        limits = np.log([least, TEMPERATURE_RANGE[1]])
        best = minimize_scalar(loss, bounds=limits, method="bounded", args=(weight,))
        candidates.append((best.fun + 2, float(np.exp(best.x)), weight))
    return min(candidates)[1:]


def _edges(confidence: NDArray[np.float64], bins: int, kind: Bins) -> NDArray[np.int64]:
    """Bin of each row."""
    if kind == "width":
        return np.minimum((confidence * bins).astype(np.int64), bins - 1)
    # Ties stay together: equal probabilities cannot be told apart by what comes true.
    ranks = np.searchsorted(np.sort(confidence), confidence, side="left")
    return ranks * bins // len(confidence)


def expected_calibration_error(
    probabilities: ArrayLike, truth: ArrayLike, bins: int = 10, kind: Bins = "width"
) -> float:
    """Expected calibration error of the most probable value (Naeini et al. 2015; Guo et al. 2017, equation 3).

    Rows go into bins by the probability of their most probable value; of each bin, the difference between the
    mean of these probabilities and the share of rows whose most probable value is the true one; the mean of its
    absolute values over bins, weighted by their rows. 0 = calibrated, at most 1. On n rows even a calibrated
    model has an error over 0: see :func:`calibrated_error`.

    Parameters
    ----------
    probabilities
        (n, values), rows that sum to 1.
    truth
        (n,) place of the true value; :data:`UNKNOWN` rows are left out.
    bins, kind
        ``width``: bins of equal width over 0 to 1 (upper end in the last); ``mass``: of equally many rows.

    Raises
    ------
    ValueError
        If the shapes do not fit, no truth is known, or rows are no probabilities.
    """
    rows, values = _checked(probabilities, truth, "expected_calibration_error")
    if not len(rows):
        raise ValueError("expected_calibration_error: found no row with a known truth; expected at least one")
    if bins < 1:
        raise ValueError(f"bins: found {bins}; expected at least 1")
    if rows.min() < 0 or not np.allclose(rows.sum(1), 1, atol=1e-3):
        raise ValueError("expected_calibration_error: found rows that do not sum to 1; expected probabilities")
    confidence = rows.max(1)
    right = (rows.argmax(1) == values).astype(np.float64)
    place = _edges(confidence, bins, kind)
    gaps = np.bincount(place, confidence - right, minlength=bins)
    return float(np.abs(gaps).sum() / len(rows))


def calibrated_error(
    probabilities: ArrayLike, bins: int = 10, kind: Bins = "width", draws: int = 200, seed: int = 0
) -> tuple[float, float]:
    """Error that a calibrated model with these probabilities (n, values) would show: mean and 95th percentile.

    The truth is drawn from the probabilities themselves, `draws` times. An error under the percentile is no
    evidence of bad calibration; with few rows the mean alone may be 0.1.
    """
    rows = np.asarray(probabilities, np.float64)
    random = np.random.default_rng(seed)
    upper = rows.cumsum(1)
    errors = []
    for _ in range(draws):
        truth = (random.random((len(rows), 1)) * upper[:, -1:] > upper).sum(1)
        errors.append(expected_calibration_error(rows, truth, bins, kind))
    return float(np.mean(errors)), float(np.percentile(errors, 95))
