"""Orthanc takes the DICOM files of a virtual stain, several optical paths in a file, and gives them back."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pydicom
import pytest
import requests

from tests.external.orthanc_server import missing_programs, running_orthanc
from tests.synthetic.dicom.test_stain import write

MISSING = missing_programs()
pytestmark = [
    pytest.mark.external,
    pytest.mark.skipif(bool(MISSING), reason=f"ORTHANC TESTS NOT RUN, absent: {', '.join(MISSING)}"),
]


@pytest.mark.parametrize("kind", ["mif", "ihc"])
def test_orthanc_stores_every_file_and_gives_it_back(kind: str, tmp_path: Path) -> None:
    files = write(tmp_path / "slide", kind)
    (tmp_path / "orthanc").mkdir()
    with running_orthanc(tmp_path / "orthanc") as server:
        for path in files:
            answer = requests.post(server.url + "/instances", data=path.read_bytes(), timeout=60)
            assert answer.status_code == 200, answer.text
            stored = pydicom.dcmread(BytesIO(server.get(f"/instances/{answer.json()['ID']}/file")))
            assert stored == pydicom.dcmread(path)
            assert stored.SyntheticData == "YES"
        level = pydicom.dcmread(files[0])
        url = (
            f"{server.dicomweb}/studies/{level.StudyInstanceUID}/series/{level.SeriesInstanceUID}"
            f"/instances/{level.SOPInstanceUID}/frames/{level.NumberOfFrames}"
        )
        accept = f'multipart/related; type="image/jp2"; transfer-syntax={level.file_meta.TransferSyntaxUID}'
        frame = requests.get(url, headers={"Accept": accept}, timeout=60)
        assert frame.status_code == 200, frame.text
