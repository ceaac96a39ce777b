# SPDX-License-Identifier: Apache-2.0
"""Events that arrive at least once, on the bus: who keeps them serves them, listeners take them.

    async with EventListener(transport, "images", pool="search") as listener:
        async for item in listener:             # Event | Lost
            ...
            await listener.acknowledge(item)

Topics: `events.<source>` answers `take`, `acknowledge`, `hold`, `release` and `pools`, and hears
`poke`; `events.<source>.more` is a fan-out that says: there are new ones.

Invariants:
1. Events of a pool come to one of its listeners at a time, until that one acknowledges them, stops,
   or falls silent for the claim's time; then to another (`redelivered`). Who handles one twice can
   tell by its `n`.
2. A listener that was told of no event looks by itself, each two seconds or so.
3. A listener has at most `prefetch` events that it has not acknowledged; then it waits for itself.
4. What is not acknowledged is held (`hold`) as long as its listener lives; what could not be held
   in time is not handed out any more.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, Self

import msgspec

from transom.errors import CallerError, InvalidEnvelope, TransomError
from transom.messaging.client import Client
from transom.messaging.proto.feed.wire import PUBLISHER
from transom.messaging.server import Server
from transom.messaging.target import Target
from transom.messaging.transport import Transport
from transom.runtime.ids import new_hex
from transom.runtime.lifecycle import Entered

log = logging.getLogger(__name__)

LOOK_S = 2.0
ASK_S = 5.0
SEND_S = 5.0
PREFETCH_MOST = 100
SERVED_AT_ONCE = 8

Begin = Literal["new", "oldest"]


@dataclass(frozen=True, slots=True)
class Event:
    """`n` counts the events of the source. `payload`: a JSON value. `at_ms`: when it was told."""

    n: int
    at_ms: int
    kind: str
    payload: Any
    redelivered: bool


@dataclass(frozen=True, slots=True)
class Lost:
    """`count` events, of which the first is `n`, were dropped before this pool had handled them."""

    n: int
    count: int


Item = Event | Lost


class EventStore(Protocol):
    """What keeps events: see `node.events.EventLog`."""

    claim_s: float

    async def take(
        self, pool: str, holder: str, limit: int, have: Collection[int] = (), begin: Begin = "new"
    ) -> list[Item]: ...

    async def acknowledge(self, pool: str, holder: str, ns: Sequence[int]) -> int: ...

    async def hold(self, pool: str, holder: str, ns: Sequence[int]) -> list[int]: ...

    async def release(self, pool: str, holder: str) -> None: ...

    async def pools(self) -> list[dict[str, Any]]: ...


def events_topic(source: str) -> str:
    """Where listeners take events."""
    return f"events.{source}"


def more_topic(source: str) -> str:
    """Where they are told that there are new ones."""
    return f"events.{source}.more"


class EventPublisher(Entered):
    """Serves a source's events, and tells listeners of new ones. A lifecycle service.

    `on_poke`: somebody has appended an event (see `poke_events`).
    """

    def __init__(
        self,
        transport: Transport,
        source: str,
        store: EventStore,
        *,
        on_poke: Callable[[], None] = lambda: None,
    ) -> None:
        self._transport = transport
        self._source = source
        self._endpoint = _Served(store, on_poke)
        self._everyone = Client(
            transport, Target(topic=more_topic(source), fanout=True), timeout_s=SEND_S
        )
        self._server: Server | None = None

    async def start(self) -> None:
        if self._server is not None:
            return
        target = Target(topic=events_topic(self._source), server=PUBLISHER)
        server = Server(self._transport, target, [self._endpoint], concurrency=SERVED_AT_ONCE)
        await server.start()
        self._server = server

    async def stop(self) -> None:
        """Idempotent."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop()

    async def send(self, n: int) -> None:
        """Tells all listeners that there are events up to `n`. Raises: MessageDeliveryFailure."""
        await self._everyone.cast({}, "more", n=n)


