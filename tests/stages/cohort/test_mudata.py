from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mupd
from mupd.base.files import write_json
from mupd.config import Config
from mupd.reports.record.fields import FIELDS
from mupd.rna.files import read_rna
from mupd.rna.profiles import to_log_cp10k
from mupd.stages.cohort import run
from mupd.stages.cohort.join_shards import CohortCase, join_shards
from tests.fixtures.cohort import EVIL, GENES, Plan, make_cohort, make_model


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Any]:
    config = make_cohort(tmp_path_factory.mktemp("cohort"))
    run(config)
    return config, read(config)


def read(config: Config) -> Any:
    import mudata

    with warnings.catch_warnings():
        # mudata 0.3 announces what reading will do in 0.4.
        warnings.simplefilter("ignore")
        return mudata.read_h5mu(config.out / "cohort" / "cohort.h5mu")


def case_of(config: Config, case_id: str) -> CohortCase:
    return next(case for case in join_shards(config) if case.case_id == case_id)


def draws_of(config: Config, case_id: str, name: str) -> list[np.ndarray]:
    part = case_of(config, case_id).parts["rna" if name == "values" else "he"]
    return [np.load(config.out / draw.folder / f"{name}.npy") for draw in part.accepted]


def test_every_modality_is_there_and_states_what_it_is(finished: tuple[Config, Any]) -> None:
    _, cohort = finished
    assert list(cohort.mod) == ["rna", "rna_measured", "text", "he"]
    for table in cohort.mod.values():
        facts = table.uns["mupd"]
        assert "synthetic" in facts["statement"]
        assert "not for diagnosis" in facts["statement"]
        assert (facts["model_id"], facts["mupd_version"]) == ("mupd-test", mupd.__version__)
        assert {"case_id", "synthetic", "status", "organ", "diagnosis", "x_age"} <= set(table.obs)
        assert [name.startswith("SYN-") for name in table.obs_names] == list(table.obs.synthetic)
        assert table.raw is None
    assert len(cohort.uns["manifest"]) == 18


def test_global_obs_says_which_rows_are_synthetic(finished: tuple[Config, Any]) -> None:
    _, cohort = finished
    obs = cohort.obs
    assert [name.startswith("SYN-") for name in obs.index] == list(obs.synthetic)
    assert obs.loc["SYN-EVIL-4", "diagnosis"] == EVIL
    assert obs.loc["SYN-BROKEN-6", "status_he"] == "unusable"
    assert obs.loc["COMPLETE-1", "x_age"] == "61"


def test_measured_bulk_values_are_bit_identical(finished: tuple[Config, Any]) -> None:
    config, cohort = finished
    table = cohort["rna_measured"]
    for case_id in ("COMPLETE-1", "BROKEN-6"):
        given = read_rna(Path(case_of(config, case_id).parts["rna"].entry.source), keep_stored=True).stored
        row = table[case_id, list(given.names)].X[0]
        assert row.dtype == given.matrix.dtype == np.int64
        assert row.tobytes() == given.matrix[0].tobytes()
        assert table.obs.loc[case_id, "unit"] == "counts"
        assert table.obs.loc[case_id, "aggregated_spots"] == 0
    assert not table.obs.synthetic.any()


def test_spots_become_their_summed_counts(finished: tuple[Config, Any]) -> None:
    config, cohort = finished
    given = read_rna(Path(case_of(config, "SPOTS-3").parts["rna"].entry.source))
    summed = given.matrix.sum(axis=0)
    measured = cohort["rna_measured"]
    assert measured.obs.loc["SPOTS-3", "aggregated_spots"] == 5
    np.testing.assert_array_equal(measured["SPOTS-3", given.genes].X[0], summed)
    columns = [given.genes.index(gene) for gene in GENES]
    counts = summed[columns].astype(float)
    expected = np.log1p(1e4 * counts / counts.sum())
    np.testing.assert_allclose(cohort["rna"]["SPOTS-3"].X[0], expected, rtol=1e-5)


