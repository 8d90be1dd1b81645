"""What a training writes of the organs it was trained on: what its batches hold, and nothing that is not known."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mupd.base.files import write_json
from mupd.errors import ModelError
from mupd.model.pipeline import MuPDPipeline
from mupd.model_folder.trained_on import DIRECTIONS, TRAINED_ON_FILE, TrainedOn, read_trained_on
from mupd.reports.record.fields import FIELDS
from mupd.training import processes
from mupd.training.batches import Mixed
from mupd.training.cohort.batches import CohortHe, CohortRecords, CohortRna
from mupd.training.cohort.cases import TrainingCase, read_cohort
from mupd.training.data import TrainingData
from mupd.training.describe import organs_of_plan
from mupd.training.organs import organs_of_cases, organs_of_public, trained_on
from mupd.training.plan import DataSettings, Plan, load_plan
from mupd.training.public.splits import is_held_out
from mupd.training.run import run_training
from tests.fixtures.paths import REPOSITORY
from tests.fixtures.public_data import write_public_data, write_training
from tests.fixtures.tiny_model import SPOT_GENES, write_tiny_cohort

MINI = REPOSITORY / "resources" / "models" / "mupd-mini"
TARGETS = ("he", "rna", "text")
TCGA = {"bladder", "colorectum", "stomach"}

pytestmark = pytest.mark.usefixtures("shared_backbone")


def trained_name(prefix: str) -> str:
    return next(name for name in (f"{prefix}-{n}" for n in range(99)) if not is_held_out(name))


ORGANS = {"spatial": "Kidney", "bulk": "", "no-he": "colon", "no-rna": "Liver, NOS", "no-text": "unknown"}
NAMES = {trained_name(name): organ for name, organ in ORGANS.items()}
SPATIAL, BULK, NO_HE, NO_RNA, NO_TEXT = NAMES
PARTS = ("he+spots+text", "he+rna+text", "rna+text", "he+text", "he+rna")


def write_cohort(folder: Path, model: Path, cases: dict[str, str], organs: dict[str, str]) -> Path:
    config = write_tiny_cohort(folder, model, cases)
    sheet = folder / "cases.tsv"
    head, *rows = sheet.read_text(encoding="utf-8").splitlines()
    lines = [f"{head}\torgan", *(f"{row}\t{organs[row.split(chr(9))[0]]}" for row in rows)]
    sheet.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return config


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    return write_cohort(tmp_path_factory.mktemp("cohort"), tiny_model, dict(zip(NAMES, PARTS, strict=True)), NAMES)


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory, cohort: Path, tiny_model: Path) -> Plan:
    """Public data and a cohort, with the codecs of the tiny model."""
    folder = tmp_path_factory.mktemp("both")
    data = write_public_data(folder / "public") | {"cohort": {"configfile": str(cohort), "windows": 4}}
    config = write_training(folder, data, base=str(tiny_model))
    for part in ("codecs", "vae"):
        run_training(config, part)
    return load_plan(config)


@pytest.fixture(scope="module")
def sources(plan: Plan) -> dict[str, Mixed]:
    """What the trunk is trained on: of each target the public data and the cohort."""
    pipeline, data = MuPDPipeline(plan.out, "cpu"), TrainingData(plan)
    return data.sources(list(TARGETS), pipeline.tile_encoder, data.texts(), pipeline.record_codec)  # type: ignore[return-value]


def drawn(target: str, source: Any, bulk: bool) -> set[str]:
    """Directions that stand in 200 samples of a source; `bulk`: the kind of profile that conditions its H&E."""
    batch = source.batch(200, np.random.default_rng(0))
    conditions = batch.conditions
    given = {name: mask.any(1) for name, (_, mask) in conditions.items()}
    if target == "rna":
        kinds = batch.extra[:, 0] == 1
        made = {"bulk": kinds, "spot": ~kinds}
        return {f"{name}->{kind}" for name in given for kind, rows in made.items() if (given[name] & rows).any()}
    found = {f"{name}->{target}" for name in ("he", "text") if name in given and given[name].any()}
    tokens, mask = conditions["rna"]
    if given["rna"].any():
        # What conditions H&E is read as a spot's, so that a column of the records' conditions alone tells the kinds.
        kinds = {bool(value) for value in tokens[mask][:, -1] == 1} if target == "text" else {bulk}
        found |= {f"{'bulk' if kind else 'spot'}->{target}" for kind in kinds}
    return found


def test_the_public_directions_are_those_of_the_batches(sources: dict[str, Mixed]) -> None:
    found = set().union(*(drawn(target, sources[target].sources[0], bulk=False) for target in TARGETS))
    assert found == {
        direction for direction, organs in organs_of_public({"lung"}, TCGA, TARGETS, 0.25).items() if organs
    }


def test_the_public_organs_are_those_of_the_batches(plan: Plan, sources: dict[str, Mixed]) -> None:
    """Each organ that is named has samples, and each sample's organ is named."""
    found = organs_of_plan(replace(plan, data=replace(plan.data, cohort=None)), ())
    he, rna, text = (sources[target].sources[0] for target in TARGETS)
    people = {person.record["organ"] for person in rna.people}
    assert people == {person.record["organ"] for person in text.people} == found["text->bulk"] == found["bulk->text"]
    assert {tiles.record["organ"] for tiles in text.classes} | {"breast"} == found["he->text"] == found["text->he"]
    assert found["he->text"] == {"lung", "colorectum", "breast"}  # none of the source that may not be trained on
    assert len(he.images) == 9
    assert found["spot->he"] == found["he->spot"] == found["text->spot"] == found["spot->text"] == {"breast"}
    assert found["bulk->he"] == frozenset()


