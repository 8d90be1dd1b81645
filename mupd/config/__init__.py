"""The run configuration and every other settings file that a user writes."""

from mupd.config.sections import CheckLimits, Draws, IntakeLimits, ReportSettings, Slide
from mupd.config.settings import Config, config_schema, load_config, parse_config

__all__ = [
    "CheckLimits",
    "Config",
    "Draws",
    "IntakeLimits",
    "ReportSettings",
    "Slide",
    "config_schema",
    "load_config",
    "parse_config",
]
