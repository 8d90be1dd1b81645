from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mupd.errors import InputFaults, ModelError
from mupd.model.pathway_scores import PathwayScorer, enrichment, universe
from mupd.rna.gene_sets import default_gmt, members_among, read_gmt
from mupd.rna.gene_table import gene_table

GENES = tuple(f"GENE{number}" for number in range(120))
SETS = {"UP": GENES[:10], "DOWN": GENES[10:30], "FEW": GENES[30:32], "OUTSIDE": ("NOT1", "NOT2", "NOT3")}


def log_cp10k(counts: np.ndarray) -> np.ndarray:
    return np.log1p(1e4 * counts / np.maximum(counts.sum(1, keepdims=True), 1))


def profiles(observations: int, seed: int = 0) -> np.ndarray:
    """Sparse counts on the model's scale; the first set's genes rise from the first row to the last."""
    rng = np.random.default_rng(seed)
    rate = rng.gamma(0.5, 2, len(GENES))[None] * np.ones((observations, 1))
    rate[:, :10] = np.linspace(0.3, 6, observations)[:, None]
    return log_cp10k(rng.poisson(rate))


@pytest.fixture(scope="module")
def scorer() -> PathwayScorer:
    genes = {"spot": GENES, "bulk": GENES[:60]}
    return PathwayScorer.fit(SETS, {"spot": profiles(60), "bulk": profiles(30, 1)[:, :60]}, genes)  # type: ignore[arg-type]


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\t\r\n", exclude_categories=("Cs",)), min_size=1)
SYMBOLS = st.from_regex(r"[A-Za-z0-9.-]{1,12}", fullmatch=True)


@given(
    sets=st.dictionaries(
        NAMES.filter(str.strip), st.lists(SYMBOLS, min_size=1, max_size=8, unique=True), min_size=1, max_size=6
    ),
    description=NAMES | st.just(""),
    zipped=st.booleans(),
    ending=st.sampled_from(["\n", "\r\n"]),
)
def test_gmt_round_trip(
    tmp_path_factory: pytest.TempPathFactory,
    sets: dict[str, list[str]],
    description: str,
    zipped: bool,
    ending: str,
) -> None:
    # A byte-order mark at the start of a file is no part of its first name.
    sets = {name.lstrip("\ufeff") or "A": genes for name, genes in sets.items()}
    data = "".join("\t".join([name, description, *genes]) + ending for name, genes in sets.items()).encode()
    path = tmp_path_factory.mktemp("gmt") / ("sets.gmt.gz" if zipped else "sets.gmt")
    path.write_bytes(gzip.compress(data) if zipped else data)
    read = read_gmt(path)
    assert read == {name: tuple(genes) for name, genes in sets.items()}
    assert list(read) == list(sets)


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("A\tx\tG1\nA\tx\tG2\n", 2, "set 'A' again, as in line 1"),
        ("A\tx\tG1\tG2\tG1\n", 1, "G1 more than once"),
        ("A\tx\n", 1, "2 columns"),
        ("A\n", 1, "1 column"),
        ("A\tx\tG1\nB\tx\t\n", 2, "no gene in 'B'"),
        ("A\tx\tG1\t\tG2\n", 1, "an empty cell"),
        ("A\tx\tG1 G2\n", 1, "'G1 G2'"),
        ("A\tx\tG1,1.0\n", 1, "'G1,1.0'"),
        ("A\tx\tG1\n\nB\tx\tG1\n", 2, "an empty line"),
        ("\tx\tG1\n", 1, "a set without a name"),
    ],
)
def test_what_is_wrong_with_a_gmt_is_said_with_its_line(tmp_path: Path, text: str, line: int, problem: str) -> None:
    path = tmp_path / "sets.gmt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputFaults) as raised:
        read_gmt(path)
    assert f"sets.gmt:{line}" in str(raised.value)
    assert problem in str(raised.value)


