# SPDX-License-Identifier: Apache-2.0
"""One channel: requests and their answers in order, content, confirms.

    OPEN ── close from us / close ──► CLOSING ── close-ok ──► CLOSED
    OPEN ── close from the server / close-ok ──────────────► CLOSED

Invariants:
1. What the server says is its own to say (`_TAKES`), or answers a request.
2. Between a method with content and the end of its content nothing else is taken.
3. While CLOSING nothing is told but the end.

A channel may be used at once: its channel.open is only the first request.
"""

import struct
from collections.abc import Callable, Sequence
from enum import Enum

from transom.messaging.proto.amqp.coding import NUMBERS, decode_method
from transom.messaging.proto.amqp.confirms import Confirms
from transom.messaging.proto.amqp.content import Content
from transom.messaging.proto.amqp.events import (
    Answered,
    ChannelClosed,
    ChannelOpened,
    Confirmed,
    ConsumerCancelled,
    Delivered,
    Event,
    Flow,
    Oversized,
    Returned,
)
from transom.messaging.proto.amqp.fault import Code, Fault
from transom.messaging.proto.amqp.frames import (
    HEADER,
    HEARTBEAT,
    METHOD,
    method_frame,
    whole_content,
)
from transom.messaging.proto.amqp.known import Known
from transom.messaging.proto.amqp.methods import (
    ANSWERS,
    BasicAck,
    BasicCancel,
    BasicCancelOk,
    BasicDeliver,
    BasicGetOk,
    BasicNack,
    BasicReturn,
    ChannelClose,
    ChannelCloseOk,
    ChannelFlow,
    ChannelFlowOk,
    ChannelOpenOk,
    ConfirmSelect,
    Method,
)
from transom.messaging.proto.amqp.properties import Properties
from transom.messaging.proto.amqp.publishing import Publishing
from transom.messaging.proto.amqp.requests import Requests

_unpack_number = struct.Struct(">I").unpack_from
_unpack_tag = struct.Struct(">QB").unpack_from
_DELIVER = NUMBERS[BasicDeliver]
_ACK = NUMBERS[BasicAck]
_ACK_BYTES = 13
_CLOSE = NUMBERS[ChannelClose]
_CLOSE_OK = NUMBERS[ChannelCloseOk]


class State(Enum):
    """Of a channel."""

    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


