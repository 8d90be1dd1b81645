"""All inputs of some cases examined: each once, from the cache where nothing changed, else by the workers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
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


@dataclass(frozen=True)
class Answer:
    """A source of a case and what was found in it."""

    source: Source
    outcome: Outcome


@dataclass
class _Question:
    """One request, and where its answer is remembered."""

    request: Request
    cache: Cache
    signature: Signature
    sha256: str = ""


class _Looks:
    """Signatures of paths, each looked at once."""

    def __init__(self) -> None:
        self._seen: dict[tuple[Path, Modality], Signature | Outcome] = {}

    def at(self, path: Path, modality: Modality) -> Signature | Outcome:
        """The files' signature, or why the input cannot be used at all."""
        if (path, modality) not in self._seen:
            self._seen[path, modality] = _look(path, modality)
        return self._seen[path, modality]


def _look(path: Path, modality: Modality) -> Signature | Outcome:
    try:
        return signature_of(files_of(modality, path), modality)
    except UnusableError as error:
        return Outcome("unusable", reason_of(error, path))
    except OSError as error:
        return Outcome("unusable", f"cannot be read ({reason_of(error, path)})")


def _hash_tables(questions: dict[Request, _Question], run: Runner, caching: bool) -> dict[Request, Outcome]:
    """Give each question on a table's row the table's content hash; answers those of tables that do not even hash."""
    if not caching:
        return {}
    tables: dict[str, list[_Question]] = {}
    for question in questions.values():
        if question.request.row:
            tables.setdefault(question.request.path, []).append(question)
    hashes: dict[str, str] = {}
    failed: dict[Request, Outcome] = {}
    asked: list[Numbered] = []
    for path, group in tables.items():
        held = next(filter(None, (item.cache.hash_of(Path(path), item.signature) for item in group)), None)
        if held:
            hashes[path] = held
        else:
            asked.append((len(asked), Request(group[0].request.modality, path, want="hash")))
    for number, outcome in run(asked) if asked else ():
        path = asked[number][1].path
        if outcome.sha256:
            hashes[path] = outcome.sha256
        else:
            failed |= {item.request: outcome for item in tables[path]}
    for path, group in tables.items():
        if path not in hashes:
            continue
        modality = group[0].request.modality
        after = _look(Path(path), modality)
        for item in group:
            item.sha256 = hashes[path]
            if isinstance(after, Signature):
                item.cache.keep_hash(Path(path), item.signature, after, hashes[path])
    return failed


def _remembered(question: _Question) -> Outcome | None:
    sha256 = question.sha256
    if not question.request.row:
        sha256 = question.cache.hash_of(Path(question.request.path), question.signature) or ""
    return question.cache.outcome(question.request, sha256) if sha256 else None


def _settle(question: _Question, outcome: Outcome) -> Outcome:
    """The answer to give, remembered if it lasts."""
    request, cache = question.request, question.cache
    if request.row:
        cache.keep(request, question.sha256, outcome)
        return outcome
    path = Path(request.path)
    after = _look(path, request.modality)
    if isinstance(after, Signature):
        cache.keep_hash(path, question.signature, after, outcome.sha256)
    if outcome.is_known:
        return cache.outcome(request, outcome.sha256) or outcome
    cache.keep(request, outcome.sha256, outcome)
    return outcome


def answers_of(
    cases: Sequence[SheetCase],
    config: Config,
    run: Runner,
    cache_of: CacheOf,
    description: str = "intake",
    caching: bool = True,
    between: Callable[[], None] = lambda: None,
) -> list[dict[Modality, list[Answer]]]:
    """For each case and modality its sources, each with its outcome; none where the sheet has none.

    Parameters
    ----------
    between
        Called after every answer: the place to save caches from time to time.
    """
    looks = _Looks()
    outcomes: dict[Request, Outcome] = {}
    questions: dict[Request, _Question] = {}
    asked: list[dict[Modality, list[tuple[Source, Request]]]] = []
    for case in cases:
        of_case: dict[Modality, list[tuple[Source, Request]]] = {}
        for modality in MODALITIES:
            of_case[modality] = []
            for source in sources_of(case, modality, config):
                request = request_of(case, modality, source)
                of_case[modality].append((source, request))
                if request in questions or request in outcomes:
                    continue
                look = looks.at(source.path, modality)
                if isinstance(look, Outcome):
                    outcomes[request] = look
                else:
                    questions[request] = _Question(request, cache_of(case), look)
        asked.append(of_case)
    outcomes |= _hash_tables(questions, run, caching)
    to_do: list[_Question] = []
    for request, question in questions.items():
        if request not in outcomes:
            found = _remembered(question) if caching else None
            if found is None:
                to_do.append(question)
            else:
                outcomes[request] = found
    for question, outcome in _run(_tables_first(to_do), run, description):
        outcomes[question.request] = _settle(question, outcome) if caching else outcome
        between()
    return [
        {modality: [Answer(source, outcomes[request]) for source, request in pairs] for modality, pairs in item.items()}
        for item in asked
    ]


def _tables_first(questions: Iterable[_Question]) -> list[_Question]:
    """Rows of a table together and before all files: a table keeps its worker busy longest."""
    order: dict[str, list[_Question]] = {}
    for question in questions:
        order.setdefault(question.request.path if question.request.row else "", []).append(question)
    files = order.pop("", [])
    return [*(question for group in order.values() for question in group), *files]


def _run(questions: list[_Question], run: Runner, description: str) -> Iterator[tuple[_Question, Outcome]]:
    if not questions:
        return
    requests = [
        (number, replace(question.request, known=question.cache.known(question.request)))
        for number, question in enumerate(questions)
    ]
    stream = run(requests)
    # A run that is broken off must end its workers at once, not when the generator happens to be collected.
    with closing(stream):  # type: ignore[type-var]
        for number, outcome in track(stream, description, len(requests)):
            yield questions[number], outcome
