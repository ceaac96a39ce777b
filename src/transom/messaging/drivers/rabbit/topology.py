# SPDX-License-Identifier: Apache-2.0
"""What is declared at the broker, and in which order. Pure.

Invariants:
1. A declaration is repeated whole, with the same names, whenever it may have been lost: in the
   order exchanges, queues, bindings; then come qos and consumers, which are the consumer's.
2. The flags and arguments are those that oslo.messaging declares under the same options, so that
   the two never contradict each other.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from transom.messaging.drivers.base import Address, Kind
from transom.messaging.drivers.rabbit.names import Place, place_of
from transom.messaging.drivers.rabbit.options import Options
from transom.messaging.proto.amqp import methods

Declare = methods.ExchangeDeclare | methods.QueueDeclare | methods.QueueBind
Argument = str | int | bool


@dataclass(frozen=True, slots=True)
class Exchange:
    """An exchange and its flags."""

    name: str
    type: str
    durable: bool
    auto_delete: bool

    def declare(self, *, passive: bool = False) -> methods.ExchangeDeclare:
        return methods.ExchangeDeclare(
            exchange=self.name,
            type=self.type,
            passive=passive,
            durable=self.durable,
            auto_delete=self.auto_delete,
        )


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue and its flags. `own`: nobody else reads it, so it goes when its listener does."""

    name: str
    durable: bool
    auto_delete: bool = False
    arguments: tuple[tuple[str, Argument], ...] = ()
    own: bool = False
    stream: bool = False

    def declare(self, *, passive: bool = False) -> methods.QueueDeclare:
        return methods.QueueDeclare(
            queue=self.name,
            passive=passive,
            durable=self.durable,
            auto_delete=self.auto_delete,
            arguments=dict(self.arguments),
        )


@dataclass(frozen=True, slots=True)
class Binding:
    """Messages with this key at the exchange go into the queue."""

    queue: str
    exchange: str
    key: str

    def declare(self) -> methods.QueueBind:
        return methods.QueueBind(queue=self.queue, exchange=self.exchange, routing_key=self.key)


@dataclass(slots=True)
class Topology:
    """What belongs together; the dicts keep the order and hold each thing once."""

    exchanges: dict[str, Exchange] = field(default_factory=dict)
    queues: dict[str, Queue] = field(default_factory=dict)
    bindings: dict[Binding, None] = field(default_factory=dict)

    def add(self, place: Place, exchange: Exchange | None, queue: Queue | None) -> None:
        if exchange is not None:
            self.exchanges[exchange.name] = exchange
        if queue is not None:
            self.queues[queue.name] = queue
        if exchange is not None and queue is not None:
            self.bindings[Binding(queue.name, exchange.name, place.bind_key)] = None

    def steps(self) -> Iterator[Exchange | Queue | Binding]:
        """In the order of invariant 1."""
        yield from self.exchanges.values()
        yield from self.queues.values()
        yield from self.bindings


def for_sending(address: Address, options: Options) -> tuple[Place, Topology]:
    """What a sender declares before its first message to the address.

    Of a notification it is also the default queue, so that nothing is lost before the first
    listener comes. Raises: ValueError.
    """
    place = place_of(address.in_pool(""), control_exchange=options.control_exchange)
    topology = Topology()
    queue = topic_queue(place, options) if address.kind is Kind.NOTIFICATION else None
    topology.add(place, exchange_of(place, options), queue)
    return place, topology


def for_listening(
    addresses: Iterable[Address], options: Options, unique: str
) -> tuple[list[Place], Topology]:
    """What a listener declares. `unique`: 32 hex digits of this listen. Raises: ValueError."""
    places = []
    topology = Topology()
    for address in addresses:
        own = "" if options.rabbit_stream_fanout else unique
        place = place_of(address, control_exchange=options.control_exchange, unique=own)
        places.append(place)
        topology.add(place, exchange_of(place, options), queue_of(address, place, options))
    return places, topology


def exchange_of(place: Place, options: Options) -> Exchange | None:
    """None for the default exchange, which is always there."""
    if not place.exchange:
        return None
    if place.exchange_type == "fanout":
        durable = options.rabbit_transient_quorum_queue or options.rabbit_stream_fanout
        return Exchange(place.exchange, "fanout", durable, auto_delete=True)
    return Exchange(place.exchange, "topic", durable_topics(options), options.amqp_auto_delete)


def queue_of(address: Address, place: Place, options: Options) -> Queue:
    if place.shared:
        return topic_queue(place, options)
    if address.kind is Kind.FANOUT and options.rabbit_stream_fanout:
        return _stream(place, options)
    quorum = options.rabbit_transient_quorum_queue
    arguments = dict(_quorum_arguments(options)) if quorum else {}
    if options.rabbit_transient_queues_ttl:
        arguments["x-expires"] = options.rabbit_transient_queues_ttl * 1000
    return Queue(place.queue, durable=quorum, arguments=tuple(arguments.items()), own=True)


def topic_queue(place: Place, options: Options) -> Queue:
    arguments = _quorum_arguments(options) if options.rabbit_quorum_queue else ()
    return Queue(place.queue, durable_topics(options), options.amqp_auto_delete, arguments)


def durable_topics(options: Options) -> bool:
    return options.amqp_durable_queues or options.rabbit_quorum_queue


def _quorum_arguments(options: Options) -> tuple[tuple[str, Argument], ...]:
    limits = {
        "x-delivery-limit": options.rabbit_quorum_delivery_limit,
        "x-max-in-memory-length": options.rabbit_quorum_max_memory_length,
        "x-max-in-memory-bytes": options.rabbit_quorum_max_memory_bytes,
    }
    given = ((name, limit) for name, limit in limits.items() if limit)
    return (("x-queue-type", "quorum"), *given)


def _stream(place: Place, options: Options) -> Queue:
    arguments: tuple[tuple[str, Argument], ...] = (("x-queue-type", "stream"),)
    if options.rabbit_transient_queues_ttl:
        arguments += (("x-max-age", f"{options.rabbit_transient_queues_ttl}s"),)
    return Queue(place.queue, durable=True, arguments=arguments, stream=True)
