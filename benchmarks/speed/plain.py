"""The reference: the loop of diffusers' DiTPipeline with the same weights, steps and guidance.

One conditional and one unconditional half run as a batch; conditions are handed to the network at
every step, which projects their keys and values anew; the unconditional half attends to null tokens
that are masked out instead of being left out. Layers are PyTorch's own, none of the model's quicker ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mupd.model.attention import Conditions
from mupd.model.layers import sincos_positions_2d, timestep_embedding
from mupd.model.transformer import MuPDTransformer


def _linear(layer: Any, x: Tensor) -> Tensor:
    return F.linear(x, layer.weight, layer.bias)


def _normed(layer: Any, x: Tensor) -> Tensor:
    return F.layer_norm(x, layer.normalized_shape, layer.weight, layer.bias, layer.eps)


def _channel_norm(layer: Any, x: Tensor) -> Tensor:
    return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-5) * layer.gain


def _res_block(block: Any, x: Tensor, vector: Tensor) -> Tensor:
    h = _channel_norm(block.norm2, block.conv1(F.silu(_channel_norm(block.norm1, x))))
    scale, shift = block.modulation(vector)[:, :, None, None].chunk(2, dim=1)
    return x + block.conv2(F.silu(h * (1 + scale) + shift))


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    attend = None if mask is None else mask[:, None, None, :]
    mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=attend)
    return mixed.transpose(1, 2).flatten(2)


def _self_attention(layer: Any, x: Tensor) -> Tensor:
    parts = _linear(layer.qkv, x).unflatten(2, (3, layer.heads, -1))
    query, key, value = parts.permute(2, 0, 3, 1, 4)
    return _linear(layer.out, _attend(layer.query_norm(query), layer.key_norm(key), value))


def _cross_attention(layer: Any, x: Tensor, context: Tensor, mask: Tensor) -> Tensor:
    query = _linear(layer.query, x).unflatten(2, (layer.heads, -1)).transpose(1, 2)
    key, value = _linear(layer.key_value, context).unflatten(2, (2, layer.heads, -1)).permute(2, 0, 3, 1, 4)
    mixed = _attend(layer.query_norm(query), layer.key_norm(key), value, mask)
    return layer.gate * _linear(layer.out, mixed)


def plain_forward(model: MuPDTransformer, x: Tensor, t: Tensor, conditions: Conditions, extra: Tensor) -> Tensor:
    """Velocity of H&E latents; every stream is computed for every sample, and multiplied by 0 where absent."""
    trunk: Any = model
    stem = trunk.stem_he
    vector = trunk.time(timestep_embedding(t, model.config["width"]).to(x.dtype)) + trunk.extra["he"](extra)
    streams = {}
    for name, (vectors, mask) in conditions.items():
        present = mask.any(1).to(x.dtype)
        whole = mask | (present == 0)[:, None]
        tokens, token_mask, pooled = trunk.stream[name](vectors, whole)
        vector = vector + pooled * present[:, None]
        streams[name] = (tokens, token_mask, present)
    modulation = trunk.modulation(trunk.activation(vector))
    skip = stem.first(x)
    for block in stem.down_blocks:
        skip = _res_block(block, skip, vector)
    small = stem.down(skip)
    tokens = small.flatten(2).transpose(1, 2)
    tokens = tokens + sincos_positions_2d(small.shape[2], small.shape[3], tokens.shape[-1]).to(tokens)
    for block in trunk.blocks:
        table = modulation if block.table is None else block.table(modulation)
        shift1, scale1, gate1, shift2, scale2, gate2 = (table + block.offset)[:, None].chunk(6, dim=-1)
        tokens = tokens + gate1 * _self_attention(block.attention, _normed(block.norm1, tokens) * (1 + scale1) + shift1)
        h = _normed(block.norm_cross, tokens)
        for name, (context, mask, present) in streams.items():
            tokens = tokens + present[:, None, None] * _cross_attention(block.cross[name], h, context, mask)
        h = F.gelu(_linear(block.feed_in, _normed(block.norm2, tokens) * (1 + scale2) + shift2), approximate="tanh")
        tokens = tokens + gate2 * _linear(block.feed_out, h)
    up = F.pixel_shuffle(stem.up(tokens.transpose(1, 2).unflatten(2, small.shape[2:])), 2)
    h = stem.join(torch.cat([up, skip], dim=1))
    for block in stem.up_blocks:
        h = _res_block(block, h, vector)
    return stem.last(F.silu(_channel_norm(stem.last_norm, h)))


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
