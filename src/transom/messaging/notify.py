# SPDX-License-Identifier: Apache-2.0
"""Notifications: events that whoever likes may listen to.

Invariants:
1. A notification that fails is logged and never disturbs the publisher, unless it asked for
   `confirm=True`.
2. Of the context only keys that are known to hold no secret are sent (`CONTEXT_KEYS`).
3. A message that a listener has neither acknowledged nor requeued when it stops goes to another.
4. What a listener has acknowledged is not handed out by it again for `DONE_S`, though the bus
   brings a copy.

Each pool of listeners gets each notification once; the pool without a name always exists.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partialmethod
from typing import Any, Self

import msgspec

from transom.errors import InvalidEnvelope, InvalidTarget, MessagingError, TransomError
from transom.messaging.drivers.base import Address, Delivery, Kind, Subscription
from transom.messaging.envelope import Notification, decode_notification, encode_notification
from transom.messaging.proto.delivery import DuplicateWindow
from transom.messaging.target import Target
from transom.messaging.transport import Transport
from transom.runtime.ids import new_hex, new_uuid
from transom.runtime.lifecycle import Entered

log = logging.getLogger(__name__)

DONE_S = 600.0
PRIORITIES = ("audit", "debug", "info", "warn", "error", "critical", "sample")
CONTEXT_KEYS = frozenset(
    {
        "request_id",
        "global_request_id",
        "user",
        "user_id",
        "user_name",
        "user_domain_id",
        "user_domain",
        "tenant",
        "project",
        "project_id",
        "project_name",
        "project_domain_id",
        "project_domain",
        "domain",
        "domain_id",
        "system_scope",
        "roles",
        "is_admin",
        "read_only",
        "show_deleted",
        "resource_uuid",
        "traceparent",
        "tracestate",
    }
)


class Notifier:
    """Publishes. `topics`: each gets every notification. `bare`: form 1.0, without envelope."""

    def __init__(
        self,
        transport: Transport,
        publisher_id: str,
        *,
        topics: Sequence[str] = ("notifications",),
        exchange: str = "",
        timeout_s: float = 10.0,
        bare: bool = False,
    ) -> None:
        self._transport = transport
        self._publisher_id = publisher_id
        self._topics = tuple(topics)
        self._exchange = exchange
        self._timeout_s = timeout_s
        self._bare = bare

    async def notify(
        self,
        priority: str,
        context: Mapping[str, Any],
        event_type: str,
        payload: Any,
        *,
        confirm: bool = False,
    ) -> None:
        """Returns once the bus has it. Raises: with `confirm` only, what went wrong."""
        if priority not in PRIORITIES:
            raise ValueError(f"priority {priority!r} is none of {', '.join(PRIORITIES)}")
        try:
            await self._publish(context, event_type, payload, priority)
        except TransomError as error:
            if confirm:
                raise
            log.warning(
                "notification not sent", extra={"event_type": event_type, "reason": str(error)}
            )

    audit = partialmethod(notify, "audit")
    debug = partialmethod(notify, "debug")
    info = partialmethod(notify, "info")
    warn = partialmethod(notify, "warn")
    error = partialmethod(notify, "error")
    critical = partialmethod(notify, "critical")
    sample = partialmethod(notify, "sample")

    async def _publish(
        self, context: Mapping[str, Any], event_type: str, payload: Any, priority: str
    ) -> None:
        random, clock = self._transport.random, self._transport.clock
        sent = datetime.fromtimestamp(clock.now_ms() / 1000, UTC)
        notification = Notification(
            message_id=new_uuid(random),
            publisher_id=self._publisher_id,
            event_type=event_type,
            priority=priority.upper(),
            payload=payload,
            timestamp=sent.strftime("%Y-%m-%d %H:%M:%S.%f"),
            context={key: value for key, value in context.items() if key in CONTEXT_KEYS},
        )
        failure: TransomError | None = None
        for topic in self._topics:
            # Who listens to two topics takes a second message of the same id for a copy.
            sending = msgspec.structs.replace(notification, unique_id=new_hex(random))
            body = encode_notification(sending, bare=self._bare)
            address = Address(Kind.NOTIFICATION, topic, priority, self._exchange)
            deadline_s = asyncio.get_running_loop().time() + self._timeout_s
            try:
                await self._transport.send(address, body, deadline_s=deadline_s)
            except MessagingError as error:  # one topic's failure keeps no other from its message
                failure = error
                self._transport.counters.sent[topic].cast("not-taken")
            else:
                self._transport.counters.sent[topic].cast("taken")
        if failure is not None:
            raise failure


class Incoming:
    """A notification at a listener; exactly one of the two verbs ends it.

    `sender`: the authenticated party that sent it; "" where nobody vouches for one.
    """

    def __init__(
        self, delivery: Delivery, notification: Notification, ended: Callable[[str, str], None]
    ) -> None:
        self._delivery = delivery
        self._unique_id = notification.unique_id
        self._ended = ended
        self.sender = delivery.sender
        self.context = notification.context
        self.publisher_id = notification.publisher_id
        self.event_type = notification.event_type
        self.priority = notification.priority.lower()
        self.payload = notification.payload
        self.message_id = notification.message_id
        self.timestamp = notification.timestamp

    async def acknowledge(self) -> None:
        """Done with."""
        self._delivery.acknowledge()
        self._ended(self._unique_id, "acknowledged")

    async def requeue(self) -> None:
        """Not done; some listener of the pool gets it again, where the bus can."""
        self._delivery.requeue()
        self._ended(self._unique_id, "requeued")


class Listener(Entered):
    """An async iterator over notifications, and an async context manager.

    Iterating starts it; it ends with `stop`, with its context, or with the transport. At most
    `prefetch` messages are out unacknowledged.
    """

    def __init__(
        self,
        transport: Transport,
        targets: Sequence[Target],
        *,
        priorities: Sequence[str] = PRIORITIES,
        pool: str = "",
        prefetch: int = 64,
    ) -> None:
        """Raises: InvalidTarget if a target names no topic; ValueError for a priority."""
        if not targets or not all(target.topic for target in targets):
            raise InvalidTarget("a listener needs targets with topics")
        unknown = set(priorities) - set(PRIORITIES)
        if unknown or not priorities:
            raise ValueError(f"priorities are some of {', '.join(PRIORITIES)}")
        self._transport = transport
        self._addresses = [
            Address(Kind.NOTIFICATION, target.topic or "", priority, target.exchange or "", pool)
            for target in targets
            for priority in priorities
        ]
        self._prefetch = prefetch
        topics = dict.fromkeys(target.topic or "" for target in targets)
        self._heard = transport.counters.heard[",".join(topics)]
        self._done = DuplicateWindow()
        self._subscription: Subscription | None = None
        self._waiting: deque[Delivery] = deque()
        self._arrived = asyncio.Event()
        self._state = "new"

    async def start(self) -> None:
        """Returns when served."""
        if self._state == "running":
            return
        self._waiting.clear()
        self._subscription = await self._transport.listen(
            self._addresses, self._deliver, prefetch=self._prefetch
        )
        self._state = "running"
        self._transport.adopt(self)

    async def stop(self) -> None:
        """Ends the iteration; what was not acknowledged goes back. Idempotent."""
        self._state = "stopped"
        self._transport.release(self)
        if self._subscription is not None:
            subscription, self._subscription = self._subscription, None
            await subscription.cancel()
        self._waiting.clear()
        self._arrived.set()

    def _deliver(self, delivery: Delivery) -> None:
        self._waiting.append(delivery)
        self._arrived.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Incoming:
        if self._state == "new":
            await self.start()
        while (incoming := self._next()) is None:
            if self._state != "running":
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        return incoming

    async def batches(self, size: int, wait_s: float) -> AsyncIterator[list[Incoming]]:
        """Lists of 1 to `size` notifications, in the order in which they came.

        A list that is not full ends `wait_s` after its first one came. `size` is at most the
        prefetch, or a list would wait for what the bus does not send. Raises: ValueError.
        """
        if not 1 <= size <= self._prefetch:
            raise ValueError(f"size is from 1 to the prefetch, which is {self._prefetch}")
        loop = asyncio.get_running_loop()
        async for first in self:
            batch = [first]
            until_s = loop.time() + wait_s
            with contextlib.suppress(TimeoutError, StopAsyncIteration):
                async with asyncio.timeout_at(until_s):
                    while len(batch) < size:
                        batch.append(await anext(self))
            yield batch

    def _next(self) -> Incoming | None:
        """The next one that can be read and is here, while it runs."""
        while self._state == "running" and self._waiting:
            delivery = self._waiting.popleft()
            try:
                notification = decode_notification(delivery.body)
            except InvalidEnvelope as error:
                log.warning("unreadable notification dropped", extra={"reason": str(error)})
                self._drop(delivery, "unreadable")
                continue
            if self._done.holds(notification.unique_id, asyncio.get_running_loop().time()):
                log.info("copy of a notification dropped", extra={"id": notification.message_id})
                self._drop(delivery, "duplicate")
                continue
            return Incoming(delivery, notification, self._ended)
        return None

    def _drop(self, delivery: Delivery, why: str) -> None:
        self._heard.became(why)
        delivery.acknowledge()

    def _ended(self, unique_id: str, how: str) -> None:
        self._heard.became(how)
        if unique_id and how == "acknowledged":
            now_s = asyncio.get_running_loop().time()
            self._done.first(unique_id, now_s, now_s + DONE_S)
