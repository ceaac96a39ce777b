# SPDX-License-Identifier: Apache-2.0
"""Power cuts at every prefix of a recorded load: what the stores find, and whether all is there.

At each prefix the disk may hold several states (`STATES`). The real store opens each, checks it,
and what it finds is compared with what had been asked and told until then:

1. Every step that was told is there, exactly once; of one under way all or nothing.
2. The feed's log has every change set that was told, as it was told, without a hole; its rows and
   digests are their sum; a new publisher goes on with the next number and a higher generation.
3. What is posted now has a higher number than everything that was told.
"""

import asyncio
import json
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from transom.errors import TransomError
from transom.messaging.proto.feed import MODULUS, Key, Row, encoded_row, hash_bytes
from transom.node.feed import DurableFeed
from transom.queue.bus.rows import read_own_row
from transom.queue.contract import QUEUES
from transom.queue.model import (
    ClientId,
    Message,
    MessageFilter,
    MessageId,
    NewMessage,
    Place,
    claim_text,
)
from transom.queue.service import QueueService
from transom.queue.store.keys import OF_USER
from transom.runtime.db.transaction import Database, Transaction

from support.diskreplay import Disk, Recording, State, Write, lay_out
from support.powerlife import Held, IdentityFound, IdentityLife, QueueFound, QueueLife, Told
from support.powerload import (
    CALLERS,
    CLOCK,
    CONTEXT,
    DEAD,
    feed_of,
    identity_at,
    lead,
    print_of,
    queue_at,
)

STATES: Mapping[str, Callable[[Disk, random.Random], State]] = {
    "all kept": lambda disk, draw: disk.kept(),
    "unsynced lost": lambda disk, draw: disk.forgotten(),
    "contents lost": lambda disk, draw: disk.contents_forgotten(),
    "names lost": lambda disk, draw: disk.names_forgotten(),
    "drawn": lambda disk, draw: disk.drawn(draw),
}
Look: TypeAlias = Callable[[Path, "Found"], Awaitable[None]]
EVERYTHING = MessageFilter(include_claimed=True, include_delayed=True)
RELAYED_S = 20.0
KEYS = """
select key, sequence, token from message_key
where keys_id = (select coalesce(keys_id, content_id) from queue where project_id = ? and name = ?)
"""


@dataclass(slots=True)
class Found:
    """What was there after a cut. `faults`: what is wrong with it whatever was told before."""

    faults: list[str] = field(default_factory=list)
    shares: dict[str, QueueFound | IdentityFound] = field(default_factory=dict)
    prints: list[str] = field(default_factory=list)
    generation: int = 0
    fresh: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Table:
    """`states`: by kind, those that differed from all before and so were opened."""

    prefixes: int = 0
    steps: int = 0
    states: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def replay(
    recording: Recording,
    seed: int,
    *,
    shards: int = 1,
    every: int = 1,
    drawn_every: int = 1,
    deaf_folders: bool = False,
    kinds: Iterable[str] = tuple(STATES),
    faults_most: int = 10,
) -> Table:
    """Cuts the power at every prefix; see the module.

    `shards`: in so many files are the queue's data. `every`: which prefixes are looked at. States
    are drawn at each `drawn_every`th prefix and after each answer. Ends at `faults_most`.
    """
    opened = _Opened(recording.root.parent, shards)
    strides = {kind: drawn_every if kind == "drawn" else 1 for kind in kinds}
    disk = Disk(recording.root, deaf_folders=deaf_folders)
    return asyncio.run(_replay(recording, disk, opened, seed, every, strides, faults_most))


async def _replay(
    recording: Recording,
    disk: Disk,
    opened: "_Opened",
    seed: int,
    every: int,
    strides: Mapping[str, int],
    faults_most: int,
) -> Table:
    table = Table()
    names = [f"q{number}" for number in range(CALLERS)]
    told = Told({"identity": IdentityLife(), **{name: QueueLife(name) for name in names}})
    draw = random.Random(seed)
    for number, write in enumerate(recording.writes):
        changed = disk.take(write)
        answer = _told_line(disk, write)
        if answer is not None:
            told.hear(answer)
        if not changed:
            continue
        table.prefixes += 1
        if number % every:
            continue
        for kind, stride in strides.items():
            if number % stride and answer is None:
                continue
            for found in await opened.find(STATES[kind](disk, draw), kind, table):
                faults = judge(found, told)
                table.faults += [f"prefix {number}, {kind}: {fault}" for fault in faults]
        if len(table.faults) >= faults_most:
            break
    table.steps = told.steps
    return table