def test_measured_rows_have_no_draws(finished: tuple[Config, Any]) -> None:
    config, cohort = finished
    row = cohort["rna"]["COMPLETE-1"]
    assert list(cohort["rna"].var_names) == list(GENES)
    assert all(np.isnan(layer).all() for layer in row.layers.values())
    given = read_rna(Path(case_of(config, "COMPLETE-1").parts["rna"].entry.source))
    assert "ONLYHERE" in given.genes
    whole = to_log_cp10k(given)[0][[given.genes.index(gene) for gene in GENES]]
    # The depth is that of the model's genes alone, so every value is a little higher.
    assert (row.X[0] > whole).all()
    assert np.expm1(row.X[0]).sum() == pytest.approx(1e4, rel=1e-5)


def test_imputed_rows_hold_mean_sd_and_every_draw(finished: tuple[Config, Any]) -> None:
    config, cohort = finished
    row = cohort["rna"]["SYN-TILES-2"]
    draws = [np.log1p(np.expm1(values.astype(float)).mean(axis=0)) for values in draws_of(config, "TILES-2", "values")]
    assert len(draws) == 3
    assert draws_of(config, "TILES-2", "values")[0].shape == (6, len(GENES))
    for number, draw in enumerate(draws):
        np.testing.assert_allclose(row.layers[f"draw_{number}"][0], draw, rtol=1e-5)
    np.testing.assert_allclose(row.X[0], np.mean(draws, axis=0), rtol=1e-5)
    np.testing.assert_array_equal(row.layers["mean"], row.X)
    np.testing.assert_allclose(row.layers["sd"][0], np.std(draws, axis=0, ddof=1), rtol=1e-3)
    assert "SYN-EVIL-4" not in cohort["rna"].obs_names


def test_the_mean_is_of_what_draws_expect(tmp_path: Path) -> None:
    config = make_cohort(tmp_path, (Plan("A", ("he",), tiles=2),))
    draws = case_of(config, "A").parts["rna"].accepted
    for draw in draws[:2]:
        values = np.load(config.out / draw.folder / "values.npy")
        np.save(config.out / draw.folder / "expected.npy", values + np.float32(0.5))
    run(config)
    row = read(config)["rna"]["SYN-A"]

    def whole(name: str, draw: Any) -> np.ndarray:
        return np.log1p(np.expm1(np.load(config.out / draw.folder / f"{name}.npy").astype(float)).mean(axis=0))

    expected = [whole("expected", draw) for draw in draws[:2]] + [whole("values", draw) for draw in draws[2:]]
    np.testing.assert_allclose(row.X[0], np.mean(expected, axis=0), rtol=1e-5)
    drawn = [whole("values", draw) for draw in draws]
    np.testing.assert_allclose(row.layers["draw_0"][0], drawn[0], rtol=1e-5)
    np.testing.assert_allclose(row.layers["sd"][0], np.std(drawn, axis=0, ddof=1), rtol=1e-3)


def test_text_is_probabilities_or_what_is_stated(finished: tuple[Config, Any]) -> None:
    _, cohort = finished
    table = cohort["text"]
    assert list(table.var_names) == [f"{field}={value}" for field, values in FIELDS.items() for value in values]
    grades = [f"grade={value}" for value in FIELDS["grade"]]
    np.testing.assert_array_equal(table["COMPLETE-1", grades].X[0], [0, 1, 0])
    assert table["COMPLETE-1", "organ=breast"].X[0, 0] == 1
    assert table.obs.loc["COMPLETE-1", "words"] == 9  # ten before the name was masked
    imputed = table["SYN-TILES-2"]
    for field, values in FIELDS.items():
        shares = imputed[:, [f"{field}={value}" for value in values]].X
        assert shares.sum() == pytest.approx(1, abs=1e-5)
    assert np.isfinite(imputed.layers["sd"]).all()


def test_he_holds_stain_and_tissue(finished: tuple[Config, Any]) -> None:
    _, cohort = finished
    table = cohort["he"]
    assert list(table.var_names) == ["haematoxylin_od", "eosin_od", "tissue_fraction"]
    assert np.isfinite(table.X).all()
    assert table.obs.loc["SYN-SPOTS-3", "artifact"] == "artifacts/SPOTS-3/he/synthetic-draw0"
    assert table.obs.loc["COMPLETE-1", "artifact"] == ""


