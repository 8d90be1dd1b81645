"""Recognises synthetic artifacts among inputs, lightly: headers, names and first bytes, never whole files."""

from __future__ import annotations

import gzip
import re
import zlib
from pathlib import Path

from mupd.errors import UnusableError
from mupd.synthetic.png_marks import is_png, png_marks
from mupd.synthetic.statement import BANNER, FILE_WORD, PREFIX

FILE_NAME = f"file name contains {FILE_WORD}"

_HEAD_BYTES = 1 << 16
_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_TEXT_SUFFIXES = frozenset({".txt", ".json", ".md", ".csv", ".tsv"})
_TABLE_SUFFIXES = frozenset({".csv", ".tsv"})
_FLAG = re.compile(r'"synthetic"\s*:\s*true')
_JSON_ID = re.compile(rf'"id"\s*:\s*"{PREFIX}')
_TABLE_NAME = re.compile(rf"""(?m)(?:^|[\t,;])["']?{PREFIX}[A-Za-z0-9]""")


def is_dicom(path: Path) -> bool:
    """Whether a file has the DICOM preamble (PS3.10 7.1)."""
    with path.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def is_hdf5(path: Path) -> bool:
    """Whether a file is HDF5: its signature stands at byte 0, or behind a user block, as MuData writes one."""
    with path.open("rb") as stream:
        for offset in (0, 512, 1024, 2048):
            stream.seek(offset)
            if stream.read(len(_HDF5_MAGIC)) == _HDF5_MAGIC:
                return True
    return False


def dicom_files(folder: Path) -> list[Path]:
    """The DICOM files that lie directly in a folder, sorted by name."""
    return [path for path in sorted(folder.iterdir()) if path.is_file() and is_dicom(path)]


def _text_suffix(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _head(path: Path) -> str:
    try:
        with path.open("rb") as plain:
            # By magic, not by name: real archives hold plain text named .gz.
            opener = gzip.open if plain.read(2) == b"\x1f\x8b" else open
        with opener(path, "rb") as stream:
            return stream.read(_HEAD_BYTES).decode("utf-8", errors="replace")
    except (OSError, EOFError, zlib.error) as error:
        raise UnusableError(f"{path.name}: found a file that cannot be read ({error}); expected text") from error


def _text_head_marks(path: Path) -> list[str]:
    from mupd.synthetic.text_marks import BANNER_FIELD, FLAG_FIELD, IDENTIFIER, text_marks

    head, suffix = _head(path), _text_suffix(path)
    if suffix == ".json":
        marks = [BANNER_FIELD] if BANNER in head else []
        marks += [FLAG_FIELD] if _FLAG.search(head) else []
        return marks + ([IDENTIFIER] if _JSON_ID.search(head) else [])
    marks = text_marks(head)
    if suffix in _TABLE_SUFFIXES and _TABLE_NAME.search(head):
        marks.append(f"a row or column name begins with {PREFIX}")
    return marks


def _file_marks(path: Path) -> list[str]:
    if is_dicom(path):
        from mupd.synthetic.dicom_derived import is_derived, look_at_derived
        from mupd.synthetic.dicom_marks import TELLING, dicom_marks, read_header

        header = read_header(path)
        if is_derived(header):
            return list(look_at_derived(path).found)
        return [mark for mark in dicom_marks(header) if mark in TELLING]
    if is_hdf5(path):
        from mupd.synthetic.hdf5_peek import hdf5_marks

        return hdf5_marks(path)[0]
    if is_png(path):
        return png_marks(path)
    return _text_head_marks(path) if _text_suffix(path) in _TEXT_SUFFIXES else []


def named_synthetic(path: Path) -> bool:
    """Whether the name of a file, of a folder or of a DICOM file in that folder says synthetic."""
    files = dicom_files(path) if path.is_dir() else []
    return any(FILE_WORD in file.name.lower() for file in (path, *files))


def content_marks(path: Path) -> list[str]:
    """Marks inside a file, or inside the DICOM files of a folder; see :func:`synthetic_marks`."""
    if path.is_dir():
        marks = [mark for file in dicom_files(path) for mark in _file_marks(file)]
        return list(dict.fromkeys(marks))
    return _file_marks(path)


def synthetic_marks(path: Path) -> list[str]:
    """The marks that show that an input is synthetic; an empty list if there are none.

    Parameters
    ----------
    path
        A file, or a folder that holds the DICOM files of a slide. DICOM and HDF5 are recognised by
        their first bytes, texts (.txt, .json, .md, .csv, .tsv, each also .gz) by their first 64 KiB,
        PNG by its text chunks, everything by its file name (not by the names of the folders above it).

    Raises
    ------
    UnusableError
        If the file begins as DICOM, HDF5 or gzip and cannot be read; names the file.
    FileNotFoundError
        If there is nothing at `path`.
    """
    return ([FILE_NAME] if named_synthetic(path) else []) + content_marks(path)
