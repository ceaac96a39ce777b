# SPDX-License-Identifier: Apache-2.0
"""An AMQP 0-9-1 connection as a machine: bytes in, events out, bytes to write.

    NEW ── start ──► OPENING ── handshake ──► OPEN ── close from us ──► CLOSING ── close-ok ─┐
                        └──────────────────────┴── close from the server, a fault ───────────┤
                                                                                   CLOSED ◄──┘

Invariants:
1. `receive` raises nothing, whatever the bytes, and ends. What it keeps is bounded: one frame, and
   one content for each channel that we opened.
2. Events come in the order of the bytes, however these are cut into pieces.
3. Closed is the last event and comes once; from then on nothing is taken and nothing written but
   what the closing needs.
4. What raises has written nothing.

Nothing here asks for the time, and nothing waits: the owner bounds how long opening and closing may
take, how much it publishes unconfirmed, and stops publishing on Flow and Blocked.
"""

import struct
from collections import deque
from enum import Enum

from transom.messaging.proto.amqp.channel import Channel
from transom.messaging.proto.amqp.channel import State as ChannelState
from transom.messaging.proto.amqp.coding import NUMBERS, UnknownMethod, decode_method
from transom.messaging.proto.amqp.events import Blocked, Closed, Event, Opened, Unblocked
from transom.messaging.proto.amqp.fault import Code, Fault, NotOpen
from transom.messaging.proto.amqp.frames import (
    BODY,
    END,
    HEAD,
    HEADER,
    HEARTBEAT,
    HEARTBEAT_FRAME,
    METHOD,
    OVERHEAD,
    PROTOCOL_HEADER,
    Pending,
    method_frame,
)
from transom.messaging.proto.amqp.handshake import Agreed, Handshake, Refused, Step
from transom.messaging.proto.amqp.heart import Heart, Pulse
from transom.messaging.proto.amqp.known import Known
from transom.messaging.proto.amqp.methods import (
    BasicAck,
    BasicNack,
    BasicReject,
    ChannelOpen,
    ConnectionBlocked,
    ConnectionClose,
    ConnectionCloseOk,
    ConnectionUnblocked,
    Method,
)
from transom.messaging.proto.amqp.properties import Properties
from transom.messaging.proto.amqp.publishing import Body
from transom.messaging.proto.amqp.settings import FRAME_MAX, Settings
from transom.messaging.proto.amqp.wire import BROKEN, Malformed

_unpack_head = HEAD.unpack_from
_TEXT_BYTES_MAX = 255
_pack_ack = struct.Struct(">BHIIQBB").pack
_ACK = NUMBERS[BasicAck]
_ACK_BYTES = 13
_CLOSE = NUMBERS[ConnectionClose]
_CLOSE_OK = NUMBERS[ConnectionCloseOk]
_KINDS = (METHOD, HEADER, BODY, HEARTBEAT)


class State(Enum):
    """Of a connection."""

    NEW = "new"
    OPENING = "opening"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


