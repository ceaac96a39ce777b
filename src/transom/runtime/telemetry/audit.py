# SPDX-License-Identifier: Apache-2.0
"""The audit log: who did, or tried, what; one JSON object a line, in a file that several processes
append to.

Invariants:
1. A line is in the kernel's hands when `write` says so: it survives the death of the process that
   wrote it. Against a power cut nothing is promised.
2. Lines of several processes never mix: each write is one append of whole lines. Where a full disk
   cut one short, the next write begins on a new line and says the whole of it again.
3. A line that cannot be written waits, `WAITING_MAX` at most, and is written before any later one.
   What had to be given up is counted, in the metrics and in the log itself.
4. The file holds no more than `file_bytes` and what one second adds; with it, `old_files` are kept.
   A file that somebody else has moved away is let go of within a second.
5. No text of a line can look like another line, or move a terminal's cursor.
"""

import fcntl
import logging
import os
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from itertools import islice, pairwise
from pathlib import Path
from time import time

import msgspec
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from transom.errors import ConfigError

log = logging.getLogger(__name__)

WAITING_MAX = 1000
AT_ONCE = 64
LOOK_S = 1.0
TEXT_MAX = 1024
NAME_MAX = 255
_encode = msgspec.json.Encoder().encode


class Claimed(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Whom a sign-in names. Nothing of it is proved; it never holds a secret."""

    user_id: str = ""
    user_name: str = ""
    user_domain: str = ""
    credential_id: str = ""


class Caller(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whose token it was, as far as one was valid."""

    user_id: str = ""
    user_name: str = ""
    user_domain_id: str = ""
    project_id: str = ""
    project_name: str = ""
    project_domain_id: str = ""
    domain_id: str = ""
    system: bool = False
    roles: list[str] = []
    credential_id: str = ""


NOBODY = msgspec.Raw()


class Entry(msgspec.Struct, omit_defaults=True, gc=False):
    """One line. What is empty is left out; what each field means stands in the how-to.

    `caller`: a `Caller`, encoded.
    """

    time: datetime
    request_id: str
    outcome: str
    status: int
    method: str
    mount: str
    path: str
    duration_us: int
    client: str = ""
    caller: msgspec.Raw = NOBODY
    claimed: Claimed | None = None


class _Lost(msgspec.Struct):
    """Stands where lines had to be given up."""

    time: datetime
    outcome: str
    lines: int


_claims: ContextVar[tuple[str, Claimed] | None] = ContextVar("transom_claims", default=None)
"""(request id, whom its sign-in names)."""


def claim(request_id: str, user_id: str, name: str, domain: str, credential_id: str) -> None:
    """Told by whoever reads a sign-in's body, before anything of it is checked. `domain`: its id
    or its name, whichever was given."""
    names = (shown(text, NAME_MAX) for text in (user_id, name, domain, credential_id))
    _claims.set((request_id, Claimed(*names)))


def claimed(request_id: str) -> Claimed | None:
    """Whom this request's sign-in names, if it is one."""
    found = _claims.get()
    return found[1] if found is not None and found[0] == request_id else None


class AuditLog(Collector):
    """The file at `path`. A `lifecycle.Service`, and a collector of metrics.

    `problem`: why lines cannot be written now, or "".

    `needed`: who asks `ready` is to carry nothing out that could not be audited; what was under
    way when the file failed then waits however many lines it is.
    """

    def __init__(
        self, path: Path, *, file_bytes: int, old_files: int, needed: bool = False
    ) -> None:
        self.needed = needed
        self._path = path
        self._file_bytes = file_bytes
        self._old_files = old_files
        self._file = -1
        self._looked_s = 0.0
        self._torn = False
        self._waiting: deque[bytes] = deque()
        self._lost_untold = 0
        self._written = 0
        self._lost = 0
        self.problem = ""

    async def start(self) -> None:
        """Raises: ConfigError if the file cannot be written."""
        try:
            self._open()
        except OSError as error:
            raise ConfigError(
                f"{self._path}: cannot be written: {error.strerror}; repair its folder, or set "
                '[log] audit = "off"'
            ) from error

    async def stop(self) -> None:
        if self._file >= 0:
            self._flush()
            if self._waiting:
                log.error("audit lines lost at the stop", extra={"lines": len(self._waiting)})
            os.close(self._file)
            self._file = -1

    def ready(self) -> bool:
        """Whether lines can be written, as far as one can know before one is."""
        if not self._waiting:
            return True
        self._look()
        return self._flush()

    def write(self, entry: Entry, now_s: float) -> bool:
        """Whether the line is in the file; if not, it waits. `now_s`: any clock's."""
        line = _encode(entry) + b"\n"
        if not 0.0 <= now_s - self._looked_s < LOOK_S:
            self._looked_s = now_s
            self._look()
        if not self._waiting:
            try:
                if os.write(self._file, line) == len(line):
                    self._written += 1
                    return True
                self._torn = True
            except OSError:
                pass  # what is wrong is told when the line is written again, below
        # Where it is needed nothing new is carried out now, so these are as many as are under way.
        happened = self.needed and entry.outcome in ("allowed", "unknown")
        if happened or len(self._waiting) < WAITING_MAX:
            self._waiting.append(line)
        else:
            self._lost += 1
            self._lost_untold += 1
        return self._flush()

    def collect(self) -> Iterable[Metric]:
        yield CounterMetricFamily(
            "transom_audit_lines", "Lines written to the audit log.", self._written
        )
        yield CounterMetricFamily(
            "transom_audit_lines_lost",
            "Lines given up because the audit log could not be written.",
            self._lost,
        )
        yield GaugeMetricFamily(
            "transom_audit_lines_waiting",
            "Lines that wait until the audit log can be written again.",
            len(self._waiting),
        )

    def _flush(self) -> bool:
        """Writes what waits; whether nothing waits any more."""
        try:
            while self._waiting:
                self._write_waiting()
        except OSError as error:
            self._complain(error)
            return False
        if self.problem:
            log.warning("audit log can be written again", extra={"lost": self._lost})
            self.problem = ""
        if self._lost_untold:
            hole = _encode(_Lost(datetime.fromtimestamp(time(), UTC), "lost", self._lost_untold))
            self._lost_untold = 0
            self._waiting.append(hole + b"\n")
            return self._flush()
        return True

    def _write_waiting(self) -> None:
        """As many of the waiting lines as go in at once. Raises: OSError."""
        lead = b"\n" if self._torn else b""
        batch = b"".join(islice(self._waiting, AT_ONCE))
        left = os.write(self._file, lead + batch) - len(lead)
        while self._waiting and left >= len(self._waiting[0]):
            left -= len(self._waiting.popleft())
            self._written += 1
        self._torn = left != 0

    def _complain(self, error: OSError) -> None:
        reason = error.strerror or str(error)
        if reason != self.problem:
            self.problem = reason
            fields = {"file": str(self._path), "reason": reason, "refusing": self.needed}
            log.error("audit log cannot be written; what cannot wait is lost", extra=fields)

    def _look(self) -> None:
        """Goes over to another file where this one is full, or no longer the one at its path."""
        try:
            if not self._is_current():
                self._open()
            elif os.fstat(self._file).st_size >= self._file_bytes:
                self._rotate()
        except OSError as error:
            self._complain(error)
        else:
            if not self._waiting:
                self.problem = ""

    def _is_current(self) -> bool:
        try:
            return os.path.samestat(self._path.stat(), os.fstat(self._file))
        except FileNotFoundError:
            return False

    def _rotate(self) -> None:
        """One process does it, held apart by a lock on the file itself."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # another is at it; the next look sees its new file
        try:
            if self._is_current():
                self._move_on()
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)
        self._open()

    def _move_on(self) -> None:
        names = [self._path, *(self._old(number) for number in range(1, self._old_files + 1))]
        if self._old_files == 0:
            self._path.unlink()
        for newer, older in reversed(list(pairwise(names))):
            with suppress(FileNotFoundError):
                newer.rename(older)

    def _old(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def _open(self) -> None:
        """Raises: OSError, and what was open stays."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        file = os.open(self._path, flags, 0o600)
        if self._file >= 0:
            os.close(self._file)
        self._file = file
        self._torn = False


def shown(text: str, most: int = TEXT_MAX) -> str:
    """The text, bounded, with nothing in it that is not printable."""
    if len(text) > most:
        text = text[:most] + "..."
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )
