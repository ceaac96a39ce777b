# SPDX-License-Identifier: Apache-2.0
"""The server's side of AMQP 0-9-1 in a few functions: frames to feed, and frames that were sent."""

import struct
from typing import Any

from transom.messaging.proto.amqp import Connection, Event, Properties, Settings, encode_properties
from transom.messaging.proto.amqp.coding import decode_method
from transom.messaging.proto.amqp.frames import HEAD, METHOD, method_frame
from transom.messaging.proto.amqp.methods import (
    ChannelOpenOk,
    ConfirmSelect,
    ConfirmSelectOk,
    ConnectionOpenOk,
    ConnectionStart,
    ConnectionTune,
    Method,
)

PROPERTIES = Properties(content_type="text/plain", headers={"a": 1}, delivery_mode=2)
CODED = encode_properties(PROPERTIES)


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    return HEAD.pack(kind, channel, len(payload)) + payload + b"\xce"


def header(channel: int, size: int, coded: bytes = CODED, class_id: int = 60) -> bytes:
    return frame(2, channel, struct.pack(">HHQ", class_id, 0, size) + coded)


def content(
    channel: int, method: Method, body: bytes, piece: int = 1000, coded: bytes = CODED
) -> bytes:
    """A method with content, its body in frames of `piece` bytes."""
    pieces = [body[at : at + piece] for at in range(0, len(body), piece)]
    bodies = b"".join(frame(3, channel, one) for one in pieces)
    return method_frame(channel, method) + header(channel, len(body), coded) + bodies


def sent(connection: Connection) -> list[tuple[int, Any]]:
    """The frames that the connection wants written: the channel with the method or the payload."""
    data = bytes(connection.take())
    found: list[tuple[int, Any]] = []
    at = 0
    while at < len(data):
        kind, channel, size = HEAD.unpack_from(data, at)
        payload = data[at + 7 : at + 7 + size]
        assert data[at + 7 + size] == 0xCE
        found.append((channel, decode_method(payload) if kind == METHOD else payload))
        at += size + 8
    return found


def opened(settings: Settings | None = None, **tune: int) -> Connection:
    """A connection that is open."""
    connection = Connection(settings or Settings())
    connection.start()
    connection.receive(method_frame(0, ConnectionStart()))
    connection.receive(method_frame(0, ConnectionTune(**tune)))
    connection.receive(method_frame(0, ConnectionOpenOk()))
    connection.take()
    return connection


def with_channel(
    *, confirms: bool = False, settings: Settings | None = None, **tune: int
) -> tuple[Connection, int]:
    """An open connection and an open channel of it."""
    connection = opened(settings, **tune)
    channel = connection.open_channel()
    connection.receive(method_frame(channel, ChannelOpenOk()))
    if confirms:
        connection.request(channel, ConfirmSelect())
        connection.receive(method_frame(channel, ConfirmSelectOk()))
    connection.take()
    return connection, channel


def told(connection: Connection, *frames: bytes) -> list[Event]:
    """The events of the frames."""
    return connection.receive(b"".join(frames))
