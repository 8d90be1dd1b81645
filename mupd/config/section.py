"""What every section of a settings file is made of: a frozen dataclass that checks its values.

Imported by the Snakefile, which every cluster job parses: no heavy imports here.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar, cast, dataclass_transform

from pydantic import AfterValidator, ConfigDict, Field, ValidatorFunctionWrapHandler, WrapValidator
from pydantic.dataclasses import dataclass as pydantic_dataclass

from mupd.base.rna_scales import check_stated

Section = TypeVar("Section")


@dataclass_transform(frozen_default=True, field_specifiers=(Field,))
def section(cls: type[Section]) -> type[Section]:
    """A frozen dataclass with checked values.

    Unknown keys are refused, and so are NaN, infinity and values of another type: 20.0 and true are no integers.
    """
    settings = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    return cast("type[Section]", pydantic_dataclass(frozen=True, config=settings)(cls))


def _as_written(value: object, check: ValidatorFunctionWrapHandler) -> object:
    checked = check(value)
    return value if type(value) is int else checked


AS_WRITTEN = WrapValidator(_as_written)
"""Keeps a whole number an int, so that digests of a configuration do not change from 1 to 1.0."""

MPP_RANGE = (0.1, 4.0)
"""Micrometres per pixel that a slide of cells can have: 100x objectives to 2.5x overviews."""

Text = Annotated[str, Field(min_length=1)]
Share = Annotated[float, Field(ge=0, le=1), AS_WRITTEN]
NotNegative = Annotated[float, Field(ge=0), AS_WRITTEN]
RnaScale = Annotated[str, AfterValidator(check_stated)]
"""Scale of RNA values, as :func:`mupd.base.rna_scales.check_stated` accepts it."""
DrawCount = Annotated[int, Field(ge=1, le=64)]
StepCount = Annotated[int, Field(ge=1, le=1000)]
SidePx = Annotated[int, Field(ge=128, le=200_000)]
Codec = Literal["jpeg", "jpeg2000", "htj2k", "jpegxl"]
"""How the pixels of DICOM files are compressed."""
