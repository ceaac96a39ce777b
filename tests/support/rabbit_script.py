# SPDX-License-Identifier: Apache-2.0
"""A broker in a few lines, behind a link without a socket: it runs in virtual time, refuses what it
is told to, and confirms as late as it is told to.

    script = Script(refuses=lambda publish: "403 ..." or "")
    publisher = await script.publisher()
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from transom.messaging.drivers.rabbit.link import Link
from transom.messaging.drivers.rabbit.options import Options
from transom.messaging.drivers.rabbit.publisher import Publisher
from transom.messaging.proto.amqp import Method, Settings
from transom.messaging.proto.amqp.coding import decode_method
from transom.messaging.proto.amqp.frames import HEAD, METHOD, PROTOCOL_HEADER, method_frame
from transom.messaging.proto.amqp.methods import (
    BasicAck,
    BasicPublish,
    ChannelClose,
    ChannelCloseOk,
    ChannelOpen,
    ChannelOpenOk,
    ConfirmSelect,
    ConfirmSelectOk,
    ConnectionOpen,
    ConnectionOpenOk,
    ConnectionStart,
    ConnectionStartOk,
    ConnectionTune,
    ExchangeDeclare,
    ExchangeDeclareOk,
    QueueBind,
    QueueBindOk,
    QueueDeclare,
    QueueDeclareOk,
)

ANSWERS: dict[type[Method], Method] = {
    ConnectionStartOk: ConnectionTune(),
    ConnectionOpen: ConnectionOpenOk(),
    ChannelOpen: ChannelOpenOk(),
    ConfirmSelect: ConfirmSelectOk(),
    ExchangeDeclare: ExchangeDeclareOk(),
    QueueDeclare: QueueDeclareOk(queue="q", message_count=0, consumer_count=1),
    QueueBind: QueueBindOk(),
}


@dataclass(frozen=True)
class Published:
    """A message that the broker read."""

    channel: int
    exchange: str
    key: str
    body: bytes


class Session:
    """As far as a publisher asks it."""

    reason = "connection refused"
    refusal = ""


class Script(asyncio.Transport):
    """`refuses`: the code and text with which the channel is closed over the message, or "".

    `answers`: whether publishes are answered at all; else the test does it by `feed`.
    """

    def __init__(
        self, refuses: Callable[[Published], str] = lambda publish: "", *, answers: bool = True
    ) -> None:
        super().__init__()
        self.refuses = refuses
        self.answers = answers
        self.taken: list[Published] = []
        self.closes = 0
        self.gaps = 0
        self.lost: list[str] = []
        self._publish: dict[int, tuple[BasicPublish, list[bytes], int]] = {}
        self._tags: dict[int, int] = {}
        self._opens: dict[int, int] = {}
        self._dead: set[int] = set()
        self._data = b""

    async def link(self) -> Link:
        """An open one."""
        self.made = Link(Settings(heartbeat_s=0), on_lost=self._ended, on_room=lambda: None)
        self.made.connection_made(self)
        self.feed(0, ConnectionStart())
        async with asyncio.timeout(10):
            await self.made.opened
        return self.made

    async def publisher(self) -> Publisher:
        """On a link of its own."""
        link = await self.link()
        self._publisher = Publisher(Options(), self._gap, lambda: Session())  # type: ignore[arg-type, return-value]
        await self._publisher.up(link)
        return self._publisher

    def feed(self, channel: int, *methods: Method) -> None:
        """What the link reads at once."""
        self.feed_bytes(b"".join(method_frame(channel, method) for method in methods))

    def feed_bytes(self, data: bytes) -> None:
        """As the stream brings it."""
        self.made.get_buffer(-1)[: len(data)] = data
        self.made.buffer_updated(len(data))

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._data += bytes(data)
        if self._data.startswith(PROTOCOL_HEADER):
            self._data = self._data[len(PROTOCOL_HEADER) :]
        asyncio.get_running_loop().call_soon(self._read)

    def abort(self) -> None:
        """There is no socket."""

    def close(self) -> None:
        """There is no socket."""

    def get_extra_info(self, name: str, default: object = None) -> None:
        return None

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is buffered."""

    def _read(self) -> None:
        while len(self._data) >= 8:
            kind, channel, size = HEAD.unpack_from(self._data)
            payload, self._data = self._data[7 : 7 + size], self._data[8 + size :]
            if kind == METHOD:
                self._method(channel, decode_method(payload))
            elif kind == 2:
                self._publish[channel][1].clear()
                self._sized(channel, int.from_bytes(payload[4:12], "big"))
            elif kind == 3:
                self._publish[channel][1].append(payload)
                self._sized(channel, self._publish[channel][2])

    def _method(self, channel: int, method: Method) -> None:
        if isinstance(method, ChannelOpen):
            self._tags[channel] = 0
            self._opens[channel] = self._opens.get(channel, 0) + 1
            self._dead.discard(channel)
        if isinstance(method, BasicPublish):
            self._publish[channel] = (method, [], 0)
        elif isinstance(method, ChannelClose):
            self.feed(channel, ChannelCloseOk())
        elif type(method) in ANSWERS and channel not in self._dead:
            self.feed(channel, ANSWERS[type(method)])

    def _sized(self, channel: int, size: int) -> None:
        method, pieces, _ = self._publish[channel]
        self._publish[channel] = (method, pieces, size)
        if sum(map(len, pieces)) < size or channel in self._dead:
            return
        body = b"".join(pieces)
        self._arrived(Published(channel, method.exchange, method.routing_key, body))

    def _arrived(self, publish: Published) -> None:
        self._tags[publish.channel] += 1
        refusal = self.refuses(publish)
        if refusal:
            self._dead.add(publish.channel)
            self.closes += 1
            code, _, text = refusal.partition(" ")
            self.feed(publish.channel, ChannelClose(reply_code=int(code), reply_text=text))
            return
        self.taken.append(publish)
        if self.answers:
            channel = publish.channel
            of = (channel, self._tags[channel], self._opens[channel])
            # Later than a close that follows: what was taken may be unconfirmed at a close.
            asyncio.get_running_loop().call_later(0.001, self._confirm, *of)

    def _confirm(self, channel: int, tag: int, opens: int) -> None:
        if channel not in self._dead and opens == self._opens[channel]:
            self.feed(channel, BasicAck(delivery_tag=tag))

    def _gap(self) -> None:
        self.gaps += 1

    def _ended(self, reason: str) -> None:
        self.lost.append(reason)
        if hasattr(self, "_publisher"):
            self._publisher.down()
