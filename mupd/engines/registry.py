"""The engines of a run: to add one, implement :mod:`mupd.engines.engine` and list it here."""

from __future__ import annotations

from mupd.config import Config
from mupd.engines.engine import Engine
from mupd.engines.mupd.engine import MupdEngine
from mupd.engines.stainer import StainEngine
from mupd.model.pipeline import MuPDPipeline


def open_engines(config: Config, device: str) -> tuple[Engine, ...]:
    """All engines that a configuration asks for; a task goes to the first that makes its target.

    Raises
    ------
    ModelError
        If the model's folder cannot be opened.
    """
    pipeline = MuPDPipeline.from_pretrained(config.model, device, compile_trunk=config.sampler.compile)
    return MupdEngine(config, pipeline), StainEngine(config, device)
