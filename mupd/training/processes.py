"""The processes of a training: one, or as many as ``accelerate launch`` has started (GPUs, nodes).

Gradients are averaged after the backward pass, without DistributedDataParallel. That hooks into a single call of a
single `forward`, but a step here calls the model several times, for targets that take turns and conditions that may be
absent. Which parameters have a gradient therefore differs between steps and between processes.
"""

from __future__ import annotations

import atexit
from contextlib import AbstractContextManager
from functools import cache
from importlib import import_module

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import broadcast, parse_flag_from_env, reduce
from torch import Tensor, nn

_BUCKET = 1 << 24
"""Numbers sent at once: 64 MiB."""


def _state() -> PartialState:
    """The state of this process; whether several processes share CPUs is read from the launcher's environment."""
    _leave_at_exit()
    return PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available())


@cache
def _leave_at_exit() -> None:
    """End the communication threads before the interpreter exits.

    A thread that releases a tensor while the interpreter shuts down is killed inside C++ code, which aborts the process
    (SIGABRT). The threads end with the process group, once nothing refers to it. The module of torch imported below
    refers to the group forever, in the defaults of its functions, if it is first imported (by an optimiser) while a
    group exists; so it is imported before.
    """
    if not torch.distributed.is_available():
        return
    import_module("torch.distributed.nn.functional")

    def leave() -> None:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()

    atexit.register(leave)


def rank() -> int:
    """Number of this process among all, from 0."""
    return _state().process_index


def device() -> torch.device:
    """The device of this process: its GPU, or the CPU."""
    return _state().device


def count() -> int:
    """Number of processes that train together."""
    return _state().num_processes


def is_main() -> bool:
    """Whether this process is the one that writes."""
    return _state().is_main_process


def main_first() -> AbstractContextManager[None]:
    """Context that the main process enters first; the others enter once it has left, and find the files it wrote."""
    return _state().main_process_first()


def wait() -> None:
    """Wait until all processes have reached this call."""
    _state().wait_for_everyone()


def batch_rng(*key: int) -> np.random.Generator:
    """Random numbers of a batch: different in each process, the same for the same key."""
    return np.random.default_rng(key if rank() == 0 else (*key, rank()))


def seed_torch(seed: int) -> torch.Generator:
    """Seed the random numbers of this process; returns a CPU generator with the same seed."""
    own = seed + 7_919_000_003 * rank()
    torch.manual_seed(own)
    return torch.Generator().manual_seed(own)


def total(values: Tensor) -> Tensor:
    """Sum over all processes."""
    return reduce(values, reduction="sum")


def anywhere(flag: bool) -> bool:
    """Whether the flag is set in any process."""
    return bool(total(torch.tensor([float(flag)], device=device())).item())


@torch.no_grad()
def share_weights(model: nn.Module) -> None:
    """Copy the parameters and buffers of the main process to all others."""
    if count() > 1:
        for tensor in model.state_dict().values():
            tensor.copy_(broadcast(tensor.clone(), from_process=0))


@torch.no_grad()
def average_gradients(model: nn.Module) -> None:
    """Average gradients, and buffers such as running statistics, over all processes.

    Where a process lacks a gradient that others have, it counts as 0. A parameter without a gradient in any process
    keeps none.
    """
    if count() == 1:
        return
    parameters = [p for p in model.parameters() if p.requires_grad]
    has = torch.tensor([float(p.grad is not None) for p in parameters], device=parameters[0].device)
    anywhere = total(has) > 0
    shared: list[Tensor] = []
    for parameter, wanted in zip(parameters, anywhere.tolist(), strict=True):
        if wanted:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            shared.append(parameter.grad)
    shared += [buffer for buffer in model.buffers() if buffer.dtype.is_floating_point]
    bucket: list[Tensor] = []
    for index, tensor in enumerate(shared):
        bucket.append(tensor)
        if index == len(shared) - 1 or sum(t.numel() for t in bucket) >= _BUCKET:
            mean = reduce(torch.cat([t.flatten() for t in bucket]), reduction="mean")
            for old, new in zip(bucket, mean.split([t.numel() for t in bucket]), strict=True):
                old.copy_(new.view_as(old))
            bucket = []
