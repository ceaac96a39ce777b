# SPDX-License-Identifier: Apache-2.0
"""The load of a power cut: callers of the real stores, who write down what they ask and are told.

    python -m support.powerload ROOT SEED STEPS [SHARDS [PLANTED]]

Each caller has a queue of its own and makes one step at a time, all of them at once, so groups of
verbs are committed together. Before a step a line `{"who", "asks"}` goes to `ROOT/told`, after it
`{"who", "told"}`. A publisher writes each change set that is committed. Everything is closed and
opened again on the way. SHARDS is the number of the queue's files; what goes from one to another
is brought over before the step is told. PLANTED names a fault: `lax` or `off` syncing, answers
`before` the commit.
"""

import asyncio
import hashlib
import json
import os
import random
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from transom.identity import service as identity_service
from transom.identity.model import Place, Project, Role, ScopeKind, User, UserChange
from transom.identity.store import grants, projects, roles, users
from transom.messaging.proto.feed import ChangeSet
from transom.node.feed import DurableFeed
from transom.node.lease import Lease
from transom.queue import service as queue_service
from transom.queue.app import QueueApp
from transom.queue.bus.neighbours import Neighbours
from transom.queue.config import QueueConfig
from transom.queue.contract import QUEUES
from transom.queue.model import Change, ClientId, NewMessage, claim_from, claim_text
from transom.queue.service import QueueService
from transom.runtime.auth.context import Context
from transom.runtime.db import connection, file, thread, writer
from transom.runtime.db.sqlite import SqliteDatabase
from transom.runtime.db.transaction import Database, Transaction
from transom.runtime.secrets import private_folder

from support.powerlife import HELD_S, Answer, IdentityLife, Line, QueueLife, Step

CONTEXT = Context("", user_id="ua", project_id="a", roles=frozenset({"member"}))
CALLERS = 12
OPENINGS = 3
TTL_S = 86_400
DEAD = ".dead"
SOURCE = "queue"
HOLDER = "publisher"


class StillClock:
    """Nothing ends by itself, neither under load nor after the cut."""

    def now_ms(self) -> int:
        return 1_700_000_000_000

    def monotonic_s(self) -> float:
        return 1.0


CLOCK = StillClock()


class Near(Neighbours):
    """Files beside the first, as it is."""

    def __init__(self, folder: Path, *, inline_writer: bool) -> None:
        super().__init__(folder, CLOCK)
        self._inline_writer = inline_writer

    def _own(self, path: Path) -> Database:
        return _file_at(path, inline_writer=self._inline_writer)


def _file_at(path: Path, *, inline_writer: bool) -> Database:
    rooms = queue_service.MIGRATIONS
    return SqliteDatabase(path, rooms, clock=CLOCK, inline_writer=inline_writer)


def queue_at(
    data: Path, seed: int, *, shards: int = 1, inline_writer: bool = False
) -> QueueService:
    """A queue with its files in this folder; not started."""
    config = QueueConfig(sweep_interval_s=3600, max_messages_per_page=10_000, shards=shards)
    database = _file_at(data / "queue.db", inline_writer=inline_writer)
    draw = random.Random(seed).randbytes
    near = Near(data, inline_writer=inline_writer)
    return queue_service.build(config, database, clock=CLOCK, random=draw, neighbours=near)


def identity_at(data: Path, *, inline_writer: bool = False) -> Database:
    """Identity's file, shared as in the product; not started."""
    rooms = identity_service.MIGRATIONS
    return SqliteDatabase(
        data / "identity.db", rooms, clock=CLOCK, exclusive=False, inline_writer=inline_writer
    )


