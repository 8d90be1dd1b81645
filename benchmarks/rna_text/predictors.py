"""Simple predictors of a record's field from RNA and from words, as probabilities that can be combined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Places = NDArray[np.int64]
STRENGTHS = (0.003, 0.03, 0.3, 3.0)
MOST_WORDS = 5_000


def fit_logistic(x: Any, y: Places) -> Any:
    """Logistic regression with classes of equal weight; its strength chosen by cross-validated balanced accuracy.

    `x` is (n, features), dense or sparse; a class with a single row is too few to choose by, and 0.3 is taken.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold

    folds = int(min(3, np.bincount(y)[np.bincount(y) > 0].min()))
    if folds < 2:
        return LogisticRegression(C=0.3, class_weight="balanced", max_iter=500).fit(x, y)
    model = LogisticRegression(class_weight="balanced", max_iter=500)
    grid = GridSearchCV(model, {"C": list(STRENGTHS)}, scoring="balanced_accuracy", cv=StratifiedKFold(folds))
    return grid.fit(x, y)


def spread_out(probabilities: Floats, classes: Places, values: int) -> Floats:
    """Probabilities (n, classes) as (n, values), almost 0 for values that were never seen."""
    spread = np.full((len(probabilities), values), 1e-6)
    spread[:, classes] = probabilities
    return spread / spread.sum(1, keepdims=True)


def from_vectors(x: Floats, y: Places, x_held: Floats, values: int) -> Floats:
    """Probabilities (n, values) of held-out rows by :func:`fit_logistic` on standardised features."""
    mean, sd = x.mean(0), np.maximum(x.std(0), 1e-6)
    model = fit_logistic((x - mean) / sd, y)
    return spread_out(model.predict_proba((x_held - mean) / sd), model.classes_, values)


def ridge_values(x: Floats, y: Places, x_held: Floats) -> Places:
    """Values by ridge regression on one-hot classes of equal weight, its strength chosen by leaving one out."""
    from sklearn.linear_model import RidgeClassifierCV

    mean, sd = x.mean(0), np.maximum(x.std(0), 1e-6)
    model = RidgeClassifierCV(alphas=(10.0, 100.0, 1000.0, 10_000.0), class_weight="balanced")
    return model.fit((x - mean) / sd, y).predict((x_held - mean) / sd)


def nearest_values(x: Floats, y: Places, x_held: Floats) -> Places:
    """Value of the nearest training row, by Euclidean distance."""
    return y[((x_held[:, None] - x[None]) ** 2).sum(-1).argmin(1)]


def word_rows(texts: Sequence[str], held: Sequence[str]) -> tuple[Any, Any]:
    """TF-IDF of the words and pairs of words of training and held-out texts, sparse, rows of length 1."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    # Pairs of digits are dates and counts; a word has a letter.
    counted = TfidfVectorizer(
        token_pattern=r"(?u)\b[a-z]\w+\b", ngram_range=(1, 2), min_df=3, max_features=MOST_WORDS, sublinear_tf=True
    )
    rows = counted.fit_transform(texts)
    return rows, counted.transform(held)


def from_words(x: Any, y: Places, x_held: Any, values: int) -> Floats:
    """Probabilities (n, values) of held-out texts by :func:`fit_logistic` on :func:`word_rows`."""
    # Rows of length 1 have small entries: as many columns' worth of weight as standardised ones.
    scale = np.sqrt(x.shape[1]) / 4
    model = fit_logistic(x * scale, y)
    return spread_out(model.predict_proba(x_held * scale), model.classes_, values)


def nearest_text(x: Any, y: Places, x_held: Any) -> Places:
    """Value of the training text with the most similar words."""
    return y[np.asarray((x_held @ x.T).todense()).argmax(1)]


def together(*parts: Floats) -> Floats:
    """Product of probabilities (n, values), normalised: of sources that are independent given the value.

    Each has to be for values that are equally likely beforehand, which classes of equal weight make them.
    """
    product = np.sum([np.log(np.maximum(part, 1e-12)) for part in parts], axis=0)
    product = np.exp(product - product.max(1, keepdims=True))
    return product / product.sum(1, keepdims=True)


def even_prior(probabilities: Floats, y: Places) -> Floats:
    """Probabilities (n, values) with the shares of values in training `y` divided out; 0 for values that it lacks."""
    shares = np.bincount(y, minlength=probabilities.shape[1]) / len(y)
    evened = np.where(shares > 0, probabilities / np.maximum(shares, 1e-12), 0.0)
    return evened / np.maximum(evened.sum(1, keepdims=True), 1e-12)
