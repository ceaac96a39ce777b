# SPDX-License-Identifier: Apache-2.0
"""Writes on their way to the owner of the file, on a real bus and a real file."""

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from transom.errors import (
    ConfigError,
    Conflict,
    InternalError,
    OutcomeUnknown,
    StorageFull,
    TransomError,
    Unavailable,
)
from transom.messaging import connect
from transom.messaging.envelope import BODY_BYTES_MAX
from transom.messaging.server import Server
from transom.messaging.target import Target
from transom.node.node import Node
from transom.node.once import Key
from transom.queue.bus import writer as bus
from transom.queue.bus.frames import TOPIC
from transom.queue.bus.neighbours import Neighbours
from transom.queue.bus.owner import Owner
from transom.queue.bus.writer import RemoteWriter
from transom.queue.config import QueueConfig
from transom.queue.logic.limits import ClaimTerms
from transom.queue.model import (
    Change,
    ClaimId,
    ClaimNotFound,
    ClientId,
    ContentId,
    KeyMissing,
    MessageClaimed,
    MessageId,
    NewMessage,
    Place,
    PostTooLarge,
    QueueNotFound,
)
from transom.queue.store.letters import Arriving
from transom.queue.store.verbs.catalogue import Once
from transom.queue.store.verbs.claims import (
    Reject,
    Release,
    ReleaseSome,
    Renew,
    Take,
    Touch,
)
from transom.queue.store.verbs.letters import Arrive, Departed, Redrive
from transom.queue.store.verbs.many_claims import TakeMany
from transom.queue.store.verbs.messages import Delete, DeleteAnyway, Pop, Post
from transom.queue.store.verbs.queues import ChangeQueue, CreateQueue, DeleteQueue, PurgeQueue
from transom.queue.store.verbs.verb import LocalWriter, Tools, Writer
from transom.runtime.clock import SystemClock
from transom.runtime.secrets import Secret

from support.db import queue_database
from support.zmq_bus import zmq_bus

PLACE = Place("p", "q")
CLIENT = ClientId(b"c" * 16)
CLAIM = ClaimId(b"k" * 16)
TERMS = ClaimTerms(60, 60)
NEW = NewMessage(b'{"a": "\xc3\xa4"}', 60)


