"""One input, read and checked: what runs in a worker process (:mod:`mupd.inputs.worker`), or in place."""

from __future__ import annotations

import csv
import hashlib
import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from mupd.base.files import sha256_path
from mupd.base.ids import Modality
from mupd.base.messages import reason_of
from mupd.base.near_ids import IdIndex, advice
from mupd.config import Config
from mupd.contracts.inventory import MATCHED_ROW, RNA_VALUES, Status
from mupd.errors import MupdError, SyntheticInputError, UnusableError
from mupd.inputs.readers import (
    check_report,
    profile_sha256,
    read_profile,
    read_report_text,
    row_index,
)
from mupd.sheet import SheetCase
from mupd.sheet.sources import Source

# Whatever a damaged file makes a reader raise ends as a reason of this one input. MemoryError is none of them:
# after it the process itself is no longer to be trusted.
READER_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    csv.Error,
    lzma.LZMAError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)

NOT_IN_TABLE = "no file in the sample sheet and no row in the cohort table"

Tick = Callable[[], None]
"""Called whenever there is progress that must not count as a hang."""


def no_tick() -> None:
    """For callers that watch no clock."""


@dataclass(frozen=True)
class Request:
    """What is to be examined, as plain values.

    Attributes
    ----------
    known
        Content hashes for which the answer is known already: on one of them the input is only hashed.
    want
        ``checks``: content hash and facts. ``hash``: only the content hash. ``outline``: a JPEG of a slide with its
        tissue outlined. ``values``: what :mod:`mupd.inputs.measured` reads.
    picture_px
        Longest side of a wanted picture of a slide.
    """

    modality: Modality
    path: str
    row: str = ""
    named: bool = False
    mpp: float | None = None
    rna_values: str = "auto"
    case_id: str = ""
    organ: str = ""
    known: tuple[str, ...] = ()
    want: Literal["checks", "hash", "outline", "values"] = "checks"
    picture_px: int = 0

    @property
    def source(self) -> Source:
        """The same as a source."""
        return Source(Path(self.path), self.row, self.named, self.rna_values)


def request_of(case: SheetCase, modality: Modality, source: Source) -> Request:
    """What to ask about one source of a case."""
    # Only what the answer depends on: two cases with one slide then ask one question.
    asked = Request(modality, str(source.path), source.row, source.named)
    if modality == "he":
        return replace(asked, mpp=case.he_mpp)
    if modality == "rna":
        return replace(asked, rna_values=source.rna_values)
    return replace(asked, case_id=case.row_id, organ=case.organ)


@dataclass(frozen=True)
class Outcome:
    """What was found.

    Attributes
    ----------
    sha256
        Content hash ("" where it could not be had); of a table's row that of its values.
    lasting
        Whether the same bytes will give the same answer: not so of a limit that was hit or a disk that failed.
    is_known
        Nothing was read: `sha256` is one of the request's `known`.
    """

    status: Status
    reason: str = ""
    sha256: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    lasting: bool = False
    is_known: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@lru_cache(maxsize=16)
def _marks(path: Path, _modified_ns: int) -> tuple[str, ...]:
    from mupd.synthetic.verify.recognise import synthetic_marks

    return tuple(synthetic_marks(path))


def refuse_synthetic(source: Source, config: Config) -> str:
    """Raise if an input carries synthetic marks and its file name matches no glob of intake.allow_synthetic.

    Returns
    -------
    str
        Of a marked input that is let in, its marks and the glob in words; "" for an unmarked input.
    """
    marks = _marks(source.path, source.path.stat().st_mtime_ns)
    if not marks:
        return ""
    what, shown = ("the cohort table" if source.is_table else "it"), "; ".join(marks[:3])
    for glob in config.intake.allow_synthetic:
        if fnmatchcase(source.path.name, glob):
            return f"{what} is synthetic ({shown}): let in by intake.allow_synthetic {glob!r}"
    raise SyntheticInputError(
        f"{what} is synthetic ({shown}): never read as measured, unless intake.allow_synthetic names the file"
    )


def files_of(modality: Modality, path: Path) -> list[Path]:
    """The files and folders whose bytes an input consists of."""
    if modality == "he":
        from mupd.slides.reader import source_files

        return source_files(path)
    if modality == "rna":
        from mupd.rna.files import source_files as rna_files

        return rna_files(path)
    return [path]


def content_hash(modality: Modality, path: Path, tick: Tick = no_tick) -> str:
    """SHA-256 of all bytes of an input."""
    digests = [sha256_path(file, tick) for file in files_of(modality, path)]
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()


