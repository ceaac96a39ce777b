# SPDX-License-Identifier: Apache-2.0
"""A database in one SQLite file: one writer with group commit, reads inline.

Invariants:
1. `write` returns a value only after the verb's effect is on disk.
2. Writes of one task are seen by its later reads; a read sees one snapshot.
3. No caller hangs: what waits too long is told so, what finds too many waiting is refused.
4. A caller that is cancelled harms nobody; its verb is left out, or commits.

`inline_writer` runs the same groups on the loop itself, for tests in virtual time.
"""

import asyncio
import logging
import os
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from transom.errors import OutcomeUnknown, StorageUnavailable, Unavailable
from transom.runtime.clock import Clock
from transom.runtime.db.connection import cannot_open, connect_reader
from transom.runtime.db.faults import Fault, poisoned
from transom.runtime.db.file import mark_poisoned, open_file
from transom.runtime.db.migrate import Migrations
from transom.runtime.db.thread import Opened, WriterThread
from transom.runtime.db.transaction import Verb
from transom.runtime.db.verb import SqliteTransaction, in_snapshot
from transom.runtime.db.writer import GroupWriter, Job, settle

log = logging.getLogger(__name__)
T = TypeVar("T")
STALL_S = 30.0
STOP_S = 60.0
LOOK_S = 0.05
"""How old what is known of the disk's space may be."""
INLINE_CHECKPOINT_GROUPS = 256


class SqliteDatabase:
    """One file; a `transaction.Database`.

    `exclusive`: this process alone has the file open; otherwise several may, each writing in short
    transactions. `group_max`: verbs to a commit. `waiting_max`: writes that may wait.
    """

    in_order = True

    def __init__(
        self,
        path: Path,
        migrations: Sequence[Migrations],
        *,
        clock: Clock,
        exclusive: bool = True,
        group_max: int = 256,
        waiting_max: int = 4096,
        inline_writer: bool = False,
    ) -> None:
        self.path = path
        self._migrations = migrations
        self._clock = clock
        self._exclusive = exclusive
        self._group_max = group_max
        self._waiting_max = waiting_max
        self._inline = inline_writer
        self._writer: GroupWriter | None = None
        self._thread: WriterThread | None = None
        self._reader: sqlite3.Connection | None = None
        self._reads: SqliteTransaction | None = None
        self._turn: list[Job[Any]] = []  # put since the loop last turned
        self._out: set[Job[Any]] = set()  # with the writer
        self._groups = 0
        self._watched = 0
        self._watch: asyncio.TimerHandle | None = None
        self._looked_s = -LOOK_S
        self._room_bytes = self._disk_bytes = 0

    @property
    def waiting(self) -> int:
        """Writes that wait for their commit."""
        return len(self._turn) + len(self._out)

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def problem(self) -> str:
        if self.poisoned is None:
            return ""
        return (
            f"takes no writes to {self.path.name}, whose disk failed; reads go on; when the disk "
            "is well, `transom down` and `transom up`"
        )

    @property
    def poisoned(self) -> str | None:
        """Why nothing is written any more, or None."""
        return self._writer.poisoned if self._writer is not None else None

    def is_short(self, bytes_least: int) -> bool:
        now_s = self._clock.monotonic_s()
        if not 0.0 <= now_s - self._looked_s < LOOK_S and self._reader is not None:
            self._looked_s = now_s
            with suppress(OSError, sqlite3.Error):  # then what was known before holds
                self._room_bytes, self._disk_bytes = _space(self.path, self._reader)
        short = self._room_bytes < min(bytes_least, self._disk_bytes // 10)
        if self._writer is not None:
            self._writer.sparing = short
        return short

    async def start(self) -> None:
        if self._writer is not None:
            return
        self._loop = asyncio.get_running_loop()
        if self._inline:
            self._writer, self._close = self._open()
        else:
            thread = WriterThread(
                f"writer:{self.path.name}", self._open, self._settle, group_max=self._group_max
            )
            self._writer = await thread.start()
            self._thread = thread
        try:
            self._reader = connect_reader(self.path)
        except sqlite3.Error as error:
            await self.stop()
            raise cannot_open(self.path, error) from error
        self._reads = SqliteTransaction(self._reader)

    async def stop(self) -> None:
        if self._writer is None:
            return
        self._hand_over()
        self._writer = self._reads = None
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if self._reader is not None:
            # Before the writer: the last connection to close copies the log back.
            self._reader.close()
            self._reader = None
        if self._thread is not None:
            async with asyncio.timeout(STOP_S):
                await self._thread.stop()
            self._thread = None
        else:
            self._close()

    async def write(self, verb: Verb[T]) -> T:
        writer = self._writer
        if writer is None:
            raise StorageUnavailable("The store is closed.")
        if writer.poisoned is not None:
            raise poisoned(writer.poisoned)
        if self.waiting >= self._waiting_max:
            raise Unavailable("Too many writes wait for the disk; try again.")
        future: asyncio.Future[T] = self._loop.create_future()
        self._turn.append(Job(verb, future))
        if len(self._turn) == 1:
            self._loop.call_soon(self._hand_over)
        return await future

    async def read(self, verb: Verb[T]) -> T:
        reads = self._reads
        try:
            return in_snapshot(verb, reads)
        finally:
            if reads is not None and reads.failed and reads.failed[0] is Fault.DAMAGED:
                self._distrust(reads.failed[1])

    def _open(self) -> Opened:
        file = open_file(self.path, self._migrations, clock=self._clock, exclusive=self._exclusive)
        writer = GroupWriter(file.connection, on_poison=lambda _: mark_poisoned(self.path))
        return writer, file.close

    def _hand_over(self) -> None:
        """Gives the writer all that was put in this turn of the loop, in one go."""
        jobs, self._turn = self._turn, []
        if not jobs:
            return
        self._out.update(jobs)
        if self._thread is not None:
            self._thread.put(jobs)
            if self._watch is None:
                self._look_later()
            return
        assert self._writer is not None
        for first in range(0, len(jobs), self._group_max):
            group = jobs[first : first + self._group_max]
            self._writer.write(group)
            self._settle(group)
            if self._groups % INLINE_CHECKPOINT_GROUPS == 0:
                self._writer.checkpoint()

    def _settle(self, jobs: Sequence[Job[Any]]) -> None:
        self._groups += 1
        self._out.difference_update(jobs)
        settle(jobs)

    def _look(self) -> None:
        """Tells those who wait, if the writer has finished nothing since the last look."""
        self._watch = None
        if not self._out:
            return
        if self._watched == self._groups:
            log.error("disk does not answer", extra={"store": str(self.path)})
            for job in self._out:
                if not job.future.done():
                    job.future.set_exception(
                        OutcomeUnknown(
                            "The disk does not answer; the write may or may not have been kept."
                        )
                    )
        self._look_later()

    def _look_later(self) -> None:
        self._watched = self._groups
        self._watch = self._loop.call_later(STALL_S, self._look)

    def _distrust(self, detail: str) -> None:
        if self._writer is not None:
            self._writer.distrust(detail)


def _space(path: Path, reader: sqlite3.Connection) -> tuple[int, int]:
    """(room for more, size of the disk), in bytes: pages that nothing uses are room, and what the
    file grows by when the log is copied into it is none."""
    disk = os.statvfs(path)
    pages, unused, page_bytes = (
        reader.execute(f"pragma {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    to_come = max(0, pages * page_bytes - path.stat().st_size)
    room = disk.f_bavail * disk.f_frsize + unused * page_bytes - to_come
    return room, disk.f_blocks * disk.f_frsize
