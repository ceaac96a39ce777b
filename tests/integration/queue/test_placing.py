"""Where queues are, under races and cuts: each is in one store at most, and home says which."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from transom.errors import ConfigError, TransomError, Unavailable
from transom.node.lease import LeaseLost
from transom.queue.app import letters
from transom.queue.bus.relaying import Relay
from transom.queue.model import NO_PLACE, ClientId, NewMessage, Place, claim_text
from transom.queue.service import QueueService
from transom.queue.store import placing, relay
from transom.queue.store.relay import Relayed
from transom.queue.store.stores import Store
from transom.queue.store.verbs.letters import Arrive
from transom.queue.store.verbs.placing import PlaceQueue
from transom.queue.store.verbs.relay import TakeRows
from transom.runtime.auth.context import Context
from transom.runtime.clock import SystemClock

from support.postgres import Server
from support.queues import ADMIN, MovedClock, make_service, open_service

CALLER = Context("", user_id="u", project_id="p", roles=frozenset({"member"}))
CLIENT = ClientId(b"c" * 16)
NEW = [NewMessage(b"1", 600)]
NAMES = tuple(f"q{number}" for number in range(6))
SEED = 7


async def queues_of(store: Store) -> set[str]:
    rows = await store.database.read(lambda tx: tx.fetch("select name from queue"))
    return {row[0] for row in rows}


async def directory(service: QueueService, store: str) -> set[str]:
    found = await service.database.read(lambda tx: relay.queues_page(tx, store, "p", "", 1000))
    return {name for name, _ in found}


@pytest.fixture
async def shards(tmp_path: Path) -> AsyncIterator[QueueService]:
    async with open_service(tmp_path, MovedClock(), shards=3) as service:
        yield service


@pytest.fixture
async def pair(tmp_path: Path, postgres: Server) -> AsyncIterator[list[QueueService]]:
    """Two processes' worth of one home and one pool, both on a server."""
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(open_service(tmp_path, MovedClock()))
        second = await stack.enter_async_context(open_service(tmp_path, MovedClock(), seed=2))
        name = f"race-{tmp_path.name}"[:40]
        await first.app.pools.create(ADMIN, name, postgres.url, 100, "", b"{}")
        yield [first, second]


@pytest.mark.parametrize("seed", range(3))
async def test_processes_that_make_and_delete_the_same_queues_agree(
    pair: list[QueueService], seed: int
) -> None:
    dice = random.Random(seed)

    async def goes_on(service: QueueService) -> None:
        for _ in range(25):
            name = dice.choice(NAMES)
            with suppress(Unavailable):
                if dice.random() < 0.5:
                    await service.app.messages.post(CALLER, name, CLIENT, NEW, 10)
                else:
                    await service.app.queues.delete(CALLER, name)

    await asyncio.gather(*(goes_on(service) for service in pair for _ in range(2)))
    first, second = pair
    for one in await settled(first):
        home = await first.database.read(partial(placing.find, place=Place("p", one)))
        holders = [store.name for store in first.stores.every() if one in await queues_of(store)]
        assert home is not None
        assert holders == [home.store]
        here = await first.app.queues.stats(CALLER, one)
        assert here == await second.app.queues.stats(CALLER, one)
        assert here.total > 0


async def settled(service: QueueService) -> list[str]:
    found: list[str] = []
    for store in service.stores.every():
        found += sorted(await queues_of(store))
    assert len(found) == len(set(found))
    return found


async def test_processes_that_make_a_queue_of_two_flavors_at_once_agree(
    pair: list[QueueService], tmp_path: Path, postgres: Server
) -> None:
    for flavor in ("fast", "slow"):
        name = f"{flavor}-{tmp_path.name}"[:40]
        await pair[0].app.pools.create(ADMIN, name, postgres.url, 100, flavor, b"{}")
    await pair[1].stores.refresh()
    names = [f"r{number}" for number in range(20)]
    wishes = [
        (service, name, flavor)
        for name in names
        for service, flavor in zip(pair, ("fast", "slow"), strict=True)
    ]

    async def wish(service: QueueService, name: str, flavor: str) -> None:
        with suppress(Unavailable):
            await service.app.queues.create(CALLER, name, {"_flavor": flavor})

    await asyncio.gather(*(wish(*one) for one in wishes))
    for name in names:
        metadata = await pair[0].app.queues.show(CALLER, name)
        holders = [it.name for it in pair[0].stores.every() if name in await queues_of(it)]
        assert len(holders) == 1
        assert holders[0].startswith(f"pool-{metadata['_flavor']}-")