class Teller:
    """Lines in the order in which they happened; one write each."""

    def __init__(self, root: Path) -> None:
        self._file = os.open(root / "told", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def say(self, line: Line) -> None:
        os.write(self._file, json.dumps(line).encode() + b"\n")


def print_of(change_set: ChangeSet) -> str:
    """Tells one change set from another."""
    return hashlib.sha256(msgspec.json.encode(change_set, order="sorted")).hexdigest()


def feed_of(database: Database) -> DurableFeed:
    return DurableFeed(database, SOURCE, [QUEUES.name], QueueService.read_row, clock=CLOCK)


async def lead(database: Database) -> int:
    """The generation of the publisher's lease, gained anew."""
    lease = Lease(f"feed:{SOURCE}", HOLDER, 10_000)
    generation = await database.write(lambda tx: lease.acquire(tx, 1000))
    assert generation is not None
    return generation


class QueueCaller:
    def __init__(self, number: int, teller: Teller, draw: random.Random) -> None:
        self.who = f"q{number}"
        self.life = QueueLife(self.who)
        self._teller = teller
        self._draw = draw
        self._number = 0

    async def make(self, service: QueueService, steps: int) -> None:
        for _ in range(steps):
            step = self._wish()
            self._teller.say({"who": self.who, "asks": step})
            answer = await self._ask(service, step)
            self._teller.say({"who": self.who, "told": answer})
            self.life.apply(step, answer)

    def _wish(self) -> Step:
        claims = self.life.claims()
        verbs = ["post"] * 4 + ["claim"] * 3 + ["set", "set", "drop", "pop"]
        parts = ["delete"] * 4 + ["release", "touch", "touch", "free"]
        verbs += parts if claims else []
        verbs += ["reject"] * 2 if claims and self.life.lettered else []
        verbs += ["redrive"] if self.life.dead else []
        verbs += ["found"] * 2 if not self.life.lettered else []
        verbs += ["empty", "purge"] if self._draw.random() < 0.1 else []
        self._number += 1
        match do := self._draw.choice(verbs):
            case "post":
                bodies = [self._body(at) for at in range(self._draw.randint(1, 4))]
                keys = [self._draw.choice([None, None, *"abc"]) for _ in bodies]
                return {"do": do, "bodies": bodies, "keys": keys}
            case "claim" | "pop":
                return {"do": do, "limit": self._draw.randint(1, 3)}
            case "delete" | "touch" | "free" | "reject":
                claim = self._draw.choice(claims)
                held = [one.id for one in self.life.messages if one.claim == claim]
                step = {"do": do, "id": self._draw.choice(held), "claim": claim}
                ttl_s, delay_s = self._draw.choice([600, 7200]), self._draw.choice([0, 0, 90])
                return step | {"ttl": ttl_s, "delay": delay_s}
            case "release":
                delay_s = self._draw.choice([0, 0, 90])
                return {"do": do, "claim": self._draw.choice(claims), "delay": delay_s}
            case "redrive":
                return {"do": do, "limit": self._draw.randint(1, 3)}
            case "set" | "drop":
                name = f"{self.who}-{self._draw.randint(1, 3)}"
                return {"do": do, "name": name, "value": self._number}
            case _:
                return {"do": do}

    def _body(self, at: int) -> str:
        filler = "x" * self._draw.choice([0, 0, 100, 3000])
        return f"{self.who}.{self._number}.{at}{filler}"

    async def _ask(self, service: QueueService, step: Step) -> Answer:
        app, name = service.app, self.who
        match step["do"]:
            case "post":
                pairs = zip(step["bodies"], step["keys"], strict=True)
                new = [NewMessage(json.dumps(body).encode(), TTL_S, 0, key) for body, key in pairs]
                ids = await app.messages.post(CONTEXT, name, ClientId(b"1" * 16), new, 100)
                return {"ids": [str(one) for one in ids.ids]}
            case "claim":
                claim = await app.claims.take(CONTEXT, name, HELD_S, HELD_S, step["limit"])
                if claim is None:
                    return {"ids": [], "claim": ""}
                ids = [one.id for one in claim.messages]
                return {"ids": [str(one) for one in ids], "claim": claim_text(claim.id)}
            case "delete":
                claim_id = claim_from(step["claim"])
                assert claim_id is not None
                await app.messages.delete(CONTEXT, name, step["id"], [claim_id])
            case "touch" | "free" | "reject" | "release":
                await self._part(app, name, step)
                await app.letters.deliver()
            case "redrive":
                done = await app.letters.redrive(CONTEXT, name + DEAD, step["limit"], None, None)
                assert done.moved == min(step["limit"], len(self.life.dead))
            case "found":
                await app.queues.create(CONTEXT, name, {"_dead_letter_queue": name + DEAD})
            case "purge":
                await app.queues.purge(CONTEXT, name, messages_too=True)
            case "pop":
                popped = await app.messages.pop(CONTEXT, name, step["limit"])
                return {"ids": [str(message.id) for message in popped]}
            case "empty":
                await app.queues.delete(CONTEXT, name)
            case "drop":
                await app.queues.delete(CONTEXT, step["name"])
            case _:
                await self._set(service, step["name"], step["value"])
        return {}

    async def _part(self, app: QueueApp, name: str, step: Step) -> None:
        """None of it is ever late: nothing ends, and nobody else has the claim."""
        claim = step["claim"]
        match step["do"]:
            case "touch":
                _, lost = await app.claims.touch(
                    CONTEXT, name, claim, [step["id"]], step["ttl"], HELD_S
                )
            case "free":
                _, lost = await app.claims.release_some(
                    CONTEXT, name, claim, [step["id"]], step["delay"]
                )
            case "reject":
                _, lost = await app.claims.reject(CONTEXT, name, claim, [step["id"]], "bad")
            case _:
                lost = []
                await app.claims.release(CONTEXT, name, claim, step["delay"])
        assert lost == []

    async def _set(self, service: QueueService, name: str, value: int) -> None:
        if not await service.app.queues.create(CONTEXT, name, {"value": value}):
            change = Change("replace", "/metadata/value", value, has_value=True)
            await service.app.queues.update(CONTEXT, name, [change])


class IdentityCaller:
    """Each step is one verb of several statements."""

    def __init__(self, teller: Teller, draw: random.Random) -> None:
        self.life = IdentityLife()
        self._teller = teller
        self._draw = draw
        self._number = 0

    async def make(self, database: Database, steps: int) -> None:
        for _ in range(steps):
            step = self._wish()
            self._teller.say({"who": "identity", "asks": step})
            await database.write(_identity_verb(step))
            self._teller.say({"who": "identity", "told": {}})
            self.life.apply(step, {})

    def _wish(self) -> Step:
        self._number += 1
        names = sorted(self.life.users)
        do = self._draw.choice(["enrol", "enrol", "disable", "dismiss"] if names else ["enrol"])
        name = f"{self._number}" if do == "enrol" else self._draw.choice(names)
        return {"do": do, "name": name}


def _identity_verb(step: Step) -> Callable[[Transaction], Awaitable[None]]:
    name = step["name"]
    user = User(f"u{name}", f"user {name}", "default")
    project = Project(f"p{name}", f"project {name}", "default")

    async def enrol(tx: Transaction) -> None:
        await projects.insert(tx, project)
        await users.insert(tx, user, "no password")
        await roles.ensure(tx, Role("r1", "member"))
        await grants.add(tx, user.id, Place(ScopeKind.PROJECT, project.id), "r1")

    async def disable(tx: Transaction) -> None:
        await users.update(tx, user.id, UserChange(enabled=False))

    async def dismiss(tx: Transaction) -> None:
        await users.delete(tx, user.id)
        await projects.delete(tx, project.id)

    return {"enrol": enrol, "disable": disable, "dismiss": dismiss}[step["do"]]


async def publish(database: Database, teller: Teller, enough: asyncio.Event) -> None:
    feed = feed_of(database)
    generation = await lead(database)
    teller.say({"who": "feed", "told": {"generation": generation}})
    while not enough.is_set():
        change_set = await feed.publish_once(generation)
        if change_set is not None:
            told = {"n": change_set.n, "print": print_of(change_set)}
            teller.say({"who": "feed", "told": told})
        await asyncio.sleep(0.001)


async def load(root: Path, seed: int, steps: int, shards: int) -> None:
    draw = random.Random(seed)
    teller = Teller(root)
    private_folder(root / "data")
    callers = [QueueCaller(at, teller, random.Random(seed + at)) for at in range(CALLERS)]
    registrar = IdentityCaller(teller, draw)
    share = steps // OPENINGS // (CALLERS + 1)
    for opening in range(OPENINGS):
        thread.CHECKPOINT_S = draw.choice([0.01, 0.05, 10.0])
        database, service = (
            identity_at(root / "data"),
            queue_at(root / "data", draw.getrandbits(32), shards=shards),
        )
        await database.start()
        await service.start()
        enough = asyncio.Event()
        publisher = asyncio.create_task(publish(service.database, teller, enough))
        await asyncio.gather(
            registrar.make(database, share), *(one.make(service, share) for one in callers)
        )
        enough.set()
        await publisher
        if opening == OPENINGS - 1:
            os._exit(0)  # not closed: what is written then hides what is missing
        await service.stop()
        await database.stop()


def plant(fault: str) -> None:
    if fault in ("lax", "off"):
        level = {"lax": "normal", "off": "off"}[fault]
        whole = connection.connect_writer

        def connect(path: Path, *, busy_ms: int = 0) -> sqlite3.Connection:
            opened = whole(path, busy_ms=busy_ms)
            opened.execute(f"pragma synchronous = {level}")
            return opened

        file.connect_writer = connect
    elif fault == "before":
        whole_run = writer.GroupWriter._run

        def run(self: writer.GroupWriter, job: writer.Job[Any]) -> bool:
            well = whole_run(self, job)
            job.future.get_loop().call_soon_threadsafe(writer.settle, [job])
            return well

        writer.GroupWriter._run = run  # type: ignore[method-assign]


def main() -> None:
    root, seed, steps, *more = sys.argv[1:]
    shards, fault = (*more, *("1", "")[len(more) :])
    plant(fault)
    asyncio.run(load(Path(root), int(seed), int(steps), int(shards)))


if __name__ == "__main__":
    main()
