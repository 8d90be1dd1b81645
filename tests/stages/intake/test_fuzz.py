"""Small valid files with bytes inverted, cut out, put in: every parser answers, and in bounded time."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mupd.base.ids import Modality
from mupd.config import parse_config
from mupd.inputs.examine import Request, examine_request
from mupd.inputs.pool import pool_of
from tests.fixtures.basic import GENES
from tests.fixtures.reports import REPORT, docx_bytes, fhir_report, pdf_bytes, write_sr
from tests.fixtures.rna_inputs import cells, write_tenx_h5
from tests.hostile.item import bytes_of
from tests.hostile.profiles import h5ad, table
from tests.hostile.slides import dicom, jpeg, png, svs, tiff

SECONDS = 30.0
"""Far more than any of these small files needs."""

CONFIG = parse_config({"cases": "x.tsv"}, "fuzz")


def _made(make: Callable[[Path], object], suffix: str) -> bytes:
    with TemporaryDirectory() as name:
        return bytes_of(make, suffix, Path(name))


VALID: dict[str, tuple[Modality, Callable[[], bytes]]] = {
    ".svs": ("he", lambda: _made(svs, ".svs")),
    ".png": ("he", lambda: _made(png, ".png")),
    ".jpg": ("he", lambda: _made(jpeg, ".jpg")),
    ".ome.tif": ("he", lambda: _made(tiff, ".ome.tif")),
    ".slide.dcm": ("he", lambda: _made(dicom, ".dcm")),
    ".csv": ("rna", table),
    ".csv.gz": ("rna", lambda: gzip.compress(table())),
    ".h5ad": ("rna", lambda: _made(h5ad, ".h5ad")),
    ".h5": ("rna", lambda: _made(lambda path: write_tenx_h5(path, cells()), ".h5")),
    ".txt": ("text", lambda: REPORT.encode()),
    ".pdf": ("text", lambda: pdf_bytes([REPORT])),
    ".docx": ("text", lambda: docx_bytes(REPORT)),
    ".json": ("text", lambda: json.dumps(fhir_report(conclusion=REPORT)).encode()),
    ".report.dcm": ("text", lambda: _made(write_sr, ".dcm")),
}


@cache
def _valid(suffix: str) -> bytes:
    return VALID[suffix][1]()


@st.composite
def _mutations(draw: st.DrawFn) -> list[tuple[str, float, bytes]]:
    kind = st.sampled_from(["invert", "cut", "insert", "overwrite", "end"])
    return draw(st.lists(st.tuples(kind, st.floats(0, 1), st.binary(min_size=1, max_size=16)), min_size=1, max_size=4))


def mutated(content: bytes, mutations: list[tuple[str, float, bytes]]) -> bytes:
    """A file after some mutations, each at a place given as a share of its length."""
    for kind, share, piece in mutations:
        # Squared: headers stand at the front, and most of what can go wrong with them.
        place = int(share**2 * len(content))
        before, after = content[:place], content[place:]
        if kind == "invert":
            content = before + bytes(byte ^ 0xFF for byte in after[: len(piece)]) + after[len(piece) :]
        elif kind == "cut":
            content = before + after[len(piece) :]
        elif kind == "insert":
            content = before + piece + after
        elif kind == "overwrite":
            content = before + piece + after[len(piece) :]
        else:
            content = before
    return content


def _answers(suffix: str, mutations: list[tuple[str, float, bytes]]) -> None:
    modality, _ = VALID[suffix]
    with TemporaryDirectory() as name:
        path = Path(name) / f"input{suffix}"
        path.write_bytes(mutated(_valid(suffix), mutations))
        began = time.monotonic()
        request = Request(modality, str(path), mpp=0.78 if modality == "he" else None)
        # As intake does it: what no reader should raise (h5py: SystemError) or survive ends the worker, not the run.
        [(_, outcome)] = pool_of(1).run([(0, request)], CONFIG, GENES)
        seconds = time.monotonic() - began
    assert seconds < SECONDS
    assert outcome.status in ("measured", "unusable")
    # A measured input has no reason but cautions: of a slide whose colours look swapped, for example.
    cautions = "; ".join(outcome.facts.get("cautions", ()))
    assert outcome.reason if outcome.status == "unusable" else outcome.reason == cautions
    assert json.loads(json.dumps(outcome.facts, allow_nan=False)) == outcome.facts
    assert name not in outcome.reason
    assert "file_seconds" not in outcome.reason


@pytest.mark.parametrize("suffix", VALID)
def test_valid_files_are_measured(suffix: str, tmp_path: Path) -> None:
    modality, _ = VALID[suffix]
    path = tmp_path / f"input{suffix}"
    path.write_bytes(_valid(suffix))
    request: dict[str, Any] = {"mpp": 0.78} if modality == "he" and suffix != ".svs" else {}
    outcome = examine_request(Request(modality, str(path), **request), CONFIG, GENES)
    assert outcome.status == "measured", outcome.reason


@pytest.mark.parametrize("suffix", VALID)
@given(mutations=_mutations())
@settings(max_examples=8)
def test_every_parser_answers(suffix: str, mutations: list[tuple[str, float, bytes]]) -> None:
    _answers(suffix, mutations)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", VALID)
@given(mutations=_mutations())
@settings(max_examples=300)
def test_every_parser_answers_for_long(suffix: str, mutations: list[tuple[str, float, bytes]]) -> None:
    _answers(suffix, mutations)
