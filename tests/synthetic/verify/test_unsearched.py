"""What could not be searched is not called measured."""

from __future__ import annotations

import gzip
from pathlib import Path

import h5py
import numpy as np
import pytest
import zarr
from PIL import Image

from mupd.synthetic.statement import PREFIX
from mupd.synthetic.verify.verify import UNKNOWN, exit_code, paths_to_verify, verify_path
from mupd.synthetic.verify.words import lines_of
from tests.fixtures.basic import he_pixels


@pytest.mark.parametrize("name", ["x.webp", "x.gif", "x.jp2"])
def test_pictures_of_other_kinds(tmp_path: Path, name: str) -> None:
    Image.fromarray(he_pixels(64, 64, 4)).save(tmp_path / name)
    verification = verify_path(tmp_path / name)
    assert (verification.synthetic, verification.exit_code) == (False, UNKNOWN)
    assert "UNKNOWN" in lines_of(verification)[0]


@pytest.mark.parametrize("name", ["x.pdf", "x.docx", "x.rds", "x.parquet", "nothing"])
def test_files_of_other_kinds(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"%PDF-1.4 anything")
    assert verify_path(tmp_path / name).exit_code == UNKNOWN


def test_hdf5_and_zarr_that_hold_no_table(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["images"] = np.zeros((10, 10))
    zarr.open_group(str(tmp_path / "x.zarr"), mode="w").create_array("image", shape=(3,), dtype="f4")
    for name in ("x.h5", "x.zarr"):
        assert verify_path(tmp_path / name).exit_code == UNKNOWN


def test_a_picture_without_three_colours(tmp_path: Path) -> None:
    Image.fromarray(np.arange(90000, dtype=np.uint16).reshape(300, 300)).save(tmp_path / "x.tif")
    assert verify_path(tmp_path / "x.tif").exit_code == UNKNOWN


def test_a_name_that_says_synthetic_is_enough(tmp_path: Path) -> None:
    (tmp_path / "P1.synthetic.pdf").write_bytes(b"%PDF-1.4")
    assert verify_path(tmp_path / "P1.synthetic.pdf").synthetic


def test_a_folder_does_not_pass_over_them(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.4")
    (tmp_path / "b.csv").write_text("case_id,ACTB\nP1,5\n")
    verifications = [verify_path(path) for path in paths_to_verify(tmp_path)]
    assert [verification.exit_code for verification in verifications] == [UNKNOWN, 0]
    assert exit_code(verifications) == UNKNOWN


@pytest.mark.parametrize("packed", [False, True])
def test_a_table_is_searched_to_its_end(tmp_path: Path, packed: bool) -> None:
    table = "case_id,ACTB\n" + "P1,5\n" * 50_000
    paths = [tmp_path / f"{name}.csv{'.gz' if packed else ''}" for name in ("measured", "mixed")]
    for path, text in zip(paths, (table, f"{table}{PREFIX}P2-rna-0,7\n"), strict=True):
        path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    assert [verify_path(path).exit_code == 0 for path in paths] == [True, False]
    assert verify_path(paths[1]).synthetic
