# SPDX-License-Identifier: Apache-2.0
"""A replica of tables on the bus: carries out what the machine in `proto/feed/replica` decides.

Invariants:
1. Buffers are bounded on both sides of the machine: a slow consumer makes what arrives be dropped,
   then asked for again.
2. Iteration ends when the replica is stopped, and raises what made it fail.
3. What was sent under schemas that were not compared with ours does not reach the machine.
4. On a secured bus changes and heads are heeded only of who may answer for the feed.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Self, assert_never

from transom.errors import InvalidEnvelope, TransomError
from transom.messaging.agreement import Agreement
from transom.messaging.authenticated import sender, serves
from transom.messaging.client import Client
from transom.messaging.demand import Wish
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
    schema_of,
)
from transom.messaging.schema import SchemaRefused, Table, decode_tables
from transom.messaging.server import Server
from transom.messaging.target import Target
from transom.messaging.transport import Events, Transport
from transom.runtime.lifecycle import Entered

log = logging.getLogger(__name__)

INBOX_CHANGES = 20_000
OUTBOX_ITEMS = 16
STOP_S = 5.0

Item = ChangeSet | Live | Stale


class TableReplica(Entered):
    """Iterate it for change sets and changes of state; that starts it. A lifecycle service.

    `tables`: none means all of the source's. The consumer owns the rows and carries out each
    change set whole; with the first one it has everything. `schemas`: how the consumer knows its
    tables; iteration raises SchemaRefused where one is published in a form that it cannot read.
    """

    def __init__(
        self,
        transport: Transport,
        source: str,
        tables: Sequence[str] = (),
        *,
        schemas: Sequence[Table] = (),
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
        self._agreement = Agreement(source, schemas)
        self._learning: asyncio.Task[None] | None = None
        self._wish = Wish(transport, source, self._tables)
        self._inbox = Inbox(INBOX_CHANGES)
        self._outbox: asyncio.Queue[Item | None] = asyncio.Queue(OUTBOX_ITEMS)
        self._server: Server | None = None
        self._running: list[asyncio.Task[None]] = []
        self._asking: asyncio.Task[None] | None = None
        self._failure: Exception | None = None
        self._counts = transport.counters.replicated[source]
        self._new = True
        self._ended = False

    @property
    def source(self) -> str:
        return self._source

    @property
    def state(self) -> State:
        """How the rows stand now. Loading until the first change set is there."""
        return self._machine.state(asyncio.get_running_loop().time())

    @property
    def position(self) -> tuple[int, int]:
        """(epoch, n) where the rows stand; (-1, -1) before they were loaded."""
        return self._machine.position()

    @property
    def age_s(self) -> float | None:
        """How long ago the rows were last verified; None before they were loaded."""
        return self._machine.age_s(asyncio.get_running_loop().time())

    async def start(self) -> None:
        """Returns when subscribed. A replica is started once."""
        if not self._new:
            return
        self._new = False
        target = Target(topic=changes_topic(self._source), fanout=True)
        self._server = Server(self._transport, target, [_Ears(self, self._transport)])
        self._transport.adopt(self)
        events = self._transport.events()
        try:
            await self._server.start()
            await Heartbeats.of(self._transport).listen(self._source, self.hear)
        except BaseException:  # Safety: lets go of what it has, and goes on
            await self.stop()
            raise
        loop = asyncio.get_running_loop()
        self._running = [
            loop.create_task(self._run(), name=f"replica of {self._source}"),
            loop.create_task(self._watch(events), name=f"links of the replica of {self._source}"),
        ]
        self._inbox.put(Subscribed())
        self._wish.start()

    async def stop(self) -> None:
        """Idempotent; iteration ends."""
        server, self._server = self._server, None
        if server is None:
            if self._new:
                self._new = False
                self._end()
            return
        self._transport.release(self)
        await self._wish.stop()
        others = [task for task in (self._asking, self._learning) if task is not None]
        tasks = [*self._running, *others]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=STOP_S)
        self._end()
        await Heartbeats.of(self._transport).unlisten(self._source, self.hear)
        await server.stop()

    def hear(self, head: Head) -> None:
        """A heartbeat."""
        if self._readable(head.schema):
            self._inbox.put(Heard(head))

    def receive(self, changes: object) -> None:
        """Change sets from the wire."""
        if not self._readable(schema_of(changes)):
            return
        try:
            self._inbox.put(decode_changes(changes))
        except InvalidEnvelope as error:
            log.warning(
                "change set of another form dropped",
                extra={"source": self._source, "detail": error.detail},
            )

    def wish_again(self) -> None:
        """A publisher has begun, and does not know yet who wants what."""
        self._wish.again()

    def _readable(self, schema: str) -> bool:
        holds = self._agreement.holds(schema)
        if holds is None and self._learning is None and not self._ended:
            name = f"schemas of {self._source}"
            self._learning = asyncio.get_running_loop().create_task(self._learn(), name=name)
        return bool(holds)

    async def _learn(self) -> None:
        try:
            answer = await self._client.call({}, "schemas")
            self._agreement.learn(decode_tables(answer["tables"]))
            self._inbox.put(Gap())
        except SchemaRefused as error:
            log.error("table cannot be read", extra={"source": self._source, "detail": error.text})
            self._failure = error
            self._end()
        except TransomError as error:
            self._log("schemas were not told", error)
        except Exception:  # Safety: the next heartbeat makes it ask again
            log.exception("schemas not understood", extra={"source": self._source})
        finally:
            self._learning = None

    async def _watch(self, events: Events) -> None:
        async for event in events:
            if isinstance(event, LinkGap):
                self._counts.gaps += 1
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
                if isinstance(state, Stale):
                    self._counts.stale += 1
                if not isinstance(state, Loading):
                    await self._outbox.put(state)
            case AskSince() | AskSnapshot():
                self._counts.asked("since" if isinstance(effect, AskSince) else "snapshot")
                if self._asking is not None:
                    self._asking.cancel()
                self._asking = asyncio.get_running_loop().create_task(
                    self._ask(effect), name=f"request of the replica of {self._source}"
                )
            case _:
                assert_never(effect)

    async def _ask(self, ask: AskSince | AskSnapshot) -> None:
        try:
            answer = await self._answer(ask)
            readable = self._readable(answer.head.schema)
            self._inbox.put(answer if readable else Failed(ask.request))
        except TransomError as error:
            self._log("replica was not answered", error)
            self._inbox.put(Failed(ask.request))

    def _log(self, what: str, error: TransomError) -> None:
        log.info(what, extra={"source": self._source, "detail": error.detail or error.text})

    async def _answer(self, ask: AskSince | AskSnapshot) -> Caught | Paged:
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

    def __init__(self, replica: TableReplica, transport: Transport) -> None:
        self._replica = replica
        self._transport = transport

    async def changed(self, context: Mapping[str, Any], changes: object) -> None:
        if serves(self._transport, feed_topic(self._replica.source)):
            self._replica.receive(changes)
        else:
            about = {"source": self._replica.source, "sender": sender()}
            log.warning("change set of somebody who does not publish dropped", extra=about)

    async def renew(self, context: Mapping[str, Any]) -> None:
        self._replica.wish_again()