class _Served:
    """The endpoint of a source's events."""

    def __init__(self, store: EventStore, on_poke: Callable[[], None]) -> None:
        self._store = store
        self._on_poke = on_poke

    async def poke(self, context: Mapping[str, Any]) -> None:
        self._on_poke()

    async def take(
        self,
        context: Mapping[str, Any],
        pool: str,
        listener: str,
        limit: int,
        have: list[int],
        begin: Begin = "new",
    ) -> dict[str, Any]:
        items = await self._store.take(pool, listener, limit, have, begin)
        return {"items": [_encoded(item) for item in items], "claim_s": self._store.claim_s}

    async def acknowledge(
        self, context: Mapping[str, Any], pool: str, listener: str, ns: list[int]
    ) -> int:
        return await self._store.acknowledge(pool, listener, ns)

    async def hold(
        self, context: Mapping[str, Any], pool: str, listener: str, ns: list[int]
    ) -> list[int]:
        return await self._store.hold(pool, listener, ns)

    async def release(self, context: Mapping[str, Any], pool: str, listener: str) -> None:
        await self._store.release(pool, listener)

    async def pools(self, context: Mapping[str, Any]) -> list[dict[str, Any]]:
        return await self._store.pools()


def poke_events(transport: Transport, source: str) -> None:
    """Tells whoever publishes the source's events to look now. Does not wait, and may be lost."""
    Client(transport, Target(topic=events_topic(source)), timeout_s=SEND_S).post({}, "poke")


