"""The pictures of docs/artifacts.md: ``PYTHONPATH=tests/external python tests/external/pictures.py SLIDE docs/images``.

SLIDE is the folder of a slide, e.g. ``results/artifacts/EX-02/he/synthetic-draw0``. It goes to an Orthanc
server; what its viewer shows of the slide and of the label is photographed.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import pydicom
import requests
from PIL import Image

from tests.external.browser import Picture, screenshot
from tests.external.orthanc_server import running_orthanc


def _is_drawn(shown: Picture) -> bool:
    """Something that is no page background fills the middle."""
    height, width = shown.shape[:2]
    middle = shown[height // 3 : height * 2 // 3, width // 3 : width * 2 // 3].astype(int)
    return bool(((middle.max(axis=2) - middle.min(axis=2)) > 40).mean() > 0.02)


def main(slide: Path, target: Path) -> None:
    """Write ``orthanc_slide.jpg`` and ``orthanc_label.png``."""
    with tempfile.TemporaryDirectory() as scratch, running_orthanc(Path(scratch)) as orthanc:
        for path in sorted(slide.glob("*.dcm")):
            requests.post(orthanc.url + "/instances", data=path.read_bytes(), timeout=60).raise_for_status()
        for file, name in (("synthetic-level0.dcm", "orthanc_slide.jpg"), ("synthetic-label.dcm", "orthanc_label.png")):
            uid = pydicom.dcmread(slide / file, stop_before_pixels=True).SeriesInstanceUID
            found = requests.post(orthanc.url + "/tools/lookup", data=uid, timeout=30).json()
            series = next(item["ID"] for item in found if item["Type"] == "Series")
            url = f"{orthanc.url}/wsi/app/viewer.html?series={series}"
            shown = screenshot(url, Path(scratch) / "shown.png", _is_drawn, (1000, 760))
            picture = Image.fromarray(shown)
            if name.endswith(".jpg"):
                picture.save(target / name, quality=85)
            else:
                picture.quantize(64).save(target / name, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
