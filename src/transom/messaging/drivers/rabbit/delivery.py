# SPDX-License-Identifier: Apache-2.0
"""One message that arrived, from the broker's view: its tag, its channel, its time.

Invariants:
1. It is settled once, on the channel that delivered it; if that is gone, settling it does nothing,
   for the broker gives the message out again.
2. A packed body is opened up to a bound, so that a small message cannot fill the memory.
"""

import bz2
import zlib
from math import inf
from typing import TYPE_CHECKING, Protocol

from transom.errors import InvalidEnvelope
from transom.messaging.drivers.rabbit.channel import Channel
from transom.messaging.proto.amqp import BODY_BYTES_MAX, Properties
from transom.messaging.proto.delivery import State, Verb, settle

if TYPE_CHECKING:
    from _bz2 import BZ2Decompressor
    from zlib import _Decompress

GZIP = "application/x-gzip"
BZ2 = "application/x-bz2"
CONTENT_TYPES = {"gzip": GZIP, "bz2": BZ2}


class Listener(Protocol):
    """Whom a delivery tells that it is settled."""

    def settled(self, delivery: "RabbitDelivery") -> None: ...


class RabbitDelivery:
    """See `base.Delivery`. Nobody vouches for its sender."""

    __slots__ = ("_listener", "body", "channel", "deadline_s", "state", "tag")

    sender = ""

    def __init__(
        self, listener: Listener, channel: Channel, tag: int, body: bytes, deadline_s: float
    ) -> None:
        self._listener = listener
        self.channel = channel
        self.tag = tag
        self.body = body
        self.deadline_s = deadline_s
        self.state = State.OUT

    def acknowledge(self) -> None:
        if self.state is State.OUT:
            self.state = State.ACKNOWLEDGED
            self.channel.acknowledge(self.tag)
            self._listener.settled(self)
        else:
            self.state = settle(self.state, Verb.ACKNOWLEDGE)

    def requeue(self) -> None:
        if self.state is State.OUT:
            self.state = State.REQUEUED
            self.channel.reject(self.tag, requeue=True)
            self._listener.settled(self)
        else:
            self.state = settle(self.state, Verb.REQUEUE)

    def take_back(self) -> None:
        """Its listener is gone."""
        self.state = settle(self.state, Verb.TAKE_BACK)


def deadline_of(properties: Properties, now_s: float) -> float:
    """When the message is over; what says nothing (readable) of it never is."""
    expiration = properties.expiration
    if expiration is None:
        return inf
    try:
        return now_s + int(expiration) / 1000
    except ValueError:
        return inf


def body_of(properties: Properties, body: bytes) -> bytes:
    """The body as it was before a peer packed it. Raises: InvalidEnvelope."""
    headers = properties.headers
    packed = headers.get("compression") if headers else None
    if not packed:
        return body
    opener: _Decompress | BZ2Decompressor
    if packed == GZIP:
        opener = zlib.decompressobj()
    elif packed == BZ2:
        opener = bz2.BZ2Decompressor()
    else:
        raise InvalidEnvelope(f"a body is packed as {str(packed)[:40]!r}, which is not read here")
    try:
        plain = opener.decompress(body, BODY_BYTES_MAX)
    except (zlib.error, OSError, ValueError) as error:
        raise InvalidEnvelope("a packed body is damaged") from error
    if not opener.eof:
        raise InvalidEnvelope("a packed body is damaged, or too large when unpacked")
    return plain


def packed(body: bytes, compression: str) -> bytes:
    """The body as a peer of the same option would pack it."""
    return zlib.compress(body) if compression == "gzip" else bz2.compress(body)
