# SPDX-License-Identifier: Apache-2.0
"""What the channels of a connection have decoded and coded, and are likely to meet again.

Invariant: bounded, as `Memory` is. What is handed out is shared, and so is never changed.
"""

from transom.messaging.proto.amqp.memory import Memory
from transom.messaging.proto.amqp.properties import Properties, decode_properties
from transom.messaging.proto.amqp.publishing import Coded
from transom.messaging.proto.amqp.wire import Malformed, read_short_text


class Known:
    """`properties`, `routes` (exchange and routing key) and `tags` by their bytes on the wire."""

    __slots__ = ("coded", "properties", "routes", "tags")

    def __init__(self) -> None:
        self.properties: Memory[bytes, Properties] = Memory(decode_properties)
        self.routes: Memory[bytes, tuple[str, str]] = Memory(_route)
        self.tags: Memory[bytes, str] = Memory(_tag)
        self.coded = Coded()


def _route(data: bytes) -> tuple[str, str]:
    exchange, at = read_short_text(data, 0)
    routing_key, at = read_short_text(data, at)
    if at != len(data):
        raise Malformed(f"a delivery has {len(data) - at} bytes more")
    return exchange, routing_key


def _tag(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
