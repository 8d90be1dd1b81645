"""A reader that hangs, crashes or eats memory ends its own input; the others go on, in order."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from mupd.base.memory_limit import HAS_MEMORY_LIMIT
from mupd.config import Config
from mupd.contracts.inventory import CaseInventory
from mupd.errors import MupdError
from mupd.inputs.examine import Outcome, Request
from mupd.inputs.pool import Pool
from mupd.inputs.process import Numbered
from mupd.sheet import read_sheet
from mupd.stages.intake.entries import inventories_of
from tests.fixtures.basic import GENES
from tests.fixtures.misbehaving_worker import ACTS, COMMAND

Make = Callable[..., Config]
Write = Callable[..., Path]

SECONDS = 3.0


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    pool = Pool(2, COMMAND)
    yield pool
    pool.close()


@pytest.fixture
def examined(tmp_path: Path, write_sheet: Write, make_config: Make, pool: Pool) -> Callable[..., list[CaseInventory]]:
    """Examine slides whose files hold these words, one case each, named by their number."""

    def examine(
        words: Sequence[str], texts: Sequence[str] = (), seconds: float = SECONDS, mb: int = 256
    ) -> list[CaseInventory]:
        rows = []
        for number, word in enumerate(words):
            (tmp_path / f"{number}.svs").write_text(word)
            rows.append({"case_id": f"c{number}", "he": f"{number}.svs"})
        rows += [{"case_id": f"t{number}", "he": ""} for number, _ in enumerate(texts)]
        tables = {}
        if texts:
            lines = [f"t{number},{text}" for number, text in enumerate(texts)]
            (tmp_path / "texts.csv").write_text("\n".join(["case_id,text", *lines]) + "\n")
            tables = {"tables": {"text": str(tmp_path / "texts.csv")}}
        limits = {"file_seconds": seconds, "file_mb": mb}
        config = make_config(write_sheet(rows), intake=limits, **tables)

        def run(requests: Sequence[Numbered]) -> Iterator[tuple[int, Outcome]]:
            return pool.run(requests, config, GENES)

        return inventories_of(read_sheet(config).cases, config, run)

    return examine


REASONS = {
    "hang": "intake.file_seconds",
    "segv": "SIGSEGV",
    "abort": "SIGABRT",
    "kill": "SIGKILL",
    "exit": "exit code 0",
    "sysexit": "exit code 7",
    "raise": "UnheardOf",
    "recurse": "RecursionError",
}


def test_whatever_a_reader_does_ends_its_own_input_only(examined: Callable[..., list[CaseInventory]]) -> None:
    words = [word for act in REASONS for word in (act, "fine and well")]
    entries = [case.entries["he"] for case in examined(words)]
    assert [entry.status for entry in entries] == ["unusable", "measured"] * len(REASONS)
    for entry, expected in zip(entries[::2], REASONS.values(), strict=True):
        assert expected in entry.reason
        assert "Doe" not in entry.reason or expected == "UnheardOf"
        assert "12345" not in entry.reason
    assert all(entry.facts["tissue_mm2"] == 3 for entry in entries[1::2])


@pytest.mark.skipif(not HAS_MEMORY_LIMIT, reason="no limit of memory on this system")
def test_memory_is_limited_above_what_the_process_holds(examined: Callable[..., list[CaseInventory]]) -> None:
    entries = [case.entries["he"] for case in examined(["eat", "fine", "eat", "fine"])]
    assert [entry.status for entry in entries] == ["unusable", "measured"] * 2
    assert "intake.file_mb" in entries[0].reason
    assert "256 MB" in entries[0].reason


def test_prints_of_a_library_are_no_answers(examined: Callable[..., list[CaseInventory]]) -> None:
    assert [case.entries["he"].status for case in examined(["print", "fine"])] == ["measured", "measured"]


def test_rows_after_a_crash_are_read_and_a_table_that_goes_on_crashing_is_given_up(
    examined: Callable[..., list[CaseInventory]],
) -> None:
    report = "Invasive ductal carcinoma of the breast"
    texts = [report, "abort now please", report, "segv now please", report, "kill now please", report]
    cases = [case.entries["text"] for case in examined([], texts)]
    assert [entry.status[0] for entry in cases] == list("mumumuu")
    assert "SIGABRT" in cases[1].reason
    assert "the table" in cases[6].reason


def test_workers_are_warm_and_rows_of_one_table_share_one(
    examined: Callable[..., list[CaseInventory]], tmp_path: Path, pool: Pool
) -> None:
    examined(["fine"] * 30)
    first = {line.split()[1] for line in (tmp_path / "read.log").read_text().splitlines()}
    replaced = pool.replaced
    examined(["fine"] * 30)
    both = {line.split()[1] for line in (tmp_path / "read.log").read_text().splitlines()}
    assert len(first) <= len(both) <= 2
    assert pool.replaced == replaced


def test_a_run_that_is_broken_off_leaves_no_worker(tmp_path: Path, make_config: Make) -> None:
    config = make_config()
    (tmp_path / "a.svs").write_text("sleep")
    (tmp_path / "b.svs").write_text("fine")
    pool = Pool(2, COMMAND)
    stream = pool.run(
        [(0, Request("he", str(tmp_path / "b.svs"))), (1, Request("he", str(tmp_path / "a.svs")))], config, ()
    )
    assert next(stream)[0] == 0
    processes = [worker.process for worker in pool.workers]
    stream.close()
    assert len(processes) == 2
    assert not any(psutil.pid_exists(process.pid) for process in processes)


@pytest.mark.skipif(not hasattr(psutil, "RLIMIT_CORE"), reason="no limits of processes on this system")
def test_a_worker_that_crashes_writes_no_core_dump(tmp_path: Path, make_config: Make) -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_CORE)
    if before[1] == 0:
        pytest.skip("core dumps are forbidden here")
    (tmp_path / "a.svs").write_text("fine")
    pool = Pool(1, COMMAND)
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
    try:
        list(pool.run([(0, Request("he", str(tmp_path / "a.svs")))], make_config(), ()))
        assert psutil.Process(pool.workers[0].process.pid).rlimit(psutil.RLIMIT_CORE)[0] == 0
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, before)
        pool.close()


@pytest.mark.skipif(sys.platform == "win32", reason="needs alarms of POSIX")
def test_a_worker_goes_when_its_parent_was_killed(tmp_path: Path) -> None:
    script = (
        "import sys; from mupd.inputs.pool import Pool; from mupd.config import parse_config\n"
        "from mupd.inputs.examine import Request\n"
        "config = parse_config({'cases': 'x.tsv'}, 'test'); pool = Pool(1)\n"
        f"list(pool.run([(0, Request('text', {str(tmp_path / 'none.txt')!r}))], config, ()))\n"
        "print(pool.workers[0].process.pid, flush=True); sys.stdin.read()"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    worker = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 20
    while worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE


def test_workers_that_do_not_start_are_an_error(make_config: Make, tmp_path: Path) -> None:
    pool = Pool(1, (sys.executable, "-c", "raise SystemExit(3)"))
    with pytest.raises(MupdError, match=r"did not start \(exit code 3\)"):
        list(pool.run([(0, Request("he", str(tmp_path)))], make_config(), ()))


def test_every_act_is_tried() -> None:
    assert set(REASONS) | {"eat", "print", "sleep"} == set(ACTS)
    assert os.path.exists(COMMAND[1])