class Connection:
    """One stream's. The owner writes what `take` gives, and reads into `receive`."""

    def __init__(self, settings: Settings) -> None:
        """Raises: Unencodable, if the settings have no form on the wire."""
        self._state = State.NEW
        self._handshake = Handshake(settings)
        self._heart = Heart()
        self._pending = Pending()
        self._out = bytearray()
        self._closing_text = ""
        self._size_max = FRAME_MAX - OVERHEAD
        self._known = Known()
        self._channels: dict[int, Channel] = {}
        self._usable: dict[int, Channel] = {}
        self._numbers: deque[int] = deque()
        self._highest = 0

    @property
    def state(self) -> State:
        return self._state

    @property
    def agreed(self) -> Agreed:
        """What was agreed with the server; holds once Opened came."""
        return self._handshake.agreed

    @property
    def wake_s(self) -> float:
        """When `tick` is due: `math.inf` for never, `-math.inf` for at once."""
        return self._heart.wake_s

    def start(self) -> None:
        """The stream is there."""
        self._state = State.OPENING
        self._out += PROTOCOL_HEADER

    def take(self) -> bytes | bytearray:
        """What is to be written now; the caller's from then on."""
        out = self._out
        if not out:
            return b""
        self._out = bytearray()
        self._heart.written = True
        return out

    def tick(self, now_s: float) -> list[Event]:
        """Time passed. `now_s`: on any clock that only goes forward, always the same one."""
        pulse = self._heart.tick(now_s)
        events: list[Event] = []
        if pulse is Pulse.BEAT:
            self._out += HEARTBEAT_FRAME
        elif pulse is Pulse.LOST:
            interval_s = self.agreed.heartbeat_s
            text = f"the server sent no heartbeat in two intervals of {interval_s} s"
            self._end(Code.NONE, text, False, events)
        return events

    def ended(self) -> list[Event]:
        """The stream ended, or broke."""
        events: list[Event] = []
        if self._state is not State.CLOSED:
            self._end(Code.NONE, self._handshake.ended, True, events)
        return events

    def open_channel(self) -> int:
        """The number of a new channel, which may be used at once. Raises: NotOpen."""
        if self._state is not State.OPEN:
            raise NotOpen("the connection to the broker is not open")
        agreed = self.agreed
        if self._highest < agreed.channel_max:
            self._highest += 1
            number = self._highest
        elif self._numbers:
            number = self._numbers.popleft()
        else:
            raise NotOpen(f"all {agreed.channel_max} channels of the connection are open")
        channel = Channel(number, self._size_max, self._known)
        self._channels[number] = self._usable[number] = channel
        channel.request(self._out, ChannelOpen())
        return number

    def close_channel(self, channel: int) -> None:
        """ChannelClosed comes when the server has agreed. Raises: NotOpen."""
        self._channel(channel).close(self._out)
        del self._usable[channel]

    def close(self, text: str = "") -> list[Event]:
        """Closed comes when the server has agreed, or at once if nothing was opened yet."""
        events: list[Event] = []
        if self._state is State.OPEN:
            self._state = State.CLOSING
            self._closing_text = text
            self._forget()
            self._out += method_frame(0, _close(Code.SUCCESS, text))
        elif self._state in (State.NEW, State.OPENING):
            self._end(Code.SUCCESS, text, False, events)
        return events

    def publish(
        self,
        channel: int,
        exchange: str,
        routing_key: str,
        properties: Properties | bytes,
        body: Body,
        *,
        mandatory: bool = False,
    ) -> int:
        """The tag by which the publish will be Confirmed, 0 without confirms.

        `properties`: an object that is used again is coded once; or what `encode_properties` gave.
        Raises: NotOpen, Unencodable.
        """
        publishing = self._channel(channel).publishing
        return publishing.write(self._out, (exchange, routing_key, mandatory), properties, body)

    def request(self, channel: int, method: Method) -> None:
        """Asks; an Answered follows, unless `method.nowait`. Raises: NotOpen, Unencodable."""
        self._channel(channel).request(self._out, method)

    def acknowledge(self, channel: int, tag: int, multiple: bool = False) -> None:
        """Done with this delivery, with `multiple` and all before it. Raises: NotOpen."""
        self._channel(channel)
        self._out += _pack_ack(METHOD, channel, _ACK_BYTES, _ACK, tag, multiple, END)

    def reject(self, channel: int, tag: int, requeue: bool, multiple: bool = False) -> None:
        """Not done with this delivery, with `multiple` and all before it. Raises: NotOpen."""
        self._channel(channel)
        method: Method
        if multiple:
            method = BasicNack(delivery_tag=tag, multiple=True, requeue=requeue)
        else:
            method = BasicReject(delivery_tag=tag, requeue=requeue)
        self._out += method_frame(channel, method)

    def receive(self, data: bytes | bytearray | memoryview) -> list[Event]:
        """What the bytes say, in order. Raises nothing."""
        events: list[Event] = []
        if self._state in (State.NEW, State.CLOSED):
            return events
        self._heart.heard = True
        whole = self._pending.join(data if type(data) is bytes else bytes(data))
        try:
            at = self._read(whole, events)
            if at < len(whole) and self.state is not State.CLOSED:
                self._pending.keep(whole[at:])
        except Refused as refused:
            self._end(Code.NONE, str(refused), False, events)
        except UnknownMethod as error:
            self._fail(Fault(Code.NOT_IMPLEMENTED, str(error), error.method), events)
        except BROKEN as error:
            short = "a frame holds less than it should"
            text = str(error) if isinstance(error, Malformed) else short
            self._fail(Fault(Code.SYNTAX_ERROR, text), events)
        except Fault as fault:
            self._fail(fault, events)
        return events

    def _read(self, data: bytes, events: list[Event]) -> int:
        """The place behind the last whole frame. Raises: Fault, Refused, BROKEN, ..."""
        channels = self._channels
        at = 0
        end = len(data)
        while end - at >= OVERHEAD and self._state is not State.CLOSED:
            kind, number, size = _unpack_head(data, at)
            start = at + 7
            stop = start + size
            if size > self._size_max or kind not in _KINDS:
                self._refuse_head(data[at : at + OVERHEAD], kind, size)
            if stop >= end:
                break
            if data[stop] != END:
                raise Fault(Code.FRAME_ERROR, "a frame does not end where it should")
            channel = channels.get(number)
            if channel is None:
                self._receive_other(kind, number, data[start:stop], events)
                at = stop + 1
                continue
            if kind == METHOD and channel.ready:
                at = channel.receive(data, start, stop, self._out, events)
            else:
                channel.receive_late(kind, data[start:stop], self._out, events)
                at = stop + 1
            if channel.state is ChannelState.CLOSED:
                self._release(channel)
        return at

    def _refuse_head(self, head: bytes, kind: int, size: int) -> None:
        if self._handshake.step is Step.GREETING:
            if head.startswith(PROTOCOL_HEADER[:4]):
                version = "-".join(map(str, head[5:8]))
                raise Refused(f"the server refuses our header and asks for AMQP {version}")
            raise Refused(f"the server does not speak AMQP: it began with {head!r}")
        if kind not in _KINDS:
            raise Fault(Code.FRAME_ERROR, f"a frame of the unknown kind {kind}")
        text = f"a frame of {size + OVERHEAD} bytes, more than {self._size_max + OVERHEAD}"
        raise Fault(Code.FRAME_ERROR, text)

    def _receive_other(self, kind: int, number: int, payload: bytes, events: list[Event]) -> None:
        """A frame that belongs to no channel of ours."""
        if self._state is State.CLOSING:
            self._receive_closing(kind, number, payload, events)
        elif kind == HEARTBEAT:
            if number or payload:
                raise Fault(Code.FRAME_ERROR, "a heartbeat on a channel, or with a payload")
        elif number:
            raise Fault(Code.CHANNEL_ERROR, f"a frame on channel {number}, which is not open")
        elif kind != METHOD:
            raise Fault(Code.UNEXPECTED_FRAME, "content came on channel 0")
        else:
            self._receive_method(decode_method(payload), events)

    def _receive_closing(self, kind: int, number: int, payload: bytes, events: list[Event]) -> None:
        """We have said close: only what ends it counts."""
        if kind == METHOD and not number:
            method = int.from_bytes(payload[:4], "big")
            if method == _CLOSE:
                self._out += method_frame(0, ConnectionCloseOk())
            if method in (_CLOSE, _CLOSE_OK):
                self._end(Code.SUCCESS, self._closing_text, False, events)

    def _receive_method(self, method: Method, events: list[Event]) -> None:
        if isinstance(method, ConnectionClose):
            self._out += method_frame(0, ConnectionCloseOk())
            self._end(method.reply_code, method.reply_text, True, events)
        elif self._state is State.OPENING:
            self._open(method, events)
        elif isinstance(method, ConnectionBlocked):
            events.append(Blocked(method.reason))
        elif isinstance(method, ConnectionUnblocked):
            events.append(Unblocked())
        else:
            kind = type(method)
            text = f"{kind.__name__} came on channel 0 of an open connection"
            raise Fault(Code.COMMAND_INVALID, text, NUMBERS[kind])

    def _open(self, method: Method, events: list[Event]) -> None:
        handshake = self._handshake
        for frame in handshake.receive(method):
            self._out += frame
        agreed = handshake.agreed
        if handshake.step is Step.OPENING:
            self._size_max = agreed.frame_max - OVERHEAD
        elif handshake.step is Step.DONE:
            self._state = State.OPEN
            self._heart.start(agreed.heartbeat_s)
            events.append(
                Opened(
                    handshake.server_properties,
                    agreed.frame_max,
                    agreed.channel_max,
                    agreed.heartbeat_s,
                )
            )

    def _channel(self, number: int) -> Channel:
        channel = self._usable.get(number)
        if channel is None:
            raise NotOpen(f"channel {number} to the broker is not open")
        return channel

    def _release(self, channel: Channel) -> None:
        del self._channels[channel.number]
        self._usable.pop(channel.number, None)
        self._numbers.append(channel.number)

    def _forget(self) -> None:
        self._channels.clear()
        self._usable.clear()

    def _fail(self, fault: Fault, events: list[Event]) -> None:
        """The peer broke the protocol. It is told so if it could understand it."""
        if self._handshake.step is not Step.GREETING:
            self._out += method_frame(0, _close(fault.code, fault.text, fault.method))
        self._end(fault.code, fault.text, False, events)

    def _end(self, code: int, text: str, by_peer: bool, events: list[Event]) -> None:
        self._state = State.CLOSED
        self._forget()
        self._pending = Pending()
        self._heart.stop()
        events.append(Closed(int(code), text, by_peer))


def _close(code: int, text: str, method: int = 0) -> ConnectionClose:
    return ConnectionClose(
        reply_code=code,
        reply_text=text.encode("ascii", "replace").decode()[:_TEXT_BYTES_MAX],
        class_id=method >> 16,
        method_id=method & 0xFFFF,
    )
