# SPDX-License-Identifier: Apache-2.0
"""What a connection tells its owner, in the order in which it happened."""

from collections.abc import Sequence

import msgspec

from transom.messaging.proto.amqp.methods import Method
from transom.messaging.proto.amqp.properties import Properties
from transom.messaging.proto.amqp.wire import Table


class Opened(msgspec.Struct, frozen=True, gc=False):
    """The connection may be used. `frame_max`, `channel_max`, `heartbeat_s` as agreed; a heartbeat
    of 0: none."""

    server_properties: Table
    frame_max: int
    channel_max: int
    heartbeat_s: int


class ChannelOpened(msgspec.Struct, frozen=True, gc=False):
    """The server knows the channel. It could be used before."""

    channel: int


class ChannelClosed(msgspec.Struct, frozen=True, gc=False):
    """The channel is gone, its number free. What was pending on it: `requests` without an answer,
    in order, and tags of publishes `unconfirmed`: nobody knows what became of them."""

    channel: int
    code: int
    text: str
    by_peer: bool
    requests: tuple[Method, ...]
    unconfirmed: Sequence[int]


class Answered(msgspec.Struct, frozen=True, gc=False):
    """`method` answers `request`, the object that was given. A GetOk has content.

    Answers come in the order of the requests, but for those of consume and cancel, which may come
    later.
    """

    channel: int
    method: Method
    request: Method
    properties: Properties | None = None
    body: bytes = b""


class Delivered(msgspec.Struct, frozen=True, gc=False):
    """A message for a consumer."""

    channel: int
    consumer_tag: str
    delivery_tag: int
    redelivered: bool
    exchange: str
    routing_key: str
    properties: Properties
    body: bytes


class Oversized(msgspec.Struct, frozen=True, gc=False):
    """A message of more than BODY_BYTES_MAX was passed over; it is to be rejected.

    `delivery_tag` 0: it was not a delivery but a message of ours that was returned.
    """

    channel: int
    consumer_tag: str
    delivery_tag: int
    body_bytes: int


class Returned(msgspec.Struct, frozen=True, gc=False):
    """A mandatory message had nowhere to go. Comes before the Confirmed of the same publish."""

    channel: int
    code: int
    text: str
    exchange: str
    routing_key: str
    properties: Properties
    body: bytes


class Confirmed(msgspec.Struct, frozen=True, gc=False):
    """The broker has taken (`ok`) or refused the publishes of these tags; each is told once."""

    channel: int
    tags: Sequence[int]
    ok: bool


class ConsumerCancelled(msgspec.Struct, frozen=True, gc=False):
    """The broker ended the consumer, as when its queue was deleted."""

    channel: int
    consumer_tag: str


class Flow(msgspec.Struct, frozen=True, gc=False):
    """With `active` false nothing is to be published on the channel until it is true again."""

    channel: int
    active: bool


class Blocked(msgspec.Struct, frozen=True, gc=False):
    """The broker reads no publishes for now; `reason` is for people."""

    reason: str


class Unblocked(msgspec.Struct, frozen=True, gc=False):
    """It reads them again."""


class Closed(msgspec.Struct, frozen=True, gc=False):
    """The connection is over, with all its channels; the last event. Write what there is to take,
    then close the stream. `code` 0: not a code of AMQP, the text says what happened."""

    code: int
    text: str
    by_peer: bool


Event = (
    Opened
    | ChannelOpened
    | ChannelClosed
    | Answered
    | Delivered
    | Oversized
    | Returned
    | Confirmed
    | ConsumerCancelled
    | Flow
    | Blocked
    | Unblocked
    | Closed
)
