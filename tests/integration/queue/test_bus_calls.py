"""The queue's calls on the bus, and bells of several processes, each on a bus of its own kind."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from transom.errors import BadRequest, Forbidden
from transom.messaging import connect
from transom.messaging.client import Client
from transom.messaging.server import Server
from transom.messaging.transport import Transport
from transom.queue.bus import calls
from transom.queue.bus.calls import TARGET, Calls
from transom.queue.bus.ringing import Ringing
from transom.queue.model import MessageFilter, Place
from transom.queue.service import QueueService

from support.queues import PROJECTS, MovedClock, open_service

pytestmark = pytest.mark.usefixtures("engine")
IN_A = {"project_id": "a"}


@pytest.fixture
def private(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bus in memory stands for the one in a private folder."""
    monkeypatch.setattr(calls, "is_private", lambda transport: True)


@asynccontextmanager
async def called(service: QueueService) -> AsyncIterator[Client]:
    async with connect("memory://calls/owner") as owner, connect("memory://calls/user") as user:
        target = TARGET.to(server="api")
        async with Server(owner, target, [Calls(service.app, owner, private=True)]):
            yield Client(user, TARGET, timeout_s=10)


async def test_a_post_and_its_statistics(tmp_path: Path) -> None:
    clock = MovedClock()
    async with open_service(tmp_path, clock) as service, called(service) as queue:
        asked = [{"body": {"alarm": [1, None]}}, {"body": "2", "ttl": 60, "key": "k"}]
        ids = await queue.call(IN_A, "post", queue="alarms", messages=asked)
        again = await queue.call(IN_A, "post", queue="alarms", messages=asked[1:])
        assert again == ids[1:]
        listed = await service.app.messages.page(
            PROJECTS["token-a"], "alarms", MessageFilter(), None, 10
        )
        assert [(str(one.id), one.body) for one in listed] == [
            (ids[0], b'{"alarm":[1,null]}'),
            (ids[1], b'"2"'),
        ]
        stats = await queue.call(IN_A, "stats", queue="alarms")
        assert stats == {"total": 2, "free": 2, "claimed": 0, "oldest_ms": clock.now_ms()}
        other = await queue.call({"project_id": "b"}, "stats", queue="alarms")
        assert other["total"] == 0


@pytest.mark.parametrize(
    ("context", "messages"),
    [
        ({}, [{"body": 1}]),
        ({"project_id": ""}, [{"body": 1}]),
        ({"project_id": 7}, [{"body": 1}]),
        (IN_A, []),
        (IN_A, [{"ttl": 60}]),
        (IN_A, [{"body": 1, "ttl": "x"}]),
        (IN_A, [{"body": 1, "ttl": 1}]),
        (IN_A, [{"body": 1, "unknown": 1}]),
    ],
)
async def test_what_cannot_be_is_refused(tmp_path: Path, context: Any, messages: Any) -> None:
    async with open_service(tmp_path, MovedClock()) as service, called(service) as queue:
        with pytest.raises(BadRequest):
            await queue.call(context, "post", queue="q", messages=messages)


async def test_where_strangers_can_be_heard_nobody_is_served(tmp_path: Path) -> None:
    """Outside of a delivery nobody vouches for a sender."""
    async with (
        open_service(tmp_path, MovedClock()) as service,
        connect("memory://strangers/owner") as owner,
    ):
        endpoint = Calls(service.app, owner, private=False)
        with pytest.raises(Forbidden):
            await endpoint.stats(IN_A, "q")


async def test_what_one_writes_the_others_bells_ring_and_it_is_not_told_on(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    async with (
        open_service(tmp_path / "a", MovedClock()) as one,
        open_service(tmp_path / "b", MovedClock()) as two,
        connect("memory://bells/one") as bus_one,
        connect("memory://bells/two") as bus_two,
        ringing(bus_one, one, "one"),
        ringing(bus_two, two, "two"),
        asyncio.timeout(20),
    ):
        places = [Place("a", f"q{number}") for number in range(700)]
        waiters = [two.app.bell.enter([place], takes=True) for place in places[::100]]
        for waiter in waiters:
            waiter.tries()
        told: list[Place] = []
        two.app.bell.listen(told.append)
        for place in places:
            one.app.bell.ring(place)
        assert await asyncio.gather(*(waiter.rung() for waiter in waiters)) == [True] * 7
        assert told == []


@asynccontextmanager
async def ringing(transport: Transport, service: QueueService, name: str) -> AsyncIterator[None]:
    told = Ringing(transport, service.app.bell, name)
    await told.start()
    try:
        yield
    finally:
        await told.stop()
