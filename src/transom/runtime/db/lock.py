# SPDX-License-Identifier: Apache-2.0
"""Who has a database file open: a lock on a file beside it (`queue.db.lock`).

The lock is flock's, on a file of its own: SQLite's locks are the process's on the database file
itself, and closing any handle to that file would drop them. The kernel lets go of it when its
process dies, however it dies. The lock file stays: removing it would let two processes lock two
files of one name.

Invariant: an exclusive holder is the only one; sharers share with sharers only.
"""

import fcntl
import os
import random
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Self

from transom.errors import ConfigError

SHARE_WAIT_S = 5.0
_held: Counter[Path] = Counter()
"""How many locks this process holds on a file."""
_counting = threading.Lock()


def lock_path(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


class FileLock:
    """A held lock on the file at `path`.

    `alone`: nobody else had it open when it was taken; `first_here`: nobody else of this process.
    """

    def __init__(self, path: Path, handle: int, *, alone: bool) -> None:
        self._path = path
        self._handle = handle
        self.alone = alone
        self._counted = path.resolve()
        with _counting:
            self.first_here = not _held[self._counted]
            _held[self._counted] += 1

    @classmethod
    def take(cls, path: Path, *, exclusive: bool) -> Self:
        """Sharers wait a while for one that opens the file alone; others do not wait.

        A sharer that finds itself alone holds the lock exclusively until `share`.
        Raises: ConfigError naming the process that has it; OSError.
        """
        handle = os.open(lock_path(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            alone = _taken(handle, path, exclusive=exclusive)
        except BaseException:  # Safety: let go, and raised again
            os.close(handle)
            raise
        if alone:
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        return cls(path, handle, alone=alone)

    def share(self) -> None:
        """Lets other sharers in."""
        fcntl.flock(self._handle, fcntl.LOCK_SH)

    def release(self) -> None:
        """Idempotent."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
            with _counting:
                _held[self._counted] -= 1
                if not _held[self._counted]:
                    del _held[self._counted]


def _taken(handle: int, path: Path, *, exclusive: bool) -> bool:
    deadline = time.monotonic() + (0.0 if exclusive else SHARE_WAIT_S)
    while True:
        if _try(handle, fcntl.LOCK_EX):
            return True
        if not exclusive and _try(handle, fcntl.LOCK_SH):
            return False
        if time.monotonic() >= deadline:
            holder = os.pread(handle, 32, 0).decode(errors="replace").strip() or "unknown"
            raise ConfigError(
                f"{path}: in use by process {holder}; stop it (transom down), "
                "or choose another data folder"
            )
        time.sleep(random.uniform(0.005, 0.02))


def _try(handle: int, how: int) -> bool:
    try:
        fcntl.flock(handle, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
