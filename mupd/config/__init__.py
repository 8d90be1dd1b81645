"""The run configuration and every other settings file that a user writes."""

from mupd.config.settings import (
    CheckLimits,
    Config,
    Draws,
    IntakeLimits,
    ReportSettings,
    Slide,
    load_config,
    load_schema,
    parse_config,
    schema_faults,
    with_defaults,
)

__all__ = [
    "CheckLimits",
    "Config",
    "Draws",
    "IntakeLimits",
    "ReportSettings",
    "Slide",
    "load_config",
    "load_schema",
    "parse_config",
    "schema_faults",
    "with_defaults",
]
