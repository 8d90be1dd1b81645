"""Formats that cannot be read here: how to recognise them, and what to convert them with and to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mupd.errors import UnusableError
from mupd.slides.slide_reader import SlideReader

_TO = "a pyramidal OME-TIFF (8-bit RGB, with its pixel size)"
_BIO_FORMATS = (
    f"convert it with Bio-Formats (bfconvert -series 0, or bioformats2raw and raw2ometiff) or QuPath to {_TO}"
)
_VENDOR = f"export it with the scanner's own software to DICOM, SVS or {_TO}"
_LIBVIPS = f"convert it with libvips (vips tiffsave --tile --pyramid --compression jpeg) to {_TO}, and state he_mpp"
_UNPACK = "unpack it and give the slide itself"
_NO_PICTURE = "give the slide itself, not a file that belongs to it"
_HEAD_BYTES = 64


@dataclass(frozen=True)
class ForeignFormat:
    """A format that cannot be read.

    Attributes
    ----------
    name
        What it is called.
    advice
        What to do about it.
    suffixes
        Endings of its file names, in lower case.
    starts
        First bytes of its files that no other format has.
    like_tiff
        Whether its files begin as a TIFF that holds only a preview.
    """

    name: str
    advice: str
    suffixes: tuple[str, ...] = ()
    starts: tuple[bytes, ...] = ()
    like_tiff: bool = False


FOREIGN_FORMATS = (
    ForeignFormat("Zeiss CZI", f"{_BIO_FORMATS}; or export it in ZEN", (".czi",), (b"ZISRAWFILE",)),
    ForeignFormat("Zeiss LSM or ZVI", _BIO_FORMATS, (".lsm", ".zvi")),
    ForeignFormat("Olympus VSI", _BIO_FORMATS, (".vsi", ".ets"), (b"ETS\0", b"SIS\0"), like_tiff=True),
    ForeignFormat("Olympus OIB, OIF or OIR", _BIO_FORMATS, (".oib", ".oif", ".oir"), (b"OLYMPUSRAWFORMAT",)),
    ForeignFormat("Nikon ND2", _BIO_FORMATS, (".nd2",), (b"\xda\xce\xbe\x0a",)),
    ForeignFormat("Leica LIF or LOF", _BIO_FORMATS, (".lif", ".lof", ".lifext", ".xlef"), (b"\x70\0\0\0",)),
    ForeignFormat("Imaris", _BIO_FORMATS, (".ims",)),
    ForeignFormat("CellSens, SlideBook or DeltaVision", _BIO_FORMATS, (".sld", ".sldy", ".dv", ".stk")),
    ForeignFormat(
        "Philips iSyntax",
        f"export it from Philips IntelliSite to DICOM or TIFF, or convert it with isyntax2raw and raw2ometiff to {_TO}",
        (".isyntax", ".i2syntax"),
    ),
    ForeignFormat(
        "a format of one scanner's maker",
        _VENDOR,
        (".kfb", ".kfbl", ".sdpc", ".dyqx", ".mds", ".mdsx", ".tmap", ".tron", ".bimg", ".tiles", ".dsi"),
    ),
    ForeignFormat("an index of a fluorescence set", "give the bright-field H&E scan (.svs, .ndpi)", (".afi", ".ndpis")),
    ForeignFormat("OME-Zarr", f"convert it with raw2ometiff or QuPath to {_TO}", (".zarr", ".ozx", ".n5")),
    ForeignFormat("DeepZoom", "give the slide from which it was made, or join it again with libvips", (".dzi", ".szi")),
    ForeignFormat(
        "JPEG 2000", _LIBVIPS, (".jp2", ".jpx", ".j2k", ".jpf", ".jpc"), (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")
    ),
    ForeignFormat("JPEG XR, JPEG XL or HEIC", _LIBVIPS, (".jxr", ".jxl", ".heic", ".heif", ".avif")),
    ForeignFormat("WebP", _LIBVIPS, (".webp",)),
    ForeignFormat("GIF", _LIBVIPS, (".gif",), (b"GIF87a", b"GIF89a")),
    ForeignFormat("MrSID or ECW", _LIBVIPS, (".sid", ".ecw")),
    ForeignFormat("Photoshop", _LIBVIPS, (".psd", ".psb"), (b"8BPS",)),
    ForeignFormat("PDF", "it is a print of a slide, not a scan: give the scan itself", (".pdf",), (b"%PDF",)),
    ForeignFormat(
        "an office document", "give the scan itself", (".ppt", ".pptx", ".doc", ".docx"), (b"\xd0\xcf\x11\xe0",)
    ),
    ForeignFormat(
        "an archive",
        _UNPACK,
        (".zip", ".7z", ".rar", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst"),
        (b"PK\x03\x04", b"7z\xbc\xaf", b"Rar!", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"),
    ),
    ForeignFormat(
        "an unfinished download",
        "wait for the end of the download, or download it again",
        (".part", ".partial", ".crdownload", ".download", ".filepart", ".icloud"),
    ),
    ForeignFormat(
        "a pointer of Git LFS, not the file", "fetch it with `git lfs pull`", starts=(b"version https://git-lfs",)
    ),
    ForeignFormat(
        "a web page, as of a failed download",
        "download the slide again",
        (".html", ".htm"),
        (b"<!DOCTYPE html", b"<!doctype html", b"<html"),
    ),
    ForeignFormat(
        "annotations or a project of a viewer",
        _NO_PICTURE,
        (".qpproj", ".qpdata", ".geojson", ".ndpa", ".xml", ".json", ".sis", ".dat", ".ini"),
    ),
)
"""In the order in which they are tried: by the name first, then by the first bytes."""

# What a folder holds that is one of these, and no DICOM.
_FOLDERS = (
    ((".zattrs", ".zgroup", "zarr.json"), "OME-Zarr"),
    (("*.ets", "stack*/*.ets"), "Olympus VSI"),
)
_MIRAX_DATA = ForeignFormat("the data folder of a MIRAX slide", "give the .mrxs file beside it")


def foreign_format(path: Path) -> ForeignFormat | None:
    """The format of a file or folder, by its name or first bytes, if it is one that cannot be read."""
    name = path.name.lower()
    for foreign in FOREIGN_FORMATS:
        if name.endswith(foreign.suffixes):
            return foreign
    if not path.is_dir():
        with path.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
        return next((foreign for foreign in FOREIGN_FORMATS if head.startswith(foreign.starts)), None)
    if (path / "Slidedat.ini").is_file():
        return _MIRAX_DATA
    for patterns, kind in _FOLDERS:
        if any(next(path.glob(pattern), None) for pattern in patterns):
            return next(foreign for foreign in FOREIGN_FORMATS if foreign.name == kind)
    return None


def with_advice(problem: str, path: Path) -> str:
    """What is wrong with a file, and what to do if it has a foreign format."""
    try:
        foreign = foreign_format(path)
    except OSError:
        return problem
    return problem if foreign is None else f"{foreign.name}: {foreign.advice} ({problem})"


def refuse_foreign(path: Path, _mpp: float | None) -> SlideReader:
    """Raise UnusableError with the format's name and advice."""
    foreign = foreign_format(path)
    if foreign is None:
        raise UnusableError("does not open as a slide")
    raise UnusableError(f"{foreign.name} cannot be read here: {foreign.advice}")
