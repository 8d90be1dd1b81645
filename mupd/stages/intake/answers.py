"""Examines all inputs of some cases: each once, from the cache if it has not changed, else by the runner."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from mupd.base.ids import MODALITIES, Modality
from mupd.base.messages import reason_of
from mupd.base.progress import track
from mupd.config import Config
from mupd.errors import UnusableError
from mupd.inputs.examine import Outcome, Request, files_of, request_of
from mupd.inputs.process import Numbered
from mupd.inputs.runners import Runner
from mupd.sheet import SheetCase
from mupd.sheet.sources import Signature, Source, signature_of, sources_of
from mupd.stages.intake.cache import Cache

CacheOf = Callable[[SheetCase], Cache]
"""The cache of a case's shard."""


@dataclass(frozen=True)
class Answer:
    """A source of a case and what its examination gave."""

    source: Source
    outcome: Outcome


@dataclass
class _Question:
    """A request that no file system error has answered yet. `cache` remembers its outcome; None remembers nothing.

    `sha256` is the table's content hash if the request is for a row.
    """

    request: Request
    signature: Signature
    cache: Cache | None
    sha256: str = ""


def _signature(path: Path, modality: Modality) -> Signature | Outcome:
    """The signature of an input's files, or why the input cannot be used at all."""
    try:
        return signature_of(files_of(modality, path), modality)
    except UnusableError as error:
        return Outcome("unusable", reason_of(error, path))
    except OSError as error:
        return Outcome("unusable", f"cannot be read ({reason_of(error, path)})")


def _held_hash(questions: Iterable[_Question]) -> str:
    """The content hash that one of the caches holds for a file; "" if none does."""
    hashes = (item.cache.hash_of(Path(item.request.path), item.signature) for item in questions if item.cache)
    return next(filter(None, hashes), "")


def _keep_hash(question: _Question, sha256: str) -> None:
    """Remember a content hash, unless the file was written to while it was read."""
    path = Path(question.request.path)
    after = _signature(path, question.request.modality)
    if question.cache and isinstance(after, Signature):
        question.cache.keep_hash(path, question.signature, after, sha256)


def _hash_tables(questions: Sequence[_Question], run: Runner) -> dict[Request, Outcome]:
    """Give each question about a row its table's content hash.

    Returns
    -------
    The outcome of every request on a table that cannot be hashed.
    """
    tables: dict[str, list[_Question]] = {}
    for question in questions:
        if question.request.row and question.cache:
            tables.setdefault(question.request.path, []).append(question)
    hashes = {path: _held_hash(of_table) for path, of_table in tables.items()}
    requests: list[Numbered] = []
    for path, of_table in tables.items():
        if not hashes[path]:
            requests.append((len(requests), Request(of_table[0].request.modality, path, want="hash")))
    failed: dict[Request, Outcome] = {}
    for number, outcome in run(requests) if requests else ():
        path = requests[number][1].path
        hashes[path] = outcome.sha256
        if not outcome.sha256:
            failed |= {item.request: outcome for item in tables[path]}
    for path, of_table in tables.items():
        for item in of_table if hashes[path] else ():
            item.sha256 = hashes[path]
            _keep_hash(item, item.sha256)
    return failed


def _remembered(question: _Question) -> Outcome | None:
    if question.cache is None:
        return None
    sha256 = question.sha256 if question.request.row else _held_hash([question])
    return question.cache.outcome(question.request, sha256) if sha256 else None


def _settled(question: _Question, outcome: Outcome) -> Outcome:
    """The final outcome of a request, remembered if the same bytes will give it again."""
    request, of_shard = question.request, question.cache
    if of_shard is None:
        return outcome
    if request.row:
        of_shard.keep(request, question.sha256, outcome)
        return outcome
    _keep_hash(question, outcome.sha256)
    if outcome.is_known:
        return of_shard.outcome(request, outcome.sha256) or outcome
    of_shard.keep(request, outcome.sha256, outcome)
    return outcome


def answers_of(
    cases: Sequence[SheetCase],
    config: Config,
    run: Runner,
    cache_of: CacheOf | None = None,
    description: str = "intake",
    between: Callable[[], None] = lambda: None,
) -> list[dict[Modality, list[Answer]]]:
    """For each case and modality its sources, each with its outcome; an empty list where the sheet has no source.

    Parameters
    ----------
    cache_of
        None remembers nothing.
    between
        Called after every outcome, for example to save caches from time to time.
    """
    signature = cache(_signature)
    outcomes: dict[Request, Outcome] = {}
    questions: dict[Request, _Question] = {}
    asked: list[dict[Modality, list[tuple[Source, Request]]]] = []
    for case in cases:
        of_case: dict[Modality, list[tuple[Source, Request]]] = {}
        for modality in MODALITIES:
            of_case[modality] = [
                (source, request_of(case, modality, source)) for source in sources_of(case, modality, config)
            ]
            for source, request in of_case[modality]:
                if request in questions or request in outcomes:
                    continue
                signed = signature(source.path, modality)
                if isinstance(signed, Outcome):
                    outcomes[request] = signed
                else:
                    questions[request] = _Question(request, signed, cache_of(case) if cache_of else None)
        asked.append(of_case)
    outcomes |= _hash_tables([*questions.values()], run)
    to_run: list[_Question] = []
    for request, question in questions.items():
        if request in outcomes:
            continue
        if (remembered := _remembered(question)) is not None:
            outcomes[request] = remembered
        else:
            to_run.append(question)
    for question, outcome in _run(_tables_first(to_run), run, description):
        outcomes[question.request] = _settled(question, outcome)
        between()
    return [
        {modality: [Answer(source, outcomes[request]) for source, request in pairs] for modality, pairs in item.items()}
        for item in asked
    ]


def _tables_first(questions: Iterable[_Question]) -> list[_Question]:
    """Rows of a table together and before all files: a table keeps its worker busy longest."""
    tables: dict[str, list[_Question]] = {}
    for question in questions:
        tables.setdefault(question.request.path if question.request.row else "", []).append(question)
    files = tables.pop("", [])
    return [*(question for of_table in tables.values() for question in of_table), *files]


def _run(questions: list[_Question], run: Runner, description: str) -> Iterator[tuple[_Question, Outcome]]:
    if not questions:
        return
    requests = [
        (number, replace(item.request, known=item.cache.known(item.request) if item.cache else ()))
        for number, item in enumerate(questions)
    ]
    stream = run(requests)
    # An interrupted run must end its workers at once, not when the generator happens to be collected.
    with closing(stream):  # type: ignore[type-var]
        for number, outcome in track(stream, description, len(requests)):
            yield questions[number], outcome
