# SPDX-License-Identifier: Apache-2.0
"""Where it is kept which messages came: in memory, or in a file too.

The file is a log: a record is appended for each message as it is taken, and the log is written
anew, short, when it is opened and when it has grown. A record is a letter, its fields, and the
CRC-32 of both (4):

    M  stream (24 bytes), counter (8), sent (8), until (8)
    P  stream (24 bytes), page (8), floor (8), newest (8), until (8), bits (128)
    F  source (8 bytes), floor (8), until (8): see `security.freshness.Source`
    S  start (8): from when on the log tells of all that came

Invariants:
1. What was recorded is found again after the process has died, however it died. The file is not
   synced: after a power cut the last seconds may be missing.
2. A record that was torn is left out, and no other for its sake.
3. A disk that takes no record is logged; the memory goes on, and the log is written anew later.
4. One process at a time has the log. Where the log was lost, what was sent before is refused as
   without a file.
"""

import fcntl
import logging
import os
import struct
from pathlib import Path
from typing import Any, Protocol
from zlib import crc32

from transom.errors import ConfigError
from transom.messaging.security.freshness import (
    PAGE_BITS,
    STREAM_BYTES,
    STREAMS_MAX,
    Seen,
)
from transom.messaging.security.reading import SOURCE_BYTES
from transom.runtime.secrets import write_private

log = logging.getLogger(__name__)

_MESSAGE = struct.Struct(f"!{STREAM_BYTES}sQQQ")
_PAGE = struct.Struct(f"!{STREAM_BYTES}sQQQQ{1 << PAGE_BITS - 3}s")
_FLOOR = struct.Struct(f"!{SOURCE_BYTES}sQQ")
_START = struct.Struct("!Q")
_CHECK = struct.Struct("!I")
_FORMS = {b"M": _MESSAGE, b"P": _PAGE, b"F": _FLOOR, b"S": _START}
GROWN_BYTES = 64 * 1024 * 1024


class SeenCounters(Protocol):
    """What was taken; see `security.freshness.Seen`. `start_ms`: what was sent before is not known;
    set by `open`.
    """

    start_ms: int

    def open(self, now_ms: int) -> None:
        """Before the first use."""

    def has(self, stream: bytes, counter: int, sent_ms: int) -> bool:
        """Whether it was taken, or may have been."""

    def record(self, stream: bytes, counter: int, sent_ms: int, until_ms: int) -> None:
        """It is taken now. `until_ms`: from then on it is refused for its age."""

    def forget(self, now_ms: int) -> None:
        """What is too old anyway."""

    def close(self) -> None:
        """Idempotent."""


class MemorySeen(Seen):
    """Forgets with the process; what was sent before it started is refused instead."""

    start_ms = 0

    def open(self, now_ms: int) -> None:
        """There is nothing to open."""
        self.start_ms = now_ms

    def close(self) -> None:
        """Nor to close."""


class FileSeen(Seen):
    """Remembers in a file that one process uses; beside it is its lock, `<file>.lock`."""

    def __init__(self, path: Path, *, streams_max: int = STREAMS_MAX) -> None:
        super().__init__(streams_max=streams_max)
        self.start_ms = 0
        self._path = path
        self._lock = -1
        self._log = -1
        self._bytes = 0

    def open(self, now_ms: int) -> None:
        """Reads what is there. Raises: OSError, ConfigError if another process has it."""
        self._take_lock()
        try:
            self.start_ms = now_ms
            if self._path.exists():
                self._replay(self._path.read_bytes())
            self._write_anew(now_ms)
        except BaseException:  # Safety: lets go of the lock, and raised again
            self.close()
            raise

    def record(self, stream: bytes, counter: int, sent_ms: int, until_ms: int) -> None:
        super().record(stream, counter, sent_ms, until_ms)
        written, size = 0, 0
        try:
            entry = _entry(b"M", stream, counter, sent_ms, until_ms)
            size = len(entry)
            written = os.write(self._log, entry)
        except (OSError, struct.error) as error:
            log.error("message not recorded on disk", extra={"reason": str(error)})
        self._bytes += written if 0 < written == size else GROWN_BYTES + 1

    def forget(self, now_ms: int) -> None:
        super().forget(now_ms)
        if self._bytes > GROWN_BYTES:
            try:
                self._write_anew(now_ms)
            except (OSError, struct.error) as error:
                log.error("record of messages not written anew", extra={"reason": str(error)})

    def close(self) -> None:
        self._close_log()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _take_lock(self) -> None:
        """The log is replaced when it is written anew, so the lock is another file."""
        path = self._path.with_name(f"{self._path.name}.lock")
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise ConfigError(
                f"{self._path}: another process remembers its messages there; stop it first, or "
                "give each a file of its own"
            ) from None
        self._lock = lock

    def _close_log(self) -> None:
        if self._log >= 0:
            os.close(self._log)
            self._log = -1

    def _write_anew(self, now_ms: int) -> None:
        super().forget(now_ms)
        parts = [_entry(b"S", self.start_ms)]
        for name, source in self.sources.items():
            parts.append(_entry(b"F", name, source.floor_ms, source.floor_until_ms))
            for stream, one in source.streams.items():
                for page, (bits, until_ms) in one.pages.items():
                    raw = bits.to_bytes(1 << PAGE_BITS - 3, "big")
                    fields = (stream, page, one.floor, one.newest_ms, until_ms, raw)
                    parts.append(_entry(b"P", *fields))
        write_private(self._path, b"".join(parts))
        self._close_log()
        self._log = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self._bytes = 0

    def _replay(self, entries: bytes) -> None:
        """All records that are whole; where one is not, the next begins anywhere after it."""
        at, view = 0, memoryview(entries)
        while at < len(entries):
            letter = entries[at : at + 1]
            form = _FORMS.get(letter)
            end = at + 1 + (form.size if form else 0)
            check = entries[end : end + _CHECK.size]
            if form is None or check != _CHECK.pack(crc32(view[at:end])):
                at += 1
                continue
            self._take(letter, form.unpack(view[at + 1 : end]))
            at = end + _CHECK.size

    def _take(self, letter: bytes, fields: tuple[Any, ...]) -> None:
        match letter:
            case b"M":
                super().record(*fields)
            case b"P":
                stream, page, floor, newest_ms, until_ms, raw = fields
                bits = int.from_bytes(raw, "big")
                self.restore(stream, page, bits, until_ms, floor, newest_ms)
            case b"F":
                self.restore_floor(*fields)
            case _:
                (self.start_ms,) = fields


def _entry(letter: bytes, *fields: Any) -> bytes:
    """Raises: struct.error for what fits in no record."""
    body = letter + _FORMS[letter].pack(*fields)
    return body + _CHECK.pack(crc32(body))
