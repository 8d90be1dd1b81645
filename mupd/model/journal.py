"""What the generation of one slide has done so far, kept in a folder: a kill at any moment loses one micro-batch.

``latents.npz`` holds the latents after some evaluations of the network; ``velocity-N.bin`` the velocities of each
micro-batch of evaluation N since then; ``decoded`` the numbers of the tiles that were decoded. Replaying the
velocities in their order gives the same latents bit for bit: a slide does not show that it was interrupted.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

_CRC_BYTES = 4
_NUMBER_BYTES = 4
log = logging.getLogger(__name__)


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
        temporary = self.folder / f"next-{os.getpid()}.npz"
        with temporary.open("wb") as stream:  # no fsync, at each step: after a power cut it is read as damaged
            np.savez(stream, evaluation=evaluation, latents=latents)
        temporary.replace(self._latents)
        for path in self.folder.glob("velocity-*.bin"):
            if path.name < self._velocities(evaluation).name:
                path.unlink()

    def velocities(self, evaluation: int, shape: tuple[int, ...]) -> list[NDArray[np.float32]]:
        """Velocities of the micro-batches of an evaluation that are whole, each of a shape; a torn end is cut off."""
        path = self._velocities(evaluation)
        size = _NUMBER_BYTES + 4 * int(np.prod(shape))
        whole: list[NDArray[np.float32]] = []
        if not path.exists():
            return whole
        with path.open("r+b") as stream:
            good = 0
            while len(record := stream.read(size + _CRC_BYTES)) == size + _CRC_BYTES:
                number = int.from_bytes(record[:_NUMBER_BYTES], "little")
                if zlib.crc32(record[:size]).to_bytes(_CRC_BYTES, "little") != record[size:] or number > len(whole):
                    break
                if number == len(whole):  # else a second process wrote the same
                    whole.append(np.frombuffer(record[_NUMBER_BYTES:size], np.float32).reshape(shape))
                good = stream.tell()
            stream.truncate(good)
        return whole

    def append(self, evaluation: int, number: int, velocity: NDArray[np.float32]) -> None:
        """Keep the velocity of a micro-batch, by its number in the evaluation."""
        record = number.to_bytes(_NUMBER_BYTES, "little") + np.ascontiguousarray(velocity, np.float32).tobytes()
        with self._velocities(evaluation).open("ab", buffering=0) as stream:
            stream.write(record + zlib.crc32(record).to_bytes(_CRC_BYTES, "little"))

    @property
    def decoded(self) -> frozenset[int]:
        """Numbers of the tiles that are decoded and written."""
        path = self.folder / "decoded"
        words = path.read_text(encoding="ascii").split("\n")[:-1] if path.exists() else []
        return frozenset(int(word) for word in words if word.isdecimal())

    def tile_done(self, number: int) -> None:
        """One more tile is decoded and written."""
        with (self.folder / "decoded").open("ab", buffering=0) as stream:
            stream.write(f"{number}\n".encode())

    def forget_tiles(self) -> None:
        """The decoded tiles are not there: decode them again."""
        (self.folder / "decoded").unlink(missing_ok=True)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Wait until no other process works in a folder, and work in it; the folder is made if it is not there.

    A job that lost its Snakemake goes on for a while, beside the job of the next run. Where the file system has no
    locks (Lustre without ``flock``), both go on; a journal bears it, since both compute the same.
    """
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("ab") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                log.warning("another process makes this draw: waiting for it")
                fcntl.flock(stream, fcntl.LOCK_EX)
            except OSError as error:
                if error.errno not in (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP):
                    raise
            try:
                same = os.path.sameopenfile(stream.fileno(), other := os.open(folder / "lock", os.O_RDONLY))
                os.close(other)
            except FileNotFoundError:  # who had it finished and removed it
                same = False
            if same:
                yield
                return


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
