# SPDX-License-Identifier: Apache-2.0
"""The writer of one file: takes all waiting verbs into one transaction and one sync.

A group is `begin immediate`, the verbs, `commit`. If a verb fails after it changed something, the
whole group is undone and run again with each verb in a savepoint. (Measured: savepoints for all
cost 22 instead of 18 microseconds of CPU a write at 64 callers, bench/db/group_commit.py.) The
commit returns after the log is on disk (WAL, synchronous=full). The log is copied into the file
between groups, when the callers have their answers, and not by SQLite inside a commit.

Invariants:
1. After `write` each job of the group has an outcome; a value only if its effect is on disk.
2. What a verb raises undoes that verb alone; a fault of the group undoes all of it.
3. After a failed sync or write nothing is written any more (`poisoned` says why): the next sync
   would succeed although the lost pages are not on disk.
"""

import asyncio
import logging
import random
import sqlite3
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

from transom.errors import InternalError, TransomError
from transom.runtime.db.faults import Fault, as_error, fault_of, named, poisoned, unknown
from transom.runtime.db.transaction import Verb
from transom.runtime.db.verb import SqliteTransaction, drive

log = logging.getLogger(__name__)
T = TypeVar("T")
BUSY_WAIT_S = 5.0
FULL_PAUSES_S = (0.0, 0.02, 0.1)
"""Before each new try on a full disk, of which the log takes a part."""


class Job(Generic[T]):
    """A verb that waits for its commit, and what came of it."""

    __slots__ = ("error", "future", "value", "verb")

    def __init__(self, verb: Verb[T], future: asyncio.Future[T]) -> None:
        self.verb = verb
        self.future = future
        self.value: T | None = None
        self.error: BaseException | None = None


class GroupWriter:
    """Runs groups on its connection, on whatever thread calls it (one at a time).

    `on_poison` is called once, with the reason, before the group's callers are told.
    """

    def __init__(self, connection: sqlite3.Connection, *, on_poison: Callable[[str], None]) -> None:
        self._connection = connection
        self._on_poison = on_poison
        self._transaction = SqliteTransaction(connection)
        self.poisoned: str | None = None
        self.unsettled = True  # the log may hold what the file does not
        self.sparing = False  # there is little room: the log is kept short

    def write(self, jobs: Sequence[Job[Any]]) -> None:
        if self.poisoned is not None:
            self._fail(jobs, partial(poisoned, self.poisoned))
            return
        fault = self._written(jobs)
        for pause_s in FULL_PAUSES_S if self.unsettled else ():
            if fault is None or fault[0] is not Fault.FULL:
                break
            time.sleep(pause_s)
            self.checkpoint()  # then the log is begun anew, once no reader needs it
            if self.poisoned is not None:
                break
            fault = self._written(jobs)
        if fault is not None:
            self._tell(jobs, *fault)

    def _written(self, jobs: Sequence[Job[Any]]) -> tuple[Fault, str] | None:
        """Runs the group; why nothing of it was kept, or None."""
        self._transaction.failed = None
        wanted = [job for job in jobs if not job.future.cancelled()]
        try:
            self._begin()
            if not all(self._run(job) for job in wanted):
                self._transaction.run("rollback")
                self._begin()
                for job in wanted:
                    self._run_apart(job)
            self._transaction.run("commit")
            self.unsettled = True
        except sqlite3.Error as error:
            fault, detail = self._transaction.failed or (fault_of(error), named(error))
            self._undo()
            return fault, detail
        return None

    def _tell(self, jobs: Sequence[Job[Any]], fault: Fault, detail: str) -> None:
        if fault is Fault.DAMAGED:
            self._poison(detail)
        log.error("group of writes failed", extra={"fault": fault.name, "detail": detail})
        if fault is Fault.DAMAGED:
            self._fail(jobs, partial(unknown, detail))
        else:
            self._fail(jobs, partial(as_error, fault, detail))

    def checkpoint(self) -> None:
        """Copies the log into the file, as far as readers of other processes allow."""
        if self.poisoned is not None or not self.unsettled:
            return
        self.unsettled = False
        try:
            self._transaction.run("pragma wal_checkpoint(passive)")
        except sqlite3.Error as error:
            # Safety: what is in the log is on disk; a full or busy file is tried after a write.
            if fault_of(error) is Fault.DAMAGED:
                self._poison(named(error))
            self.unsettled = True
            log.warning("checkpoint failed", extra={"detail": named(error)})

    def distrust(self, detail: str) -> None:
        """A reader found the file damaged."""
        if self.poisoned is None:
            self._poison(detail)

    def _begin(self) -> None:
        deadline = time.monotonic() + BUSY_WAIT_S
        while True:
            try:
                self._transaction.run("begin immediate")
                return
            except sqlite3.Error as error:
                if fault_of(error) is not Fault.BUSY or time.monotonic() > deadline:
                    raise
            time.sleep(random.uniform(0.0005, 0.01))

    def _run(self, job: Job[Any]) -> bool:
        """False: the verb failed after it had changed something. Raises: the group's fault."""
        changes = self._connection.total_changes
        job.error = None
        try:
            job.value = drive(job.verb, self._transaction)
        except BaseException as error:  # noqa: BLE001  Safety: the caller's, raised there
            job.error = error
        if self._transaction.failed is not None:
            raise sqlite3.OperationalError(self._transaction.failed[1])
        return job.error is None or self._connection.total_changes == changes

    def _run_apart(self, job: Job[Any]) -> None:
        self._transaction.run("savepoint verb")
        if not self._run(job):
            self._transaction.run("rollback to verb")
        self._transaction.run("release verb")

    def _undo(self) -> None:
        if not self._connection.in_transaction:
            return  # SQLite has undone it by itself, as it does after some faults
        try:
            self._transaction.run("rollback")
        except sqlite3.Error as error:
            self._poison(named(error))

    def _poison(self, detail: str) -> None:
        self.poisoned = detail
        log.critical("store poisoned: it takes no writes any more", extra={"detail": detail})
        self._on_poison(detail)

    def _fail(self, jobs: Sequence[Job[Any]], error: Callable[[], TransomError]) -> None:
        for job in jobs:
            job.value = None
            job.error = error()


def settle(jobs: Sequence[Job[Any]]) -> None:
    """Hands the outcomes to those who still wait. On the loop's thread."""
    for job in jobs:
        future = job.future
        if future.done():
            continue
        if job.error is not None:
            future.set_exception(_raisable(job.error))
        else:
            future.set_result(job.value)


def _raisable(error: BaseException) -> BaseException:
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    return InternalError(detail=f"a verb raised {error!r}")
