"""Checkpoints of a training: safetensors, never a pickle."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mupd.base.files import atomic_path
from mupd.errors import ModelError


class Checkpoint:
    """Weights, EMA and optimiser state in one safetensors file, with the step in its metadata."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "checkpoint.safetensors"

    def save(self, step: int, model: nn.Module, ema: dict[str, Tensor], optimiser: torch.optim.Optimizer) -> None:
        """Write atomically; the previous checkpoint stays until the new one is whole."""
        tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
        tensors |= {f"ema.{k}": v for k, v in ema.items()}
        for index, state in optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{k}": torch.as_tensor(v) for k, v in state.items()}
        tensors = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
        with atomic_path(self.path) as temporary:
            save_file(tensors, temporary, metadata={"step": str(step)})

    def load(self, model: nn.Module, ema: dict[str, Tensor], optimiser: torch.optim.Optimizer) -> int:
        """Restore in place and return the step; 0 if there is no checkpoint.

        Raises
        ------
        ModelError
            If the file does not fit the model.
        """
        if not self.path.exists():
            return 0
        try:
            with safe_open(self.path, "pt") as stream:
                step = int((stream.metadata() or {})["step"])
            tensors = load_file(self.path)
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise ModelError(f"{self.path}: damaged ({error}); remove it to start afresh") from error
        part = {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
        try:
            model.load_state_dict(part)
        except RuntimeError as error:
            raise ModelError(
                f"{self.path}: the checkpoint does not fit the model of the training configuration "
                f"({str(error).splitlines()[-1].strip()}); remove it to start afresh"
            ) from error
        for key in ema:
            ema[key].copy_(tensors[f"ema.{key}"])
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith("optimiser."):
                _, index, name = key.split(".", 2)
                state.setdefault(int(index), {})[name] = value
        optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
        return step