async def test_who_remembers_a_pool_that_is_gone_finds_the_queue_where_it_was_made_anew(
    pair: list[QueueService],
) -> None:
    first, second = pair
    pool = next(name for name in (it.name for it in first.stores.every()) if name)
    of_pool = pool.removeprefix("pool-")
    await first.app.pools.change(
        ADMIN, of_pool, uri=None, weight=4_000_000_000, flavor=None, options=None
    )
    await second.app.messages.post(CALLER, "q", CLIENT, NEW, 10)
    assert (await second.stores.of(Place("p", "q"))).name == pool
    await first.app.queues.delete(CALLER, "q")
    await first.app.pools.delete(ADMIN, of_pool)
    await first.app.messages.post(CALLER, "q", CLIENT, NEW, 10)
    await second.stores.refresh()
    await second.app.messages.post(CALLER, "q", CLIENT, NEW, 10)
    assert (await second.app.queues.stats(CALLER, "q")).total == 2


async def test_a_place_that_was_never_used_binds_nobody_to_its_flavor(tmp_path: Path) -> None:
    async with open_service(tmp_path, MovedClock()) as service:
        await service.app.pools.create(ADMIN, "one", "sqlite:one", 100, "fast", b"{}")
        await service.app.pools.create(ADMIN, "two", "sqlite:two", 100, "slow", b"{}")
        for name in ("plain", "slow", "fast"):
            await service.writer.write(PlaceQueue(Place("p", name), "fast", -1, ()))
        await service.app.messages.post(CALLER, "plain", CLIENT, NEW, 10)
        assert await service.app.queues.create(CALLER, "slow", {"_flavor": "slow"})
        assert await service.app.queues.create(CALLER, "fast", {"_flavor": "fast"})
        await service.app.messages.post(CALLER, "fast", CLIENT, NEW, 10)
        found = {store.name: await queues_of(store) for store in service.stores.every()}
    assert found == {"": {"plain"}, "pool-one": {"fast"}, "pool-two": {"slow"}}


@pytest.mark.parametrize("number", [1, 3])
async def test_a_shard_whose_file_is_gone_is_told_at_the_start(tmp_path: Path, number: int) -> None:
    async with open_service(tmp_path, MovedClock(), shards=3) as service:
        for name in NAMES:
            await service.app.messages.post(CALLER, name, CLIENT, NEW, 10)
        for one in service.relays.all():
            await one.quiet()
        assert await queues_of(service.stores.every()[2])
    for path in tmp_path.glob("queue-2.db*"):
        path.rename(path.with_suffix(".kept"))
    for _ in range(2):  # nor does another start forget it
        service = make_service(tmp_path, MovedClock(), shards=number)
        with pytest.raises(ConfigError, match=r"queue-2.db.*restore a backup"):
            await service.start()
        await service.stop()
    for path in tmp_path.glob("queue-2.db*"):
        path.unlink()
    (tmp_path / "queue-2.kept").rename(tmp_path / "queue-2.db")
    async with open_service(tmp_path, MovedClock(), shards=number) as service:
        for name in NAMES:
            assert (await service.app.queues.stats(CALLER, name)).total == 1


async def test_shards_that_are_no_longer_wished_are_served_and_get_nothing_new(
    tmp_path: Path,
) -> None:
    async with open_service(tmp_path, MovedClock(), shards=3) as service:
        for name in NAMES:
            await service.app.messages.post(CALLER, name, CLIENT, NEW, 10)
        before = [await queues_of(store) for store in service.stores.every()]
    async with open_service(tmp_path, MovedClock(), shards=1) as service:
        for name in NAMES:
            await service.app.messages.post(CALLER, name, CLIENT, NEW, 10)
            await service.app.messages.post(CALLER, f"new-{name}", CLIENT, NEW, 10)
            assert (await service.app.queues.stats(CALLER, name)).total == 2
        fresh = {f"new-{name}" for name in NAMES}
        after = [await queues_of(store) for store in service.stores.every()]
    assert after == [before[0] | fresh, *before[1:]]


async def test_numbers_go_on_wherever_a_queue_is_made_again(shards: QueueService) -> None:
    seen: list[int] = []
    for _ in range(5):
        posted = await shards.app.messages.post(CALLER, "q", CLIENT, NEW, 10)
        seen.append(posted.ids[0].sequence)
        await shards.app.queues.delete(CALLER, "q")
    assert seen == sorted(set(seen))


