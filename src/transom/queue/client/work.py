# SPDX-License-Identifier: Apache-2.0
"""A worker: takes messages, has them handled, and settles each by how that ended.

Invariants:
1. A message is deleted only after its handler has returned; what becomes of it otherwise, the
   queue's own rules tell. So each is handled at least once, and never lost.
2. While its handler runs, the hold of a message is renewed, three times in its life. A handler
   whose message is lost nevertheless (the server was away too long) is cancelled; one in a thread
   cannot be, and what it does counts for nothing: hand `message.fence` to what must refuse a late
   one.
3. No more messages are taken than can be begun with at once.
4. It ends after what it has begun; what it may not wait for, or was about to be given, is given
   back.
5. A server that is away ends nothing: it is asked again until it is there.
"""

import asyncio
import contextlib
import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field

from transom.queue.client import verbs
from transom.queue.client.errors import (
    BadRequest,
    Conflict,
    Forbidden,
    NotFound,
    QueueError,
    TooManyRequests,
    Unavailable,
)
from transom.queue.client.sender import QUICK_S, Sender
from transom.queue.client.shapes import Claimed, Message
from transom.queue.client.taking import GIVE_BACK_S, taken
from transom.queue.client.verbs import Request

log = logging.getLogger(__name__)

Handler = Callable[[Message], Awaitable[object] | object]
"""A coroutine function, or a function that is called in a thread."""

MOST_PER_CLAIM = 20
AWAY_PAUSE_S = 1.0
LONGEST_REASON = 1024


class Reject(Exception):
    """Raised by a handler: the message goes to the dead letters, with this reason."""


class Later(Exception):
    """Raised by a handler: the message comes again after `delay` seconds."""

    def __init__(self, delay: int, reason: str = "") -> None:
        super().__init__(reason or f"again in {delay} s")
        self.delay = delay


@dataclass(frozen=True, slots=True)
class Terms:
    """How a worker works.

    `at_once`: how many messages are handled at a time. `ttl`: for how long a message is held
    without a sign of life, in seconds: how soon another worker has it if this one dies. `wait`: for
    how long one request waits for messages. `renew_s`: between two signs of life (default: a third
    of `ttl`). `first_delay`, `most_delay`: seconds until a message comes again whose handler has
    raised, doubled each time. `attempts`: after so many deliveries it is rejected instead (default:
    only the queue's `_max_claim_count` counts). `until_empty`: end when there is nothing left.
    `drain_s`: for how long the end waits for handlers (default: as long as they take).
    """

    at_once: int = 1
    ttl: int = 60
    wait: int = 20
    renew_s: float | None = None
    first_delay: int = 1
    most_delay: int = 900
    attempts: int | None = None
    until_empty: bool = False
    drain_s: float | None = None

    def __post_init__(self) -> None:
        if self.at_once < 1:
            raise ValueError("at_once is at least 1")

    def delay(self, deliveries: int) -> int:
        """Before the next delivery, after so many."""
        return min(self.most_delay, self.first_delay << min(max(deliveries, 1) - 1, 30))


@dataclass(eq=False, slots=True)
class _Job:
    """A message in hand. `task`: its handling."""

    message: Message
    queue: str
    task: "asyncio.Task[None] | None" = None
    settling: bool = False
    lost: bool = False


@dataclass(eq=False, slots=True)
class _Hold:
    """One claim and what is still in hand of it."""

    claim_id: str
    jobs: set[_Job] = field(default_factory=set)
    over: asyncio.Event = field(default_factory=asyncio.Event)


