# SPDX-License-Identifier: Apache-2.0
"""One process's place on one bus: owns the driver, and all that runs on it.

Invariants:
1. Whatever was started on a transport has stopped when its `stop` returns, in the reverse order.
2. A driver's event reaches every stream of events, or the stream gets one Gap of all peers
   (`peer` is empty) in place of those that it had no room for.
"""

import asyncio
import logging
import os
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Self

from transom.errors import MessageDeliveryFailure, MessagingError
from transom.messaging.answering import Answering, answering_anybody
from transom.messaging.calls import CallsInFlight, MayAnswer
from transom.messaging.counters import Counters
from transom.messaging.drivers.base import (
    Address,
    Connected,
    Delivery,
    Disconnected,
    Driver,
    Gap,
    Subscription,
    TransportEvent,
)
from transom.runtime.clock import Clock, SystemClock
from transom.runtime.ids import Randomness
from transom.runtime.lifecycle import Entered

if TYPE_CHECKING:
    from transom.messaging.secured import Security
    from transom.messaging.url import TransportURL
    from transom.runtime.lifecycle import Service

log = logging.getLogger(__name__)

EVENTS_MAX = 256
DRIVER_LATE_S = 1.0


def connect(
    url: "str | TransportURL",
    *,
    clock: Clock | None = None,
    random: Randomness = os.urandom,
    security: "Security | None" = None,
) -> "Transport":
    """A transport for the bus at `url`; it connects when entered (`async with`) or started.

    With `security` messages are signed or encrypted, and checked (`transom.messaging.secured`).

    Raises: InvalidTransportURL, ConfigError.
    """
    from transom.messaging.drivers import driver_class
    from transom.messaging.url import TransportURL

    parsed = TransportURL.parse(url) if isinstance(url, str) else url
    clock = clock or SystemClock()
    driver = driver_class(parsed.driver)(parsed, clock=clock, random=random)
    if security is not None and security.mode != "none":
        from transom.messaging.secured import SecuredDriver

        stage = SecuredDriver(driver, security, clock=clock, random=random)
        transport = Transport(
            parsed,
            stage,
            clock=clock,
            random=random,
            may_answer=stage.may_answer,
            answering=stage.answering,
        )
        transport.counters.refused = stage.refused
        return transport
    return Transport(parsed, driver, clock=clock, random=random)


def anybody(delivery: Delivery, address: Address) -> bool:
    """Without security who knows a call's id may answer it."""
    return True


class Events:
    """An endless stream of a transport's events; ends when the transport stops."""

    def __init__(self) -> None:
        self._waiting: deque[TransportEvent] = deque()
        self._arrived = asyncio.Event()
        self._closed = False

    def put(self, event: TransportEvent) -> None:
        if len(self._waiting) >= EVENTS_MAX:
            self._waiting.clear()
            event = Gap(peer="")
        self._waiting.append(event)
        self._arrived.set()

    def close(self) -> None:
        self._closed = True
        self._arrived.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> TransportEvent:
        while not self._waiting:
            if self._closed:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        return self._waiting.popleft()


class Transport(Entered):
    """An async context manager. Not shared between event loops."""

    def __init__(
        self,
        url: "TransportURL",
        driver: Driver,
        *,
        clock: Clock,
        random: Randomness,
        may_answer: MayAnswer = anybody,
        answering: Answering | None = None,
    ) -> None:
        self.url = url
        self.driver = driver
        self.clock = clock
        self.random = random
        self.counters = Counters()
        self.may_answer = may_answer
        self.answering = answering or answering_anybody(driver)
        self.calls = CallsInFlight(driver, random, self.counters, may_answer)
        self._streams: weakref.WeakSet[Events] = weakref.WeakSet()
        self._users: list[Service] = []
        self._running = False

    async def start(self) -> None:
        await self.driver.start(self._report)
        try:
            await self.calls.start()
        except BaseException:  # Safety: lets go of what it has, and goes on
            await self.calls.stop()
            await self.driver.stop()
            raise
        self._running = True

    async def stop(self) -> None:
        """Stops what runs on it (servers drain), then disconnects. Idempotent."""
        try:
            while self._users:
                await self._stop_one(self._users.pop())
        finally:
            if self._running:
                self._running = False
                await self.calls.stop()
                await self.driver.stop()
                for stream in list(self._streams):
                    stream.close()

    async def _stop_one(self, user: "Service") -> None:
        try:
            await user.stop()
        except Exception:  # Safety: the others must stop and the driver must let go
            log.exception("failed to stop on a transport", extra={"user": repr(user)})

    def adopt(self, user: "Service") -> None:
        """`user` runs on this transport: it is stopped before the transport is."""
        self._users.append(user)

    def release(self, user: "Service") -> None:
        """`user` has stopped by itself."""
        if user in self._users:
            self._users.remove(user)

    async def send(
        self, address: Address, body: bytes, *, deadline_s: float, mandatory: bool = False
    ) -> None:
        """Returns when the bus has taken it, by `deadline_s` at the latest. See `Driver.send`.

        A driver that does not tell is not waited for. Raises: MessageUndeliverable,
        MessageDeliveryFailure.
        """
        self._check_running()
        loop = asyncio.get_running_loop()
        taken: asyncio.Future[None] = loop.create_future()

        def sent(error: MessagingError | None) -> None:
            if taken.done():
                return
            if error is None:
                taken.set_result(None)
            else:
                taken.set_exception(error)

        self.driver.send(address, body, sent, deadline_s=deadline_s, mandatory=mandatory)
        late = MessageDeliveryFailure("the bus did not say what became of the message")
        timer = loop.call_at(deadline_s + DRIVER_LATE_S, sent, late)
        try:
            await taken
        finally:
            timer.cancel()

    async def listen(
        self, addresses: Sequence[Address], deliver: Callable[[Delivery], None], *, prefetch: int
    ) -> Subscription:
        """As the driver's."""
        self._check_running()
        return await self.driver.listen(addresses, deliver, prefetch=prefetch)

    def events(self) -> Events:
        """What happens to the links from now on; each call gives a stream of its own."""
        stream = Events()
        self._streams.add(stream)
        return stream

    @property
    def users(self) -> "tuple[Service, ...]":
        """What runs on it."""
        return tuple(self._users)

    def _report(self, event: TransportEvent) -> None:
        match event:
            case Connected(peer):
                self.counters.links["connected"] += 1
                log.info("bus link connected", extra={"peer": peer})
            case Disconnected(peer, reason):
                self.counters.links["disconnected"] += 1
                log.info("bus link lost", extra={"peer": peer, "reason": reason})
            case Gap(peer):
                self.counters.links["gap"] += 1
                log.warning("bus messages may be lost", extra={"peer": peer})
        for stream in list(self._streams):
            stream.put(event)

    def _check_running(self) -> None:
        if not self._running:
            raise MessageDeliveryFailure(
                "the transport does not run; enter it with `async with` before using it"
            )
