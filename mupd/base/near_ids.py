"""Ids that nearly match: what R, Excel and biobanks make of the id of a case."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

# TCGA-AA-0001, of the barcode TCGA-AA-0001-01A-11R-A32Z-07
_TCGA = re.compile(r"^tcga-[a-z0-9]{2}-[a-z0-9]{4}(?=-|$)")
# X001, as R writes a name that begins with a digit
_R_PREFIX = re.compile(r"^x(?=\d)")
_SEPARATORS = re.compile(r"[\s._/\\-]+")
# 3.0, as pandas writes an id that was read as a number
_FLOAT = re.compile(r"^(\d+)\.0+$")
_DIGITS = re.compile(r"\d+")
# -01A, _T, .tumor, -R1: what is appended to a patient's id to name a sample
_SAMPLE = re.compile(r"^-(\d{1,2}[a-z]?|t\d?|n\d?|tumou?r|normal|primary|met\w*|rna\w*|r\d|s\d|rep\d|dna|wsi|he)(-|$)")
# -11A: normal tissue beside a tumour
_NORMAL = re.compile(r"^-(1\d[a-z]?|n\d?|normal)(-|$)")
_MOST_NAMED = 3


@dataclass(frozen=True)
class NearId:
    """An id of a table that nearly is the wanted one, and how it differs."""

    name: str
    difference: str
    is_normal: bool = False


@lru_cache(maxsize=1 << 16)
def _plain(name: str) -> str:
    """An id without what programs change: case, blanks, separators, R's X, lost zeros.

    >>> _plain(" TCGA.AA.0001 "), _plain("X002"), _plain("3.0"), _plain("P_007")
    ('tcga-aa-1', '2', '3', 'p-7')
    """
    text = unicodedata.normalize("NFKC", name).strip().casefold()
    text = _FLOAT.sub(r"\1", text)
    text = _SEPARATORS.sub("-", _R_PREFIX.sub("", text)).strip("-")
    return _DIGITS.sub(lambda digits: digits[0].lstrip("0") or "0", text)


def _spelling(wanted: str, name: str) -> str:
    """How two ids with the same plain form differ, in words."""
    if name.strip() == wanted.strip():
        return "blanks around it"
    if name.casefold() == wanted.casefold():
        return "capitals"
    if _SEPARATORS.sub("-", name) == _SEPARATORS.sub("-", wanted):
        return "other separators"
    if bool(_R_PREFIX.match(name.casefold())) != bool(_R_PREFIX.match(wanted.casefold())):
        return "a leading X, as R writes it"
    return "zeros, separators or capitals"


def _compared(wanted: str, name: str) -> NearId | None:
    """How an id differs from the wanted one; None if it is the same or another id."""
    if name == wanted:
        return None
    if _plain(name) == _plain(wanted):
        return NearId(name, _spelling(wanted, name))
    shorter, longer = sorted((_plain(wanted), _plain(name)), key=len)
    suffix = longer.removeprefix(shorter)
    if shorter not in _patients(name) | _patients(wanted):
        return None
    is_normal = bool(_NORMAL.match(suffix))
    words = "a sample of the patient" if longer == _plain(name) else "the patient of the sample"
    return NearId(name, f"{words}, of normal tissue" if is_normal else words, is_normal)


class IdIndex:
    """Ids of a table, to be searched for one that is there, or nearly."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)
        self._by_plain: dict[str, list[str]] = {}
        self._by_patient: dict[str, list[str]] = {}
        for name in sorted(self._names):
            self._by_plain.setdefault(_plain(name), []).append(name)
            for patient in _patients(name):
                self._by_patient.setdefault(patient, []).append(name)

    def __contains__(self, wanted: str) -> bool:
        return wanted in self._names

    def near(self, wanted: str) -> list[NearId]:
        """The ids that nearly are the wanted one, in alphabetical order; never the wanted id itself.

        >>> IdIndex(["TCGA.AA.0001", "TCGA-AA-0002"]).near("TCGA-AA-0001")
        [NearId(name='TCGA.AA.0001', difference='other separators', is_normal=False)]
        """
        plain = _plain(wanted)
        same = {*self._by_plain.get(plain, ()), *self._by_patient.get(plain, ())}
        candidates = same.union(*(self._by_plain.get(patient, ()) for patient in _patients(wanted)))
        return [near for name in sorted(candidates) if (near := _compared(wanted, name)) is not None]

    def row_of(self, wanted: str, match: str) -> str | None:
        """The table's id for a wanted one; None if it has none.

        Parameters
        ----------
        match
            ``exact``, or ``near``: then a single near id stands for the wanted one, unless it is of normal tissue.
        """
        if wanted in self._names:
            return wanted
        near = self.near(wanted) if match == "near" else []
        return near[0].name if len(near) == 1 and not near[0].is_normal else None


def _patients(name: str) -> set[str]:
    """What an id may name a sample of: plain ids of patients."""
    plain = _plain(name)
    if match := _TCGA.match(_SEPARATORS.sub("-", name.strip().casefold())):
        return {_plain(match[0])} - {plain}
    parts = plain.split("-")
    starts = ("-".join(parts[:count]) for count in range(1, len(parts)))
    return {start for start in starts if _SAMPLE.match(plain.removeprefix(start))}


def advice(wanted: str, near: Sequence[NearId]) -> str:
    """What to do about ids that nearly match, in words."""
    shown = ", ".join(f"{one.name!r} ({one.difference})" for one in near[:_MOST_NAMED])
    more = f" and {len(near) - _MOST_NAMED} more" if len(near) > _MOST_NAMED else ""
    if len(near) > 1:
        return f"no id {wanted!r}, but {shown}{more}: name the right one in the sheet (TABLE::ID)"
    return f"no id {wanted!r}, but {shown}: write the same id in both, or set tables.match_ids to near"