def test_all_faults_of_a_gmt_at_once(tmp_path: Path) -> None:
    path = tmp_path / "sets.gmt"
    path.write_text("A\n" * 3 + "B\tx\tG G\n", encoding="utf-8")
    with pytest.raises(InputFaults) as raised:
        read_gmt(path)
    assert [fault.where.rpartition(":")[2] for fault in raised.value.faults] == ["1", "2", "3", "4 column 3"]


@pytest.mark.parametrize(
    ("name", "data"),
    [("none.gmt", b""), ("half.gmt.gz", gzip.compress(b"A\tx\tG1\n", mtime=0)[:-6]), ("latin.gmt", b"A\t\xe4\tG1\n")],
)
def test_a_gmt_that_does_not_read(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputFaults, match=name):
        read_gmt(tmp_path / name)
    with pytest.raises(InputFaults, match="No such file"):
        read_gmt(tmp_path / "absent.gmt")


def test_own_gene_sets_are_human_genes() -> None:
    sets, table = read_gmt(default_gmt()), gene_table()
    assert 40 <= len(sets) <= 70
    assert all(8 <= len(genes) <= 40 for genes in sets.values())
    unknown = {gene for genes in sets.values() for gene in genes if not table.symbol_of(gene)}
    assert not unknown


def test_own_gene_sets_meet_the_data(shared_data: Path) -> None:
    import pandas as pd

    sets = read_gmt(default_gmt())
    spots = pd.read_csv(shared_data / "her2st" / "counts" / "C5.tsv.gz", sep="\t", nrows=1, index_col=0).columns
    bulk = pd.read_csv(shared_data / "tcga" / "blca_log2tpm.csv.gz", nrows=1, index_col=0).columns
    scored = [
        {name for name, genes in members_among(sets, list(columns)).items() if len(genes) >= 3}
        for columns in (spots, bulk)
    ]
    assert len(scored[0]) >= 55
    assert len(scored[1]) >= 40
    assert len(scored[0] & scored[1]) >= 40


def test_training_scores_are_standardised(scorer: PathwayScorer) -> None:
    result = scorer.score(profiles(60), GENES, "spot")
    assert (result.values.shape, result.values.dtype) == ((60, 4), np.float32)
    assert result.scored.tolist() == [True, True, False, False]
    assert np.abs(result.values[:, :2].mean(0)).max() < 0.02
    assert np.abs(result.values[:, :2].std(0) - 1).max() < 0.02
    assert not result.values[:, 2:].any()


def test_a_score_rises_with_its_genes(scorer: PathwayScorer) -> None:
    up = scorer.score(profiles(60, seed=5), GENES, "spot").values[:, 0]
    assert np.corrcoef(up, np.arange(60))[0, 1] > 0.7


def test_scores_are_those_of_the_library() -> None:
    import gseapy
    import pandas as pd

    rng = np.random.default_rng(0)
    values, names = rng.normal(size=(70, 200)), [f"S{row}" for row in range(70)]
    sets = {f"P{n}": [f"G{c}" for c in rng.choice(200, 9, replace=False)] for n in range(5)}
    table = pd.DataFrame(values.T, index=[f"G{column}" for column in range(200)], columns=names)
    expected = gseapy.ssgsea(
        table, sets, outdir=None, sample_norm_method="rank", weight=0.25, min_size=1, permutation_num=0, no_plot=True
    ).res2d.pivot(index="Name", columns="Term", values="ES")
    assert np.allclose(enrichment(values, sets), expected.loc[names, list(sets)].to_numpy(float) / 200, atol=1e-9)


