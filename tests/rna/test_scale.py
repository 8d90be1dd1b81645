from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mupd.base.rna_scales import NOT_REVERSIBLE, Scale, check_stated, scale_named
from mupd.errors import UnusableError
from mupd.rna.scale import linear_values
from mupd.rna.scale_evidence import scale_of

GENES = 3000
LOGARITHMS = {"log2p1": np.log2, "log1p": np.log, "log10p1": np.log10}


def tpm_of(rows: int, seed: int = 0) -> np.ndarray:
    """Transcriptomes (rows, GENES) with a quarter of zeros, each adding up to a million."""
    rng = np.random.default_rng(seed)
    values = rng.lognormal(0, 2, (rows, GENES)) * (rng.random((rows, GENES)) > 0.25)
    return values / values.sum(1, keepdims=True) * 1e6


def reads_of(rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).poisson(tpm_of(rows, seed) * 0.03).astype(float)


def determined(matrix: np.ndarray, stated: str = "auto") -> str:
    return scale_of(np.atleast_2d(np.asarray(matrix, np.float32)), stated)[0]


@pytest.mark.parametrize("name", LOGARITHMS)
@pytest.mark.parametrize(
    "linear",
    [
        pytest.param(tpm_of(1), id="TPM"),
        pytest.param(tpm_of(4), id="TPM of 4"),
        pytest.param(tpm_of(3)[:, :GENES] / 100, id="CP10K"),
        pytest.param(reads_of(1), id="counts"),
        pytest.param(reads_of(1)[:, :600], id="counts of a panel"),
        pytest.param(reads_of(1) / 1.37, id="counts by a size factor"),
        pytest.param(reads_of(1) / reads_of(1).sum() * 1e6, id="CPM"),
    ],
)
def test_the_base_is_shown_by_sums_or_steps(name: str, linear: np.ndarray) -> None:
    assert determined(LOGARITHMS[name](linear + 1).round(4)) == name


@pytest.mark.parametrize("name", LOGARITHMS)
def test_the_base_is_shown_by_reads_although_some_are_estimates(name: str) -> None:
    rng = np.random.default_rng(1)
    reads = reads_of(1)
    estimates = np.where(rng.random(reads.shape) < 0.4, reads + rng.random(reads.shape), reads)
    assert determined(LOGARITHMS[name](estimates + 1).round(4)) == name


def test_log2_of_fpkm_and_of_a_panel_are_shown_by_size() -> None:
    assert determined(np.log2(tpm_of(1) * 0.4 + 1).round(4)) == "log2p1"
    assert determined(np.log2(tpm_of(1)[:, :1500] + 1).round(4)) == "log2p1"


@pytest.mark.parametrize(
    ("linear", "name"),
    [(tpm_of(1) * 0.4, "log1p"), (tpm_of(1)[:, :1500], "log1p"), (tpm_of(1)[:, :1500], "log10p1")],
)
def test_what_the_numbers_do_not_show_is_asked_for(linear: np.ndarray, name: str) -> None:
    matrix = LOGARITHMS[name](linear + 1)
    with pytest.raises(UnusableError, match=r"do not show.*state it: rna_values"):
        determined(matrix)
    with pytest.raises(UnusableError, match="do not show"):
        determined(matrix, "log")
    assert determined(matrix, name) == name


VST = np.log2(np.maximum(reads_of(1) / 30, 1) + 20)
RMA = np.log2(tpm_of(1) + 20) + np.random.default_rng(2).normal(0, 0.1, (1, GENES))
LENGTHS = np.random.default_rng(3).lognormal(7.3, 0.9, (1, GENES))
Z_SCORES = np.random.default_rng(4).normal(0, 1.2, (5, GENES))


@pytest.mark.parametrize(
    ("matrix", "reason"),
    [
        (VST, "variance-stabilised"),
        (RMA, "microarray"),
        (LENGTHS.round(), "lengths of genes"),
        (LENGTHS - LENGTHS.min() + 0.7, "no value of 0"),
        (Z_SCORES, "z-scores"),
        (np.maximum(Z_SCORES, -1), "z-scores"),
        (np.maximum(Z_SCORES, -np.log2(1000)), "z-scores"),
        (np.maximum(Z_SCORES, 0), "do not show"),
        (np.log2((reads_of(2) + 0.5) / 3e4 * 1e6) - 8, "below 0"),
        (np.array([[-1.2, 0.3, 2.0]]), "z-scores"),
        (np.full((1, 3), np.nan), "no number"),
    ],
)
def test_what_is_no_expression_is_refused(matrix: np.ndarray, reason: str) -> None:
    with pytest.raises(UnusableError, match=reason):
        determined(matrix)


@pytest.mark.parametrize(
    ("matrix", "name"),
    [
        (np.array([[0, 3, 100]]), "counts"),
        (tpm_of(1), "tpm"),
        (tpm_of(2) / 1e6, "tpm"),
        (tpm_of(2)[:, :50], "tpm"),
        (np.array([[0.5, 30.2, 4000.1]]), "tpm"),
        (np.log2(tpm_of(1) + 0.001).round(4), "log2(x+0.001)"),
        (np.log2(tpm_of(3)[:, :1577] + 0.001).round(4), "log2(x+0.001)"),
        (np.log2(tpm_of(1) + 0.01), "log2(x+0.01)"),
        (np.log10(tpm_of(1) + 0.1), "log10(x+0.1)"),
        (np.log(tpm_of(1) + 0.01), "ln(x+0.01)"),
    ],
)
def test_other_scales_are_determined(matrix: np.ndarray, name: str) -> None:
    assert determined(matrix) == name


@pytest.mark.parametrize(
    ("stated", "name"),
    [
        ("log2(TPM + 1)", "log2p1"),
        ("ln(x+1)", "log1p"),
        (" Log10(x+1)", "log10p1"),
        ("log2(x+0.5)", "log2(x+0.5)"),
        ("FPKM", "tpm"),
        ("z-score", "zscore"),
        ("auto", "auto"),
    ],
)
def test_statements_have_one_form(stated: str, name: str) -> None:
    assert check_stated(stated) == name


@pytest.mark.parametrize("stated", ["", "log3", "log2(x-1)", "log2(x+0)", "log2tpm", "exp"])
def test_what_states_no_scale(stated: str) -> None:
    with pytest.raises(ValueError, match="expected one of auto, counts, tpm, log2p1"):
        check_stated(stated)


@pytest.mark.parametrize("stated", NOT_REVERSIBLE)
def test_stated_scales_without_a_way_back_are_refused(stated: str) -> None:
    with pytest.raises(UnusableError, match="cannot be turned back"):
        determined(tpm_of(1), stated)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["2", "e", "10"]), st.sampled_from([0.001, 0.01, 0.5, 1.0]), st.floats(0, 1e5))
def test_every_scale_leads_back(base: str, offset: float, value: float) -> None:
    scale = Scale(base, offset)  # type: ignore[arg-type]
    assert scale_named(scale.name) == scale
    stored = {"2": np.log2, "e": np.log, "10": np.log10}[base](np.array([value + offset]))
    assert linear_values(stored, scale)[0] == pytest.approx(value, abs=offset / 50, rel=1e-6)
