# SPDX-License-Identifier: Apache-2.0
"""The thread that owns a file's writing connection: opens, writes group after group, closes.

Invariants:
1. Jobs are written in the order in which they were put.
2. Each job that was put is settled on the loop, one call into the loop a group, also when the
   thread itself fails.
3. The log is copied back into the file at most once per `CHECKPOINT_S` under load, and that long
   after the last write, between groups; after each group while there is little room.
"""

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from transom.runtime.db.faults import unknown
from transom.runtime.db.writer import GroupWriter, Job

log = logging.getLogger(__name__)
CHECKPOINT_S = 0.5

Opened = tuple[GroupWriter, Callable[[], None]]


class WriterThread:
    """`open_writer` runs on the thread and answers the writer and what closes it."""

    def __init__(
        self,
        name: str,
        open_writer: Callable[[], Opened],
        settled: Callable[[Sequence[Job[Any]]], None],
        *,
        group_max: int,
    ) -> None:
        self._name = name
        self._open_writer = open_writer
        self._settled = settled
        self._group_max = group_max
        self._jobs: queue.SimpleQueue[Sequence[Job[Any]] | None] = queue.SimpleQueue()
        self._last_checkpoint_s = 0.0

    async def start(self) -> GroupWriter:
        """Returns when the file is open. Raises: what `open_writer` raises.

        If it is cancelled, the thread closes what it opens, and ends.
        """
        self._loop = asyncio.get_running_loop()
        self._started: asyncio.Future[GroupWriter] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        threading.Thread(target=self._main, name=self._name, daemon=True).start()
        try:
            return await self._started
        except asyncio.CancelledError:
            self._jobs.put(None)
            raise

    def put(self, jobs: Sequence[Job[Any]]) -> None:
        self._jobs.put(jobs)

    async def stop(self) -> None:
        """Writes what was put, closes the file."""
        self._jobs.put(None)
        await asyncio.shield(self._ended)

    def _main(self) -> None:
        try:
            writer, close = self._open_writer()
        except BaseException as error:  # noqa: BLE001  Safety: raised again in `start`
            self._on_loop(_set_unless_done, self._started, None, error)
            return
        self._on_loop(_set_unless_done, self._started, writer, None)
        try:
            self._write_until_stopped(writer)
        finally:
            try:
                close()
            finally:
                self._on_loop(_set_unless_done, self._ended, None, None)

    def _write_until_stopped(self, writer: GroupWriter) -> None:
        waiting: list[Job[Any]] = []
        stopping = False
        while not stopping or waiting:
            stopping = self._gather(waiting, wait=not stopping, idle=writer.checkpoint) or stopping
            group, waiting = waiting[: self._group_max], waiting[self._group_max :]
            if group:
                self._write(writer, group)

    def _gather(self, waiting: list[Job[Any]], *, wait: bool, idle: Callable[[], None]) -> bool:
        """Adds all that was put; waits for the first if none waits yet. True: asked to stop."""
        try:
            if wait and not waiting:
                jobs = self._jobs.get(timeout=CHECKPOINT_S)
            else:
                jobs = self._jobs.get_nowait()
            while jobs is not None:
                waiting.extend(jobs)
                jobs = self._jobs.get_nowait()
        except queue.Empty:
            if wait and not waiting:
                idle()
            return False
        return True

    def _write(self, writer: GroupWriter, group: list[Job[Any]]) -> None:
        try:
            writer.write(group)
        except Exception as error:  # Safety: a fault of ours; nobody may wait for ever
            log.exception("writer failed", extra={"store": self._name})
            writer.distrust(f"the writer failed: {error!r}")
            for job in group:
                job.error = unknown(repr(error))
        self._on_loop(self._settled, group)
        if writer.sparing or time.monotonic() - self._last_checkpoint_s >= CHECKPOINT_S:
            writer.checkpoint()
            self._last_checkpoint_s = time.monotonic()

    def _on_loop(self, call: Callable[..., None], *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:
            # Safety: the loop is closed, so nobody waits for this any more.
            log.warning("loop closed before its writes ended", extra={"store": self._name})


def _set_unless_done(future: asyncio.Future[Any], value: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(value)
