"""Placeholder for phase 1."""

import numpy as np


class PathwayScorer:
    dim = 1

    def score(self, values, genes, kind):
        return np.zeros((len(values), 1), np.float32), np.ones(1, bool)
