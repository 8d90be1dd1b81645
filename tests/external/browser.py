"""Screenshots of web pages by headless Chromium."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def chromium() -> str | None:
    """The program, if it is installed."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


def screenshot(url: str, path: Path, size: tuple[int, int] = (900, 700)) -> NDArray[np.uint8]:
    """Picture of a page once its network and timers are still, (height, width, 3) uint8; also written to `path`.

    Raises
    ------
    RuntimeError
        If Chromium makes no picture within two minutes.
    """
    from PIL import Image

    program = chromium()
    if program is None:
        raise RuntimeError("Chromium is not installed")
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
        # Time runs on only while no request is under way: all tiles are there when the picture is taken.
        "--virtual-time-budget=20000",
        f"--screenshot={path}",
        url,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0 or not path.is_file():
        raise RuntimeError(f"Chromium made no picture of {url}: {done.stderr[-1000:]}")
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))
