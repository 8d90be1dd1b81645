"""DICOM of virtual stains: dciodvfy, every mark, channels in their order, in every codec."""

from __future__ import annotations

import shutil
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from wsidicom import WsiDicom

from mupd.contracts.draws import DrawMeta
from mupd.synthetic.dicom.marks import SUPPORTING, TELLING, dicom_marks
from mupd.synthetic.dicom.stain import stain_appearance
from mupd.synthetic.dicom.wsi import SlideSettings, write_wsi
from mupd.synthetic.picture.pseudo_colours import in_pseudo_colours
from mupd.synthetic.statement import synthetic_id
from tests.fixtures.synthetic import meta_of, slide_pixels
from tests.synthetic.dicom.test_wsi import DCIODVFY_DOES_NOT_KNOW_0008_001C

CHANNELS = ("DAPI", "CD3", "panCK")
REGION = {"x_px": 0, "y_px": 0, "width_px": 704, "height_px": 528, "mpp": 0.5, "whole": True}
PIXELS = 255 - slide_pixels(704, 528)


def stain_meta(kind: str) -> DrawMeta:
    channels = list(CHANNELS) if kind == "mif" else ["red", "green", "blue"]
    return meta_of(f"stain:{kind}", mpp=0.5, settings={"stain": kind, "channels": channels, "region": REGION})


def write(folder: Path, kind: str, codec: Any = "jpeg2000") -> list[Path]:
    meta = stain_meta(kind)
    colour = partial(in_pseudo_colours, channels=CHANNELS) if kind == "mif" else None
    return write_wsi(
        PIXELS,
        folder,
        meta,
        SlideSettings(
            run_seed=1,
            mpp=0.5,
            jpeg_quality=90,
            artifact_key="k" * 64,
            codec=codec,
            appearance=stain_appearance(meta),
            in_colour=colour,
        ),
    )


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (Debian dicom3tools) IS NOT INSTALLED")
@pytest.mark.parametrize(("kind", "codec"), [("mif", "jpeg2000"), ("mif", "jpeg"), ("ihc", "jpeg")])
def test_dciodvfy_finds_nothing_but_the_tag_it_does_not_know(kind: str, codec: str, tmp_path: Path) -> None:
    for path in write(tmp_path / "slide", kind, codec):
        done = subprocess.run(["dciodvfy", "-new", path], capture_output=True, text=True, check=False)
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith(("Error", "Warning"))]
        assert done.returncode == 0, lines
        assert {line.split(" - ", 2)[-1] for line in lines} == DCIODVFY_DOES_NOT_KNOW_0008_001C


@pytest.mark.parametrize("kind", ["mif", "ihc"])
def test_every_file_carries_every_mark_and_says_what_it_is(kind: str, tmp_path: Path) -> None:
    for path in write(tmp_path / "slide", kind):
        dataset = pydicom.dcmread(path)
        assert set(dicom_marks(dataset)) == {*TELLING, *SUPPORTING}
        assert dataset.ContainerIdentifier == f"SYN-CASE-01-{kind}-D0"
        assert "not acquired from tissue" in dataset.DerivationDescription
        assert "no light and no dye was used" in dataset.DerivationDescription
        assert f"{kind} draw 0" in dataset.SeriesDescription
        if kind == "mif" and "level" in path.name:
            assert dataset.PhotometricInterpretation == "MONOCHROME2"
            assert (dataset.PresentationLUTShape, dataset.RescaleIntercept, dataset.RescaleSlope) == ("IDENTITY", 0, 1)
            assert dataset.NumberOfOpticalPaths == 3
            codes = [item.IlluminationTypeCodeSequence[0].CodeValue for item in dataset.OpticalPathSequence]
            assert codes == ["111743"] * 3


@pytest.mark.parametrize("codec", ["jpeg", "jpeg2000", "htj2k", "jpegxl"])
def test_channels_come_back_in_their_order_from_every_codec(codec: str, tmp_path: Path) -> None:
    write(tmp_path / "slide", "mif", codec)
    with WsiDicom.open(tmp_path / "slide") as slide:
        for index in range(3):
            read = np.asarray(slide.read_region((0, 0), 0, (704, 528), path=str(index))).astype(int)
            # JPEG loses some at edges; another channel would differ by far more.
            assert np.abs(read - PIXELS[..., index]).mean() < (1.5 if codec == "jpeg" else 1e-9)
            small = np.asarray(slide.read_region((0, 0), 1, (352, 264), path=str(index)))
            assert abs(float(small.mean()) - PIXELS[..., index].mean()) < 2


def test_an_identifier_leaves_room_for_the_stain() -> None:
    assert synthetic_id("C1", 0, "stain:mif") == "SYN-C1-mif-D0"
    long = synthetic_id("C" * 48, 63, "stain:mif-immune")
    assert len(long) <= 60
    assert long.startswith("SYN-")
    assert long != synthetic_id("C" * 47 + "D", 63, "stain:mif-immune")