def test_the_directions_of_a_case_are_those_of_its_batches(plan: Plan, sources: dict[str, Mixed]) -> None:
    cases = {case.case_id: case for case in TrainingData(plan).cohort.cases}
    he, rna, text = (sources[target].sources[1] for target in TARGETS)
    seen: dict[str, set[str]] = {name: set() for name in cases}
    for case in he.cases:
        seen[case.case_id] |= drawn("he", CohortHe([case], he.dims), case.bulk)
    for case in rna.cases:
        seen[case.case_id] |= drawn("rna", CohortRna([case], rna.dims), case.bulk)
    for case in text.cases:
        seen[case.case_id] |= drawn("text", CohortRecords([case], text.codec, text.dims), case.bulk)
    assert seen == {name: set(organs_of_cases([case], FIELDS, TARGETS)) for name, case in cases.items()}
    assert seen[SPATIAL] == {"spot->he", "text->he", "he->spot", "text->spot", "he->text", "spot->text"}
    assert seen[NO_TEXT] == {"bulk->he"}


def test_the_organ_of_a_case_is_the_sheet_s_or_else_the_report_s(cohort: Path) -> None:
    found = {case.case_id: case.organ for case in read_cohort(cohort, SPOT_GENES).cases}
    assert found == {SPATIAL: "kidney", BULK: "breast", NO_HE: "colorectum", NO_RNA: "liver", NO_TEXT: None}


