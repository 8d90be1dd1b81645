"""Integration of the velocity field by the flow-matching schedulers of diffusers.

Their time runs the other way (sigma 1 is noise, 0 is data) and their model output is noise minus
data; here t = 1 - sigma and the velocity is data minus noise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from mupd.model_folder.geometry import Solver

Velocity = Callable[[Tensor, Tensor], Tensor]
"""x (batch, ...) and t (batch,) to the velocity at x."""


def scheduler_of(solver: Solver, steps: int) -> Any:
    """A scheduler set to `steps` even steps; Heun evaluates the velocity twice in all steps but the last.

    Raises
    ------
    ValueError
        If the solver is unknown or there is no step.
    """
    if steps < 1:
        raise ValueError(f"steps: found {steps}; expected at least 1")
    if solver == "euler":
        from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler

        euler = FlowMatchEulerDiscreteScheduler()
        euler.set_timesteps(sigmas=np.linspace(1.0, 1.0 / steps, steps).tolist())
        return euler
    if solver == "heun":
        from diffusers.schedulers.scheduling_flow_match_heun_discrete import FlowMatchHeunDiscreteScheduler

        heun = FlowMatchHeunDiscreteScheduler()
        heun.set_timesteps(steps)
        return heun
    raise ValueError(f"solver: found {solver!r}; expected one of {', '.join(get_args(Solver))}")


@torch.no_grad()
def integrate(
    velocity: Velocity,
    noise: Tensor,
    steps: int,
    solver: Solver = "euler",
    on_step: Callable[[], object] | None = None,
) -> Tensor:
    """From noise (t = 0) to data (t = 1).

    Parameters
    ----------
    velocity
        Given x of the shape of `noise` and t (batch,).
    noise
        (batch, ...).
    """
    scheduler = scheduler_of(solver, steps)
    x = noise
    for timestep in scheduler.timesteps:
        t = torch.full((len(x),), 1.0 - float(timestep) / 1000, dtype=x.dtype, device=x.device)
        x = scheduler.step(-velocity(x, t), timestep, x, return_dict=False)[0]
        if on_step is not None:
            on_step()
    return x
