"""No identity of a patient leaves a run: it is planted in every kind of input and searched for in all results."""

from __future__ import annotations

import base64
import csv
import gzip
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from mupd.base.files import write_json
from mupd.base.ids import artifact_name
from mupd.config import Config, load_config
from mupd.sheet import SheetCase
from tests.fixtures import privacy_inputs as planted
from tests.fixtures.basic import he_pixels
from tests.fixtures.intake import examine
from tests.fixtures.paths import REPOSITORY
from tests.fixtures.privacy_scan import leaks, words_in
from tests.fixtures.tiny_model import tiny_codec

ODD_ID = f"{planted.NAME}, {planted.GIVEN_NAME} / {planted.ACCESSION}"
"""An id that is invalid in file names and DICOM values, and names a person."""
STAGES = ("intake", "generate", "check", "export")
WORKING_FILES = ("config.json", "intake/shard-0000.parquet")
"""Files that name inputs, because the next stage has to find them. They are no artifacts and not in the crate."""
COHORT = "cohort/cohort.h5mu"
"""It holds the sheet's free columns, as config/README.md says, and nothing else of a patient."""


def write_inputs(folder: Path) -> list[dict[str, str]]:
    """Files of every format, a broken file of each modality, and their rows of the sheet."""
    rows: list[dict[str, str]] = []

    def case(name: str, **cells: Path | str) -> None:
        row = {"case_id": name, "he": "", "rna": "", "text": "", "he_mpp": "0.78", "x_note": planted.FREE}
        rows.append(row | {column: str(value) for column, value in cells.items()})

    file = folder / planted.FILE
    case("dicom", he=planted.dicom_slide(Path(f"{file}-dicom"), 1))
    case("svs", he=planted.svs_slide(Path(f"{file}.svs"), 2), rna=planted.spots(Path(f"{file}.h5ad"), 2))
    case("png", he=planted.picture(Path(f"{file}.png"), 3), text=planted.report(Path(f"{file}.txt")))
    case("jpeg", he=planted.picture(Path(f"{file}.jpg"), 4), rna=planted.bulk(Path(f"{file}.csv"), 4))
    case("table")
    case("broken", he=broken_dicom(folder), rna=no_genes(folder), text=Path(f"{file}.txt"))
    case("nothing", rna=wrong_suffix(folder))
    case(ODD_ID, text=Path(f"{file}.txt"))
    planted.rna_table(Path(f"{file}-rna.csv.gz"), ["table"])
    planted.text_table(Path(f"{file}-text.csv"), ["table"])
    return rows


