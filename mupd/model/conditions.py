"""What a case gives the model, encoded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class CaseVectors:
    """Encoded conditions of one case; None = absent.

    Attributes
    ----------
    tiles
        (n, tile features) of a bag of H&E tiles.
    rna
        (n, components + 1), one row for bulk or one a spot, as :meth:`RnaCodec.condition` gives.
    pathways
        (n, gene sets) scores of the same profiles.
    rna_xy_px
        (n, 2) x and y of each spot in pixels of the slide to be made; None = one profile for all.
    text
        (chunks, 384) sentence embeddings.
    """

    tiles: NDArray[np.float32] | None = None
    rna: NDArray[np.float32] | None = None
    pathways: NDArray[np.float32] | None = None
    rna_xy_px: NDArray[np.float64] | None = None
    text: NDArray[np.float32] | None = None
