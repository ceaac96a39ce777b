# SPDX-License-Identifier: Apache-2.0
"""A whole bus driver in one file: `loopback://name`, within one event loop.

Run it, and it proves itself by the public conformance suite:

    python examples/loopback_driver.py

A bus is a set of queues. Bytes wait in a queue until a listener has room; a fan-out has a queue for
each listener, a notification one for each pool. What a driver must do beyond that stands in
`transom.messaging.drivers.base`, and `check_driver` says whether it does.
"""

import asyncio
import os
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from transom.errors import MessageDeliveryFailure, MessageUndeliverable, MessagingError
from transom.messaging.drivers.base import (
    Address,
    Connected,
    Delivery,
    Kind,
    Sent,
    TransportEvent,
)
from transom.messaging.testing import check_driver
from transom.messaging.url import TransportURL
from transom.runtime.clock import Clock, SystemClock
from transom.runtime.ids import Randomness, new_hex

WAITING_MAX = 10_000


@dataclass(eq=False)
class Queue:
    """Messages at one address, oldest first, and the listeners that take them in turn."""

    address: Address
    waiting: deque[tuple[bytes, float]] = field(default_factory=deque)
    listeners: deque["LoopbackSubscription"] = field(default_factory=deque)

    def put(self, body: bytes, until_s: float) -> None:
        self.waiting.append((body, until_s))
        asyncio.get_running_loop().call_soon(self.hand_out)

    def hand_out(self) -> None:
        """As long as something waits and a listener has room. What is too late is dropped."""
        while self.waiting:
            if self.waiting[0][1] <= asyncio.get_running_loop().time():
                self.waiting.popleft()
                continue
            free = next((listener for listener in self.listeners if listener.has_room), None)
            if free is None:
                return
            self.listeners.remove(free)
            self.listeners.append(free)
            free.take(self, *self.waiting.popleft())


class LoopbackDelivery:
    """See `base.Delivery`."""

    def __init__(
        self, subscription: "LoopbackSubscription", queue: Queue, body: bytes, deadline_s: float
    ) -> None:
        self.body = body
        self.deadline_s = deadline_s
        self.queue = queue
        self._subscription = subscription

    def acknowledge(self) -> None:
        self._subscription.settle(self)

    def requeue(self) -> None:
        if self._subscription.settle(self):
            self.give_back()

    def give_back(self) -> None:
        self.queue.waiting.appendleft((self.body, self.deadline_s))
        asyncio.get_running_loop().call_soon(self.queue.hand_out)


class LoopbackSubscription:
    """See `base.Subscription`."""

    def __init__(
        self, bus: "Bus", queues: list[Queue], deliver: Callable[[Delivery], None], prefetch: int
    ) -> None:
        self._bus = bus
        self._queues = queues
        self._deliver = deliver
        self._prefetch = prefetch
        self._out: list[LoopbackDelivery] = []

    @property
    def has_room(self) -> bool:
        return len(self._out) < self._prefetch

    def take(self, queue: Queue, body: bytes, until_s: float) -> None:
        delivery = LoopbackDelivery(self, queue, body, until_s)
        self._out.append(delivery)
        self._deliver(delivery)

    def settle(self, delivery: LoopbackDelivery) -> bool:
        """False if it was settled before, or taken back."""
        if delivery not in self._out:
            return False
        self._out.remove(delivery)
        for queue in self._queues:
            asyncio.get_running_loop().call_soon(queue.hand_out)
        return True

    async def cancel(self) -> None:
        queues, self._queues = self._queues, []
        for queue in queues:
            queue.listeners.remove(self)
            if queue.address.kind in (Kind.FANOUT, Kind.REPLY):
                self._bus.queues.remove(queue)
        back, self._out = self._out, []
        for delivery in reversed(back):
            delivery.give_back()


class Bus:
    """What the drivers of one name share."""

    def __init__(self) -> None:
        self.queues: list[Queue] = []

    def queue(self, address: Address) -> Queue:
        """The one at the address; each listener to a fan-out gets its own."""
        for queue in self.queues:
            if queue.address == address and address.kind is not Kind.FANOUT:
                return queue
        queue = Queue(address)
        self.queues.append(queue)
        return queue

    def goals(self, address: Address) -> list[Queue]:
        """Where a message to the address goes."""
        if address.kind in (Kind.FANOUT, Kind.REPLY):
            return [queue for queue in self.queues if queue.address == address]
        first = self.queue(address)  # a topic's, or that of the pool without a name
        if address.kind is Kind.TOPIC or address.kind is Kind.SERVER:
            return [first]
        return [queue for queue in self.queues if queue.address.in_pool("") == address]


BUSES: dict[str, Bus] = {}


class LoopbackDriver:
    """See `base.Driver`. Made by `connect("loopback://name")` once it is an entry point."""

    def __init__(self, url: TransportURL, *, clock: Clock, random: Randomness) -> None:
        self._name = url.hosts[0].hostname if url.hosts else ""
        self._reply_address = Address(Kind.REPLY, new_hex(random))
        self._bus: Bus | None = None
        self._subscriptions: list[LoopbackSubscription] = []

    async def start(self, report: Callable[[TransportEvent], None]) -> None:
        self._bus = BUSES.setdefault(self._name, Bus())
        report(Connected(self._name))

    async def stop(self) -> None:
        self._bus = None
        subscriptions, self._subscriptions = self._subscriptions, []
        for subscription in subscriptions:
            await subscription.cancel()

    def reply_address(self) -> Address:
        return self._reply_address

    def send(
        self,
        address: Address,
        body: bytes,
        sent: Sent,
        *,
        deadline_s: float,
        mandatory: bool = False,
    ) -> None:
        """Here it is known at once what becomes of a message; elsewhere `sent` is called later."""
        try:
            self._put(address, body, deadline_s, mandatory)
        except MessagingError as error:
            sent(error)
        else:
            sent(None)

    def _put(self, address: Address, body: bytes, deadline_s: float, mandatory: bool) -> None:
        goals = self._running().goals(address)
        if mandatory and not any(queue.listeners for queue in goals):
            raise MessageUndeliverable(f"nobody serves {address.name!r}")
        until_s = float("inf") if address.kind is Kind.NOTIFICATION else deadline_s
        for queue in goals:
            if len(queue.waiting) >= WAITING_MAX:
                raise MessageDeliveryFailure("the listeners do not keep up")
            queue.put(body, until_s)

    async def listen(
        self, addresses: Sequence[Address], deliver: Callable[[Delivery], None], *, prefetch: int
    ) -> LoopbackSubscription:
        bus = self._running()
        queues = [bus.queue(address) for address in addresses]
        subscription = LoopbackSubscription(bus, queues, deliver, prefetch)
        self._subscriptions.append(subscription)
        for queue in queues:
            queue.listeners.append(subscription)
            asyncio.get_running_loop().call_soon(queue.hand_out)
        return subscription

    def _running(self) -> Bus:
        if self._bus is None:
            raise MessageDeliveryFailure("the driver does not run")
        return self._bus


def make_driver() -> LoopbackDriver:
    """For the suite: each one is new, all are of one bus."""
    url = TransportURL.parse("loopback://suite")
    return LoopbackDriver(url, clock=SystemClock(), random=os.urandom)


if __name__ == "__main__":
    asyncio.run(check_driver(make_driver))
    print("loopback:// does what drivers must do")
