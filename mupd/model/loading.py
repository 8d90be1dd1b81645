"""Loading the networks of a model folder, and the hash that names their weights."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from mupd.base.files import sha256_file
from mupd.base.messages import first_line
from mupd.errors import ModelError
from mupd.model.vae import Autoencoder, AutoencoderKLAdapter, autoencoder_class


def load_network(kind: Any, folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    """Load one network; safetensors only, and every tensor has to be there.

    Raises
    ------
    ModelError
        If there are no such weights, or they and the configuration disagree.
    """
    weights = folder / "diffusion_pytorch_model.safetensors"
    if not weights.exists():
        raise ModelError(f"{folder}: found no {weights.name}; expected weights as safetensors (pickles are refused)")
    try:
        model, info = kind.from_pretrained(folder, torch_dtype=dtype, use_safetensors=True, output_loading_info=True)
    except (OSError, ValueError, RuntimeError, SafetensorError, TypeError) as error:
        raise ModelError(f"{folder}: cannot be loaded: {first_line(error)}") from error
    if info["missing_keys"] or info["unexpected_keys"] or info["mismatched_keys"]:
        raise ModelError(
            f"{folder}: config and tensors disagree: missing {info['missing_keys'][:3]}, "
            f"unexpected {info['unexpected_keys'][:3]}, of another shape {info['mismatched_keys'][:3]}"
        )
    return model.eval()


def load_autoencoder(folder: Path, device: str) -> Autoencoder:
    """The autoencoder of a folder: MuPDVAE, or a diffusers AutoencoderKL.

    Raises
    ------
    ModelError
        If it is neither or cannot be loaded.
    """
    try:
        kind = autoencoder_class(folder)
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder}: {first_line(error)}") from error
    model = load_network(kind, folder).to(device)
    return model if kind.__name__ == "MuPDVAE" else AutoencoderKLAdapter(model)


def hashed_files(folder: Path, parts: Sequence[str], others: Sequence[str] = ()) -> list[Path]:
    """Weights and configurations of some parts of a model folder, and other files where they are there."""
    of_parts = (sorted((folder / part).rglob("*")) for part in parts)
    files = [path for paths in of_parts for path in paths if path.suffix in {".json", ".safetensors"}]
    return files + [folder / name for name in others if (folder / name).exists()]


def files_sha256(folder: Path, files: Sequence[Path]) -> str:
    """SHA-256 over the names and contents of files of a folder."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(folder).as_posix()}\0{sha256_file(file)}\n".encode())
    return digest.hexdigest()
