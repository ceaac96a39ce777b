# SPDX-License-Identifier: Apache-2.0
"""`memory://bus` or `memory://bus/peer`: a bus within one process and event loop.

Drivers of one bus name on one loop share it; `peer` names a driver for faults (without it the
driver gets a random name). Under virtual time and with a seed every run is the same.

Invariants:
1. Messages from one peer at one address arrive in the order in which they were sent, unless
   faults are asked for.
2. What is delivered twice because of a fault goes to the same listener twice, as on a wire.
3. A queue holds `QUEUE_MAX` messages. At a full one senders wait, in order; but where nobody
   listens the oldest is dropped, so that an event nobody wants stops no publisher.
"""

import asyncio
import itertools
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from random import Random

from transom.errors import MessageDeliveryFailure, MessageUndeliverable
from transom.messaging.drivers.base import (
    Address,
    Connected,
    Delivery,
    Disconnected,
    Gap,
    Join,
    Kind,
    Sent,
    TransportEvent,
)
from transom.messaging.proto.delivery import State, Verb, settle
from transom.messaging.url import TransportURL
from transom.runtime.clock import Clock
from transom.runtime.ids import Randomness, new_hex

QUEUE_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong, as chances from 0 to 1; `random` is the only source of what happens.

    `delay_s`: the longest delay on the way. `reorder`: how many messages may overtake others
    (by no more than `delay_s`).
    """

    random: Random
    drop: float = 0.0
    duplicate: float = 0.0
    delay_s: float = 0.0
    reorder: float = 0.0

    def happens(self, chance: float) -> bool:
        return chance > 0 and self.random.random() < chance


@dataclass(slots=True)
class _Message:
    sender: str
    body: bytes
    deadline_s: float
    place: int = 0


@dataclass(slots=True, eq=False)
class _Refused:
    """A message that found a full queue: it waits for room, or for `timer`."""

    message: _Message
    sent: Sent
    timer: asyncio.TimerHandle


@dataclass(slots=True, eq=False)
class _Queue:
    """Messages at one address, and who takes them in turn."""

    address: Address
    waiting: deque[_Message] = field(default_factory=deque)
    consumers: deque["MemorySubscription"] = field(default_factory=deque)
    refused: deque[_Refused] = field(default_factory=deque)
    pumping: bool = False
    arrivals_s: dict[str, float] = field(default_factory=dict)

    def put_back(self, messages: list[_Message]) -> None:
        """In their old order, before all that came later."""
        self.waiting = deque(sorted([*messages, *self.waiting], key=lambda item: item.place))


class MemoryDelivery:
    """One message at one listener."""

    def __init__(
        self, subscription: "MemorySubscription", queue: _Queue, message: _Message, *, copy: bool
    ) -> None:
        self._subscription = subscription
        self.queue = queue
        self.message = message
        self.copy = copy
        self.state = State.OUT

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
        self._settle(Verb.ACKNOWLEDGE)

    def requeue(self) -> None:
        self._settle(Verb.REQUEUE)

    def _settle(self, verb: Verb) -> None:
        before, self.state = self.state, settle(self.state, verb)
        if before is State.OUT:
            self._subscription.settled(self)


class MemorySubscription:
    """A running listen at one or more addresses."""

    def __init__(
        self,
        bus: "MemoryBus",
        peer: str,
        queues: list[_Queue],
        deliver: Callable[[Delivery], None],
        prefetch: int,
    ) -> None:
        self.peer = peer
        self._bus = bus
        self._queues = queues
        self._deliver = deliver
        self._prefetch = prefetch
        self._out: dict[MemoryDelivery, None] = {}
        self.closed = False

    @property
    def free(self) -> bool:
        return not self.closed and len(self._out) < self._prefetch

    def hand_over(self, queue: _Queue, message: _Message, *, copy: bool = False) -> None:
        if self.closed:
            return
        delivery = MemoryDelivery(self, queue, message, copy=copy)
        self._out[delivery] = None
        self._deliver(delivery)

    def settled(self, delivery: MemoryDelivery) -> None:
        self._out.pop(delivery, None)
        if delivery.state is not State.ACKNOWLEDGED and not delivery.copy:
            delivery.queue.put_back([delivery.message])
        for queue in self._queues:
            self._bus.pump(queue)

    async def cancel(self) -> None:
        if self.closed:
            return
        self.closed = True
        back: dict[_Queue, list[_Message]] = {}
        for delivery in self._out:
            delivery.state = settle(delivery.state, Verb.TAKE_BACK)
            if not delivery.copy:
                back.setdefault(delivery.queue, []).append(delivery.message)
        self._out.clear()
        for queue in self._queues:
            queue.consumers.remove(self)
            queue.put_back(back.get(queue, []))
            self._bus.left(queue)


class MemoryBus:
    """All that is shared by the drivers of one bus. `faults` may be set at any time."""

    def __init__(self) -> None:
        self.faults: Faults | None = None
        self._queues: dict[Address, _Queue] = {}
        self._pools: dict[Address, list[_Queue]] = {}
        self._fanouts: dict[Address, list[_Queue]] = {}
        self._reports: dict[str, Callable[[TransportEvent], None]] = {}
        self._cut: set[frozenset[str]] = set()
        self._places = itertools.count()

    @classmethod
    def named(cls, name: str) -> "MemoryBus":
        """The running loop's bus of this name; made at its first use, gone with the loop."""
        buses = _BUSES.setdefault(asyncio.get_running_loop(), {})
        return buses.setdefault(name, cls())

    def cut(self, one: str, other: str) -> None:
        """From now on nothing gets from one peer to the other, either way; it is lost."""
        self._cut.add(frozenset((one, other)))
        for peer, far in ((one, other), (other, one)):
            self._tell(peer, Disconnected(far, "partition"))

    def heal(self) -> None:
        """Ends all partitions."""
        cut, self._cut = self._cut, set()
        for pair in sorted(sorted(peers) for peers in cut):
            for peer, far in (tuple(pair), tuple(reversed(pair))):
                self._tell(peer, Gap(far))
                self._tell(peer, Connected(far))

    def join(self, peer: str, report: Callable[[TransportEvent], None]) -> None:
        if peer in self._reports:
            raise ValueError(f"a peer {peer!r} is on this bus already")
        self._reports[peer] = report

    def leave(self, peer: str) -> None:
        self._reports.pop(peer, None)

    def subscribe(
        self,
        peer: str,
        addresses: Sequence[Address],
        deliver: Callable[[Delivery], None],
        prefetch: int,
    ) -> MemorySubscription:
        queues = [self._opened(address) for address in addresses]
        subscription = MemorySubscription(self, peer, queues, deliver, prefetch)
        for queue in queues:
            queue.consumers.append(subscription)
            self.pump(queue)
        return subscription

    def send(
        self,
        peer: str,
        address: Address,
        body: bytes,
        sent: Sent,
        deadline_s: float,
        mandatory: bool,
    ) -> None:
        queues = self._goals(address)
        if mandatory and not any(queue.consumers for queue in queues):
            sent(MessageUndeliverable(detail=f"nobody serves {address}"))
            return
        until_s = inf if address.kind is Kind.NOTIFICATION else deadline_s
        if len(queues) > 1:
            sent = Join(sent, len(queues)).part
        for queue in queues:
            self._offer(queue, _Message(peer, body, until_s), sent, deadline_s)
        if not queues:
            sent(None)

    def pump(self, queue: _Queue) -> None:
        """Deliveries follow in the loop's next turn."""
        if queue.waiting and queue.consumers and not queue.pumping:
            queue.pumping = True
            asyncio.get_running_loop().call_soon(self._pump, queue)

    def left(self, queue: _Queue) -> None:
        """A listener left the queue."""
        self.pump(queue)
        address = queue.address
        if queue.consumers:
            return
        if address.kind is Kind.FANOUT:
            self._fanouts[address].remove(queue)
        elif address.kind is Kind.REPLY or (
            not queue.waiting and address.kind is not Kind.NOTIFICATION
        ):
            self._queues.pop(address, None)

    def _goals(self, address: Address) -> list[_Queue]:
        match address.kind:
            case Kind.FANOUT:
                return list(self._fanouts.get(address, ()))
            case Kind.REPLY:
                return [self._queues[address]] if address in self._queues else []
            case Kind.NOTIFICATION:
                self._opened(address.in_pool(""))
                return list(self._pools[address.in_pool("")])
            case _:
                return [self._opened(address)]

    def _opened(self, address: Address) -> _Queue:
        if address.kind is Kind.FANOUT:
            copy = _Queue(address)
            self._fanouts.setdefault(address, []).append(copy)
            return copy
        queue = self._queues.get(address)
        if queue is None:
            queue = self._queues[address] = _Queue(address)
            if address.kind is Kind.NOTIFICATION:
                self._pools.setdefault(address.in_pool(""), []).append(queue)
        return queue

    def _offer(self, queue: _Queue, message: _Message, sent: Sent, deadline_s: float) -> None:
        if len(queue.waiting) < QUEUE_MAX or not queue.consumers:
            if len(queue.waiting) >= QUEUE_MAX:
                queue.waiting.popleft()
            self._take(queue, message)
            sent(None)
            return

        def give_up() -> None:
            queue.refused.remove(refused)
            sent(MessageDeliveryFailure("the listeners do not keep up"))

        timer = asyncio.get_running_loop().call_at(deadline_s, give_up)
        refused = _Refused(message, sent, timer)
        queue.refused.append(refused)

    def _take(self, queue: _Queue, message: _Message) -> None:
        if self.faults is None:
            self._put(queue, message)
        else:
            self._put_with(self.faults, queue, message)

    def _put(self, queue: _Queue, message: _Message) -> None:
        message.place = next(self._places)
        queue.waiting.append(message)
        self.pump(queue)

    def _put_with(self, faults: Faults, queue: _Queue, message: _Message) -> None:
        if faults.happens(faults.drop):
            return
        loop = asyncio.get_running_loop()
        arrival_s = loop.time() + faults.random.uniform(0, faults.delay_s)
        if not faults.happens(faults.reorder):
            arrival_s = max(arrival_s, queue.arrivals_s.get(message.sender, 0.0))
            queue.arrivals_s[message.sender] = arrival_s
        loop.call_at(arrival_s, self._put, queue, message)

    def _pump(self, queue: _Queue) -> None:
        queue.pumping = False
        now_s = asyncio.get_running_loop().time()
        while queue.waiting:
            if queue.waiting[0].deadline_s <= now_s:
                queue.waiting.popleft()
                continue
            consumer = next((one for one in queue.consumers if one.free), None)
            if consumer is None:
                break
            if len(queue.consumers) > 1:
                queue.consumers.remove(consumer)
                queue.consumers.append(consumer)
            self._hand_over(queue, queue.waiting.popleft(), consumer)
        while queue.refused and len(queue.waiting) < QUEUE_MAX:
            refused = queue.refused.popleft()
            refused.timer.cancel()
            self._take(queue, refused.message)
            refused.sent(None)

    def _hand_over(self, queue: _Queue, message: _Message, consumer: MemorySubscription) -> None:
        if self._cut and frozenset((message.sender, consumer.peer)) in self._cut:
            return
        faults = self.faults
        if faults is not None and faults.happens(faults.duplicate):
            asyncio.get_running_loop().call_later(
                faults.random.uniform(0, faults.delay_s), self._copy, queue, message, consumer
            )
        consumer.hand_over(queue, message)

    def _copy(self, queue: _Queue, message: _Message, consumer: MemorySubscription) -> None:
        if consumer.free and asyncio.get_running_loop().time() < message.deadline_s:
            consumer.hand_over(queue, message, copy=True)

    def _tell(self, peer: str, event: TransportEvent) -> None:
        if peer in self._reports:
            self._reports[peer](event)