class Channel:
    """`ready`: a method may come. `payload_max`: bytes of a frame's payload."""

    __slots__ = (
        "_content",
        "_known",
        "_payload_max",
        "_requests",
        "number",
        "publishing",
        "ready",
        "state",
    )

    def __init__(self, number: int, payload_max: int, known: Known) -> None:
        self.number = number
        self.state = State.OPEN
        self.ready = True
        self.publishing = Publishing(number, payload_max, known.coded)
        self._payload_max = payload_max
        self._known = known
        self._requests = Requests()
        self._content: Content | None = None

    def request(self, out: bytearray, method: Method) -> None:
        """Raises: Unencodable."""
        if type(method) not in ANSWERS:
            raise TypeError(f"{type(method).__name__} is no request")
        out += method_frame(self.number, method)
        if not getattr(method, "nowait", False):
            self._requests.add(method)
        if isinstance(method, ConfirmSelect) and self.publishing.confirms is None:
            self.publishing.confirms = Confirms()

    def close(self, out: bytearray) -> None:
        out += method_frame(self.number, ChannelClose(reply_code=Code.SUCCESS))
        self.state = State.CLOSING
        self.ready = False
        if self._content is not None and self._content.request is not None:
            self._requests.restore(self._content.request)
        self._content = None

    def receive(
        self, data: bytes, start: int, stop: int, out: bytearray, events: list[Event]
    ) -> int:
        """Takes the method whose frame's payload is `data[start:stop]`, with its content if that
        is there; the place behind what it took. Only while `ready`.

        Raises: Fault, UnknownMethod, or one of BROKEN.
        """
        number = _unpack_number(data, start)[0]
        if number == _DELIVER:
            return self._deliver(data, start, stop, events)
        if number == _ACK and stop - start == _ACK_BYTES:
            tag, multiple = _unpack_tag(data, start + 4)
            self._settle(tag, multiple & 1 == 1, True, events)
            return stop + 1
        method = decode_method(data[start:stop])
        take = _TAKES.get(type(method))
        if take is None:
            self._answer(method, events)
        else:
            take(self, method, out, events)
        return stop + 1

    def receive_late(self, kind: int, payload: bytes, out: bytearray, events: list[Event]) -> None:
        """Takes a frame while not `ready`, or one that is no method.

        Raises: Fault, or one of BROKEN.
        """
        if self.state is State.CLOSING:
            self._receive_closing(kind, payload, out, events)
        elif kind == HEARTBEAT:
            raise Fault(Code.FRAME_ERROR, "a heartbeat on a channel")
        elif self._content is None:
            raise Fault(Code.UNEXPECTED_FRAME, "content came without a method")
        elif kind == METHOD:
            raise Fault(Code.UNEXPECTED_FRAME, "a method came where content was due")
        else:
            content = self._content
            if content.header(payload) if kind == HEADER else content.body(payload):
                self._content = None
                self.ready = True
                self._finish(content, events)

    def _receive_closing(
        self, kind: int, payload: bytes, out: bytearray, events: list[Event]
    ) -> None:
        number = int.from_bytes(payload[:4], "big") if kind == METHOD else 0
        if number == _CLOSE:
            out += method_frame(self.number, ChannelCloseOk())
        elif number == _CLOSE_OK:
            self._end(Code.SUCCESS, "", False, events)

    def _deliver(self, data: bytes, start: int, stop: int, events: list[Event]) -> int:
        found = whole_content(data, stop + 1, self.number, self._payload_max)
        if found is None:
            self._await_content(decode_method(data[start:stop]), bytearray(), events)
            return stop + 1
        properties, body, behind = found
        behind_tag = start + 5 + data[start + 4]
        delivery_tag, redelivered = _unpack_tag(data, behind_tag)
        known = self._known
        exchange, routing_key = known.routes[data[behind_tag + 9 : stop]]
        events.append(
            Delivered(
                self.number,
                known.tags[data[start + 5 : behind_tag]],
                delivery_tag,
                redelivered & 1 == 1,
                exchange,
                routing_key,
                known.properties[properties],
                body,
            )
        )
        return behind

    def _await_content(self, method: Method, out: bytearray, events: list[Event]) -> None:
        request = self._requests.answered(method) if isinstance(method, BasicGetOk) else None
        self._content = Content(method, request)
        self.ready = False

    def _finish(self, content: Content, events: list[Event]) -> None:
        method = content.method
        properties, body = content.whole()
        number = self.number
        if content.oversized:
            consumer = getattr(method, "consumer_tag", "")
            tag = getattr(method, "delivery_tag", 0)
            events.append(Oversized(number, consumer, tag, content.body_bytes))
        if content.request is not None:
            events.append(Answered(number, method, content.request, properties, body))
        elif not content.oversized:
            events.append(_CONTENT[type(method)](number, method, properties, body))

    def _answer(self, method: Method, events: list[Event]) -> None:
        request = self._requests.answered(method)
        if isinstance(method, ChannelOpenOk):
            events.append(ChannelOpened(self.number))
        else:
            events.append(Answered(self.number, method, request))

    def _settle(self, tag: int, multiple: bool, ok: bool, events: list[Event]) -> None:
        confirms = self.publishing.confirms
        if confirms is None:
            raise Fault(Code.COMMAND_INVALID, "a confirm on a channel without confirms")
        tags = confirms.settle(tag, multiple)
        if tags:
            events.append(Confirmed(self.number, tags, ok))

    def _nack(self, method: BasicNack, out: bytearray, events: list[Event]) -> None:
        self._settle(method.delivery_tag, method.multiple, False, events)

    def _cancel(self, method: BasicCancel, out: bytearray, events: list[Event]) -> None:
        if not method.nowait:
            out += method_frame(self.number, BasicCancelOk(consumer_tag=method.consumer_tag))
        events.append(ConsumerCancelled(self.number, method.consumer_tag))

    def _flow(self, method: ChannelFlow, out: bytearray, events: list[Event]) -> None:
        out += method_frame(self.number, ChannelFlowOk(active=method.active))
        events.append(Flow(self.number, method.active))

    def _closed(self, method: ChannelClose, out: bytearray, events: list[Event]) -> None:
        out += method_frame(self.number, ChannelCloseOk())
        self._end(method.reply_code, method.reply_text, True, events)

    def _end(self, code: int, text: str, by_peer: bool, events: list[Event]) -> None:
        self.state = State.CLOSED
        self.ready = False
        confirms = self.publishing.confirms
        unconfirmed: Sequence[int] = () if confirms is None else confirms.unconfirmed
        requests = self._requests.waiting
        events.append(ChannelClosed(self.number, int(code), text, by_peer, requests, unconfirmed))


def _delivered(number: int, method: BasicDeliver, properties: Properties, body: bytes) -> Delivered:
    return Delivered(
        number,
        method.consumer_tag,
        method.delivery_tag,
        method.redelivered,
        method.exchange,
        method.routing_key,
        properties,
        body,
    )


def _returned(number: int, method: BasicReturn, properties: Properties, body: bytes) -> Returned:
    return Returned(
        number,
        method.reply_code,
        method.reply_text,
        method.exchange,
        method.routing_key,
        properties,
        body,
    )


_CONTENT: dict[type[Method], Callable[..., Event]] = {
    BasicDeliver: _delivered,
    BasicReturn: _returned,
}
_TAKES: dict[type[Method], Callable[..., None]] = {
    BasicDeliver: Channel._await_content,
    BasicReturn: Channel._await_content,
    BasicGetOk: Channel._await_content,
    BasicNack: Channel._nack,
    BasicCancel: Channel._cancel,
    ChannelFlow: Channel._flow,
    ChannelClose: Channel._closed,
}
"""What the server may say on its own; anything else must be an answer."""
