"""Screenshots of web pages by headless Chromium."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]


def chromium() -> str | None:
    """The program, if it is installed."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


def screenshot(
    url: str, path: Path, until: Callable[[Picture], bool], size: tuple[int, int] = (900, 700), attempts: int = 5
) -> Picture:
    """Picture of a page, (height, width, 3) uint8; also written to `path`.

    Parameters
    ----------
    until
        Whether the page is complete. Chromium's virtual time runs on only while no request is under way,
        but on a busy machine it may be over before the last tile is drawn: then the page is loaded again.

    Raises
    ------
    RuntimeError
        If Chromium makes no picture. One that is not complete after all attempts is returned.
    """
    from PIL import Image

    program = chromium()
    if program is None:
        raise RuntimeError("Chromium is not installed")
    shown: Picture = np.zeros((0, 0, 3), np.uint8)
    for attempt in range(1, attempts + 1):
        command = [
            program,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--no-first-run",
            "--hide-scrollbars",
            f"--user-data-dir={path.parent / 'chromium-profile'}",
            f"--window-size={size[0]},{size[1]}",
            f"--virtual-time-budget={10000 * attempt}",
            f"--screenshot={path}",
            url,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode != 0 or not path.is_file():
            raise RuntimeError(f"Chromium made no picture of {url}: {done.stderr[-1000:]}")
        with Image.open(path) as picture:
            shown = np.asarray(picture.convert("RGB"))
        if until(shown):
            break
    return shown
