"""Identifiers of persons in a report, masked before anything else reads it.

Rules, not a language model: a report takes about a millisecond, the result is the same on every machine, and nothing is
downloaded. Telephone numbers are judged by the `phonenumbers` library. Case identifiers of research cohorts (TCGA
barcodes) are no identifiers of a person and stay, as do years, institutions and ages under 90.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from mupd.reports.deidentify.names import name_spans
from mupd.reports.deidentify.patterns import Span, pattern_spans

KINDS = ("NAME", "DATE", "ID", "PHONE", "EMAIL", "SSN", "ADDRESS", "AGE", "URL")
"""What is masked; the mask of a kind is its name in square brackets, as ``[DATE]``."""

_MASK = re.compile(rf"\[({'|'.join(KINDS)})\]")
_RESEARCH_STARTS = ("TCGA-", "GTEX-", "CPTAC-", "HTMCP-", "TARGET-", "C3L-", "C3N-")
_RESEARCH_ID = re.compile(r"\b(?:TCGA|GTEX|CPTAC|HTMCP|TARGET)-[\w\-]+|\bC3[LN]-\d{5}")


@dataclass(frozen=True)
class Known:
    """What a file states of its patient in fields of its own, to be masked wherever the text repeats it."""

    names: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    dates: tuple[str, ...] = ()


def _verbatim(text: str, words: Iterable[str], kind: str) -> list[Span]:
    return [
        (match.start(), match.end(), kind)
        for word in words
        if len(word) > 2
        for match in re.finditer(rf"(?<!\w){re.escape(word)}(?!\w)", text)
    ]


def _replaced(text: str, spans: Iterable[Span]) -> str:
    """The text with masks for spans; of two that overlap the one that stands first in `spans` names the kind."""
    kept: list[Span] = []
    taken = bytearray(len(text))
    for start, end, kind in spans:
        if start < end and not any(taken[start:end]):
            kept.append((start, end, kind))
            taken[start:end] = b"\1" * (end - start)
        else:
            # What a surer rule left over on either side still belongs to the identifier.
            for piece in re.finditer(rb"\0+", bytes(taken[start:end])):
                left, right = start + piece.start(), start + piece.end()
                if re.search(r"\w", text[left:right]):
                    kept.append((left, right, kind))
                    taken[left:right] = b"\1" * (right - left)
    out, last = [], 0
    for start, end, kind in sorted(kept):
        out += [text[last:start], f"[{kind}]"]
        last = end
    return "".join([*out, text[last:]])


def mask_identifiers(text: str, known: Known = Known()) -> str:
    """A text with identifiers replaced by masks; masking it again changes nothing.

    Raises nothing. What the rules miss and what they take by mistake is measured in docs/intake.md.
    """
    research = _RESEARCH_ID.finditer(text) if any(start in text for start in _RESEARCH_STARTS) else ()
    protected = [(m.start(), m.end()) for m in (*_MASK.finditer(text), *research)]
    spans = [
        *_verbatim(text, known.ids, "ID"),
        *_verbatim(text, known.dates, "DATE"),
        *pattern_spans(text),
        *name_spans(text, known.names),
    ]
    if protected:
        spans = [s for s in spans if not any(s[0] < end and start < s[1] for start, end in protected)]
    return _replaced(text, spans) if spans else text


def masked_counts(text: str) -> dict[str, int]:
    """How many masks of each kind a text holds, in the order of :data:`KINDS`; kinds without one are left out."""
    found = Counter(match[1] for match in _MASK.finditer(text))
    return {kind: found[kind] for kind in KINDS if found[kind]}
