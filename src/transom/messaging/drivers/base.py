# SPDX-License-Identifier: Apache-2.0
"""The Protocol of a driver: bytes to an address, bytes from an address, and nothing else.

A driver knows no envelope, no calls and no versions. Nothing on a message's way is a coroutine:
what takes time is told by a callback, so that a message costs no task and no future of its own.
`transom.messaging.testing.check_driver` is its conformance suite, for drivers from anywhere.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import msgspec

from transom.errors import MessageDeliveryFailure, MessagingError


class Kind(StrEnum):
    """The five ways in which an address is served."""

    # Measured: an enum hashes by a function in Python, 0.3 us in every look-up of an address.
    __hash__ = str.__hash__

    TOPIC = "topic"  # one of the servers of the topic takes it
    SERVER = "server"  # that server of the topic takes it
    FANOUT = "fanout"  # every server of the topic takes a copy
    NOTIFICATION = "notification"  # one listener of each pool takes it; waits for one where it can
    REPLY = "reply"  # the process that made the address takes it


class Address(msgspec.Struct, frozen=True, gc=False):
    """Where bytes go. `name` is the topic, or an opaque name for REPLY.

    `part` is the server for SERVER, the priority for NOTIFICATION; `pool` is only for listening to
    NOTIFICATION ("" is the default pool).
    """

    kind: Kind
    name: str
    part: str = ""
    exchange: str = ""
    pool: str = ""

    def in_pool(self, pool: str) -> "Address":
        """The same address, for listeners of this pool."""
        return self if self.pool == pool else msgspec.structs.replace(self, pool=pool)


@dataclass(frozen=True, slots=True)
class Connected:
    """A link stands (again). `peer` names it."""

    peer: str


@dataclass(frozen=True, slots=True)
class Disconnected:
    """A link broke. `reason` is for people."""

    peer: str
    reason: str


@dataclass(frozen=True, slots=True)
class Gap:
    """Messages from or to `peer` may have been lost since the last event about it."""

    peer: str


TransportEvent = Connected | Disconnected | Gap
Sent = Callable[[MessagingError | None], None]
"""Told once what became of a message: None, the bus has taken it; else why it has not."""


class Join:
    """Tells `sent` once all `count` (at least 1) parts have been told: the first error, or None."""

    __slots__ = ("_error", "_left", "_sent")

    def __init__(self, sent: Sent, count: int) -> None:
        self._sent = sent
        self._left = count
        self._error: MessagingError | None = None

    def part(self, error: MessagingError | None) -> None:
        """Of one copy."""
        self._left -= 1
        self._error = self._error or error
        if not self._left:
            self._sent(self._error)


class Delivery(Protocol):
    """One message that arrived. Exactly one of the two verbs is called, once; both return at once.

    `deadline_s`: on the loop's clock; nothing is to be begun on its behalf from then on.
    """

    @property
    def body(self) -> bytes: ...

    @property
    def deadline_s(self) -> float: ...

    @property
    def sender(self) -> str:
        """The party that sent it, authenticated; "" where nobody vouches for one."""

    def acknowledge(self) -> None:
        """Done with: it will not come again."""

    def requeue(self) -> None:
        """Not done: somebody, perhaps we, gets it again, where the driver can; else a no-op."""


class Refused(MessageDeliveryFailure):
    """The bus is there and refuses the address. Trying again soon is of no use."""


class Subscription(Protocol):
    """A running listen."""

    async def cancel(self) -> None:
        """No delivery is handed over after this returns; what was not acknowledged is requeued."""


class Driver(Protocol):
    """Carries bytes. One instance a transport; not shared between event loops."""

    async def start(self, report: Callable[[TransportEvent], None]) -> None:
        """Connects, or keeps trying in the background; `report` is called on the loop."""

    async def stop(self) -> None:
        """Hands over what was accepted, within reason, then disconnects. Idempotent."""

    def reply_address(self) -> Address:
        """Where this process can be answered; valid while the driver runs."""

    def send(
        self,
        address: Address,
        body: bytes,
        sent: Sent,
        *,
        deadline_s: float,
        mandatory: bool = False,
    ) -> None:
        """Calls `sent` on the loop, perhaps before it returns, by `deadline_s` at the latest.

        `deadline_s` is on the loop's clock; a message not delivered by then is never delivered,
        but for NOTIFICATION, where it bounds only the taking: it may wait longer for a listener.
        With `mandatory`, nobody at the address is an error, at once.

        `sent` gets None, MessageUndeliverable (nobody there, mandatory) or MessageDeliveryFailure
        (not taken by the deadline: link down, peer's buffers full, or not running). A slow peer of
        a FANOUT is left out after a while, rather than keeping the others from the next message.
        """

    async def listen(
        self, addresses: Sequence[Address], deliver: Callable[[Delivery], None], *, prefetch: int
    ) -> Subscription:
        """Hands each message at the addresses to `deliver`, on the loop, in order per sender.

        At most `prefetch` deliveries are out unacknowledged. Returns when served: a mandatory
        send from then on finds us.
        """