class Work:
    """One worker on some queues."""

    def __init__(
        self, sender: Sender, names: Sequence[str], handler: Handler, terms: Terms
    ) -> None:
        self._sender = sender
        self._names = list(names)
        self._handler = handler
        self._terms = terms
        self._stop = asyncio.Event()
        self._jobs: set[_Job] = set()
        self._renewals: set[asyncio.Task[None]] = set()
        self._freed = asyncio.Event()
        self._threads: Executor | None = None
        self.handled = 0

    def stop(self) -> None:
        """Takes no more messages; `run` ends after those in hand."""
        self._stop.set()

    async def run(self, stop: asyncio.Event | None = None) -> int:
        """How many were handled. Raises: Refused if the queue may not be used."""
        if stop is not None:
            self._stop = stop
        try:
            while not self._stop.is_set():
                free = self._terms.at_once - len(self._jobs)
                if free > 0 and not await self._take(min(free, MOST_PER_CLAIM)):
                    break
                if len(self._jobs) >= self._terms.at_once:
                    await self._first_of(self._freed.wait())
            await self._drain(self._terms.drain_s)
        finally:
            await self._drain(0)
            if self._threads is not None:
                self._threads.shutdown(wait=False)
        return self.handled

    async def _first_of(self, waiting: Awaitable[object]) -> bool:
        """Whether it came before the stop."""
        self._freed.clear()
        asked = asyncio.ensure_future(waiting)
        stopped = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait({asked, stopped}, return_when=asyncio.FIRST_COMPLETED)
            return asked.done()
        finally:
            for task in (asked, stopped):
                task.cancel()
            await asyncio.gather(asked, stopped, return_exceptions=True)

    async def _take(self, limit: int) -> bool:
        """Begins with what there is; False if that is nothing and this is the end."""
        terms, loop = self._terms, asyncio.get_running_loop()
        wait = 0 if terms.until_empty and self._jobs else terms.wait
        began_s = loop.time()
        asking = asyncio.ensure_future(self._begun(self._claim(limit, wait)))
        try:
            if not await self._first_of(asking) or asking.result():
                return True
        except (Unavailable, TooManyRequests) as error:
            log.warning("the queue is away; it is asked again: %s", error.text)
            await self._first_of(asyncio.sleep(AWAY_PAUSE_S))
            return True
        if terms.until_empty:
            if not self._jobs:
                return False
            await self._first_of(self._freed.wait())
        elif loop.time() - began_s < QUICK_S:
            await self._first_of(asyncio.sleep(AWAY_PAUSE_S))
        return True

    def _claim(self, limit: int, wait: int) -> Request[Claimed | None]:
        if len(self._names) == 1:
            return verbs.claim(self._names[0], limit, self._terms.ttl, wait=wait)
        return verbs.claim_many(self._names, limit, self._terms.ttl, wait=wait)

    async def _begun(self, claim: Request[Claimed | None]) -> bool:
        """Whether there was something, with which it has begun."""
        claimed = await taken(self._sender, claim)
        if claimed is not None:
            self._begin(claimed)
        return claimed is not None

    def _begin(self, claimed: Claimed) -> None:
        hold = _Hold(claimed.claim_id)
        for message in claimed.messages:
            job = _Job(message, message.queue or self._names[0])
            hold.jobs.add(job)
            self._jobs.add(job)
            job.task = asyncio.create_task(self._one(hold, job))
        renewal = asyncio.create_task(self._renew(hold))
        self._renewals.add(renewal)
        renewal.add_done_callback(self._renewals.discard)

    async def _one(self, hold: _Hold, job: _Job) -> None:
        try:
            verdict = await self._handle(hold, job)
            job.settling = True
            if verdict is not None:
                await self._settle(hold, job, verdict)
        finally:
            hold.jobs.discard(job)
            self._jobs.discard(job)
            self._freed.set()
            if not hold.jobs:
                hold.over.set()

    async def _handle(self, hold: _Hold, job: _Job) -> Request[object] | None:
        """Runs the handler; what is to be sent by how it ended."""
        message, ids = job.message, [job.message.id]
        try:
            await self._called(message)
        except asyncio.CancelledError:
            if job.lost:
                log.warning("message %s was lost while it was handled", message.id)
                return None
            if job.task is not None and not job.task.cancelling():
                return self._after(hold, job, "what the handler waited for was cancelled")
            return verbs.release(job.queue, hold.claim_id, ids)  # `_drain` waits for it
        except Reject as error:
            return verbs.reject(job.queue, hold.claim_id, ids, str(error)[:LONGEST_REASON])
        except Later as error:
            return verbs.release(job.queue, hold.claim_id, ids, error.delay)
        except Exception as error:  # Safety: a handler may fail in any way; the queue keeps count
            log.warning("message %s was not handled", message.id, exc_info=True)
            return self._after(hold, job, f"{type(error).__name__}: {error}")
        return verbs.delete(job.queue, message.id, hold.claim_id)

    def _after(self, hold: _Hold, job: _Job, reason: str) -> Request[object]:
        """What becomes of a message whose handler has raised."""
        ids, deliveries = [job.message.id], job.message.claim_count
        if self._terms.attempts is not None and deliveries >= self._terms.attempts:
            return verbs.reject(job.queue, hold.claim_id, ids, reason[:LONGEST_REASON])
        return verbs.release(job.queue, hold.claim_id, ids, self._terms.delay(deliveries))

    async def _called(self, message: Message) -> None:
        if inspect.iscoroutinefunction(self._handler):
            await self._handler(message)
            return
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self._terms.at_once, "transom-queue-worker")
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, self._handler, message)
        if inspect.isawaitable(found):
            await found

    async def _settle(self, hold: _Hold, job: _Job, verdict: Request[object]) -> None:
        try:
            await self._sender.send(verdict)
        except (BadRequest, Forbidden, NotFound) as error:
            log.warning("message %s is no longer ours: %s", job.message.id, error.text)
        except Conflict as error:
            log.warning("message %s is freed, not rejected: %s", job.message.id, error.text)
            delay = self._terms.delay(job.message.claim_count)
            freed = verbs.release(job.queue, hold.claim_id, [job.message.id], delay)
            with contextlib.suppress(QueueError):
                await self._sender.send(freed)
        except QueueError as error:
            log.warning("message %s will come again: %s", job.message.id, error.text)
        else:
            self.handled += verdict.method == "DELETE"

    async def _renew(self, hold: _Hold) -> None:
        """Until nothing is in hand of it."""
        pause_s = self._terms.ttl / 3 if self._terms.renew_s is None else self._terms.renew_s
        while not hold.over.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await hold.over.wait()
                return
            for queue in {job.queue for job in hold.jobs}:
                await self._touch(hold, queue)

    async def _touch(self, hold: _Hold, queue: str) -> None:
        ids = [job.message.id for job in hold.jobs if job.queue == queue and not job.settling]
        if not ids:
            return
        try:
            touched = await self._sender.send(
                verbs.touch(queue, hold.claim_id, ids, self._terms.ttl)
            )
            lost = set(touched.lost)
        except NotFound:
            lost = set(ids)
        except QueueError as error:
            log.warning("the hold of %d messages was not renewed: %s", len(ids), error.text)
            return
        for job in hold.jobs:
            if job.message.id in lost and not job.settling and job.task is not None:
                job.lost = True
                job.task.cancel()

    async def _drain(self, within_s: float | None) -> None:
        """Waits for what is in hand. Handlers that take longer are cancelled, and what they had is
        given back; what is being settled then has `GIVE_BACK_S`."""
        tasks = [job.task for job in self._jobs if job.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=within_s)
            for job in self._jobs:
                if job.task is not None and not job.settling:
                    job.task.cancel()
            _, late = await asyncio.wait(tasks, timeout=GIVE_BACK_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for renewal in list(self._renewals):
            renewal.cancel()
        await asyncio.gather(*self._renewals, return_exceptions=True)
