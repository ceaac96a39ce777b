# SPDX-License-Identifier: Apache-2.0
"""Secrets: a text that does not print itself, and files that only their owner may read.

Invariant: a file made here is 0600 from its first byte on, and whole or absent: it is written
beside its place, synced and renamed.
"""

import contextlib
import hmac
import os
import stat
from pathlib import Path

from transom.errors import ConfigError
from transom.runtime.ids import Randomness


class Secret:
    """A secret text. `repr` and `str` are `***`; `reveal` is the only way to it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        """In constant time for texts of one length."""
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._text))


def write_private(path: Path, content: bytes) -> None:
    """Replaces the file at `path`, 0600, whole or not at all."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        beside.unlink()
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.rename(path)
    except BaseException:  # Safety: leaves nothing behind, and raised again
        beside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def read_private(path: Path) -> bytes:
    """The file's content.

    Raises: ConfigError if it is no file, or others may read it; FileNotFoundError.
    """
    found = path.stat().st_mode
    if not stat.S_ISREG(found):
        raise ConfigError(f"{path}: is no file; move it away")
    if mode := found & 0o077:
        raise ConfigError(f"{path}: others may read it (mode {mode:03o}); run: chmod 600 {path}")
    return path.read_bytes()


def private_folder(path: Path) -> None:
    """Makes the folder 0700, or checks that it is ours alone. Raises: ConfigError.

    A folder that was made is on disk then: without its name, all that is synced in it is lost.
    """
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    for folder in made:
        sync_folder(folder.parent)
    found = path.stat()
    if found.st_uid != os.getuid():
        raise ConfigError(f"{path}: belongs to another user; choose another folder")
    if found.st_mode & 0o077:
        path.chmod(0o700)


def sync_folder(path: Path) -> None:
    """Puts the folder's entries (names made, renamed or removed in it) on disk."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def new_password(random: Randomness) -> Secret:
    """24 characters, some 138 bits, safe in a shell and in YAML."""
    alphabet = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
    return Secret("".join(alphabet[byte % len(alphabet)] for byte in random(24)))
