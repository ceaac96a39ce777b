# SPDX-License-Identifier: Apache-2.0
"""What arrives in a process, to the subscriptions that listen there.

Invariants:
1. At most `prefetch` deliveries of a subscription are out unacknowledged; the rest waits, in the
   order of arrival, and takes up its sender's credit as long as it waits.
2. What waited past its deadline is not delivered (but for notifications, which may wait longer).
3. After `close` a subscription hands nothing over; what it had not finished is returned.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from transom.messaging.drivers.base import Address, Delivery, Kind

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Message:
    """`deadline_s`: on the loop's clock. `freed` is called once it no longer waits."""

    address: Address
    body: bytes
    deadline_s: float
    freed: Callable[[], None]


class ZmqDelivery:
    """One message that is out. See `base.Delivery`."""

    __slots__ = ("_listener", "message")

    def __init__(self, message: Message, listener: "Listener") -> None:
        self.message = message
        self._listener = listener

    @property
    def body(self) -> bytes:
        return self.message.body

    @property
    def deadline_s(self) -> float:
        return self.message.deadline_s

    @property
    def sender(self) -> str:
        return ""

    def acknowledge(self) -> None:
        self._listener.finish(self)

    def requeue(self) -> None:
        if self._listener.finish(self):
            self._listener.give_back(self.message)


class Listener:
    """The receiving half of one listen. `give_back` gets what somebody else should take."""

    def __init__(
        self,
        addresses: Sequence[Address],
        deliver: Callable[[Delivery], None],
        prefetch: int,
        give_back: Callable[[Message], None],
        now_s: Callable[[], float],
    ) -> None:
        self.addresses = tuple(dict.fromkeys(addresses))
        self.give_back = give_back
        self._deliver = deliver
        self._prefetch = prefetch
        self._now_s = now_s
        self._waiting: deque[Message] = deque()
        self._out: set[ZmqDelivery] = set()

    @property
    def load(self) -> int:
        return len(self._waiting) + len(self._out)

    def offer(self, message: Message) -> bool:
        """True if it was handed over at once, false if it waits."""
        if self._waiting or len(self._out) >= self._prefetch:
            self._waiting.append(message)
            return False
        self._hand_over(message)
        return True

    def finish(self, delivery: ZmqDelivery) -> bool:
        """The delivery is done with; false if it was before, or was given back."""
        if delivery not in self._out:
            return False
        self._out.discard(delivery)
        while self._waiting and len(self._out) < self._prefetch:
            message = self._waiting.popleft()
            message.freed()
            if message.address.kind is not Kind.NOTIFICATION and (
                message.deadline_s <= self._now_s()
            ):
                log.debug("message waited past its deadline", extra={"topic": message.address.name})
                continue
            self._hand_over(message)
        return True

    def close(self) -> list[Message]:
        """Hands nothing over any more; returns what was out, then what waited."""
        unfinished = [delivery.message for delivery in self._out]
        unfinished.extend(self._waiting)
        for message in self._waiting:
            message.freed()
        self._out.clear()
        self._waiting.clear()
        return unfinished

    def _hand_over(self, message: Message) -> None:
        delivery = ZmqDelivery(message, self)
        self._out.add(delivery)
        self._deliver(delivery)


class Inbox:
    """The listeners of a process by address."""

    def __init__(self) -> None:
        self._listeners: dict[Address, list[Listener]] = {}
        self._turn = 0

    def add(self, listener: Listener) -> None:
        for address in listener.addresses:
            self._listeners.setdefault(address, []).append(listener)

    def remove(self, listener: Listener) -> bool:
        """False if it was not there."""
        found = False
        for address in listener.addresses:
            there = self._listeners.get(address, [])
            if listener in there:
                found = True
                there.remove(listener)
                if not there:
                    del self._listeners[address]
        return found

    def addresses(self) -> tuple[Address, ...]:
        return tuple(self._listeners)

    def listeners(self) -> list[Listener]:
        return list(
            dict.fromkeys(listener for there in self._listeners.values() for listener in there)
        )

    def offer(self, message: Message) -> bool | None:
        """True if handed over at once, false if it waits, None if nobody listens here.

        Every listener of a fan-out gets its copy, of any other address one of the least loaded.
        """
        there = self._listeners.get(message.address)
        if there is None:
            return None
        if len(there) == 1:
            return there[0].offer(message)
        if message.address.kind is Kind.FANOUT:
            return _offer_copies(there, message)
        self._turn += 1
        turn = self._turn % len(there)
        return min(there[turn:] + there[:turn], key=lambda listener: listener.load).offer(message)


def _offer_copies(there: list[Listener], message: Message) -> bool:
    waits = 0

    def freed() -> None:
        nonlocal waits
        waits -= 1
        if waits == 0:
            message.freed()

    for listener in tuple(there):
        copy = Message(message.address, message.body, message.deadline_s, freed)
        if not listener.offer(copy):
            waits += 1
    return waits == 0