@settings(max_examples=15)
@given(seed=st.integers(0, 1000))
def test_a_score_depends_on_nothing_but_its_own_profile(scorer: PathwayScorer, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = profiles(5, seed)
    together = scorer.score(values, GENES, "spot").values
    row = int(rng.integers(5))
    assert np.array_equal(scorer.score(values[row : row + 1], GENES, "spot").values[0], together[row])
    # Neither on the order of the genes, nor on genes that the model does not know.
    order = rng.permutation(len(GENES) + 20)
    wide = np.concatenate([values, rng.uniform(0, 9, (5, 20))], 1)[:, order]
    names = np.array([*GENES, *(f"OTHER{n}" for n in range(20))])[order]
    assert np.allclose(scorer.score(wide, list(names), "spot").values, together, atol=1e-5)


def test_missing_genes_move_no_score_one_way(scorer: PathwayScorer) -> None:
    values, rng = profiles(60, seed=7), np.random.default_rng(0)
    whole = scorer.score(values, GENES, "spot").values
    kept = sorted(rng.choice(len(GENES), 84, replace=False))
    part = scorer.score(values[:, kept], [GENES[column] for column in kept], "spot")
    assert part.scored[:2].all()
    assert np.abs((part.values - whole)[:, :2].mean(0)).max() < 0.5
    assert np.corrcoef(part.values[:, 0], whole[:, 0])[0, 1] > 0.8


def test_a_pathway_with_too_few_genes_has_the_training_mean(scorer: PathwayScorer) -> None:
    result = scorer.score(profiles(3)[:, 8:], GENES[8:], "spot")
    assert result.scored.tolist() == [False, True, False, False]
    assert not result.values[:, 0].any()
    assert result.values[:, 1].any()


def test_an_empty_profile_has_the_training_mean(scorer: PathwayScorer) -> None:
    values = profiles(3)
    values[1] = 0
    scores = scorer.score(values, GENES, "spot").values
    assert not scores[1].any()
    assert scores[0].any()


def test_values_that_cannot_be_scored(scorer: PathwayScorer) -> None:
    values = profiles(2)
    with pytest.raises(ValueError, match=r"shape \(2, 120\); expected \(observations, 119 genes\)"):
        scorer.score(values, GENES[:-1], "spot")
    with pytest.raises(ValueError, match=r"shape \(120,\)"):
        scorer.score(values[0], GENES, "spot")
    values[0, 3] = np.nan
    with pytest.raises(ValueError, match="1 values that are NaN or infinite; expected numbers"):
        scorer.score(values, GENES, "spot")
    with pytest.raises(ValueError, match="none of the model's 60 bulk genes"):
        scorer.score(profiles(1), [f"X{n}" for n in range(120)], "bulk")


def test_scorer_round_trip(scorer: PathwayScorer, tmp_path: Path) -> None:
    scorer.save_pretrained(tmp_path)
    loaded = PathwayScorer.from_pretrained(tmp_path)
    assert (loaded.names, loaded.dim) == (list(SETS), 4)
    for kind, count in (("spot", 120), ("bulk", 60)):
        values = profiles(4, seed=3)[:, :count]
        expected = scorer.score(values, GENES[:count], kind)  # type: ignore[arg-type]
        assert np.array_equal(loaded.score(values, GENES[:count], kind).values, expected.values)  # type: ignore[arg-type]
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["library"] == "gseapy"
    assert config["library_version"]


def test_a_damaged_scorer_is_refused(scorer: PathwayScorer, tmp_path: Path) -> None:
    scorer.save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    values = json.loads(config.read_text())
    config.write_text(json.dumps(values | {"gene_sets": values["gene_sets"][:-1]}))
    with pytest.raises(ModelError, match="score_mean"):
        PathwayScorer.from_pretrained(tmp_path)
    config.write_text("{}")
    with pytest.raises(ModelError, match="gene_sets"):
        PathwayScorer.from_pretrained(tmp_path)


def test_universe_has_the_high_genes_and_the_members() -> None:
    level = np.arange(len(GENES))[::-1]
    names = universe({"A": (GENES[100], "NOT1")}, GENES, level, 5)
    assert names == [*GENES[:5], GENES[100]]


def test_members_are_found_under_former_names() -> None:
    sets = {"A": ("ATP5F1B", "ATP5B", "TP53", "SEPTIN9")}
    assert members_among(sets, ["ATP5B", "SEPT9", "TP53"]) == {"A": ("ATP5B", "TP53", "SEPT9")}
