# SPDX-License-Identifier: Apache-2.0
"""The folder of an ipc bus: who may use it, what the sockets in it are called, who lives.

Invariants:
1. A folder that belongs to somebody else, or that others may enter, is refused.
2. A socket is bound only by who holds the lock on `<socket>.lock`: a second bind on one path
   would silently take over. The lock goes with its process, so it also tells who lives.
3. Only files whose lock is free are removed, and only by who holds that lock.
"""

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from pathlib import Path

from transom.errors import InvalidTransportURL

REGISTRY = "registry"
# What `sockaddr_un` holds, less the closing zero.
MOST_PATH_BYTES = 107
PROCESS_BYTES = 8
_PROCESS = re.compile(r"[0-9a-f]{16}", re.ASCII)


def is_process(name: str) -> bool:
    """Names come from peers: nothing else may become part of a path."""
    return _PROCESS.fullmatch(name) is not None


class Claim:
    """A held lock on one socket's name."""

    def __init__(self, handle: int, lock: Path, socket: Path) -> None:
        self._handle = handle
        self._lock = lock
        self._socket = socket

    def release(self) -> None:
        """Removes the files, then lets go of the lock. Idempotent."""
        if self._handle < 0:
            return
        for path in (self._socket, self._lock):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
        os.close(self._handle)
        self._handle = -1


class Folder:
    """One checked folder. Raises: InvalidTransportURL from `check`, saying what to do."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def check(self) -> None:
        socket = self.path / ("0" * 2 * PROCESS_BYTES)
        over_bytes = len(os.fsencode(socket)) - MOST_PATH_BYTES
        if over_bytes > 0:
            raise InvalidTransportURL(
                f"{self.path}: sockets in it would have paths of more than {MOST_PATH_BYTES} bytes;"
                f" choose a folder whose path is at least {over_bytes} bytes shorter"
            )
        try:
            found = self.path.stat()
        except FileNotFoundError:
            raise InvalidTransportURL(
                f"{self.path}: no such folder; make it with: mkdir -m 700 {self.path}"
            ) from None
        except OSError as error:
            raise InvalidTransportURL(f"{self.path}: {error.strerror}") from error
        if not self.path.is_dir():
            raise InvalidTransportURL(f"{self.path}: is no folder")
        if found.st_uid != os.geteuid():
            raise InvalidTransportURL(
                f"{self.path}: belongs to user {found.st_uid}; choose a folder of your own"
            )
        if found.st_mode & 0o077:
            raise InvalidTransportURL(
                f"{self.path}: others may enter it (mode {found.st_mode & 0o777:03o});"
                f" run: chmod 700 {self.path}"
            )

    def endpoint(self, name: str) -> str:
        """The zmq address of the socket called `name`."""
        return f"ipc://{self.path / name}"

    def claim(self, name: str) -> Claim | None:
        """Takes the name for this process; None if somebody living has it."""
        lock = self._lock(name)
        for _ in range(10):
            handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if not _try_lock(handle):
                os.close(handle)
                return None
            # Safety: a sweep may have removed the file between our open and our lock.
            if _same_file(handle, lock):
                socket = self.path / name
                with contextlib.suppress(FileNotFoundError):
                    socket.unlink()
                return Claim(handle, lock, socket)
            os.close(handle)
        return None

    def lives(self, name: str) -> bool:
        """Whether some process holds the name."""
        try:
            handle = os.open(self._lock(name), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            return not _try_lock(handle, fcntl.LOCK_SH)
        finally:
            os.close(handle)

    def living(self) -> frozenset[str]:
        """The names of the processes that live."""
        return frozenset(name for name in self._names() if self.lives(name))

    def sweep(self) -> int:
        """Removes what dead processes left; returns how many there were."""
        removed = 0
        for name in list(self._names()):
            if not self.lives(name):
                claim = self.claim(name)
                if claim is not None:
                    claim.release()
                    removed += 1
        return removed

    def _names(self) -> Iterator[str]:
        for lock in self.path.glob("*.lock"):
            if is_process(lock.stem):
                yield lock.stem

    def _lock(self, name: str) -> Path:
        return self.path / f"{name}.lock"


def _try_lock(handle: int, how: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(handle, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _same_file(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
