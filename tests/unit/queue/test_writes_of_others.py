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

from transom.errors import ConfigError, Conflict, InternalError, StorageFull, Unavailable
from transom.messaging import connect
from transom.messaging.envelope import BODY_BYTES_MAX
from transom.messaging.server import Server
from transom.messaging.target import Target
from transom.node.node import Node
from transom.node.once import Key
from transom.queue import bus
from transom.queue.bus import TOPIC, Owner, RemoteWriter
from transom.queue.config import QueueConfig
from transom.queue.logic.limits import ClaimTerms
from transom.queue.model import (
    Change,
    ClaimId,
    ClaimNotFound,
    ClientId,
    KeyMissing,
    MessageClaimed,
    NewMessage,
    Place,
    PostTooLarge,
    QueueNotFound,
)
from transom.queue.store import verbs
from transom.queue.store.verbs import LocalWriter, Tools, Writer
from transom.runtime.clock import SystemClock

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


def post(*, size_bytes: int = 10) -> verbs.Post:
    return verbs.Post(PLACE, CLIENT, size_bytes, (NEW, NewMessage(b"1", None, 0)))


async def test_every_verb_answers_as_it_does_at_home(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        write = made.remote.write
        assert await write(verbs.CreateQueue(PLACE, "{}")) is True
        assert await write(verbs.CreateQueue(PLACE, "{}")) is False
        huge = Change("add", "/metadata/n", 10**40, has_value=True)
        text, changed = await write(verbs.ChangeQueue.of(PLACE, [huge]))
        assert (text, changed) == (f'{{"n":{10**40}}}', True)
        posted = await write(post())
        assert len(posted.ids) == 2
        assert not posted.created
        claim, created = await write(verbs.Take(PLACE, CLAIM, TERMS, 1))
        assert claim is not None
        assert (claim.id, claim.ttl_s, created) == (CLAIM, 60, False)
        assert [(message.id, message.body) for message in claim.messages] == [
            (posted.ids[0], NEW.body)
        ]
        assert await write(verbs.Renew(PLACE, CLAIM, TERMS)) is None
        assert await write(verbs.Delete(PLACE, posted.ids[:1], (CLAIM,))) == 1
        assert await write(verbs.Release(PLACE, CLAIM)) is None
        popped = await write(verbs.Pop(PLACE, 5))
        assert [message.id for message in popped] == [posted.ids[1]]
        assert await write(verbs.DeleteAnyway(PLACE, posted.ids)) == 0
        assert await write(verbs.Take(PLACE, CLAIM, TERMS, 1)) == (None, False)
        assert await write(verbs.PurgeQueue(PLACE)) is None
        assert await write(verbs.DeleteQueue(PLACE)) is True


async def test_what_is_popped_at_once_comes_in_answers_that_the_bus_takes(tmp_path: Path) -> None:
    """In one frame its answer would be longer than a message may be, and all of it lost."""
    config = QueueConfig()
    largest = config.max_messages_post_bytes * bus.FRAME_MESSAGES
    assert largest * 4 / 3 + (1 << 20) < BODY_BYTES_MAX
    most = config.max_messages_per_claim
    async with world(tmp_path) as made:
        key = Key("p", "u", "k", b"r", 60_000)
        wished: list[Any] = [verbs.Pop(PLACE, most) for _ in range(16)]
        wished += [verbs.Take(PLACE, CLAIM, TERMS, most) for _ in range(7)]
        wished += [verbs.Once(key, verbs.Take(PLACE, CLAIM, TERMS, most))]
        answers = await asyncio.gather(*map(made.remote.write, [*wished, post()]))
        assert made.frames == len(wished) * most / bus.FRAME_MESSAGES
        assert len(answers[-1].ids) == 2
        assert await made.remote.write(verbs.Pop(PLACE, 2 * bus.FRAME_MESSAGES))


async def test_an_error_is_raised_as_itself(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        write = made.remote.write
        missing = Change("remove", "/metadata/none")
        with pytest.raises(QueueNotFound, match="no queue 'q'"):
            await write(verbs.ChangeQueue.of(PLACE, [missing]))
        posted = await write(post())
        with pytest.raises(KeyMissing):
            await write(verbs.ChangeQueue.of(PLACE, [missing]))
        with pytest.raises(PostTooLarge):
            await write(post(size_bytes=1 << 20))
        with pytest.raises(ClaimNotFound):
            await write(verbs.Renew(PLACE, CLAIM, TERMS))
        await write(verbs.Take(PLACE, CLAIM, TERMS, 1))
        with pytest.raises(MessageClaimed):
            await write(verbs.Delete(PLACE, posted.ids[:1], None))
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
        big = verbs.Post(PLACE, CLIENT, 1, (NewMessage(b'"' + b"x" * 200_000 + b'"'),))
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
        with pytest.raises(Unavailable, match="may or may not"):
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
