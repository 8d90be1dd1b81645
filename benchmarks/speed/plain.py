"""The reference: a loop as diffusers' DiTPipeline has it, over the same weights, steps and guidance.

One conditional and one unconditional half run as a batch; conditions are handed to the network at
every step, which projects their keys and values anew; the unconditional half attends to null tokens
that are masked out instead of being left out.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mupd.model.attention import Conditions
from mupd.model.layers import timestep_embedding
from mupd.model.transformer import MuPDTransformer


def plain_forward(model: MuPDTransformer, x: Tensor, t: Tensor, conditions: Conditions, extra: Tensor) -> Tensor:
    """Velocity of H&E latents; every stream is computed for every sample, and multiplied by 0 where absent."""
    vector = model.time(timestep_embedding(t, model.config["width"])) + model.extra["he"](extra)
    streams = {}
    for name, (vectors, mask) in conditions.items():
        present = mask.any(1).to(x.dtype)
        whole = mask | (present == 0)[:, None]
        tokens, token_mask, pooled = model.stream[name](vectors, whole)
        vector = vector + pooled * present[:, None]
        streams[name] = (tokens, token_mask, present)
    modulation = model.modulation(model.activation(vector))
    tokens, skip, grid = model.stem_he.tokens(x, vector)
    for block in model.blocks:
        table = modulation if block.table is None else block.table(modulation)
        shift1, scale1, gate1, shift2, scale2, gate2 = (table + block.offset)[:, None].chunk(6, dim=-1)
        tokens = tokens + gate1 * block.attention(block.norm1(tokens) * (1 + scale1) + shift1)
        h = block.norm_cross(tokens)
        for name, (context, mask, present) in streams.items():
            key, value = block.cross[name].project(context)
            tokens = tokens + present[:, None, None] * block.cross[name](h, key, value, mask)
        h = block.norm2(tokens) * (1 + scale2) + shift2
        tokens = tokens + gate2 * block.feed_out(F.gelu(block.feed_in(h), approximate="tanh"))
    return model.stem_he.velocity(tokens, skip, grid, vector)


@torch.no_grad()
def plain_loop(
    model: MuPDTransformer, conditions: Conditions, extra: Tensor, noise: Tensor, steps: int, guidance: float
) -> Tensor:
    """Latents from noise (batch, channels, h, w)."""
    from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler

    scheduler = FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 1.0 / steps, steps).tolist())
    both = {
        name: (torch.cat([tokens, torch.zeros_like(tokens)]), torch.cat([mask, torch.zeros_like(mask)]))
        for name, (tokens, mask) in conditions.items()
    }
    extras = torch.cat([extra, extra])
    x = noise
    for timestep in scheduler.timesteps:
        t = torch.full((2 * len(x),), 1.0 - float(timestep) / 1000, dtype=x.dtype, device=x.device)
        conditional, unconditional = plain_forward(model, torch.cat([x, x]), t, both, extras).chunk(2)
        velocity = unconditional + guidance * (conditional - unconditional)
        x = scheduler.step(-velocity, timestep, x, return_dict=False)[0]
    return x
