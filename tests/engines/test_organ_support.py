"""Draws of an organ that the model was not trained on say so, in the verdicts, the artifacts and the report."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anndata as ad
import pandas as pd
import pytest

from mupd.base.files import write_json
from mupd.base.ids import Modality, Target
from mupd.base.organs import organ_term
from mupd.config import Config
from mupd.contracts.inventory import CaseInventory, Entry, read_inventory, write_inventory
from mupd.engines.organ_support import organ_found, organ_of
from mupd.errors import ModelError
from mupd.model.pipeline import hashed_files
from mupd.model_folder.trained_on import DIRECTIONS, read_trained_on
from mupd.reports.record.synoptic import extract_report
from mupd.stages.check.run import organ_checks
from mupd.stages.cohort import run
from mupd.stages.export import run_shard as export_shard
from mupd.training.public.labels import HER2ST_RECORD, TCGA_ORGAN
from tests.fixtures.cohort import Plan, make_cohort, make_model
from tests.fixtures.paths import REPOSITORY
from tests.fixtures.synthetic import meta_of
from tests.stages.export.test_run import config_of, lay_out

MINI = REPOSITORY / "resources" / "models" / "mupd-mini"
GUESS = "H&E of bladder was not among what mupd-mini was trained on for text: this draw is a guess"


def a_case(*measured: Modality, organ: str = "", kind: str = "bulk", report: str = "") -> CaseInventory:
    facts: dict[Modality, dict[str, Any]] = {"he": {}, "rna": {"kind": kind}, "text": {}}
    if report:
        facts["text"] = {"report": extract_report(report).facts()}
    entries: dict[Modality, Entry] = {
        m: Entry("C", m, "measured" if m in measured else "missing", facts=facts[m]) for m in facts
    }
    return CaseInventory("C", entries, organ)


def said(case: CaseInventory, target: Target) -> str | None:
    """What is said of a draw of mupd-mini; None where nothing is known."""
    found = organ_found(case, target, case.given, read_trained_on(MINI), "mupd-mini")
    return None if found is None else found.sentence


@pytest.mark.parametrize(
    ("words", "organ"),
    [
        ("colon", "colorectum"),
        ("Rectosigmoid junction", "colorectum"),
        ("Bronchus and lung", "lung"),
        ("BRCA", "breast"),
        ("Kidney", "kidney"),
        ("ovary", "ovary"),
        ("Spleen", "spleen"),
        ("lung or bone", None),
        ("liver and lung", None),
        ("unknown", None),
        ("n/a", None),
        ("C50.9", None),
        ("", None),
    ],
)
def test_words_of_one_organ_have_one_name(words: str, organ: str | None) -> None:
    assert organ_term(words) == organ


def test_the_organ_is_the_sheet_s_or_else_the_report_s() -> None:
    words = "Radical cystectomy. Urinary bladder: invasive urothelial carcinoma, high grade."
    assert organ_of(a_case("text", report=words)) == "bladder"
    assert organ_of(a_case("text", organ="unknown", report=words)) == "bladder"
    assert organ_of(a_case("text", organ="Kidney", report=words)) == "kidney"
    # A report that is not measured speaks for nobody.
    assert organ_of(a_case("he", report=words)) is None


def test_shipped_model_says_what_it_was_trained_on() -> None:
    found = read_trained_on(MINI)
    assert set(found) == set(DIRECTIONS)
    assert found["bulk->text"] == found["text->bulk"] == set(TCGA_ORGAN.values())
    assert found["he->spot"] == found["spot->he"] == found["spot->text"] == {HER2ST_RECORD["organ"]}
    assert found["bulk->he"] == frozenset()


def test_a_direction_knows_its_own_organs() -> None:
    assert said(a_case("he", organ="bladder"), "text") == GUESS
    assert said(a_case("he", organ="colon"), "text") == ""
    assert said(a_case("he", organ="colon"), "rna") == GUESS.replace("bladder", "colorectum").replace("text", "RNA")
    assert said(a_case("he", organ="breast"), "rna") == ""
    # Without H&E bulk profiles are made, and those of breast were never seen.
    assert (said(a_case("text", organ="breast"), "rna") or "").startswith("Text of breast was not among")
    assert said(a_case("text", organ="stomach"), "rna") == ""
    assert (said(a_case("rna", organ="breast"), "he") or "").startswith("Bulk RNA of breast was not among")
    assert said(a_case("rna", organ="breast", kind="spot"), "he") == ""


def test_a_draw_rests_on_all_that_is_given() -> None:
    # H&E of colorectum and its bulk RNA both teach records; of bladder and stomach the RNA alone does.
    assert said(a_case("he", "rna", organ="colon"), "text") == ""
    assert said(a_case("he", "rna", organ="bladder"), "text") == (
        "H&E of bladder was not among what mupd-mini was trained on for text, bulk RNA was: "
        "the draw rests on both, and what H&E adds to it is a guess"
    )
    # The text alone names the organ, and knows it; the RNA is of that organ and never taught H&E.
    words = "Right hemicolectomy. Colon: adenocarcinoma, moderately differentiated."
    assert said(a_case("rna", "text", report=words), "he") == (
        "Bulk RNA of colorectum was not among what mupd-mini was trained on for H&E, text was: "
        "the draw rests on both, and what bulk RNA adds to it is a guess"
    )
    assert said(a_case("rna", "text", organ="breast", kind="spot"), "he") == ""
    found = said(a_case("rna", "text", organ="lung", kind="spot"), "he")
    assert (found or "").startswith("Spatial RNA of lung was not among what mupd-mini was trained on for H&E, text was")


def test_a_draw_that_rests_on_nothing_trained_is_a_guess() -> None:
    found = said(a_case("he", "rna", organ="Lymph node"), "text")
    # A word outside the vocabulary may be anything that somebody typed: it is not repeated.
    both = "H&E and bulk RNA of this organ were not among what mupd-mini was trained on for text: this draw is a guess"
    assert found == both
    assert (said(a_case("rna", "text", organ="bladder"), "he") or "").endswith("H&E: this draw is a guess")
    trained = read_trained_on(MINI)
    for organ, guess in (("Lymph node", True), ("bladder", False), ("colon", False)):
        case = a_case("he", "rna", organ=organ)
        read = organ_found(case, "text", case.given, trained, "mupd-mini")
        assert read is not None
        assert (read.guess, read.trained) == (guess, ("colorectum",))


@pytest.mark.parametrize("policy", ["note", "reject"])
@pytest.mark.parametrize(
    ("organ", "noted", "rejected"), [("kidney", True, True), ("lung", True, False), ("breast", False, False)]
)
def test_only_a_guess_is_rejected(policy: Any, organ: str, noted: bool, rejected: bool) -> None:
    config: Any = SimpleNamespace(check=SimpleNamespace(untrained_organ=policy))
    trained = {"he->text": frozenset({"breast"}), "bulk->text": frozenset({"breast", "lung"})}
    meta = replace(meta_of("text", 0), given=("he", "rna"))
    (check,) = organ_checks(meta, config, a_case("he", "rna", organ=organ), trained)
    assert check.ok is (True if not noted else False if rejected and policy == "reject" else None)
    assert bool(check.sentence) == noted
    assert check.limit == "breast"


def test_nothing_is_said_where_nothing_is_known() -> None:
    assert said(a_case("he"), "text") is None
    assert said(a_case("rna", organ="lung", kind=""), "text") is None
    assert said(a_case("he", organ="bladder"), "mif") is None  # type: ignore[arg-type]
    case = a_case("he", "text", organ="bladder")
    assert organ_found(case, "rna", case.given, {}, "m") is None
    assert organ_found(case, "rna", case.given, {"he->spot": frozenset({"breast"})}, "m") is None


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (["he->spot"], "found list"),
        ({"he->rna": ["breast"]}, r"found \['he->rna'\]; expected only"),
        ({"he->spot": "breast"}, r"\[he->spot\].*a list of different organs"),
        ({"he->spot": ["colon", "rectum"]}, "different organs"),
        ({"he->spot": [""]}, "different organs"),
    ],
)
def test_a_file_that_says_something_else_is_refused(tmp_path: Path, value: Any, words: str) -> None:
    write_json(tmp_path / "trained_on.json", value)
    with pytest.raises(ModelError, match=words):
        read_trained_on(tmp_path)


def test_a_model_without_the_file_says_nothing(tmp_path: Path) -> None:
    assert read_trained_on(tmp_path) == {}


def test_the_file_is_no_part_of_the_model_s_hash() -> None:
    assert "trained_on.json" not in {path.name for path in hashed_files(MINI)}


def cohort_of(root: Path, **changes: Any) -> Config:
    """A slide of a bladder under a model that knows the breast alone."""
    write_json(root / "model" / "trained_on.json", {"he->spot": ["breast"], "he->text": ["breast"]})
    return make_cohort(root, (Plan("SLIDE-1", measured=("he",), organ="Urinary bladder", tiles=4),), **changes)


def verdicts(config: Config) -> pd.DataFrame:
    return pd.concat(pd.read_parquet(path) for path in sorted((config.out / "checked").glob("*.parquet")))


def test_noted_draws_are_accepted_and_need_a_look(tmp_path: Path) -> None:
    make_model(tmp_path)
    config = cohort_of(tmp_path)
    table = verdicts(config)
    assert set(table.verdict) == {"accepted"}
    assert all("H&E of bladder was not among what mupd-test was trained on for" in words for words in table.reasons)
    check = json.loads(table.checks.iloc[0])["trained_organ"]
    assert check == {"value": "bladder", "limit": "breast", "ok": None}
    page = run(config)[2].read_text(encoding="utf-8")
    look = page[page.index("What needs a look") :]
    assert "of bladder was not among what mupd-test was trained on for RNA: this draw is a guess" in look
    assert "of bladder was not among" in (config.out / "manifest.tsv").read_text(encoding="utf-8")


def test_rejected_where_the_configuration_says_so(tmp_path: Path) -> None:
    make_model(tmp_path)
    table = verdicts(cohort_of(tmp_path, check={"untrained_organ": "reject"}))
    assert set(table.verdict) == {"rejected"}
    assert json.loads(table.checks.iloc[0])["trained_organ"]["ok"] is False


def test_the_artifact_carries_the_note(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    write_json(tmp_path / "model" / "trained_on.json", {"he->spot": ["breast"], "he->text": ["breast", "colon"]})
    lay_out(config, {"B": ("he",)})
    inventory = config.out / "intake" / "shard-0000.parquet"
    write_inventory(inventory, [replace(case, organ="rectum") for case in read_inventory(inventory)])
    artifacts = json.loads(export_shard(config, 0).read_text(encoding="utf-8"))["artifacts"]
    model = meta_of("rna", 0).model_id
    note = f"H&E of colorectum was not among what {model} was trained on for RNA: this draw is a guess"
    assert {item["modality"]: note in item["notes"] for item in artifacts} == {"rna": True, "text": False}
    assert note in ad.read_h5ad(config.out / "artifacts" / "B" / "rna.synthetic.h5ad").uns["mupd"]["notes"]
