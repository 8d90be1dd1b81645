"""The processes of a training: one, or as many as ``accelerate launch`` has started (GPUs, nodes).

Gradients are averaged after the backward pass rather than by DistributedDataParallel, which hooks
into one call of one `forward`: here a step calls the model several times, for targets that take
turns and conditions that may be absent, so that which parameters have a gradient differs from step
to step and from process to process.
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
"""Numbers that are sent at once: 64 MiB."""


def _state() -> PartialState:
    """The one state of this process; several processes on CPUs are told apart by what the launcher has set."""
    _leave_at_exit()
    return PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available())


@cache
def _leave_at_exit() -> None:
    """Have the threads of communication end before the interpreter does.

    One that then still lets go of a tensor is ended by Python in the midst of C++, which aborts the
    process (SIGABRT). They end with the group of processes, once nothing holds it; this module of
    torch would for good, in the defaults of its functions, were it first imported (by an optimiser)
    while there is a group.
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
    """How many processes train together."""
    return _state().num_processes


def is_main() -> bool:
    """Whether this process is the one that writes."""
    return _state().is_main_process


def main_first() -> AbstractContextManager[None]:
    """What the main process does inside and keeps in files, the others find when they go in after it."""
    return _state().main_process_first()


def wait() -> None:
    """Wait until all processes are here."""
    _state().wait_for_everyone()


def batch_rng(*key: int) -> np.random.Generator:
    """Random numbers of a batch: of its own in every process, the same whenever the key is."""
    return np.random.default_rng(key if rank() == 0 else (*key, rank()))


def seed_torch(seed: int) -> torch.Generator:
    """Seed this process's random numbers; returns a generator (on the CPU) of the same seed."""
    own = seed + 7_919_000_003 * rank()
    torch.manual_seed(own)
    return torch.Generator().manual_seed(own)


def total(values: Tensor) -> Tensor:
    """Sum over all processes."""
    return reduce(values, reduction="sum")


def anywhere(flag: bool) -> bool:
    """Whether a flag is set in any process."""
    return bool(total(torch.tensor([float(flag)], device=device())).item())


@torch.no_grad()
def share_weights(model: nn.Module) -> None:
    """Give all processes the main one's parameters and buffers."""
    if count() > 1:
        for tensor in model.state_dict().values():
            tensor.copy_(broadcast(tensor.clone(), from_process=0))


@torch.no_grad()
def average_gradients(model: nn.Module) -> None:
    """Average gradients, and buffers such as running statistics, over all processes.

    A parameter that has a gradient in some processes counts as 0 in the others; one that has none
    anywhere keeps none.
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