class EventListener(Entered):
    """Iterate it for the pool's events; that starts it. A lifecycle service.

    `begin`: where a pool begins that is not registered yet.
    """

    def __init__(
        self,
        transport: Transport,
        source: str,
        pool: str,
        *,
        begin: Begin = "new",
        prefetch: int = 32,
    ) -> None:
        """Raises: ValueError for a `prefetch` that is not 1 to 100."""
        if not 1 <= prefetch <= PREFETCH_MOST:
            raise ValueError(f"prefetch is 1 to {PREFETCH_MOST}")
        self._transport = transport
        self._source = source
        self._pool = pool
        self._begin = begin
        self._prefetch = prefetch
        self._name = new_hex(transport.random)
        self._client = Client(transport, Target(topic=events_topic(source)), timeout_s=ASK_S)
        self._again = self._client.to(idempotent=True)
        self._waiting: deque[Item] = deque()
        self._held: dict[int, float] = {}  # what is not acknowledged, and until when it is ours
        self._claim_s = 0.0
        self._woken = asyncio.Event()
        self._server: Server | None = None
        self._holding: asyncio.Task[None] | None = None
        self._new = True
        self._ended = False

    async def start(self) -> None:
        """Returns when it hears of new events. A listener is started once."""
        if not self._new:
            return
        self._new = False
        target = Target(topic=more_topic(self._source), fanout=True)
        server = Server(self._transport, target, [_Ears(self._woken)])
        await server.start()
        self._server = server
        self._holding = asyncio.get_running_loop().create_task(
            self._hold(), name=f"claims of {self._pool} on {self._source}"
        )
        self._transport.adopt(self)

    async def stop(self) -> None:
        """What was not acknowledged goes to another listener. Idempotent; iteration ends."""
        self._new, self._ended = False, True
        self._woken.set()
        server, self._server = self._server, None
        holding, self._holding = self._holding, None
        if server is None or holding is None:
            return
        self._transport.release(self)
        holding.cancel()
        await asyncio.wait([holding])
        await server.stop()
        if self._held:
            self._client.post({}, "release", pool=self._pool, listener=self._name)
        self._held.clear()

    async def acknowledge(self, *items: Item) -> None:
        """Returns when it is stored that these are done with; they do not come again.

        One that was not held in time is another's already, and stays so. Raises: MessagingError if
        nobody said that it is stored: they may come again.
        """
        ns = [item.n for item in items]
        client = self._again.to(timeout_s=max(ASK_S, self._claim_s))
        await client.call({}, "acknowledge", pool=self._pool, listener=self._name, ns=ns)
        for n in ns:
            self._held.pop(n, None)
        self._woken.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        """Raises: CallerError if the pool is refused."""
        await self.start()
        while not self._ended:
            while self._waiting:
                item = self._waiting.popleft()
                if self._held.get(item.n, 0.0) > self._now_s():
                    return item
                self._drop([item.n])
            self._woken.clear()
            if not await self._take():
                await self._wait()
        raise StopAsyncIteration

    async def _take(self) -> bool:
        """Whether something came."""
        room = self._prefetch - len(self._held)
        if room <= 0:
            return False
        began_s = self._now_s()
        try:
            answer = await self._client.call(
                {}, "take", pool=self._pool, listener=self._name, limit=room,
                have=list(self._held), begin=self._begin,
            )  # fmt: skip
            found = _answer(answer)
        except CallerError:
            raise
        except TransomError as error:
            self._log("events not taken", error)
            return False
        self._claim_s = found.claim_s
        for coded in found.items:
            item = _decoded(coded)
            self._held[item.n] = began_s + found.claim_s
            self._waiting.append(item)
        return bool(found.items)

    async def _wait(self) -> None:
        draw = int.from_bytes(self._transport.random(4)) / 2**32
        try:
            async with asyncio.timeout(LOOK_S * (0.75 + 0.5 * draw)):
                await self._woken.wait()
        except TimeoutError:
            return

    async def _hold(self) -> None:
        """Three times in a claim's time."""
        while True:
            await asyncio.sleep((self._claim_s or LOOK_S) / 3)
            now_s = self._now_s()
            self._drop([item.n for item in self._waiting if self._held.get(item.n, 0.0) <= now_s])
            ns = list(self._held)
            if not ns:
                continue
            try:
                ours: list[int] = await self._again.to(
                    timeout_s=min(ASK_S, self._claim_s / 3)
                ).call({}, "hold", pool=self._pool, listener=self._name, ns=ns)
            except TransomError as error:
                self._log("events not held", error)
                continue
            self._drop([n for n in ns if n not in ours])
            for n in ours:
                if n in self._held:
                    self._held[n] = now_s + self._claim_s

    def _drop(self, ns: Collection[int]) -> None:
        """Another listener has them, or may have."""
        for n in ns:
            self._held.pop(n, None)
        if ns:
            self._waiting = deque(item for item in self._waiting if item.n in self._held)

    def _now_s(self) -> float:
        return asyncio.get_running_loop().time()

    def _log(self, what: str, error: TransomError) -> None:
        about = {"source": self._source, "pool": self._pool}
        log.info(what, extra={**about, "detail": error.detail or error.text})


class _Ears:
    """The endpoint of the fan-out."""

    def __init__(self, woken: asyncio.Event) -> None:
        self._woken = woken

    async def more(self, context: Mapping[str, Any], n: int) -> None:
        self._woken.set()


class _Item(msgspec.Struct):
    n: int
    lost: int = 0
    at_ms: int = 0
    kind: str = ""
    payload: Any = None
    redelivered: bool = False


class _Answer(msgspec.Struct):
    items: list[_Item]
    claim_s: float


def _encoded(item: Item) -> dict[str, Any]:
    if isinstance(item, Lost):
        return {"n": item.n, "lost": item.count}
    return {
        "n": item.n,
        "at_ms": item.at_ms,
        "kind": item.kind,
        "payload": item.payload,
        "redelivered": item.redelivered,
    }


def _decoded(item: _Item) -> Item:
    if item.lost:
        return Lost(item.n, item.lost)
    return Event(item.n, item.at_ms, item.kind, item.payload, item.redelivered)


def _answer(value: object) -> _Answer:
    """Raises: InvalidEnvelope."""
    try:
        return msgspec.convert(value, _Answer)
    except msgspec.ValidationError as error:
        raise InvalidEnvelope("events have another form", detail=str(error)) from error
