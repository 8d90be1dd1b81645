"""Sizes of the trunk, from one that two CPU cores train to that of the paper."""

from __future__ import annotations

from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    "mini": {"width": 192, "depth": 4, "heads": 4, "stem_width": 96, "stem_blocks": 2},
    "S": {"width": 384, "depth": 12, "heads": 6, "stem_width": 192, "stem_blocks": 2},
    "B": {"width": 768, "depth": 12, "heads": 12, "stem_width": 256, "stem_blocks": 2},
    "L": {"width": 1024, "depth": 24, "heads": 16, "stem_width": 256, "stem_blocks": 2, "own_modulation": True},
    "XL": {"width": 1152, "depth": 28, "heads": 16, "stem_width": 256, "stem_blocks": 2, "own_modulation": True},
}
"""Preset to the arguments of :class:`mupd.model.transformer.MuPDTransformer`; S to XL are DiT's and SiT's
widths and depths (arXiv:2212.09748, table 1), XL being MuPD's 28 x 1152."""


def preset(name: str) -> dict[str, Any]:
    """Arguments of a preset.

    Raises
    ------
    ValueError
        If there is no such preset.
    """
    if name not in PRESETS:
        raise ValueError(f"preset: found {name!r}; expected one of {', '.join(PRESETS)}")
    return dict(PRESETS[name])
