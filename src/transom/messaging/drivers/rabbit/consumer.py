# SPDX-License-Identifier: Apache-2.0
"""One listen: its queues, its channel, and what is out of it.

Invariants:
1. At most `prefetch` deliveries are out unacknowledged, of all its queues together; what the broker
   gave beyond that is held here, unacknowledged, and goes back with the channel.
2. Nothing is handed over after `close`; what was out by then is the broker's again.
3. A message of another exchange that shares the queue's name is given back to the queue, a few
   times and not in a hurry; one that nobody else takes is then ours, as with oslo.messaging.
4. A stream is read on behind the last message of it that was handed over.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from transom.errors import InvalidEnvelope
from transom.messaging.drivers.base import Address, Delivery
from transom.messaging.drivers.rabbit.channel import Channel, ChannelLost
from transom.messaging.drivers.rabbit.declarer import Declarer
from transom.messaging.drivers.rabbit.delivery import RabbitDelivery, body_of, deadline_of
from transom.messaging.drivers.rabbit.foreign import Foreign
from transom.messaging.drivers.rabbit.options import Options
from transom.messaging.drivers.rabbit.topology import Queue, for_listening
from transom.messaging.proto.amqp import ConsumerCancelled, Delivered
from transom.messaging.proto.amqp.methods import BasicConsume, BasicQos

log = logging.getLogger(__name__)

PREFETCH_MAX = 65_535
STREAM_OFFSET = "x-stream-offset"
Place = tuple[str, int]  # of a message in a stream: the consumer tag, the offset


class Consumer:
    """`broken`: told when it must be served again."""

    def __init__(
        self,
        addresses: Sequence[Address],
        deliver: Callable[[Delivery], None],
        prefetch: int,
        options: Options,
        unique: str,
        broken: Callable[["Consumer"], None],
    ) -> None:
        """Raises: ValueError if a name is too long."""
        self.places, self.topology = for_listening(addresses, options, unique)
        self.served = asyncio.Event()
        self.closed = False
        self._deliver = deliver
        self._prefetch = prefetch
        most = options.rabbit_qos_prefetch_count or prefetch
        self._qos = min(prefetch, most, PREFETCH_MAX)
        self._options = options
        self._broken = broken
        self._loop = asyncio.get_running_loop()
        self._channel: Channel | None = None
        self._consuming: set[str] = set()
        self._queues = {f"c{n}": queue for n, queue in enumerate(self.topology.queues.values())}
        self._foreign = {tag: self._strangers(queue) for tag, queue in self._queues.items()}
        self._offsets: dict[str, int] = {}
        self._out: dict[RabbitDelivery, None] = {}
        self._held: deque[tuple[RabbitDelivery, Place | None]] = deque()
        self._pumping = False
        self._doubted = False

    @property
    def whole(self) -> bool:
        """Whether every queue is consumed, as far as is known."""
        return self._channel is not None and len(self._consuming) == len(self._queues)

    def own_queues(self) -> list[Queue]:
        """Those that nobody else reads."""
        return [queue for queue in self.topology.queues.values() if queue.own]

    async def serve(self, declarer: Declarer) -> None:
        """Declares and consumes what is not consumed. Raises: ChannelLost."""
        if self._doubted:
            self._doubted = False
            declarer.forget(self.topology)
        await declarer.declare(self.topology)
        channel = self._channel
        if channel is None or channel.link is not declarer.link or channel.lost is not None:
            patient = all(place.exchange == "" for place in self.places)
            channel = declarer.link.channel(patient=patient)
            self._consuming.clear()
            channel.on_delivered = partial(self._arrived, channel)
            channel.on_cancelled = self._cancelled
            channel.on_lost = partial(self._lost, channel)
            self._channel = channel
            await channel.ask(BasicQos(prefetch_count=self._qos))
        for tag, queue in self._queues.items():
            if tag in self._consuming:
                continue
            self._consuming.add(tag)
            await channel.ask(self._consume(tag, queue))
        if self.whole and not self.closed:
            self.served.set()

    async def close(self, declarer: Declarer | None) -> None:
        """Returns when the broker has back what was out, and own queues are gone. Idempotent."""
        if self.closed:
            return
        self.closed = True
        for delivery in [*self._out, *(held for held, _ in self._held)]:
            delivery.take_back()
        self._out.clear()
        self._held.clear()
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.link.close_channel(channel)
        if declarer is None:
            return
        declarer.forget(self.topology)
        for queue in self.own_queues():
            try:
                await declarer.delete_queue(queue.name)
            except ChannelLost as lost:
                log.info("queue left to expire", extra={"queue": queue.name, "reason": lost.detail})

    def settled(self, delivery: RabbitDelivery) -> None:
        """A place is free."""
        self._out.pop(delivery, None)
        if self._held and not self._pumping:
            self._pumping = True
            self._loop.call_soon(self._pump)

    def missing(self, queue: Queue) -> None:
        """The queue, or our consumer at it, was found to be gone."""
        for tag, one in self._queues.items():
            if one == queue:
                self._gone(tag)

    def _consume(self, tag: str, queue: Queue) -> BasicConsume:
        arguments: dict[str, object] = {}
        if queue.stream:
            known = tag in self._offsets
            arguments[STREAM_OFFSET] = self._offsets[tag] + 1 if known else "next"
        elif self._options.enable_cancel_on_failover:
            arguments["x-cancel-on-ha-failover"] = True
        return BasicConsume(queue=queue.name, consumer_tag=tag, arguments=arguments)

    def _strangers(self, queue: Queue) -> Foreign | None:
        """Only a queue that others bind too may hold what is not for us."""
        if queue.own or queue.stream:
            return None
        ours = {place.exchange for place in self.places if place.queue == queue.name}
        return Foreign(frozenset(ours))

    def _arrived(self, channel: Channel, event: Delivered) -> None:
        if self.closed:
            return
        foreign = self._foreign[event.consumer_tag]
        if foreign is not None and event.exchange not in foreign.ours:
            pause_s = foreign.pause_s(event)
            if pause_s is not None:
                give_back = partial(channel.reject, event.delivery_tag, requeue=True)
                self._loop.call_later(pause_s, give_back)
                return
        properties = event.properties
        headers = properties.headers
        body = event.body
        place = None
        if headers:
            offset = headers.get(STREAM_OFFSET)
            if isinstance(offset, int):
                place = (event.consumer_tag, offset)
                self._offsets.setdefault(event.consumer_tag, offset - 1)
            try:
                body = body_of(properties, body)
            except InvalidEnvelope as error:
                log.warning("unreadable message dropped", extra={"reason": str(error)})
                channel.acknowledge(event.delivery_tag)
                return
        deadline_s = deadline_of(properties, self._loop.time())
        delivery = RabbitDelivery(self, channel, event.delivery_tag, body, deadline_s)
        if self._held or len(self._out) >= self._prefetch:
            self._held.append((delivery, place))
        else:
            self._hand_over(delivery, place)

    def _hand_over(self, delivery: RabbitDelivery, place: Place | None) -> None:
        self._out[delivery] = None
        if place is not None:
            self._offsets[place[0]] = place[1]
        try:
            self._deliver(delivery)
        except Exception:  # Safety: one listener's fault must not end the link of all
            log.exception("a listener failed to take a message")

    def _pump(self) -> None:
        self._pumping = False
        now_s = self._loop.time()
        while self._held and len(self._out) < self._prefetch:
            delivery, place = self._held.popleft()
            if delivery.channel.lost is not None:
                continue
            if delivery.deadline_s <= now_s:
                delivery.channel.acknowledge(delivery.tag)
                continue
            self._hand_over(delivery, place)

    def _cancelled(self, event: ConsumerCancelled) -> None:
        queue = self._queues[event.consumer_tag]
        log.warning("queue is gone, declared again", extra={"queue": queue.name})
        self._gone(event.consumer_tag)

    def _gone(self, tag: str) -> None:
        self._consuming.discard(tag)
        self._doubted = True
        if not self.closed:
            self.served.clear()
            self._broken(self)

    def _lost(self, channel: Channel, lost: ChannelLost) -> None:
        if channel is not self._channel:
            return
        self._channel = None
        self._consuming.clear()
        self._held.clear()
        self._doubted = True
        if not self.closed:
            self.served.clear()
            self._broken(self)
