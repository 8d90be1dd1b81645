"""Reads tensors of a model folder; what is wrong with the file is told as a ModelError."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from mupd.base.messages import first_line
from mupd.errors import ModelError


def read_tensors(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Parameters
    ----------
    shapes
        Names that must be there, each with its shape.

    Raises
    ------
    ModelError
        If the file is not there, is cut short, or holds other names or shapes.
    """
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: cannot be read as safetensors: {first_line(error)}") from error
    stored_shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    for name in sorted(set(stored_shapes) | set(shapes)):
        if stored_shapes.get(name) != shapes.get(name):
            raise ModelError(
                f"{path} [{name}]: found {stored_shapes.get(name, 'no tensor')}; "
                f"expected {shapes.get(name, 'no tensor')}"
            )
    return tensors
