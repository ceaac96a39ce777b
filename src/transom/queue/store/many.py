# SPDX-License-Identifier: Apache-2.0
"""Several databases with queues: the home, its shards, and pools that come and go.

Invariants:
1. A cached place is checked by the database that is asked, in the same transaction; one that is no
   longer true costs another look at home, and never a wrong answer.
2. What cannot be reached makes its own queues unavailable, and no others.
3. Every process knows of a pool `SETTLE_S` after it was added; until then it gets no queues.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, TypeVar, cast

import msgspec

from transom.errors import ConfigError, TransomError, Unavailable
from transom.queue.logic.attributes import FLAVOR
from transom.queue.model import NO_PLACE, NotHere, NotPlaced, Place
from transom.queue.store import placing, pools, relay
from transom.queue.store.placing import HOME, SHARD, Ticket, Vacated
from transom.queue.store.pools import Pool
from transom.queue.store.stores import Fit, Neighbour, PoolOpener, Store
from transom.queue.store.verbs.catalogue import Once
from transom.queue.store.verbs.placing import ForgetPlaces, Join, PlaceQueue, VoidTicket
from transom.queue.store.verbs.queues import CreateQueue
from transom.queue.store.verbs.travelling import Here
from transom.queue.store.verbs.verb import WriteVerb
from transom.runtime.db.transaction import Transaction
from transom.runtime.sealing import Sealer
from transom.runtime.secrets import Secret

log = logging.getLogger(__name__)
T = TypeVar("T")

LOOK_S = 0.5
SETTLE_S = 3 * LOOK_S
AGAIN_S = 1.0
OPEN_S = 5.0
TRIES = 6
CACHED_MOST = 100_000
RETRY_AFTER_S = 2


class ManyStores:
    """A `Stores`, and a service. `shards`: all but the home; `sealer`: of the pools' addresses."""

    def __init__(
        self,
        home: Store,
        shards: Sequence[Neighbour] = (),
        opener: PoolOpener | None = None,
        sealer: Sealer | None = None,
        on_open: Callable[[Store], Awaitable[None]] | None = None,
        on_close: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        self.home = home
        self._shards = shards
        self._opener = opener
        self._sealer = sealer
        self._on_open = on_open
        self._on_close = on_close
        self._open: dict[str, Neighbour] = {}
        self._wanted: dict[str, Pool] = {}
        self._why: dict[str, str] = {}
        self._openings: dict[str, asyncio.Task[None]] = {}
        self._version = -1
        self._places: dict[Place, str] = {}
        self._looking: asyncio.Task[None] | None = None
        self._refreshing = asyncio.Lock()
        self.alone = not shards

    async def start(self) -> None:
        """The home is open. Raises: what opening a shard does."""
        if self._shards and self.home.owned:
            await self.home.writer.write(Join(NO_PLACE, HOME, ""))
        await self._refuse_missing({shard.store.name for shard in self._shards})
        for shard in self._shards:
            await shard.start()
            try:
                if shard.store.owned:
                    await self._join(shard.store)
                await self._add(shard)
            except BaseException:  # Safety: let go, and raised again
                await shard.stop()
                raise
        await self.refresh()
        self._looking = asyncio.get_running_loop().create_task(self._look(), name="queue-pools")

    async def stop(self) -> None:
        tasks = [task for task in (self._looking, *self._openings.values()) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._looking = None
        self._openings.clear()
        for name in reversed(list(self._open)):
            await self._remove(name)
        self._version = -1
        self._wanted.clear()

    def give_up(self) -> None:
        for neighbour in self._open.values():
            neighbour.give_up()

    def every(self) -> Sequence[Store]:
        return (self.home, *(neighbour.store for neighbour in self._open.values()))

    def away(self) -> Sequence[str]:
        return [name for name in self._wanted if name not in self._open]

    def reasons(self) -> dict[str, str]:
        """Why each that is away is so, for people."""
        return {name: self._why.get(name, "is being opened") for name in self.away()}

    def warning(self) -> str:
        """What a person should know of stores that are not at hand."""
        told = [f"{name}: {why}" for name, why in self.reasons().items()]
        for neighbour in self._open.values():
            store = neighbour.store
            if problem := store.database.problem or store.writer.problem:
                told.append(f"{store.name}: {problem}")
        return "; ".join(told)

    def problem(self) -> str:
        """Why this process has to be started anew, though others of its stores are written."""
        others = [shard.store for shard in self._shards if shard.store.owned]
        return "; ".join(told for store in others if (told := store.writer.problem))

    async def of(self, place: Place) -> Store:
        if self.alone:
            return self.home
        name = self._places.get(place)
        if name is not None:
            return await self._store(name)
        found = await self._find(place)
        return self.home if found is None else await self._store(found.store)

    async def read(self, place: Place, verb: Callable[[Transaction], Awaitable[T]]) -> T:
        async def both(tx: Transaction) -> tuple[bool, T]:
            return await placing.is_here(tx, place), await verb(tx)

        name = self._places.get(place)
        if name is not None:
            here, answer = await (await self._store(name)).database.read(both)
            if here:
                return answer
            self._places.pop(place, None)
        store = await self.of(place)
        here, answer = await store.database.read(both)
        if here:
            self._remember(place, store.name)
        return answer

    async def write(self, verb: WriteVerb[T], fitted: Fit) -> T:
        """Raises: also Unavailable if the queue is made and deleted all the time."""
        place, refused = verb.place, -1
        if self.alone:
            await self.refresh()
        name = self._places.get(place)
        ticket: Ticket | None = None
        for _ in range(TRIES):
            if name is None:
                ticket = await (self._find(place) if refused < 0 else self._placed(verb, refused))
                if ticket is not None and await self._freed(verb, ticket):
                    refused, ticket = max(refused, ticket.generation), None
                    continue
                name = None if ticket is None else ticket.store
            store = self.home if name is None else await self._store(name)
            made = await fitted(store, verb)
            if name is not None:
                made = cast(WriteVerb[T], Here(ticket, cast(Any, made)))
            try:
                answer: T = await store.writer.write(made)
            except NotHere as error:
                refused = max(refused, -1 if ticket is None else ticket.generation)
                if isinstance(error, NotPlaced):
                    refused = max(refused, 0)
                self._places.pop(place, None)
                name = ticket = None
                continue
            except TransomError:
                if ticket is not None and refused >= 0:
                    await self._give_back(place, ticket)
                raise
            if name is not None:
                self._remember(place, name)
            return answer
        raise Unavailable("The queue is being made and deleted by others; try again.")

    async def refresh(self) -> None:
        """Looks which pools there are, and opens those that are new."""
        async with self._refreshing:
            version = await self.home.database.read(pools.version)
            if version == self._version:
                return
            version, found = await self.home.database.read(pools.every)
            wanted = {pool.store: pool for pool in found}
            for name, before in list(self._wanted.items()):
                now = wanted.get(name)
                if now is None or (now.uri, now.identity) != (before.uri, before.identity):
                    await self._want_no_more(name)
            for name, pool in wanted.items():
                if name not in self._wanted:
                    self._openings[name] = asyncio.get_running_loop().create_task(
                        self._open_pool(pool), name=f"open:{name}"
                    )
            self._wanted = wanted
            self._version = version
            self.alone = not (self._shards or wanted)
            fresh = [self._openings[name] for name in wanted if name in self._openings]
            if fresh:
                await asyncio.wait(fresh, timeout=OPEN_S)

    async def lose(self, name: str, why: str) -> None:
        """The store cannot be used any more, and is tried for again after a while."""
        await self._remove(name)
        pool = self._wanted.get(name)
        if pool is not None and name not in self._openings:
            self._why[name] = why
            task = self._open_pool(pool, AGAIN_S)
            self._openings[name] = asyncio.get_running_loop().create_task(task, name=f"open:{name}")

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self.refresh()
            except TransomError as error:
                log.info("pools not looked up", extra={"detail": error.detail or error.text})
            except Exception:  # Safety: the next look may succeed, and the stores go on
                log.exception("pools not looked up")

    async def _open_pool(self, pool: Pool, pause_s: float = 0.0) -> None:
        """Tries until it is open."""
        await asyncio.sleep(pause_s)
        while True:
            try:
                await self._opened(pool)
            except TransomError as error:
                if self._why.get(pool.store) != error.text:
                    log.warning("pool away", extra={"pool": pool.name, "detail": error.text})
                self._why[pool.store] = error.text
            except Exception:  # Safety: one pool must not end what opens it, for ever
                log.exception("pool not opened", extra={"pool": pool.name})
                self._why[pool.store] = "cannot be opened; see the log"
            else:
                self._why.pop(pool.store, None)
                self._openings.pop(pool.store, None)
                return
            await asyncio.sleep(AGAIN_S)

    async def _opened(self, pool: Pool) -> None:
        if self._opener is None or self._sealer is None:
            raise ConfigError("pools are not offered by this process")
        uri = Secret(self._sealer.open(pool.uri, pools.purpose(pool.name)).decode())
        neighbour = self._opener.pool(pool.name, uri)
        await neighbour.start()
        try:
            found = await neighbour.store.database.read(placing.member)
            if found is None:
                raise ConfigError(
                    f"the database of the pool {pool.name!r} is new and empty; put the old one "
                    "back, or restore a backup"
                )
            if found != (pool.store, pool.identity):
                raise ConfigError(f"the database of the pool {pool.name!r} is not its own any more")
            await self._add(neighbour)
        except BaseException:  # Safety: let go, and raised again
            await neighbour.stop()
            raise

    async def _refuse_missing(self, shards: AbstractSet[str]) -> None:
        """Raises: ConfigError if a shard is not there in which home knows of queues."""
        known = await self.home.database.read(relay.stores)
        missing = [name for name in known if name.startswith(SHARD) and name not in shards]
        if missing:
            files = ", ".join(f"queue-{name.removeprefix(SHARD)}.db" for name in missing)
            raise ConfigError(
                f"{files}: gone from the data folder, and there were queues in it; put the old "
                "file back, or restore a backup"
            )

    async def _join(self, store: Store) -> None:
        """Raises: ConfigError if it is another one, or was emptied."""
        new = await store.database.read(placing.member) is None
        if new and store.name in await self.home.database.read(relay.stores):
            raise ConfigError(
                f"{store.database.name}.db: is new and empty, and there were queues in it; put "
                "the old file back, or restore a backup"
            )
        if not await store.writer.write(Join(NO_PLACE, store.name, "")):
            raise ConfigError(f"{store.database.name}.db: holds queues of another store")

    async def _add(self, neighbour: Neighbour) -> None:
        self._open[neighbour.store.name] = neighbour
        if self._on_open is not None:
            await self._on_open(neighbour.store)

    async def _want_no_more(self, name: str) -> None:
        self._wanted.pop(name, None)
        self._why.pop(name, None)
        # A pool that is gone says of no queue that it is elsewhere.
        self._places = {place: at for place, at in self._places.items() if at != name}
        opening = self._openings.pop(name, None)
        if opening is not None:
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)
        await self._remove(name)

    async def _remove(self, name: str) -> None:
        neighbour = self._open.pop(name, None)
        if neighbour is None:
            return
        if self._on_close is not None:
            await self._on_close(name)
        await neighbour.stop()

    async def _store(self, name: str) -> Store:
        """Raises: Unavailable."""
        if name == HOME:
            return self.home
        if name not in self._open and name not in self._wanted:
            await self.refresh()
        neighbour = self._open.get(name)
        if neighbour is None:
            raise Unavailable(
                "The pool that holds this queue does not answer; try again. Other queues go on.",
                retry_after_s=RETRY_AFTER_S,
                detail=f"{name}: {self._why.get(name, 'is not known here')}",
            )
        return neighbour.store

    async def _find(self, place: Place) -> Ticket | None:
        return await self.home.database.read(lambda tx: placing.find(tx, place))

    async def _placed(self, verb: WriteVerb[Any], refused: int) -> Ticket:
        away = tuple(self.away())
        return await self.home.writer.write(PlaceQueue(verb.place, flavor_of(verb), refused, away))

    async def _freed(self, verb: WriteVerb[Any], ticket: Ticket) -> bool:
        """Whether the queue had a place by another flavor, was not made there, and never will be:
        who had asked for it is gone, or has to ask again."""
        flavor, place = flavor_of(verb), verb.place
        if self._flavor_at(ticket.store) == flavor:
            return False
        await self.refresh()
        store = await self._store(ticket.store)
        if self._flavor_at(ticket.store) == flavor:
            return False
        if await store.database.read(lambda tx: placing.is_here(tx, place)):
            return False
        if not await store.writer.write(VoidTicket(place, ticket.generation)):
            return False
        gone = Vacated(place, ticket.generation, 1)
        await self.home.writer.write(ForgetPlaces(NO_PLACE, ticket.store, (gone,)))
        return True

    def _flavor_at(self, name: str) -> str:
        """That of queues which are made there, as far as this process knows."""
        pool = self._wanted.get(name)
        return "" if pool is None else pool.flavor

    async def _give_back(self, place: Place, ticket: Ticket) -> None:
        """The queue was not made after all: its place is free again, soon."""
        with contextlib.suppress(TransomError):
            store = await self._store(ticket.store)
            await store.writer.write(VoidTicket(place, ticket.generation))

    def _remember(self, place: Place, name: str) -> None:
        if len(self._places) >= CACHED_MOST:
            self._places.clear()
        self._places[place] = name


def flavor_of(verb: WriteVerb[Any]) -> str:
    """What the queue asks for that the verb makes; "" if nothing."""
    inner = verb.verb if isinstance(verb, Once) else verb
    if not isinstance(inner, CreateQueue):
        return ""
    return msgspec.json.decode(inner.metadata).get(FLAVOR) or ""
