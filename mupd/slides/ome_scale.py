"""The physical scale in OME-XML: PhysicalSizeX and Y with any unit of length, in any encoding."""

from __future__ import annotations

import unicodedata
from xml.etree import ElementTree

from mupd.errors import UnusableError

AxesUm = tuple[float | None, float | None]
"""Micrometres per pixel in x and y; None if not stated."""

# UnitsLength of the OME schema (2016-06): metric prefixes of the metre, and others that are lengths.
_METRE_EXPONENTS = {
    "Y": 24, "Z": 21, "E": 18, "P": 15, "T": 12, "G": 9, "M": 6, "k": 3, "h": 2, "da": 1, "": 0, "d": -1, "c": -2,
    "m": -3, "u": -6, "n": -9, "p": -12, "f": -15, "a": -18, "z": -21, "y": -24,
}  # fmt: skip
_INCH_UM = 25_400.0
_UNITS_UM = {f"{prefix}m": 10.0 ** (exponent + 6) for prefix, exponent in _METRE_EXPONENTS.items()} | {
    "å": 1e-4,
    "thou": _INCH_UM / 1000,
    "li": _INCH_UM / 12,
    "in": _INCH_UM,
    "pt": _INCH_UM / 72,
    "ft": 12 * _INCH_UM,
    "yd": 36 * _INCH_UM,
    "mi": 63_360 * _INCH_UM,
}
# Words that the schema does not have and programs write.
_WORDS = {
    "micron": "um", "micrometer": "um", "micrometre": "um", "nanometer": "nm", "nanometre": "nm", "millimeter": "mm",
    "millimetre": "mm", "centimeter": "cm", "centimetre": "cm", "meter": "m", "metre": "m", "inch": "in",
    "inche": "in", "μ": "um", "angstrom": "å", "ångström": "å",
}  # fmt: skip


def unit_um(unit: str) -> float | None:
    """Micrometres in a unit of length; None if it is none ("pixel", "reference frame") or unknown.

    >>> unit_um("µm"), unit_um("Âµm"), unit_um("microns"), unit_um("cm"), unit_um("pixel")
    (1.0, 1.0, 1.0, 10000.0, None)
    """
    name = unicodedata.normalize("NFKC", unit).strip().replace("\\u00b5", "u").replace("\\u00B5", "u")
    if name in _UNITS_UM:
        return _UNITS_UM[name]
    word = name.casefold()
    if (symbol := _WORDS.get(word.removesuffix("s"))) is not None:
        return _UNITS_UM[symbol]
    if word in ("å", "ã..."):
        return _UNITS_UM["å"]
    # The micro sign is the only other character of the schema outside ASCII. Whatever a wrong encoding made of it
    # stands before an "m": "Âµm", "Î¼m", "?m", "\ufffdm".
    garbled, metre, _ = unit.strip().rpartition("m")
    if garbled and metre and all(ord(sign) > 127 or sign == "?" for sign in garbled):
        return 1.0
    return _UNITS_UM[word] if word in ("um", "nm", "cm") else None


def _axis_um(pixels: ElementTree.Element, axis: str) -> tuple[float | None, str]:
    """Micrometres per pixel along an axis; what is stated, in words, if it is no length."""
    unit, stated = pixels.get(f"PhysicalSize{axis}Unit", "µm"), pixels.get(f"PhysicalSize{axis}")
    if not stated or not stated.strip():
        return None, ""
    in_words = f"PhysicalSize{axis} = {stated.strip()[:20]} {unit[:20]}"
    try:
        size = float(stated)
    except ValueError:
        return None, in_words
    factor = unit_um(unit)
    return (None, in_words) if factor is None else (size * factor, "")


def ome_um(description: str, size_px: tuple[int, int]) -> tuple[AxesUm, str]:
    """The scale of the image of this size.

    Returns
    -------
    Micrometres per pixel (unit: um if none is stated), and what the file states instead if that is no length.

    Raises
    ------
    UnusableError
        If the XML is not well formed.
    """
    try:
        root = ElementTree.fromstring(description)
    except ElementTree.ParseError as error:
        raise UnusableError(f"OME-XML that is not well formed ({error.msg})") from error
    for pixels in root.iterfind(".//{*}Pixels"):
        if (pixels.get("SizeX"), pixels.get("SizeY")) == (str(size_px[0]), str(size_px[1])):
            (x_um, x_words), (y_um, y_words) = _axis_um(pixels, "X"), _axis_um(pixels, "Y")
            return (x_um, y_um), x_words or y_words
    return (None, None), ""
