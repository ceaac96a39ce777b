# SPDX-License-Identifier: Apache-2.0
"""Publishing on one channel: a frame of method, a frame of header, and the body's frames.

Invariants:
1. A publish is written whole or, where it raises, not at all.
2. What was coded for an exchange, routing key and flag, or for properties, is not coded again while
   it is remembered; a publish then only joins bytes.

Properties are told apart by their coded bytes. `Coded` remembers those by the identity of the
object, which it holds, so that its id stays its own.
"""

import struct
from functools import partial

from transom.messaging.proto.amqp.confirms import Confirms
from transom.messaging.proto.amqp.frames import (
    BASIC,
    BODY,
    CONTENT,
    END_BYTE,
    HEAD,
    HEADER,
    method_frame,
)
from transom.messaging.proto.amqp.memory import ENTRIES_MAX, KEY_BYTES_MAX, Memory
from transom.messaging.proto.amqp.methods import BasicPublish
from transom.messaging.proto.amqp.properties import Properties, encode_properties
from transom.messaging.proto.amqp.settings import BODY_BYTES_MAX
from transom.messaging.proto.amqp.wire import Unencodable

Body = bytes | bytearray | memoryview
Route = tuple[str, str, bool]
_pack_body_bytes = struct.Struct(">Q").pack
_pack_size = struct.Struct(">I").pack


class Coded:
    """Properties that were coded, by the identity of the object."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[int, tuple[Properties, bytes]] = {}

    def bytes_of(self, properties: Properties) -> bytes:
        """Raises: Unencodable."""
        known = self._known.get(id(properties))
        if known is not None:
            return known[1]
        coded = encode_properties(properties)
        if len(coded) <= KEY_BYTES_MAX:
            if len(self._known) >= ENTRIES_MAX:
                self._known.clear()
            self._known[id(properties)] = (properties, coded)
        return coded


class Publishing:
    """`payload_max`: bytes of a body in one frame. `confirms` once they were asked for."""

    __slots__ = (
        "_coded",
        "_frame_start",
        "_headers",
        "_payload_max",
        "_routes",
        "confirms",
    )

    def __init__(self, number: int, payload_max: int, coded: Coded) -> None:
        self.confirms: Confirms | None = None
        self._payload_max = payload_max
        self._coded = coded
        # Not methods of ours: a channel that is gone must not wait for the cycle collector.
        self._routes: Memory[Route, bytes] = Memory(partial(_route, number))
        self._headers: Memory[bytes, tuple[bytes, bytes]] = Memory(
            partial(_header, number, payload_max)
        )
        self._frame_start = HEAD.pack(BODY, number, 0)[:3]

    def write(
        self,
        out: bytearray,
        route: Route,
        properties: Properties | bytes,
        body: Body,
    ) -> int:
        """The tag, 0 without confirms. Raises: Unencodable."""
        if type(body) is not bytes:
            body = bytes(body)
        size = len(body)
        prefix = self._routes[route]
        if type(properties) is not bytes:
            properties = self._coded.bytes_of(properties)  # type: ignore[arg-type]
        start, end = self._headers[properties]
        if size > self._payload_max:
            self._write_pieces(out, prefix + start, end, body)
        else:
            out += prefix
            out += start
            out += _pack_body_bytes(size)
            out += end
            if size:
                out += self._frame_start
                out += _pack_size(size)
                out += body
                out += END_BYTE
        confirms = self.confirms
        if confirms is None:
            return 0
        tag = confirms.next_tag
        confirms.next_tag = tag + 1
        return tag

    def _write_pieces(self, out: bytearray, start: bytes, end: bytes, body: bytes) -> None:
        size = len(body)
        if size > BODY_BYTES_MAX:
            raise Unencodable(f"the message has {size} bytes, more than {BODY_BYTES_MAX}")
        out += start
        out += _pack_body_bytes(size)
        out += end
        view = memoryview(body)
        for at in range(0, size, self._payload_max):
            piece = view[at : at + self._payload_max]
            out += self._frame_start
            out += _pack_size(len(piece))
            out += piece
            out += END_BYTE


def _route(number: int, route: Route) -> bytes:
    exchange, routing_key, mandatory = route
    method = BasicPublish(exchange=exchange, routing_key=routing_key, mandatory=mandatory)
    return method_frame(number, method)


def _header(number: int, payload_max: int, properties: bytes) -> tuple[bytes, bytes]:
    """What stands before and behind the body's size."""
    size = CONTENT.size + len(properties)
    if size > payload_max:
        raise Unencodable(f"properties of {len(properties)} bytes do not fit into a frame")
    head = HEAD.pack(HEADER, number, size) + CONTENT.pack(BASIC, 0, 0)[:4]
    return head, properties + END_BYTE
