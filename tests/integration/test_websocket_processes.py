# SPDX-License-Identifier: Apache-2.0
"""The queue's WebSocket on a whole Transom with several workers: pushes, kills, stops."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from support.leftovers import Marked
from support.load import login
from support.sockets import SocketClient, socket
from support.stack import wait_for

pytestmark = pytest.mark.timeout(240)
SOCKETS = 12
"""So many that each worker has some."""


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Marked]:
    stack = Marked(tmp_path / "data")
    stack.environment["TRANSOM_API__WORKERS"] = "3"
    try:
        yield stack.start()
    finally:
        stack.stop()


@asynccontextmanager
async def sockets(stack: Marked, token: str, number: int) -> AsyncIterator[list[SocketClient]]:
    opened = [socket(stack.url, token) for _ in range(number)]
    clients = [await one.__aenter__() for one in opened]
    try:
        yield clients
    finally:
        for one in opened:
            await one.__aexit__(None, None, None)


async def test_what_is_posted_at_any_worker_is_pushed_at_all_of_them(stack: Marked) -> None:
    async with sockets(stack, login(stack), SOCKETS) as clients:
        for one in clients:
            await one.must("subscription_create", {"queue_name": "q"})
        ids: list[str] = []
        for number in range(40):
            poster = clients[number % SOCKETS]
            body = {"queue_name": "q", "messages": [{"body": number, "ttl": 300}] * 3}
            ids += (await poster.must("message_post", body))["message_ids"]
        for one in clients:
            assert [(await one.push())["id"] for _ in ids] == ids


async def test_a_killed_worker_loses_its_sockets_and_its_bound_claims_end_by_their_ttl(
    stack: Marked,
) -> None:
    async with sockets(stack, login(stack), SOCKETS) as clients:
        body = {"queue_name": "q", "messages": [{"body": n, "ttl": 300} for n in range(SOCKETS)]}
        await clients[0].must("message_post", body)
        bound = {"queue_name": "q", "limit": 1, "ttl": 600, "bound": True}
        for one in clients:
            await one.must("claim_create", bound)
        victim = stack.role("api-2")["pid"]
        os.kill(victim, signal.SIGKILL)
        lost = []
        for one in clients:
            try:
                assert (await one.ask("queue_get_stats", {"queue_name": "q"}))[0] in (200, 503)
            except Exception:  # Safety: what it is depends on who notices first
                lost.append(one)
        wait_for(lambda: stack.status()["ready"], 60)
    async with socket(stack.url, login(stack)) as after:
        for _ in range(500):
            free = (await after.must("queue_get_stats", {"queue_name": "q"}))["messages"]["free"]
            if free == SOCKETS - len(lost):
                break
            await asyncio.sleep(0.02)
        assert free == SOCKETS - len(lost), "those that hung up gave back, the killed one did not"


async def test_a_stop_closes_sockets_with_1001_and_gives_their_claims_back(tmp_path: Path) -> None:
    stack = Marked(tmp_path / "data").start()
    try:
        async with socket(stack.url, login(stack)) as ws:
            body = {"queue_name": "q", "messages": [{"body": 1, "ttl": 300}]}
            await ws.must("message_post", body)
            await ws.must("claim_create", {"queue_name": "q", "ttl": 600, "bound": True})
            stopping = asyncio.create_task(asyncio.to_thread(stack.stop))
            assert (await ws.closed())[0] == 1001
            await stopping
        stack.start()
        async with socket(stack.url, login(stack)) as ws:
            claim = await ws.must("claim_create", {"queue_name": "q"})
            assert [one["body"] for one in claim["messages"]] == [1]
    finally:
        stack.stop()
