"""What MuPD is given of a case, and what it says of it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from mupd.engines.mupd.conditions import CaseConditions
from mupd.rna.profiles import RnaProfile
from tests.fixtures.tiny_model import tiny_codec


def test_a_draw_says_how_many_genes_its_profile_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    codec = tiny_codec()
    panel = list(codec.panels["bulk"].genes)
    conditions = CaseConditions(None, None, SimpleNamespace(rna_codec=codec))  # type: ignore[arg-type]

    def notes(genes: list[str]) -> list[str]:
        profile = RnaProfile(genes, np.ones((1, len(genes)), np.float32), "bulk", "counts", "test")
        monkeypatch.setattr(CaseConditions, "profile", lambda _: profile)
        return conditions.rna_notes()

    (note,) = notes(panel[3:])
    assert note.startswith(f"3 of the model's {len(panel)} genes for a bulk profile are not in this one")
    assert notes(panel) == []
