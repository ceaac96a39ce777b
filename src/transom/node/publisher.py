# SPDX-License-Identifier: Apache-2.0
"""The one who publishes a durable feed: holds its lease, works off its pointers, sends.

It does the same for a part's events (`node.events`), whose steps are numbers that were given.

Invariants:
1. Steps are sent after their commit, in their order. One that is not sent (we died, the bus is
   away) is found missing by those who follow, who ask for it.
2. Pointers that nobody spoke of are found within a second or so.
3. Only who holds the lease serves the feed and beats, so that a replica is live only as long as
   somebody publishes; a bus that is away stops no publishing.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from transom.errors import TransomError
from transom.node.lease import Lease, Leased, LeaseLost
from transom.runtime.clock import Clock
from transom.runtime.db.transaction import Database

log = logging.getLogger(__name__)
LOOK_S = 1.0
SEND_S = 5.0


Step = TypeVar("Step")
Given = TypeVar("Given", covariant=True)
Sent = TypeVar("Sent", contravariant=True)


class Published(Protocol[Given]):
    """What is published step by step: see `DurableFeed`."""

    @property
    def database(self) -> Database: ...

    @property
    def source(self) -> str: ...

    @property
    def lease_name(self) -> str: ...

    async def waiting(self) -> bool:
        """Whether there may be a step to take."""

    async def publish_once(self, generation: int) -> Given | None:
        """One step, fenced; None if nothing is to be sent."""


class Shell(Protocol[Sent]):
    """What puts it on the bus: see `messaging.TablePublisher`."""

    async def start(self) -> None: ...

    async def stop(self) -> None:
        """Idempotent."""

    async def send(self, step: Sent, /) -> None:
        """Returns when the bus has taken it."""


class DurablePublisher(Generic[Step]):
    """A lifecycle service. `holder`: see `Lease`."""

    def __init__(
        self,
        feed: Published[Step],
        shell: Shell[Step],
        *,
        holder: str,
        clock: Clock,
        ttl_s: float = 10.0,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._feed = feed
        self._shell = shell
        self._jitter = jitter
        self._leased = Leased(
            feed.database,
            Lease(feed.lease_name, holder, int(ttl_s * 1000)),
            clock=clock,
            on_gain=self._begin,
            on_loss=self._end,
            jitter=jitter,
        )
        self._poked = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def generation(self) -> int | None:
        """That of the lease while it is held here, else None."""
        return self._leased.generation

    def poke(self) -> None:
        """Something was pointed to: look now."""
        self._poked.set()

    async def start(self) -> None:
        await self._leased.start()

    async def stop(self) -> None:
        await self._leased.stop()

    async def _begin(self, generation: int) -> None:
        loop, source = asyncio.get_running_loop(), self._feed.source
        self._tasks = [
            loop.create_task(self._run(generation), name=f"publish:{source}"),
            loop.create_task(self._serve(), name=f"serve:{source}"),
        ]

    async def _end(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._shell.stop()

    async def _serve(self) -> None:
        while True:
            try:
                await self._shell.start()
            except TransomError as error:
                self._log("feed not served yet", error)
                await asyncio.sleep(LOOK_S)
            else:
                return

    async def _run(self, generation: int) -> None:
        while True:
            self._poked.clear()
            try:
                await self._publish_all(generation)
            except LeaseLost:
                self._leased.lost()
                return
            except TransomError as error:
                self._log("feed not published", error)
            except Exception:  # Safety: a fault in a row's reader must not end the feed for ever
                log.exception("feed failed", extra={"feed": self._feed.source})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S * (0.9 + 0.2 * self._jitter())):
                    await self._poked.wait()

    async def _publish_all(self, generation: int) -> None:
        while await self._feed.waiting():
            step = await self._feed.publish_once(generation)
            if step is not None:
                await self._send(step)

    async def _send(self, step: Step) -> None:
        try:
            async with asyncio.timeout(SEND_S):
                await self._shell.send(step)
        except (TransomError, TimeoutError) as error:
            self._log("change set not sent", error)

    def _log(self, what: str, error: Exception) -> None:
        detail = getattr(error, "detail", "") or repr(error)
        log.warning(what, extra={"feed": self._feed.source, "detail": detail})