def test_genes_the_input_lacks_are_nan_and_units_may_differ(tmp_path: Path) -> None:
    config = make_cohort(tmp_path, (Plan("A", ("rna",)), Plan("B", ("rna",))))
    path = Path(case_of(config, "B").parts["rna"].entry.source)
    lines = [f"{gene}\t{1.25 * index + 30.5}" for index, gene in enumerate(GENES[5:])] + ["OTHER\t77.125"]
    path.write_text("gene\tvalue\n" + "\n".join(lines) + "\n")
    run(config)
    cohort = read(config)
    assert np.isnan(cohort["rna"]["B", list(GENES[:5])].X).all()
    assert np.isfinite(cohort["rna"]["B", list(GENES[5:])].X).all()
    measured = cohort["rna_measured"]
    assert measured["B", "OTHER"].X[0, 0] == np.float32(77.125)
    assert np.isnan(measured["A", "OTHER"].X[0, 0])
    assert list(measured.obs.unit) == ["counts", "tpm"]


def test_the_depth_is_that_of_the_panel_of_the_kind(tmp_path: Path) -> None:
    make_model(tmp_path)
    write_json(tmp_path / "model" / "rna_codec" / "config.json", {"bulk": list(GENES[:10]), "spot": list(GENES)})
    config = make_cohort(tmp_path, (Plan("A", ("rna",)),))
    run(config)
    row = read(config)["rna"]["A"]
    linear = np.expm1(row.X[0].astype(float))
    assert linear[:10].sum() == pytest.approx(1e4, rel=1e-5)
    assert linear.sum() > 1.5e4


def test_cohorts_without_a_modality_still_have_its_table(tmp_path: Path) -> None:
    config = make_cohort(tmp_path, (Plan("A", ("text",), failed={"he": "no", "rna": "no"}), Plan("N", ())))
    run(config)
    cohort = read(config)
    assert cohort["he"].shape == (0, 3)
    assert cohort["rna_measured"].n_obs == 0
    assert list(cohort["text"].obs_names) == ["A"]


def test_an_input_that_vanished_is_said_and_the_others_go_on(tmp_path: Path) -> None:
    config = make_cohort(tmp_path, (Plan("A"), Plan("B")))
    source = Path(case_of(config, "A").parts["rna"].entry.source)
    source.write_text("gene\tvalue\nX\tnothing\n")
    run(config)
    cohort = read(config)
    assert list(cohort["rna"].obs_names) == ["B"]
    assert list(cohort["text"].obs_names) == ["A", "B"]
    page = (config.out / "report.html").read_text()
    assert "rna could not be read for the cohort files" in page
    assert str(tmp_path) not in page


def test_a_second_run_gives_the_same_values(finished: tuple[Config, Any]) -> None:
    config, before = finished
    run(config)
    after = read(config)
    for name, table in before.mod.items():
        pd.testing.assert_frame_equal(table.to_df(), after[name].to_df())
    assert not list((config.out / "cohort").glob(".tmp-*"))


def test_an_input_let_in_with_synthetic_marks_stays_synthetic(tmp_path: Path) -> None:
    from dataclasses import replace

    from mupd.base.ids import shard_name
    from mupd.contracts.inventory import read_inventory, write_inventory
    from mupd.stages.cohort.manifest import manifest_rows

    config = make_cohort(tmp_path)
    for shard in range(config.shards):
        path = config.out / "intake" / f"{shard_name(shard)}.parquet"
        if path.exists():
            cases = read_inventory(path)
            for case in cases:
                for modality, entry in case.entries.items():
                    if entry.status == "measured":
                        facts = entry.facts | {"synthetic_input": "let in"}
                        case.entries[modality] = replace(entry, facts=facts)
            write_inventory(path, cases)
    run(config)
    cohort = read(config)
    for table in cohort.mod.values():
        assert table.obs.synthetic.all()
        assert all(name.startswith("SYN-") for name in table.obs_names)
    rows = [row for row in manifest_rows(join_shards(config)) if row["status"] == "measured"]
    assert rows
    assert {row["synthetic"] for row in rows} == {"yes"}
    page = (config.out / "report.html").read_text(encoding="utf-8")
    assert "synthetic input" in page
    assert ">MEASURED<" not in page
    assert 'class="plot measured"' not in page
    assert "measured profiles of this cohort" not in page