Read = tuple[dict[str, Any], str]
"""Facts; and of a table's row the hash of its values, else ""."""


def _read_he(request: Request, config: Config, _genes: tuple[str, ...]) -> Read:
    from mupd.slides.checks import check_he

    return check_he(Path(request.path), request.mpp, config.intake), ""


def _read_rna(request: Request, config: Config, genes: tuple[str, ...]) -> Read:
    from mupd.rna.checks import check_rna
    from mupd.rna.gene_ids import to_model_genes

    profile = read_profile(request.source, genes)
    mapped, mapping = to_model_genes(profile, genes)
    facts = check_rna(mapped, genes, config.intake) | {"gene_names": mapping.facts()}
    if request.rna_values != "auto":
        facts[RNA_VALUES] = request.rna_values
    return facts, profile_sha256(profile) if request.row else ""


def _read_text(request: Request, config: Config, _genes: tuple[str, ...]) -> Read:
    from mupd.model.text_chunks import token_counts

    report = read_report_text(request.source)
    digest = hashlib.sha256(report.text.encode("utf-8", "surrogatepass")).hexdigest()
    facts = check_report(
        report,
        config.intake,
        organ=request.organ,
        case_id=request.case_id,
        allow_synthetic=any(fnmatchcase(request.source.path.name, glob) for glob in config.intake.allow_synthetic),
    )
    return facts | token_counts(report.text), digest if request.row else ""


def _outlined(request: Request) -> Outcome:
    from base64 import b64encode

    from mupd.slides.thumbnails import outlined_picture

    jpeg = outlined_picture(Path(request.path), request.mpp, request.picture_px)
    return Outcome("measured", facts={"jpeg": b64encode(jpeg).decode("ascii")})


def _measured(request: Request, config: Config, genes: tuple[str, ...]) -> Outcome:
    from mupd.inputs.measured import read_measured, to_plain

    measured = read_measured(request.modality, request.source, request.mpp, request.picture_px, config, genes)
    return Outcome("measured", facts=to_plain(measured))


_READ: dict[Modality, Callable[[Request, Config, tuple[str, ...]], Read]] = {
    "he": _read_he,
    "rna": _read_rna,
    "text": _read_text,
}


def _no_row(source: Source, ids: IdIndex) -> Outcome:
    """The outcome for a table without a row of the case. An id that nearly matches is a fault, not a hole."""
    near = ids.near(source.row)
    if near:
        return Outcome("unusable", f"the table has {advice(source.row, near)}", lasting=True)
    if source.named:
        return Outcome("unusable", f"no row {source.row!r} in the table that the sample sheet names", lasting=True)
    return Outcome("missing", NOT_IN_TABLE, lasting=True)


def examine_request(request: Request, config: Config, genes: tuple[str, ...], tick: Tick = no_tick) -> Outcome:
    """Read and check one input; raises for nothing that is wrong with it but lack of memory.

    Parameters
    ----------
    genes
        The model's gene symbols.
    tick
        Called when a piece was hashed, and when a table was opened.
    """
    source = request.source
    digest, is_hashed, row = "", False, None
    try:
        if request.want == "outline":
            return _outlined(request)
        if request.want == "values":
            return _measured(request, config, genes)
        if source.is_table:
            ids = row_index(request.modality, source.path)
            tick()
            if source.row not in ids:
                row = None if source.named else ids.row_of(source.row, config.tables.match_ids)
                if row is None:
                    return _no_row(source, ids)
                request = replace(request, row=row)
                source = request.source
        else:
            digest = content_hash(request.modality, source.path, tick)
            if request.want == "hash" or digest in request.known:
                return Outcome("measured", sha256=digest, is_known=True)
        is_hashed = True
        let_in = refuse_synthetic(source, config)
        facts, row_digest = _READ[request.modality](request, config, genes)
    except UnusableError as error:
        return Outcome("unusable", reason_of(error, source.path), digest, lasting=is_hashed)
    except (MupdError, *READER_ERRORS) as error:
        return Outcome("unusable", f"cannot be read ({type(error).__name__}: {reason_of(error, source.path)})", digest)
    if let_in:
        facts["synthetic_input"] = let_in
    if row is not None:
        facts[MATCHED_ROW] = row
    reason = "; ".join(filter(None, (let_in, *facts.get("cautions", ()))))
    return Outcome("measured", reason, row_digest or digest, facts, lasting=True)
