"""What makes draws: the protocol that the generate stage works with, whatever the engine.

An engine opens a task of a case; the opened task says what its draws depend on and writes one into a folder. Store,
journal, batches and metadata are those of :mod:`mupd.engines.draw_maker`, the same for all engines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from mupd.base.ids import Target
from mupd.contracts.inventory import CaseInventory, Task


@dataclass(frozen=True)
class Written:
    """What an engine says of the draw that it wrote.

    Attributes
    ----------
    mpp
        Micrometres per pixel of a picture; None for all else.
    settings
        Of this draw alone, beside those of the task: the region of a stain, say.
    """

    notes: tuple[str, ...] = ()
    mpp: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


class OpenTask(Protocol):
    """One task of one case, opened by an engine."""

    @property
    def task(self) -> Task:
        """The task."""
        ...

    @property
    def model_id(self) -> str:
        """Name of the model."""
        ...

    @property
    def model_sha256(self) -> str:
        """Hash of the model's weights and configurations."""
        ...

    @property
    def given_sha256(self) -> dict[str, str]:
        """{modality: hash of the input} of all that the draws are made from."""
        ...

    @property
    def batch_sizes(self) -> Sequence[int]:
        """Windows that may be computed together, largest first; one entry where nothing is batched."""
        ...

    def largest_batch(self) -> int:
        """The largest of them that the device's memory holds, as far as is known."""
        ...

    def limit_batch(self, size: int) -> None:
        """Remember for all further draws of the engine that no more than `size` windows fit."""
        ...

    def settings(self, batch_size: int) -> dict[str, Any]:
        """The settings that a draw depends on."""
        ...

    def identity(self, draw: int, batch_size: int) -> dict[str, Any]:
        """Everything that the values of a draw depend on: its key in the store."""
        ...

    def write(self, folder: Path, draw: int, batch_size: int, partial: Path) -> Written:
        """Write the values of a draw into `folder`, as :mod:`mupd.contracts.draws` says.

        Parameters
        ----------
        partial
            Folder for what is done of a draw that takes long: kept when a run is killed, removed when the draw stands.

        Raises
        ------
        OSError
            ENOSPC before the draw is begun if the disk has no space for it.
        """
        ...


class Engine(Protocol):
    """Makes draws of some targets."""

    def makes(self, target: Target) -> bool:
        """Whether tasks of this target are the engine's."""
        ...

    def open(self, task: Task, case: CaseInventory) -> OpenTask:
        """Open a task.

        Raises
        ------
        ModelError
            If the model cannot be loaded.
        """
        ...