def test_calibrate_writes_the_file_and_leaves_out_what_is_not_known(
    plan: Plan, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mupd.training.calibrate.run.calibrate", lambda *_: None)  # there is no trunk to calibrate
    monkeypatch.setattr("mupd.training.run.MuPDPipeline", type("", (), {"from_pretrained": lambda _: None}))
    config = plan.out.parent / "train.yaml"
    with monkeypatch.context() as patch:
        patch.setattr(processes, "is_main", lambda: False)  # as in every process of a training but one
        run_training(config, "calibrate")
    assert not (plan.out / TRAINED_ON_FILE).exists()
    run_training(config, "calibrate")
    found = read_trained_on(plan.out)
    # H&E was learned from the bulk RNA of a case whose organ nobody states: nothing can be said of any organ there.
    assert set(found) == set(DIRECTIONS) - {"bulk->he"}
    assert "leaves out bulk->he: there the organ of a case is in neither the sheet" in capsys.readouterr().out
    assert found["spot->he"] == found["he->spot"] == {"breast", "kidney"}
    assert found["text->bulk"] == found["bulk->text"] == TCGA | {"breast"}
    assert found["text->he"] == found["he->text"] == {"breast", "colorectum", "lung", "kidney", "liver"}
    assert not any(name in (plan.out / TRAINED_ON_FILE).read_text() for name in NAMES)


def case_of(organ: str | None, **parts: Any) -> TrainingCase:
    given: dict[str, Any] = {"he": Path("a.png"), "mpp": 0.5, "profile": None, "text": "x", "record": {"grade": "G1"}}
    return TrainingCase("C", **(given | parts), organ=organ)


def test_a_word_outside_the_vocabulary_is_not_repeated() -> None:
    said = trained_on([organs_of_cases([case_of("lung"), case_of("mrs smith's")], FIELDS, TARGETS)])
    assert set(DIRECTIONS) - set(said) == {"text->he", "he->text"}
    assert trained_on([organs_of_cases([case_of("lung")], FIELDS, TARGETS)])["text->he"] == {"lung"}


def test_a_target_that_is_not_trained_teaches_nothing() -> None:
    said = trained_on(
        [organs_of_public({"bone"}, TCGA, ("text",), 0.25), organs_of_cases([case_of("lung")], FIELDS, ("text",))]
    )
    assert {direction for direction, organs in said.items() if organs} == {"he->text", "spot->text", "bulk->text"}
    assert said["he->text"] == {"bone", "breast", "lung"}
    # Without tiles among the windows of H&E their texts teach none; the records are still learned from them.
    assert organs_of_public({"bone"}, TCGA, TARGETS, 0.0)["text->he"] == {"breast"}
    assert organs_of_public({"bone"}, TCGA, TARGETS, 0.0)["he->text"] == {"bone", "breast"}
    # A text that states no field of the record teaches H&E and no record.
    assert set(organs_of_cases([case_of("lung", record={})], FIELDS, TARGETS)) == {"text->he"}
    assert set(organs_of_cases([case_of("lung", record={"grade": "G9"})], FIELDS, TARGETS)) == {"text->he"}


def started(plan: Plan, folder: Path, said: TrainedOn | None) -> Plan:
    (folder / "transformer").mkdir(parents=True)
    if said is not None:
        write_json(folder / TRAINED_ON_FILE, {direction: sorted(organs) for direction, organs in said.items()})
    return replace(plan, data=DataSettings(), start=folder / "transformer")


def test_what_the_start_was_trained_on_stays_in(plan: Plan, tmp_path: Path) -> None:
    said = dict.fromkeys(DIRECTIONS, frozenset[str]()) | {
        "text->he": frozenset({"bone"}),
        "bulk->he": frozenset({"skin"}),
    }
    found = organs_of_plan(started(plan, tmp_path / "a", said), [case_of("lung")])
    assert found == said | {"text->he": {"bone", "lung"}, "he->text": {"lung"}}
    # The codecs of a base carry no weights of the trunk.
    alone = organs_of_plan(replace(plan, data=DataSettings(), base=MINI), [case_of("lung")])
    assert alone["text->he"] == {"lung"}
    assert alone["text->bulk"] == frozenset()


def test_nothing_is_said_where_the_start_says_nothing(plan: Plan, tmp_path: Path) -> None:
    part = {"text->he": frozenset({"bone"})}
    assert organs_of_plan(started(plan, tmp_path / "a", part), [case_of("lung")]) == {"text->he": {"bone", "lung"}}
    assert organs_of_plan(started(plan, tmp_path / "b", None), [case_of("lung")]) == {}
    broken = started(plan, tmp_path / "c", {"he->moon": frozenset({"lung"})})
    with pytest.raises(ModelError, match="he->moon"):
        organs_of_plan(broken, [])


def test_the_shipped_file_is_what_its_configuration_gives(shared_data: Path) -> None:
    shipped = load_plan(REPOSITORY / "config" / "train" / "mupd-mini.yaml")
    assert organs_of_plan(shipped, ()) == read_trained_on(MINI)


def test_the_rules_need_no_torch() -> None:
    code = "import sys, mupd.training.organs; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0
