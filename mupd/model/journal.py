"""What the generation of one slide has done so far, kept in a folder: a kill at any moment loses one micro-batch.

``latents.npz`` holds the latents after some evaluations of the network; ``velocity-N.bin`` the velocities of each
micro-batch of evaluation N since then; ``decoded`` one byte for each tile that was decoded. Replaying the velocities in
their order gives the same latents bit for bit, so that a slide does not show that it was interrupted.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

_CRC_BYTES = 4


class RegionJournal:
    """The unfinished state of one region.

    Parameters
    ----------
    folder
        Its own folder, made if it is not there; whoever finished the region removes it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def _latents(self) -> Path:
        return self.folder / "latents.npz"

    def _velocities(self, evaluation: int) -> Path:
        return self.folder / f"velocity-{evaluation:05d}.bin"

    def start(self) -> tuple[int, NDArray[np.float32] | None]:
        """Number of the evaluation to go on with, and the latents before it; (0, None) at the beginning."""
        try:
            with np.load(self._latents, allow_pickle=False) as kept:
                return int(kept["evaluation"]), kept["latents"]
        except (OSError, ValueError, KeyError, EOFError, BadZipFile):  # none yet, or damaged: from the beginning
            return 0, None

    def save(self, evaluation: int, latents: NDArray[np.float32]) -> None:
        """Keep the latents before an evaluation; the velocities of earlier ones are not needed any more."""
        temporary = self.folder / "next.npz"
        with temporary.open("wb") as stream:  # no fsync, at each step: after a power cut it is read as damaged
            np.savez(stream, evaluation=evaluation, latents=latents)
        temporary.replace(self._latents)
        for path in self.folder.glob("velocity-*.bin"):
            if path.name < self._velocities(evaluation).name:
                path.unlink()

    def velocities(self, evaluation: int, shape: tuple[int, ...]) -> list[NDArray[np.float32]]:
        """Velocities of the micro-batches of an evaluation that are whole, each of a shape; a torn end is cut off."""
        path = self._velocities(evaluation)
        size = 4 * int(np.prod(shape))
        whole: list[NDArray[np.float32]] = []
        if not path.exists():
            return whole
        with path.open("r+b") as stream:
            while len(record := stream.read(size + _CRC_BYTES)) == size + _CRC_BYTES:
                values, check = record[:size], record[size:]
                if zlib.crc32(values).to_bytes(_CRC_BYTES, "little") != check:
                    break
                whole.append(np.frombuffer(values, np.float32).reshape(shape))
            stream.truncate(len(whole) * (size + _CRC_BYTES))
        return whole

    def append(self, evaluation: int, velocity: NDArray[np.float32]) -> None:
        """Keep the velocity of one more micro-batch of an evaluation."""
        values = np.ascontiguousarray(velocity, np.float32).tobytes()
        with self._velocities(evaluation).open("ab") as stream:
            stream.write(values + zlib.crc32(values).to_bytes(_CRC_BYTES, "little"))

    @property
    def decoded(self) -> int:
        """How many tiles are decoded and written."""
        path = self.folder / "decoded"
        return path.stat().st_size if path.exists() else 0

    def tile_done(self) -> None:
        """One more tile is decoded and written."""
        with (self.folder / "decoded").open("ab") as stream:
            stream.write(b".")

    def forget_tiles(self) -> None:
        """The decoded tiles are not there: decode them again."""
        (self.folder / "decoded").unlink(missing_ok=True)


def allocated(path: Path, shape: tuple[int, ...]) -> np.memmap:
    """A new file of uint8 on the disk, writable as an array, its space taken at once.

    A file with holes would end the process (SIGBUS) where the disk is full.

    Raises
    ------
    OSError
        ENOSPC or EDQUOT if there is no space for it; no file is left.
    """
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    try:
        with path.open("r+b") as stream:
            os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)
    except OSError:
        path.unlink()
        raise
    return array
