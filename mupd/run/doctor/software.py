"""Python, Snakemake, PyTorch with its GPU, codecs, and OpenSlide."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING

from mupd.base.messages import first_line
from mupd.run.doctor.finding import Finding

if TYPE_CHECKING:
    from mupd.config import Config

LEAST_PYTHON = (3, 11)
LEAST_SNAKEMAKE = (9, 18)
_INSTALL = "pip install -r requirements.lock (docs/install.md)"
_CODECS = {
    "jpeg": "jpeg8_encode",
    "jpeg2000": "jpeg2k_encode",
    "htj2k": "htj2k_encode",
    "jpegxl": "jpegxl_encode",
}


def check_python(version: tuple[int, ...] = tuple(sys.version_info[:3])) -> Finding:
    """Check the version of Python."""
    words = ".".join(map(str, version))
    if version[:2] >= LEAST_PYTHON:
        return Finding("python", "Python", "PASS", words)
    return Finding("python", "Python", "FAIL", words, "make an environment with Python 3.11 or newer (docs/install.md)")


def _version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def check_snakemake() -> Finding:
    """Check that Snakemake is installed, and its version."""
    installed = _version_of("snakemake")
    if installed is None:
        return Finding("snakemake", "Snakemake", "FAIL", "not installed", _INSTALL)
    if tuple(int(part) for part in installed.split(".")[:2]) < LEAST_SNAKEMAKE:
        return Finding("snakemake", "Snakemake", "FAIL", installed, "pip install 'snakemake>=9.18'")
    return Finding("snakemake", "Snakemake", "PASS", installed)


def check_torch(wanted: str, on_cluster: bool) -> list[Finding]:
    """Check PyTorch, and the GPU that ``sampler.device`` requests.

    Parameters
    ----------
    on_cluster
        Whether jobs run on other machines: this one then needs no GPU.
    """
    if find_spec("torch") is None:
        return [Finding("torch", "PyTorch", "FAIL", "not installed", _INSTALL)]
    import torch

    built = torch.version.cuda
    findings = [Finding("torch", "PyTorch", "PASS", f"{torch.__version__}, {f'CUDA {built}' if built else 'CPU only'}")]
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        words = f"{torch.cuda.get_device_name()}, {free / 1e9:.0f} of {total / 1e9:.0f} GB free"
        words += ", bf16" if torch.cuda.is_bf16_supported() else ", no bf16"
        return [*findings, Finding("torch", "GPU", "PASS", words)]
    why = "no CUDA device" if built else "no CUDA device; this PyTorch is built without CUDA"
    fix = "install a PyTorch for CUDA (docs/install.md) and a driver, or set sampler.device: cpu"
    if wanted == "cpu":
        return [*findings, Finding("torch", "GPU", "SKIP", "not requested (sampler.device: cpu)")]
    if on_cluster:
        words = f"{why} on this machine; GPU jobs look for theirs when they start"
        if built:
            return [*findings, Finding("torch", "GPU", "SKIP", words)]
        return [*findings, Finding("torch", "GPU", "FAIL" if wanted == "cuda" else "WARN", words, fix)]
    if wanted == "cuda":
        return [*findings, Finding("torch", "GPU", "FAIL", why, fix)]
    return [*findings, Finding("torch", "GPU", "WARN", f"{why}: slides take minutes each", fix)]


def check_codecs(wanted: str) -> list[Finding]:
    """Encode and decode a small picture with each codec. Only the configured codec must work."""
    if find_spec("imagecodecs") is None:
        return [Finding("codecs", "imagecodecs", "FAIL", "not installed", _INSTALL)]
    import imagecodecs
    import numpy as np

    picture = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
    findings = []
    for name, function in _CODECS.items():
        state = "FAIL" if name == wanted else "WARN"
        try:
            getattr(imagecodecs, function.replace("encode", "decode"))(getattr(imagecodecs, function)(picture))
        except (RuntimeError, ImportError, AttributeError) as error:
            words = f"{type(error).__name__}: {error}"
            fix = "pip install -U imagecodecs, or set slide.codec to another codec"
            findings.append(Finding("codecs", name, "FAIL" if state == "FAIL" else "WARN", words, fix))
        else:
            findings.append(Finding("codecs", name, "PASS", f"imagecodecs {imagecodecs.__version__}"))
    return findings


def check_openslide() -> Finding:
    """Check that OpenSlide's library loads."""
    try:
        import openslide
    except (ImportError, OSError) as error:
        words = first_line(error)
        return Finding("slides", "OpenSlide", "FAIL", words, "pip install openslide-bin openslide-python")
    return Finding("slides", "OpenSlide", "PASS", f"{openslide.__library_version__}")


def check_software(config: Config, on_cluster: bool) -> list[Finding]:
    """All of this module's findings."""
    return [
        check_python(),
        check_snakemake(),
        *check_torch(config.sampler.device, on_cluster),
        *check_codecs(config.slide.codec),
        check_openslide(),
    ]
