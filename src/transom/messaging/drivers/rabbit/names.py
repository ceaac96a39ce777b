# SPDX-License-Identifier: Apache-2.0
"""What an address is called at the broker: exchange, routing key, queue. Pure.

Invariant: these are oslo.messaging's names, letter for letter; a service of either kind takes the
other's place. Source: captures of oslo.messaging 18.3.1 on RabbitMQ 3.10.
"""

from dataclasses import dataclass

from transom.messaging.drivers.base import Address, Kind

NAME_BYTES_MAX = 255
TOPIC = "topic"
FANOUT = "fanout"


@dataclass(frozen=True, slots=True)
class Place:
    """Where messages of an address are published to and consumed from.

    `exchange` "" is the default one, where the key names the queue. `bind_key` is the key of the
    queue's binding. `shared`: several listeners take turns at the queue.
    """

    exchange: str
    exchange_type: str
    key: str
    queue: str
    bind_key: str
    shared: bool


def place_of(address: Address, *, control_exchange: str, unique: str = "") -> Place:
    """The names of an address. `unique`: 32 hex digits for a fan-out queue of one's own; without
    it, the queue is the stream that all listeners of the topic read.

    Raises: ValueError if a name is longer than the protocol carries.
    """
    name = address.name
    exchange = address.exchange or control_exchange
    match address.kind:
        case Kind.TOPIC:
            place = Place(exchange, TOPIC, name, name, name, shared=True)
        case Kind.SERVER:
            key = f"{name}.{address.part}"
            place = Place(exchange, TOPIC, key, key, key, shared=True)
        case Kind.NOTIFICATION:
            key = f"{name}.{address.part.lower()}"
            place = Place(exchange, TOPIC, key, address.pool or key, key, shared=True)
        case Kind.FANOUT:
            fanout = f"{name}_fanout"
            queue = f"{fanout}_{unique}" if unique else fanout
            place = Place(fanout, FANOUT, "", queue, name, shared=False)
        case Kind.REPLY:
            place = Place("", "", name, name, "", shared=False)
    for text in (place.exchange, place.key, place.queue, place.bind_key):
        if len(text.encode()) > NAME_BYTES_MAX:
            raise ValueError(f"the name {text[:40]!r}... is longer than {NAME_BYTES_MAX} bytes")
    return place
