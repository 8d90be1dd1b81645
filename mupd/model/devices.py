"""Where the model runs: is there the GPU that was asked for, and how much fits into its memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from mupd.errors import MupdError

_SHARE = 0.5
"""Of the free memory that a micro-batch may take; the rest is for keys, values and the decoder."""

_COPIES = 64
"""Float32 values at a time for each token and channel of the trunk: a generous bound, not a measurement."""


class DeviceError(MupdError):
    """A device that is not there or too small: no fault of a case, another node may have a better one."""


def place_of_job() -> str:
    """Where this process runs, in words: SLURM's partition, node and job; the host outside of SLURM."""
    node = os.environ.get("SLURMD_NODENAME") or os.uname().nodename
    if "SLURM_JOB_PARTITION" not in os.environ:
        return f"node {node}, SLURM partition none"
    job = os.environ.get("SLURM_JOB_ID", "unknown")
    return f"node {node}, SLURM partition {os.environ['SLURM_JOB_PARTITION']}, job {job}"


def choose_device(wanted: str) -> str:
    """``cpu`` or ``cuda`` for a configured device.

    Raises
    ------
    DeviceError
        If CUDA is not there although it is asked for by name, or SLURM gave this job a GPU: it would lie idle.
    """
    if wanted == "cpu":
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    given = os.environ.get("SLURM_JOB_GPUS", "")
    if wanted == "auto" and not given:
        return "cpu"
    built = torch.version.cuda
    why = f"PyTorch {torch.__version__} is built {f'for CUDA {built}' if built else 'without CUDA'}"
    gpus = f"SLURM gave GPU {given}" if given else "SLURM gave no GPU"
    raise DeviceError(
        f"sampler.device: found no CUDA device, expected one ({place_of_job()}; {gpus}; {why}); "
        "ask for a GPU in the profile (set-resources: generate: gpu or gres), install a PyTorch for CUDA and a driver "
        "on the node, or set sampler.device to auto or cpu and ask for no GPU"
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the GPU's memory is full."""
    import torch

    return isinstance(error, torch.cuda.OutOfMemoryError)


def free_memory() -> int:
    """Bytes free on the GPU in use."""
    import torch

    torch.cuda.empty_cache()
    return int(torch.cuda.mem_get_info()[0])


def halves(batch_size: int) -> Iterator[int]:
    """A batch size, its half, ... down to 1."""
    while batch_size >= 1:
        yield batch_size
        batch_size //= 2


def fitting_batch(batch_size: int, window_bytes: int, free_bytes: int) -> int:
    """The largest of a batch size and its halves that fits into free memory; at least 1."""
    return next((size for size in halves(batch_size) if size * window_bytes <= _SHARE * free_bytes), 1)


def window_bytes(transformer: Any, tokens: int) -> int:
    """Bound of the bytes that a window of some tokens takes on its way through a trunk."""
    return _COPIES * 4 * tokens * int(transformer.config["width"])


def batch_for(pipeline: Any, batch_size: int, tokens: int) -> int:
    """The micro-batch to begin with on a pipeline's device: on the CPU as configured, on a GPU what fits."""
    if not pipeline.device.startswith("cuda"):
        return batch_size
    return fitting_batch(batch_size, window_bytes(pipeline.transformer, tokens), free_memory())