def _told_line(disk: Disk, write: Write) -> bytes | None:
    return write.data if write.what == "W" and disk.is_of(write, "told") else None


def judge(found: Found, told: Told) -> list[str]:
    """What one store lost, doubled or made up."""
    if found.faults:
        return found.faults
    faults = [told.missing(who, share) for who, share in found.shares.items()]
    if found.fresh:
        faults += _judge_feed(found, told)
    for who, fresh in found.fresh.items():
        life = told.lives[who]
        assert isinstance(life, QueueLife)
        if fresh <= life.last:
            faults.append(f"{who} gives out {fresh} after {life.last}")
    return [fault for fault in faults if fault]


def _judge_feed(found: Found, told: Told) -> Iterator[str]:
    last = max(told.prints, default=0)
    if len(found.prints) not in (last, last + 1):
        yield f"{len(found.prints)} change sets, {last} told"
    for n, print_told in told.prints.items():
        if found.prints[n - 1 : n] != [print_told]:
            yield f"change set {n} is not the one that was told"
    if found.generation <= told.generation:
        yield f"generation {told.generation} was given out again"


class _Opened:
    """Opens each state of each store once, however many prefixes lead to it."""

    def __init__(self, folder: Path, shards: int) -> None:
        self._folder = folder
        self._looks: Mapping[str, Look] = {
            "data/queue": partial(_look_at_queue, shards=shards),
            "data/identity": _look_at_identity,
        }
        self._known: dict[Hashable, Found] = {}

    async def find(self, state: State, kind: str, table: Table) -> list[Found]:
        """What each store finds."""
        found = []
        for name, look in self._looks.items():
            part = {path: content for path, content in state.items() if path.startswith(name)}
            key = (name, *((path, hash(content)) for path, content in part.items()))
            if key not in self._known:
                table.states[kind] += 1
                self._known[key] = await self._open(part, look)
            found.append(self._known[key])
        return found

    async def _open(self, part: State, look: Look) -> Found:
        place = Path(tempfile.mkdtemp(prefix="cut-", dir=self._folder))
        found = Found()
        lay_out({"data": None, **part}, place)
        try:
            await look(place / "data", found)
        except TransomError as error:
            found.faults.append(f"{type(error).__name__}: {error.text} {error.detail}")
        shutil.rmtree(place)
        return found


async def _whole(database: Database, found: Found) -> None:
    ((answer,),) = await database.read(_rows("pragma integrity_check(1)"))
    if answer != "ok":
        found.faults.append(f"{database.name}: {answer}")


async def _look_at_queue(data: Path, found: Found, *, shards: int) -> None:
    names = [f"q{number}" for number in range(CALLERS)]
    service = queue_at(data, 99, shards=shards, inline_writer=True)
    await service.start()
    try:
        for store in service.stores.every():
            await _whole(store.database, found)
        await service.app.letters.deliver()
        rows = await _rows_of_all(service)
        for name in names:
            found.shares[name] = await _share(service, name, rows)
        feed = feed_of(service.database)
        await _look_at_feed(feed, found)
        body = NewMessage(b'"fresh"', 3600, 0)
        post, client = service.app.messages.post, ClientId(b"2" * 16)
        posts = [post(CONTEXT, one, client, [body], 10) for one in names]
        for name, posted in zip(names, await asyncio.gather(*posts), strict=True):
            found.fresh[name] = str(posted.ids[0])
        found.generation = await lead(service.database)
        async with asyncio.timeout(RELAYED_S):
            for relay in service.relays.all():
                await relay.quiet()
        await _goes_on(feed, found)
        if await _published(feed) != await _rows_of_all(service):
            found.faults.append("the published rows are not the queues")
    finally:
        await service.stop()


