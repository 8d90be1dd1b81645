"""Starting a training from the weights of another: fine-tuning, or a trunk with one more target or stream."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from mupd.base.files import write_json
from mupd.base.messages import first_line
from mupd.errors import ModelError


def start_from(model: nn.Module, folder: Path, report: Path | None = None) -> dict[str, list[str]]:
    """Copy into `model` every tensor of a transformer folder that has the same name and shape.

    Parameters
    ----------
    folder
        With ``diffusion_pytorch_model.safetensors``.
    report
        Where to write which tensors were taken, are new, and were unused.

    Returns
    -------
    dict
        ``taken``, ``new`` (in the model alone) and ``unused`` (in the folder alone, or of another shape).

    Raises
    ------
    ModelError
        If the folder holds no such file, or nothing in it fits.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / "diffusion_pytorch_model.safetensors"
    try:
        stored = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: cannot be read as safetensors: {first_line(error)}") from error
    own = model.state_dict()
    taken = [name for name in own if name in stored and stored[name].shape == own[name].shape]
    if not taken:
        raise ModelError(f"{path}: found no tensor that fits the model; expected a MuPDTransformer of this size")
    model.load_state_dict({name: stored[name] for name in taken}, strict=False)
    names = {
        "taken": taken,
        "new": [name for name in own if name not in taken],
        "unused": [name for name in stored if name not in taken],
    }
    if report is not None:
        write_json(report, names)
    return names
