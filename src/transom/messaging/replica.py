# SPDX-License-Identifier: Apache-2.0
"""A replica of tables on the bus: carries out what the machine in `proto/feed/replica` decides.

Invariants:
1. Buffers are bounded on both sides of the machine: a slow consumer makes what arrives be dropped,
   then asked for again.
2. Iteration ends when the replica is stopped, and raises what made it fail.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self, assert_never

from transom.errors import InvalidEnvelope, TransomError
from transom.messaging.client import Client
from transom.messaging.drivers.base import Gap as LinkGap
from transom.messaging.heartbeats import HEARTBEAT_S, Heartbeats
from transom.messaging.inbox import Inbox
from transom.messaging.proto.feed import (
    Apply,
    AskSince,
    AskSnapshot,
    Became,
    Caught,
    ChangeSet,
    Effect,
    Event,
    Failed,
    Gap,
    Head,
    Heard,
    Limits,
    Live,
    Loading,
    Paged,
    Replica,
    Stale,
    State,
    Subscribed,
)
from transom.messaging.proto.feed.wire import (
    changes_topic,
    decode_changes,
    decode_chunk,
    decode_since,
    feed_topic,
)
from transom.messaging.server import Server
from transom.messaging.target import Target
from transom.messaging.transport import Events, Transport
from transom.runtime.ids import new_hex
from transom.runtime.lifecycle import Entered

log = logging.getLogger(__name__)

INBOX_CHANGES = 20_000
OUTBOX_ITEMS = 16
STOP_S = 5.0

Item = ChangeSet | Live | Stale


class TableReplica(Entered):
    """Iterate it for change sets and changes of state; that starts it. A lifecycle service.

    `tables`: none means all of the source's. The consumer owns the rows and carries out each
    change set whole; with the first one it has everything.
    """

    def __init__(
        self,
        transport: Transport,
        source: str,
        tables: Sequence[str] = (),
        *,
        limits: Limits | None = None,
    ) -> None:
        self._transport = transport
        self._source = source
        self._tables = tuple(tables)
        limits = limits or Limits(heartbeat_s=HEARTBEAT_S)
        self._client = Client(
            transport,
            Target(topic=feed_topic(source)),
            timeout_s=limits.ask_timeout_s,
            idempotent=True,
        )
        self._machine = Replica(self._tables, limits)
        self._inbox = Inbox(INBOX_CHANGES)
        self._outbox: asyncio.Queue[Item | None] = asyncio.Queue(OUTBOX_ITEMS)
        self._server: Server | None = None
        self._running: list[asyncio.Task[None]] = []
        self._asking: asyncio.Task[None] | None = None
        self._failure: Exception | None = None
        self._new = True
        self._ended = False

    @property
    def source(self) -> str:
        return self._source

    @property
    def state(self) -> State:
        """How the rows stand now. Loading until the first change set is there."""
        return self._machine.state(asyncio.get_running_loop().time())

    async def start(self) -> None:
        """Returns when subscribed. A replica is started once."""
        if not self._new:
            return
        self._new = False
        target = Target(topic=changes_topic(self._source), server=new_hex(self._transport.random))
        self._server = Server(self._transport, target, [_Ears(self._source, self._inbox.put)])
        self._transport.adopt(self)
        events = self._transport.events()
        try:
            await self._server.start()
            await Heartbeats.of(self._transport).listen(self._source, self._hear)
        except BaseException:  # Safety: lets go of what it has, and goes on
            await self.stop()
            raise
        loop = asyncio.get_running_loop()
        self._running = [
            loop.create_task(self._run(), name=f"replica of {self._source}"),
            loop.create_task(self._watch(events), name=f"links of the replica of {self._source}"),
        ]
        self._inbox.put(Subscribed())

    async def stop(self) -> None:
        """Idempotent; iteration ends."""
        server, self._server = self._server, None
        if server is None:
            if self._new:
                self._new = False
                self._end()
            return
        self._transport.release(self)
        tasks = [*self._running, *([self._asking] if self._asking else [])]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=STOP_S)
        self._end()
        await Heartbeats.of(self._transport).unlisten(self._source, self._hear)
        await server.stop()

    def _hear(self, head: Head) -> None:
        self._inbox.put(Heard(head))

    async def _watch(self, events: Events) -> None:
        async for event in events:
            if isinstance(event, LinkGap):
                self._inbox.put(Gap())

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                event = await self._inbox.get(self._machine.wake_s(loop.time()))
                jitter = int.from_bytes(self._transport.random(4)) / 2**32
                for effect in self._machine.handle(event, loop.time(), jitter):
                    await self._carry_out(effect)
        except Exception as error:  # Safety: handed to the consumer, who would wait for ever
            log.exception("replica failed", extra={"source": self._source})
            self._failure = error
            self._end()

    async def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Apply(change_set):
                await self._outbox.put(change_set)
            case Became(state):
                log.info(
                    "replica changed state",
                    extra={"source": self._source, "state": type(state).__name__.lower()},
                )
                if not isinstance(state, Loading):
                    await self._outbox.put(state)
            case AskSince() | AskSnapshot():
                if self._asking is not None:
                    self._asking.cancel()
                self._asking = asyncio.get_running_loop().create_task(
                    self._ask(effect), name=f"request of the replica of {self._source}"
                )
            case _:
                assert_never(effect)

    async def _ask(self, ask: AskSince | AskSnapshot) -> None:
        try:
            self._inbox.put(await self._answer(ask))
        except TransomError as error:
            log.info(
                "replica was not answered",
                extra={"source": self._source, "detail": error.detail or error.text},
            )
            self._inbox.put(Failed(ask.request))

    async def _answer(self, ask: AskSince | AskSnapshot) -> Event:
        if isinstance(ask, AskSince):
            answer = await self._client.call({}, "since", epoch=ask.epoch, n=ask.n, limit=ask.limit)
            return Caught(ask.request, *decode_since(answer))
        answer = await self._client.call(
            {}, "snapshot", tables=self._tables, after=ask.after, limit=ask.limit
        )
        return Paged(ask.request, *decode_chunk(answer))

    def _end(self) -> None:
        self._ended = True
        if self._outbox.empty():
            self._outbox.put_nowait(None)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        await self.start()
        while not (self._ended and self._outbox.empty()):
            item = await self._outbox.get()
            if item is not None:
                return item
        if self._failure is not None:
            raise self._failure
        raise StopAsyncIteration


class _Ears:
    """The endpoint of the fan-out."""

    def __init__(self, source: str, put: Callable[[Event], None]) -> None:
        self._source = source
        self._put = put

    async def changed(self, context: Mapping[str, Any], changes: object) -> None:
        try:
            self._put(decode_changes(changes))
        except InvalidEnvelope as error:
            log.warning(
                "change set of another form dropped",
                extra={"source": self._source, "detail": error.detail},
            )
