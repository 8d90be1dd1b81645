"""What a run would do, as a table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from mupd.base.ids import MODALITIES, Modality
from mupd.config import Config
from mupd.contracts.inventory import NOTHING_GIVEN, CaseInventory, Entry, Status, tasks_of
from mupd.contracts.shared_inputs import sharing_of
from mupd.run.status.plain import counts_of

_LOOK: dict[Status, tuple[str, str]] = {
    "measured": ("●", "green"),
    "missing": ("○", "yellow"),
    "unusable": ("✗", "red"),
}
_SHOWN: dict[Modality, str] = {"he": "H&E", "rna": "RNA", "text": "text"}


def _cell(entry: Entry) -> Text:
    symbol, colour = _LOOK[entry.status]
    # Text, not markup: a reason may hold brackets of the file that it quotes.
    cell = Text(f"{symbol} {entry.status}", style=colour)
    if "synthetic_input" in entry.facts:
        cell.append("\nbut synthetic: let in by intake.allow_synthetic", style="magenta")
    elif entry.status == "unusable":
        cell.append(f"\n{entry.reason}", style="dim")
    if shared := sharing_of(entry):
        cell.append(f"\n{shared}", style="yellow")
    return cell


def _tasks_cell(case: CaseInventory, config: Config) -> Text:
    if not case.given:
        return Text(f"fails: {NOTHING_GIVEN}", style="bold red")
    tasks = tasks_of(case, config)
    if not tasks:
        return Text("complete", style="green")
    return Text("\n".join(f"{task.name} ({len(task.seeds)} draw{'s' * (len(task.seeds) > 1)})" for task in tasks))


def summary(cases: Sequence[CaseInventory], config: Config) -> str:
    """One line: how many cases and entries of each status, tasks, draws, and cases that will fail."""
    counts = counts_of(cases, config)
    entries, let_in = counts["entries"], counts["synthetic_inputs"]
    words = [f"{entries['measured'] - let_in} measured"]
    words += [f"{let_in} synthetic input{'s' * (let_in > 1)}, let in"] if let_in else []
    words += [f"{entries[status]} {status}" for status in ("missing", "unusable")]
    line = f"{len(cases)} cases: {', '.join(words)}; {counts['tasks']} tasks, {counts['draws']} draws"
    return f"{line}; {counts['failing']} fail with nothing to condition on" if counts["failing"] else line


def status_table(cases: Sequence[CaseInventory], config: Config) -> RenderableType:
    """A table of cases x modalities with the tasks that would run, and a summary below it."""
    table = Table(title="What a run would do", show_lines=True)
    table.add_column("case", overflow="fold")
    for modality in MODALITIES:
        table.add_column(_SHOWN[modality], overflow="fold")
    table.add_column("tasks", overflow="fold")
    for case in cases:
        entries = [_cell(case.entries[modality]) for modality in MODALITIES]
        table.add_row(Text(case.case_id), *entries, _tasks_cell(case, config))
    return Group(table, Text(summary(cases, config)))


def render_status(cases: Sequence[CaseInventory], config: Config, console: Console | None = None) -> None:
    """Print :func:`status_table`, on standard output unless another console is given."""
    (console or Console()).print(status_table(cases, config))
