"""Classifier-free guidance with a scale for each condition stream; all passes run as one batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from mupd.model.attention import Context, stack_contexts
from mupd.model.cpu.prepared import prepared
from mupd.model.solvers import Velocity
from mupd.model.transformer import MuPDTransformer, Target

_ORDER = ("text", "pathways", "rna", "he")
"""In which streams are added, from the broadest statement to the most local one."""


def guidance_passes(names: Mapping[str, object], scales: Mapping[str, float]) -> list[tuple[tuple[str, ...], float]]:
    """Passes of the network and the weight of each in the guided velocity.

    Streams are added one after the other (arXiv:2211.09800, section 3.2): with scales w1, w2 the
    velocity is v() + w1 (v(1) - v()) + w2 (v(1, 2) - v(1)). Streams of equal scale are added together,
    and a pass whose weight is 0 is left out: a scale of 1 everywhere is one conditional pass.

    Parameters
    ----------
    names
        Streams that are there.
    scales
        Scale of each stream; 1 where not named.

    Returns
    -------
    list
        (streams given, weight); weights add up to 1.
    """
    groups: list[tuple[float, tuple[str, ...]]] = []
    for name in sorted(names, key=lambda n: (_ORDER.index(n) if n in _ORDER else len(_ORDER), n)):
        scale = float(scales.get(name, 1.0))
        if groups and groups[-1][0] == scale:
            groups[-1] = (scale, (*groups[-1][1], name))
        else:
            groups.append((scale, (name,)))
    passes: list[tuple[tuple[str, ...], float]] = []
    given: tuple[str, ...] = ()
    following = [scale for scale, _ in groups] + [0.0]
    before = 1.0
    for (_, names_of_group), after in zip([(1.0, ()), *groups], following, strict=True):
        given += names_of_group
        passes.append((given, before - after))
        before = after
    return [(streams, weight) for streams, weight in passes if weight != 0.0]


def guided(
    model: MuPDTransformer, target: Target, context: Context, extra: Tensor, scales: Mapping[str, float]
) -> Velocity:
    """The guided velocity of a batch.

    Parameters
    ----------
    context
        Of all conditions; keys and values are those it holds, so nothing is projected again.
    extra
        (batch, 2).
    scales
        Guidance of each stream; 1 where not named.
    """
    passes = guidance_passes(context.streams, scales)

    def plain() -> Velocity:
        return _as_one_batch(model, target, context, extra, passes)

    trunk = prepared(model, context) if target == "he" else None
    return plain() if trunk is None else trunk.velocity(context, extra, passes)


def _as_one_batch(
    model: MuPDTransformer,
    target: Target,
    context: Context,
    extra: Tensor,
    passes: Sequence[tuple[tuple[str, ...], float]],
) -> Velocity:
    """By the trunk's own layers, all passes one behind the other."""
    names = set(context.streams)
    parts = [context.without([name for name in names if name not in streams]) for streams, _ in passes]
    stacked = parts[0] if len(parts) == 1 else stack_contexts(parts)
    weights = [weight for _, weight in passes]
    count = len(passes)
    dtype = next(model.parameters()).dtype
    extras = extra.to(dtype).repeat(count, 1)

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        velocities = model(x.to(dtype), t.repeat(count), target, stacked, extras, copies=count).to(x.dtype).chunk(count)
        total = weights[0] * velocities[0] if weights[0] != 1.0 else velocities[0]
        for weight, part in zip(weights[1:], velocities[1:], strict=True):
            total = total + weight * part
        return total

    return velocity