def _cut(path: Path, share: float) -> Path:
    """The file, truncated."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def _written(path: Path, content: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(content.encode(encoding))
    return path


def broken_dicom(folder: Path) -> Path:
    slide = planted.dicom_slide(folder / f"{planted.FILE}-broken", 5)
    for path in slide.iterdir():
        _cut(path, 0.3)
    return slide


def two_series(folder: Path) -> Path:
    slide = planted.dicom_slide(folder / f"{planted.FILE}-two", 5)
    (slide / "other").mkdir()
    for path in planted.dicom_slide(slide / "other" / "slide", 6).iterdir():
        data = path.read_bytes().replace(f"{planted.SOURCE_UID}.3".encode(), f"{planted.SOURCE_UID}.9".encode())
        (slide / f"b-{path.name}").write_bytes(data)
    return slide


def no_genes(folder: Path) -> Path:
    names = [planted.NAME, planted.GIVEN_NAME, planted.HOSPITAL, planted.ACCESSION, planted.BODY]
    lines = ["gene\tvalue", *(f"{name}\t{number}" for number, name in enumerate(names, 2))]
    return _written(folder / f"{planted.FILE}-genes.tsv", "\n".join(lines) + "\n")


def wrong_suffix(folder: Path) -> Path:
    return _written(folder / f"{planted.FILE}.{planted.NAME}", planted.IDENTITY)


def _table(folder: Path, content: str) -> Path:
    return _written(folder / f"{planted.FILE}.csv", content)


def _no_h5ad(folder: Path) -> Path:
    import h5py

    path = folder / f"{planted.FILE}.h5ad"
    with h5py.File(path, "w") as file:
        file.create_group(planted.NAME)
        file.create_group("obs").attrs["_index"] = planted.NAME
        file.create_group("var").attrs["_index"] = planted.HOSPITAL
        file["X"] = np.ones((2, 2))
    return path


GENES = list(tiny_codec().genes)
BROKEN: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "DICOM cut short": ("he", broken_dicom),
    "two DICOM series": ("he", two_series),
    "SVS cut short": ("he", lambda folder: _cut(planted.svs_slide(folder / f"{planted.FILE}.svs", 1), 0.6)),
    "SVS, beginning alone": ("he", lambda folder: _cut(planted.svs_slide(folder / f"{planted.FILE}.svs", 1), 0.02)),
    "PNG cut short": ("he", lambda folder: _cut(planted.picture(folder / f"{planted.FILE}.png", 1), 0.5)),
    "JPEG cut short": ("he", lambda folder: _cut(planted.picture(folder / f"{planted.FILE}.jpg", 1), 0.5)),
    "words as a slide": ("he", lambda folder: _written(folder / f"{planted.FILE}.tif", planted.IDENTITY)),
    "suffix": ("rna", wrong_suffix),
    "no known gene": ("rna", no_genes),
    "words for numbers": ("rna", lambda f: _table(f, f"gene,value\nACTB,{planted.NAME}\n{planted.BODY},3\n")),
    "a word in a gene": ("rna", lambda f: _table(f, f"sample,{','.join(GENES[:3])}\na,1,2,{planted.NAME}\nb,1,2,3\n")),
    "two scales": ("rna", lambda f: _table(f, f"gene,{planted.NAME} tpm,{planted.HOSPITAL} fpkm\n{GENES[0]},1,2\n")),
    "a gap": ("rna", lambda f: _table(f, f"gene,value\n{planted.NAME},\n" + "".join(f"{g},3\n" for g in GENES))),
    "below zero": (
        "rna",
        lambda f: _table(f, f"gene,value,{planted.NAME}\n" + "".join(f"{g},-3000,{planted.BODY}\n" for g in GENES)),
    ),
    "ragged": ("rna", lambda f: _table(f, f"gene,value\nACTB,1\n{planted.NAME},2,{planted.BODY},3\n")),
    "open quote": ("rna", lambda f: _table(f, f'gene,value\nACTB,1\n"{planted.NAME},2\n')),
    "h5ad cut short": ("rna", lambda folder: _cut(planted.spots(folder / f"{planted.FILE}.h5ad", 1), 0.5)),
    "HDF5, no AnnData": ("rna", _no_h5ad),
    "too few words": ("text", lambda f: _written(f / f"{planted.FILE}.txt", f"{planted.NAME} {planted.BODY}\n")),
    "not UTF-8": (
        "text",
        lambda f: _written(f / f"{planted.FILE}.txt", f"{planted.NAME} \xfc {planted.BODY}", "latin-1"),
    ),
    "UTF-16": ("text", lambda folder: _written(folder / f"{planted.FILE}.txt", planted.IDENTITY, "utf-16-le")),
    "text suffix": ("text", wrong_suffix),
}


@pytest.mark.parametrize("name", BROKEN)
def test_no_reason_quotes_an_input(
    tmp_path: Path, make_config: Callable[..., Config], name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    modality, write = BROKEN[name]
    folder = tmp_path / planted.FOLDER
    folder.mkdir()
    paths = {"he": None, "rna": None, "text": None} | {modality: write(folder)}
    case = SheetCase("C1", **paths, he_mpp=0.78, organ="", diagnosis="", extra={}, line=2)
    entry = examine(case, modality, make_config(), tuple(GENES))  # type: ignore[arg-type]
    assert entry.status == "unusable", entry
    printed = capfd.readouterr()
    said = f"{entry.reason} {json.dumps(entry.facts)} {printed.out} {printed.err}".lower()
    assert not [word for word in planted.CANARIES if word.lower() in said], said
    assert len(entry.reason) > 10


def test_facts_of_a_usable_input_quote_nothing_of_it(tmp_path: Path, make_config: Callable[..., Config]) -> None:
    rows = [planted.spots(tmp_path / "a.h5ad", 1), planted.bulk(tmp_path / "a.csv", 1)]
    slides = [planted.svs_slide(tmp_path / "a.svs", 1), planted.dicom_slide(tmp_path / "slide", 1)]
    for modality, paths in (("rna", rows), ("he", slides), ("text", [planted.report(tmp_path / "a.txt")])):
        for path in paths:
            cells = {"he": None, "rna": None, "text": None} | {modality: path}
            case = SheetCase("C1", **cells, he_mpp=0.78, organ="", diagnosis="", extra={}, line=2)
            config = make_config(intake={"min_tissue_mm2": 0.001})
            entry = examine(case, modality, config, tuple(GENES))  # type: ignore[arg-type]
            assert entry.status == "measured", entry
            said = json.dumps(entry.facts).lower()
            assert not [word for word in planted.CANARIES if word.lower() in said], said


def write_cohort(root: Path, model: Path) -> Path:
    folder = root / planted.FOLDER
    folder.mkdir()
    rows = write_inputs(folder)
    sheet = folder / f"{planted.FILE}-cases.tsv"
    lines = ["\t".join(rows[0]), *("\t".join(row.values()) for row in rows)]
    sheet.write_text("\n".join(lines) + "\n", encoding="utf-8")
    values = {
        "cases": str(sheet),
        "tables": {"rna": f"{folder / planted.FILE}-rna.csv.gz", "text": f"{folder / planted.FILE}-text.csv"},
        "outdir": "results",
        "model": str(model),
        "shards": 1,
        "draws": {"he": 2, "rna": 2, "text": 2},
        "slide": {"width_px": 128, "height_px": 128},
        "sampler": {"steps": 2, "batch_size": 1, "device": "cpu"},
        "intake": {"min_tissue_mm2": 0.001},
        "check": {"min_tissue_fraction": 0.0},
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def command(folder: Path, configfile: Path, stage: str) -> None:
    """One command as the workflow runs it: its output goes into the log."""
    log = folder / "results" / "logs" / f"{stage}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    shard = [] if stage == "cohort" else ["--shard", "0"]
    arguments = [sys.executable, "-m", "mupd", stage, "--configfile", str(configfile), *shard]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    with log.open("wb") as stream:
        done = subprocess.run(
            arguments, cwd=folder, env=environment, stdout=stream, stderr=subprocess.STDOUT, check=False
        )
    assert done.returncode == 0, log.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> tuple[Path, Path]:
    """The folder of a whole run, and its configuration."""
    root = tmp_path_factory.mktemp("run")
    configfile = write_cohort(tmp_path_factory.mktemp("inputs"), tiny_model)
    write_json(root / "results" / "config.json", load_config(configfile).to_dict())  # as the workflow does
    for stage in (*STAGES, "cohort"):
        command(root, configfile, stage)
    return root, configfile


def test_everything_was_read_or_refused_as_it_should_be(run: tuple[Path, Path]) -> None:
    """Otherwise nothing is tested: an input that was never opened cannot leak."""
    with (run[0] / "results" / "manifest.tsv").open(encoding="utf-8", newline="") as stream:
        status = {(row["case_id"], row["modality"]): row["status"] for row in csv.DictReader(stream, delimiter="\t")}
    measured = {key for key, value in status.items() if value == "measured"}
    assert measured == {
        ("dicom", "he"),
        ("svs", "he"),
        ("svs", "rna"),
        ("png", "he"),
        ("png", "text"),
        ("jpeg", "he"),
        ("jpeg", "rna"),
        ("table", "rna"),
        ("table", "text"),
        ("broken", "text"),
        (artifact_name(ODD_ID), "text"),
    }
    unusable = {key for key, value in status.items() if value == "unusable"}
    assert unusable == {("broken", "he"), ("broken", "rna"), ("nothing", "rna")}
    artifacts = [path.name for path in (run[0] / "results" / "artifacts").rglob("*") if path.is_file()]
    assert {"rna.synthetic.h5ad", "report.synthetic.json", "report.synthetic.txt"} <= set(artifacts)
    assert any(name.endswith(".dcm") for name in artifacts)


def test_no_patient_in_anything_a_run_leaves(run: tuple[Path, Path]) -> None:
    leaked = leaks(run[0], planted.CANARIES)
    allowed = {f"results/{name}": set(planted.PLACES) for name in WORKING_FILES}
    allowed["results/intake/shard-0000.parquet"] |= {planted.FREE}
    allowed[f"results/{COHORT}"] = {planted.FREE}
    # One file's suffix and one id of the sheet name a patient. They may be in these files, and nowhere else.
    odd = {planted.NAME, planted.GIVEN_NAME, planted.ACCESSION}
    allowed["results/intake/shard-0000.parquet"] |= odd
    allowed["results/case_ids.tsv"] = odd
    more = {name: words - allowed.get(name, set()) for name, words in leaked.items()}
    assert {name: words for name, words in more.items() if words} == {}
    assert planted.FREE in leaked[f"results/{COHORT}"], "the scan does not see what is known to be there"


def test_measured_text_is_shown_where_asked_for_and_nowhere_else(run: tuple[Path, Path], tmp_path: Path) -> None:
    configfile, folder = run[1], tmp_path / "again"
    shutil.copytree(run[0], folder)
    values = yaml.safe_load(configfile.read_text(encoding="utf-8"))
    values["report"] = {"show_measured_text": True, "show_free_columns": True}
    shown = tmp_path / "shown.yaml"
    shown.write_text(yaml.safe_dump(values), encoding="utf-8")
    command(folder, shown, "cohort")
    leaked = leaks(folder, [planted.BODY, planted.FREE])
    assert leaked.pop("results/report.html") == {planted.BODY, planted.FREE}
    assert set().union(*leaked.values()) == {planted.FREE}
    assert set(leaked) <= {f"results/{COHORT}", "results/intake/shard-0000.parquet"}


def _gzip(path: Path, word: str) -> None:
    path.write_bytes(gzip.compress(word.encode()))


def _zip(path: Path, word: str) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inside.txt", f"{word} " * 50)


def _hdf5(path: Path, word: str) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=np.array([word.encode()] * 99), compression="gzip")


def _hdf5_attribute(path: Path, word: str) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        file.create_group("uns").attrs["patient"] = word


def _parquet(path: Path, word: str) -> None:
    import pandas as pd

    pd.DataFrame({"facts": [f"{{'name': '{word}'}}"] * 50}).to_parquet(path, compression="zstd")


def _png(path: Path, word: str) -> None:
    from PIL import PngImagePlugin

    text = PngImagePlugin.PngInfo()
    text.add_itxt("Comment", f"{word} " * 50, zip=True)
    Image.fromarray(he_pixels(32, 32)).save(path, pnginfo=text)


def _html(path: Path, word: str) -> None:
    exif, stream = Image.Exif(), io.BytesIO()
    exif[0x010E] = word
    Image.fromarray(he_pixels(32, 32)).save(stream, "JPEG", exif=exif)
    path.write_bytes(b'<img src="data:image/jpeg;base64,' + base64.b64encode(stream.getvalue()) + b'">')


def _json(path: Path, word: str) -> None:
    path.write_text('{"a": ["' + "".join(f"\\u{ord(letter):04x}" for letter in word) + '"]}', encoding="utf-8")


def _utf16(path: Path, word: str) -> None:
    path.write_bytes(word.encode("utf-16"))


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.gz", _gzip),
        ("a.zip", _zip),
        ("a.h5ad", _hdf5),
        ("b.h5mu", _hdf5_attribute),
        ("a.parquet", _parquet),
        ("a.png", _png),
        ("a.html", _html),
        ("a.json", _json),
        ("a.txt", _utf16),
    ],
)
def test_the_scan_finds_what_is_hidden(tmp_path: Path, name: str, write: Callable[[Path, str], None]) -> None:
    path = tmp_path / name
    write(path, planted.NAME)
    assert words_in(path, planted.CANARIES) == {planted.NAME}
    assert leaks(tmp_path, [planted.NAME]) == {name: {planted.NAME}}


def test_the_scan_finds_the_patient_in_each_input(tmp_path: Path) -> None:
    """This shows that the scan reads the formats that a run writes."""
    folder = planted.dicom_slide(tmp_path / "slide", 1)
    for path in folder.iterdir():
        words = words_in(path, planted.CANARIES)
        assert {planted.NAME, planted.BIRTH_DATE, planted.ACCESSION, planted.HOSPITAL, planted.SOURCE_UID} <= words, (
            path
        )
    for path in (planted.spots(tmp_path / "a.h5ad", 1), planted.svs_slide(tmp_path / "a.svs", 1)):
        assert {planted.NAME, planted.BIRTH_DATE, planted.ACCESSION, planted.HOSPITAL} <= words_in(
            path, planted.CANARIES
        )
    for name in ("a.png", "a.jpg"):
        assert planted.NAME in words_in(planted.picture(tmp_path / name, 1), planted.CANARIES)