_BUSES: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, MemoryBus]] = (
    weakref.WeakKeyDictionary()
)


class MemoryDriver:
    """See `drivers.base.Driver`."""

    def __init__(self, url: TransportURL, *, clock: Clock, random: Randomness) -> None:
        self._name = url.hosts[0].hostname if url.hosts else ""
        self.peer = url.vhost or new_hex(random)[:12]
        self._random = random
        self._bus: MemoryBus | None = None
        self._reply_address = Address(Kind.REPLY, "")
        self._subscriptions: list[MemorySubscription] = []

    async def start(self, report: Callable[[TransportEvent], None]) -> None:
        bus = MemoryBus.named(self._name)
        bus.join(self.peer, report)
        self._bus = bus
        self._reply_address = Address(Kind.REPLY, f"reply_{new_hex(self._random)}")
        report(Connected(f"memory://{self._name}"))

    async def stop(self) -> None:
        if self._bus is None:
            return
        for subscription in self._subscriptions:
            await subscription.cancel()
        self._subscriptions.clear()
        self._bus.leave(self.peer)
        self._bus = None

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
        if self._bus is None:
            sent(MessageDeliveryFailure("the driver does not run"))
        elif asyncio.get_running_loop().time() >= deadline_s:
            sent(MessageDeliveryFailure("the deadline has passed before the message was sent"))
        else:
            self._bus.send(self.peer, address, body, sent, deadline_s, mandatory)

    async def listen(
        self, addresses: Sequence[Address], deliver: Callable[[Delivery], None], *, prefetch: int
    ) -> MemorySubscription:
        if self._bus is None:
            raise MessageDeliveryFailure("the driver does not run")
        subscription = self._bus.subscribe(self.peer, addresses, deliver, prefetch)
        self._subscriptions = [one for one in self._subscriptions if not one.closed]
        self._subscriptions.append(subscription)
        return subscription