async def _goes_on(feed: DurableFeed, found: Found) -> None:
    n = len(found.prints)
    while await feed.waiting():
        change_set = await feed.publish_once(found.generation)
        n += change_set is not None
        if change_set is not None and change_set.n != n:
            found.faults.append(f"change set {change_set.n} comes after {n - 1}")


async def _share(service: QueueService, name: str, rows: Mapping[Key, Row]) -> QueueFound:
    listed = await service.app.messages.page(CONTEXT, name, EVERYTHING, None, 10_000)
    known = [row for row in rows.values() if "value" in row["metadata"]]
    others = {row["name"]: row["metadata"]["value"] for row in known}
    mine = {key: value for key, value in others.items() if key.startswith(f"{name}-")}
    stats = await service.app.queues.stats(CONTEXT, name)
    dead = await service.app.messages.page(CONTEXT, name + DEAD, EVERYTHING, None, 10_000)
    place = Place(CONTEXT.project_id, name)
    keys = await service.stores.read(place, lambda tx: tx.fetch(KEYS, (place.project_id, name)))
    return QueueFound(
        [_held(message) for message in listed],
        mine,
        stats.total,
        [_held(message) for message in dead],
        {key.removeprefix(OF_USER): str(MessageId(*one)) for key, *one in keys},
    )


def _held(message: Message) -> Held:
    claim = "" if message.claim_id is None else claim_text(message.claim_id)
    end_ms = message.available_ms
    hidden_s = 0 if end_ms is None else (end_ms - CLOCK.now_ms()) // 1000
    body = json.loads(message.body)
    return Held(str(message.id), body, claim, hidden_s, len(message.deaths))


def _rows(sql: str) -> Callable[[Transaction], Awaitable[list[tuple[Any, ...]]]]:
    return lambda transaction: transaction.fetch(sql)


async def _rows_of_all(service: QueueService) -> dict[Key, Row]:
    """What the feed should say."""
    rows: dict[Key, Row] = {}
    for store in service.stores.every():
        rows |= await store.database.read(_queues)
    return rows


async def _queues(transaction: Transaction) -> dict[Key, Row]:
    """A verb: those of one store."""
    keys = await transaction.fetch("select project_id, name from queue")
    rows = [await read_own_row(transaction, QUEUES.name, (one, two)) for one, two in keys]
    return {tuple(key): row for key, row in zip(keys, rows, strict=True) if row is not None}


async def _published(feed: DurableFeed) -> dict[Key, Row]:
    chunk = await feed.snapshot([], None, 10_000)
    assert chunk.after is None
    return {change.key: change.row for change in chunk.rows if change.row is not None}


async def _look_at_feed(feed: DurableFeed, found: Found) -> None:
    head = await feed.head()
    sets = []
    while page := await feed.since(head.epoch, len(sets), 1000):
        sets += page
    if [one.n for one in sets] != list(range(1, head.n + 1)):
        found.faults.append(f"the feed's log has a hole before {head.n}")
    rows: dict[Key, Row] = {}
    for change in [change for one in sets for change in one.changes]:
        rows.pop(change.key, None)
        if change.row is not None:
            rows[change.key] = change.row
    if rows != await _published(feed):
        found.faults.append("the published rows are not the sum of the feed's log")
    hashes = [hash_bytes(encoded_row(QUEUES.name, key, row)) for key, row in rows.items()]
    if head.digest != sum(hashes) % MODULUS:
        found.faults.append("the feed's digest is not that of its rows")
    found.prints = [print_of(one) for one in sets]


async def _look_at_identity(data: Path, found: Found) -> None:
    database = identity_at(data, inline_writer=True)
    await database.start()
    try:
        await _whole(database, found)
        users = await database.read(_rows("select id, enabled from users"))
        projects = await database.read(_rows("select id from projects"))
        grants = await database.read(_rows("select user_id, project_id from grants"))
    finally:
        await database.stop()
    found.shares["identity"] = IdentityFound(
        {user[1:]: bool(enabled) for user, enabled in users},
        {project[1:] for (project,) in projects},
        {user[1:] for user, project in grants if user[1:] == project[1:]},
    )