async def test_a_post_that_is_refused_leaves_no_place_behind(shards: QueueService) -> None:
    for name in NAMES:
        with pytest.raises(TransomError):
            await shards.app.messages.post(CALLER, name, CLIENT, NEW, 1 << 30)
    for one in shards.relays.all():
        await one.quiet()
        await one.quiet()
    for store in ("", "shard-1", "shard-2"):
        rows = await shards.database.read(
            lambda tx, name=store: placing.placed_in(tx, name, NO_PLACE, 100)
        )
        assert rows == []


class Cut(Exception):
    """The process ends here."""


class Cutting:
    """A database or a writer whose process ends before or after one of its writes."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.left = -1
        self.after = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def write(self, verb: Any) -> Any:
        self.left -= 1
        if self.left == 0 and not self.after:
            raise Cut
        answer = await self._inner.write(verb)
        if self.left == 0:
            raise Cut
        return answer


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", [1, 2])
@pytest.mark.parametrize("side", ["home", "store"])
async def test_a_relay_that_is_cut_anywhere_goes_on_and_ends_the_same(
    shards: QueueService, side: str, at: int, after: bool
) -> None:
    names = [f"q{number}" for number in range(30)]
    for one in shards.relays.all():
        await one.stop()
    for name in names:
        await shards.app.queues.create(CALLER, name, {})
    for name in names[::2]:
        await shards.app.queues.delete(CALLER, name)
    store = next(it for it in shards.stores.every() if it.name == "shard-1")
    kept = await queues_of(store)
    home, own = Cutting(shards.writer), Cutting(store.database)
    cut_home = Store("", shards.database, home)  # type: ignore[arg-type]
    cut_store = Store("shard-1", own, store.writer)  # type: ignore[arg-type]
    changes: list[int] = []
    mover = Relay(cut_store, cut_home, "h", SystemClock(), lambda: changes.append(1))
    cutting = home if side == "home" else own
    cutting.left, cutting.after = at, after
    with pytest.raises(Cut):
        while await mover.step(5):
            pass
    cutting.left = -1
    again = Relay(cut_store, cut_home, "h", SystemClock(), lambda: changes.append(1))
    while await again.step(6):
        pass
    assert kept
    assert await directory(shards, "shard-1") == kept
    for sql in ("select * from pointer", "select * from vacated"):
        assert await store.database.read(lambda tx, text=sql: tx.fetch(text)) == []
    placed = await shards.database.read(lambda tx: placing.placed_in(tx, "shard-1", NO_PLACE, 1000))
    assert {place.name for place, _ in placed} == kept
    for name in names[::2]:
        assert await shards.app.queues.create(CALLER, name, {})


async def test_rows_of_one_who_relayed_before_are_refused(shards: QueueService) -> None:
    row = Relayed("queue:queues", ("p", "q"), b'{"name":"q","metadata":{}}')
    await shards.writer.write(TakeRows(NO_PLACE, "shard-9", 4, (row,)))
    late = Relayed("queue:queues", ("p", "q"), None)
    with pytest.raises(LeaseLost):
        await shards.writer.write(TakeRows(NO_PLACE, "shard-9", 3, (late,)))
    assert await directory(shards, "shard-9") == {"q"}


async def test_queues_that_cannot_be_reached_hold_up_no_letters_to_others(
    shards: QueueService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(letters, "WAYS_AT_ONCE", 2)
    monkeypatch.setattr(letters, "BROUGHT_AT_ONCE", 2)
    app, away = shards.app, {f"r{number}" for number in range(6)}
    write = app.access.write

    async def reached(verb: Any) -> Any:
        if isinstance(verb, Arrive) and verb.place.name in away:
            raise Unavailable("It is away.")
        return await write(verb)

    monkeypatch.setattr(app.access, "write", reached)
    await app.queues.create(CALLER, "q", {"_dead_letter_queue": "dead"})
    await app.messages.post(CALLER, "q", CLIENT, NEW * 18, 10)
    claim = await app.claims.take(CALLER, "q", 60, 60, 18)
    assert claim is not None
    await app.claims.reject(CALLER, "q", claim_text(claim.id), None, "")
    await app.letters.deliver()
    for name in sorted(away):
        redriven = await app.letters.redrive(CALLER, "dead", 3, None, name)
        assert (redriven.moved, redriven.departed) == (3, True)
    away.remove("r5")
    for _ in range(4):
        with suppress(Unavailable):
            await app.letters.deliver()
    assert (await app.queues.stats(CALLER, "r5")).total == 3
    away.clear()
    for _ in range(4):
        await app.letters.deliver()
    assert {(await app.queues.stats(CALLER, f"r{at}")).total for at in range(6)} == {3}