class Counting:
    """The owner's writer, which counts what it is asked for, and may be told to fail or to wait."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self.seen: list[Any] = []
        self.error: Exception | None = None
        self.held = asyncio.Event()
        self.held.set()

    @property
    def problem(self) -> str:
        return self._writer.problem

    async def write(self, verb: Any) -> Any:
        self.seen.append(verb)
        if self.error is not None:
            raise self.error
        await self.held.wait()
        return await self._writer.write(verb)


class World:
    """An owner that may come and go, and a worker that writes through it."""

    def __init__(self, node: Node, own: Counting, remote: RemoteWriter) -> None:
        self.node = node
        self.own = own
        self.remote = remote
        self.frames = 0
        self._server: Server | None = None

    async def serve(self) -> None:
        world = self

        class Counted(Owner):
            async def write(self, context: Any, frame: str) -> str:
                world.frames += 1
                return await super().write(context, frame)

        target = Target(topic=TOPIC, server="api")
        self._server = Server(self.node.transport, target, [Counted(self.own)], drain_s=0.2)
        await self._server.start()

    async def leave(self) -> None:
        assert self._server is not None
        await self._server.stop()


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    database = queue_database(folder)
    async with zmq_bus() as there:
        url = f"zmq://{there.folder}"
        owner, worker = Node("api", connect(url)), Node("api-2", connect(url))
        await database.start()
        await owner.start()
        await worker.start()
        tools = Tools(QueueConfig(), SystemClock(), random.Random(1).randbytes)
        own = Counting(LocalWriter(database, tools))
        remote = RemoteWriter(worker.transport)
        made = World(owner, own, remote)
        await made.serve()
        await remote.start()
        try:
            yield made
        finally:
            await remote.stop()
            await worker.stop()
            await owner.stop()
            await database.stop()


def post(*, size_bytes: int = 10) -> Post:
    return Post(PLACE, CLIENT, size_bytes, (NEW, NewMessage(b"1", None, 0)))


async def test_every_verb_answers_as_it_does_at_home(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        write = made.remote.write
        assert await write(CreateQueue(PLACE, "{}")) is True
        assert await write(CreateQueue(PLACE, "{}")) is False
        huge = Change("add", "/metadata/n", 10**40, has_value=True)
        text, changed = await write(ChangeQueue.of(PLACE, [huge]))
        assert (text, changed) == (f'{{"n":{10**40}}}', True)
        posted = await write(post())
        assert len(posted.ids) == 2
        assert not posted.created
        claim, created = await write(Take(PLACE, CLAIM, TERMS, 1))
        assert claim is not None
        assert (claim.id, claim.ttl_s, created) == (CLAIM, 60, False)
        assert [(message.id, message.body) for message in claim.messages] == [
            (posted.ids[0], NEW.body)
        ]
        assert await write(Renew(PLACE, CLAIM, TERMS)) is None
        assert await write(Delete(PLACE, posted.ids[:1], (CLAIM,))) == 1
        touched = await write(Touch(PLACE, CLAIM, posted.ids, TERMS))
        assert ([one.fence for one in touched.messages], touched.lost) == ([], posted.ids)
        released = await write(ReleaseSome(PLACE, CLAIM, None, 0))
        assert (released.number, released.lost) == (0, ())
        assert await write(Release(PLACE, CLAIM)) is None
        popped = await write(Pop(PLACE, 5))
        assert [message.id for message in popped] == [posted.ids[1]]
        assert await write(DeleteAnyway(PLACE, posted.ids)) == 0
        assert await write(Take(PLACE, CLAIM, TERMS, 1)) == (None, False)
        await letters_travel(made)
        assert await write(PurgeQueue(PLACE)) is None
        assert await write(DeleteQueue(PLACE)) is True


async def letters_travel(made: World) -> None:
    """A message is rejected, brought back, and comes to another queue, twice and once."""
    write = made.remote.write
    letters = Change("add", "/metadata/_dead_letter_queue", "dead", has_value=True)
    await write(ChangeQueue.of(PLACE, [letters]))
    await write(Post(PLACE, CLIENT, 9, (NewMessage(b"1", key="k"),)))
    claim, _ = await write(Take(PLACE, CLAIM, TERMS, 1))
    rejected = await write(Reject(PLACE, CLAIM, (claim.messages[0].id,), "bad"))
    assert (rejected.number, rejected.created) == (1, True)
    redriven = await write(Redrive(Place("p", "dead"), None, None, 10))
    assert (redriven.moved, redriven.left) == (1, 0)
    one = Arriving(MessageId(1, 2), 60, None, None, CLIENT, b"2", None)
    arrive = Arrive(Place("p", "far"), (one, one))
    assert [await write(arrive), await write(arrive)] == [True, False]
    assert [m.body for m in await write(Pop(Place("p", "far"), 5))] == [b"2"]
    assert await write(Departed(PLACE, ContentId(99), (one.id,))) is None


async def test_what_is_popped_at_once_comes_in_answers_that_the_bus_takes(tmp_path: Path) -> None:
    """In one frame its answer would be longer than a message may be, and all of it lost."""
    config = QueueConfig()
    largest = config.max_messages_post_bytes * bus.FRAME_MESSAGES
    assert largest * 4 / 3 + (1 << 20) < BODY_BYTES_MAX
    most = config.max_messages_per_claim
    async with world(tmp_path) as made:
        key = Key("p", "u", "k", b"r", 60_000)
        wished: list[Any] = [Pop(PLACE, most) for _ in range(16)]
        wished += [Take(PLACE, CLAIM, TERMS, most) for _ in range(7)]
        wished += [Once(key, Take(PLACE, CLAIM, TERMS, most))]
        wished += [TakeMany(PLACE, (PLACE,), CLAIM, TERMS, most) for _ in range(8)]
        answers = await asyncio.gather(*map(made.remote.write, [*wished, post()]))
        assert made.frames == len(wished) * most / bus.FRAME_MESSAGES
        assert len(answers[-1].ids) == 2
        assert await made.remote.write(Pop(PLACE, 2 * bus.FRAME_MESSAGES))


async def test_an_error_is_raised_as_itself(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        write = made.remote.write
        missing = Change("remove", "/metadata/none")
        with pytest.raises(QueueNotFound, match="no queue 'q'"):
            await write(ChangeQueue.of(PLACE, [missing]))
        posted = await write(post())
        with pytest.raises(KeyMissing):
            await write(ChangeQueue.of(PLACE, [missing]))
        with pytest.raises(PostTooLarge):
            await write(post(size_bytes=1 << 20))
        with pytest.raises(ClaimNotFound):
            await write(Renew(PLACE, CLAIM, TERMS))
        await write(Take(PLACE, CLAIM, TERMS, 1))
        with pytest.raises(MessageClaimed):
            await write(Delete(PLACE, posted.ids[:1], None))
        for error in (StorageFull(detail="d"), Unavailable("t", retry_after_s=7), Conflict("c")):
            made.own.error = error
            with pytest.raises(type(error)) as raised:
                await write(post())
            assert (raised.value.text, raised.value.detail) == (error.text, error.detail)
            wished_s = getattr(error, "retry_after_s", None)
            assert getattr(raised.value, "retry_after_s", None) == wished_s
        made.own.error = ZeroDivisionError()
        with pytest.raises(InternalError):
            await write(post())


async def test_all_of_one_turn_go_in_one_frame_and_fail_each_by_itself(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        wished = [post() for _ in range(50)] + [post(size_bytes=1 << 20)]
        outcomes = await asyncio.gather(*map(made.remote.write, wished), return_exceptions=True)
        assert made.frames == 1
        assert [type(outcome) for outcome in outcomes[-1:]] == [PostTooLarge]
        assert len({outcome.ids for outcome in outcomes[:-1]}) == 50
        big = Post(PLACE, CLIENT, 1, (NewMessage(b'"' + b"x" * 200_000 + b'"'),))
        await asyncio.gather(*(made.remote.write(big) for _ in range(12)))
        assert made.frames == 1 + 3


async def test_an_owner_that_is_away_is_waited_for(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        await made.leave()
        waiting = asyncio.create_task(made.remote.write(post()))
        while not made.remote.problem:
            await asyncio.sleep(0.01)
        await made.serve()
        assert len((await waiting).ids) == 2
        assert made.remote.problem == ""
        assert len(made.own.seen) == 1


async def test_an_owner_that_stays_away_is_unavailable_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus, "WRITE_S", 0.3)
    async with world(tmp_path) as made:
        await made.leave()
        with pytest.raises(Unavailable, match="nothing was written"):
            await made.remote.write(post())
        await made.serve()
        assert made.own.seen == []


async def test_what_may_have_been_written_is_told_so_and_not_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(tmp_path) as made:
        made.remote._client = made.remote._client.to(timeout_s=0.3)
        made.own.held.clear()
        with pytest.raises(OutcomeUnknown, match="may or may not"):
            await made.remote.write(post())
        assert made.remote.problem
        made.own.held.set()
        assert len((await made.remote.write(post())).ids) == 2
        assert len(made.own.seen) == 2
        assert made.frames == 2


async def test_draining_waits_for_nobody_who_is_away(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        await made.leave()
        waiting = asyncio.create_task(made.remote.write(post()))
        while not made.remote.problem:
            await asyncio.sleep(0.01)
        began_s = asyncio.get_running_loop().time()
        made.remote.give_up()
        with pytest.raises(Unavailable):
            await waiting
        await made.remote.stop()
        assert asyncio.get_running_loop().time() - began_s < bus.WRITE_S / 2


async def test_what_comes_after_it_has_given_up_is_refused_at_once(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        made.own.held.clear()  # the owner is there, and answers nobody
        waiting = asyncio.create_task(made.remote.write(post()))
        await asyncio.sleep(0)
        made.remote.give_up()
        with pytest.raises(OutcomeUnknown):
            await waiting
        began_s = asyncio.get_running_loop().time()
        with pytest.raises(Unavailable, match="stopping; nothing was written"):
            await made.remote.write(post())
        assert asyncio.get_running_loop().time() - began_s < bus.GIVE_UP_S / 2
        made.own.held.set()


async def test_too_many_that_wait_are_refused(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        made.own.held.clear()
        waiting = [asyncio.create_task(made.remote.write(post())) for _ in range(bus.WAITING_MAX)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="Too many"):
            await made.remote.write(post())
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        made.own.held.set()


async def test_a_bus_that_others_may_be_on_is_refused() -> None:
    transport = connect(f"memory://{os.getpid()}")
    async with transport:
        with pytest.raises(ConfigError, match="embedded bus"):
            await RemoteWriter(transport).start()


async def test_a_follower_that_cannot_be_opened_leaves_nothing_behind(tmp_path: Path) -> None:
    """It is tried for again and again."""
    (tmp_path / "pools").mkdir()
    (tmp_path / "pools" / "broken.db").write_bytes(b"no database")
    async with zmq_bus() as there, connect(f"zmq://{there.folder}") as transport:
        neighbours = Neighbours(
            tmp_path, SystemClock(), worker=1, workers=2, transport=transport, server="api-2"
        )
        neighbours.equip(lambda: Tools(QueueConfig(), SystemClock(), os.urandom))
        names = [f"p{number}" for number in range(8)]
        pools = [neighbours.pool(name, Secret("sqlite:broken")) for name in names]
        followed = [pool for pool in pools if not pool.store.owned]
        assert followed
        for pool in followed:
            with pytest.raises(TransomError):
                await pool.start()
        assert [task for task in asyncio.all_tasks() if task.get_name() == "queue-owner-look"] == []
