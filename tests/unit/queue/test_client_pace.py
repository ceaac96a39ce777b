# SPDX-License-Identifier: Apache-2.0
"""How often the client asks who does not wait, in virtual time."""

import asyncio
from typing import Any

import pytest

from transom.queue.client import verbs
from transom.queue.client.errors import NotFound, Unavailable
from transom.queue.client.queues import Queue
from transom.queue.client.sender import Sender
from transom.queue.client.shapes import Page
from transom.queue.client.verbs import Request
from transom.queue.client.work import Terms, Work

from virtual import run_virtual

FOR_S = 60


class Empty:
    """As much of a `Sender` as is used. Its server has nothing, and says so at once."""

    def __init__(self) -> None:
        self.asked = 0

    async def send(self, request: Request[Any]) -> Any:
        self.asked += 1
        return Page() if request.method == "GET" else None


class Away:
    """Whom to sign in with is away for so many seconds."""

    ca_file = ""

    def __init__(self, for_s: float) -> None:
        self.until_s = asyncio.get_running_loop().time() + for_s

    async def endpoint(self, http: Any) -> str:
        if asyncio.get_running_loop().time() < self.until_s:
            raise Unavailable("Keystone cannot be reached")
        raise NotFound(404, "found", "")

    async def token(self, http: Any, refused: str = "") -> str:
        return "a"


@pytest.mark.parametrize(("away_s", "told"), [(3, 0), (30, 1), (100, 1)])
def test_who_waits_for_a_server_that_is_away_is_told_once_and_not_at_once(
    away_s: float, told: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        sender = Sender(Away(away_s), "id", patience_s=60)
        await sender.start()
        try:
            with pytest.raises(Unavailable if away_s > 60 else NotFound):
                await sender.send(verbs.stats("q"))
        finally:
            await sender.stop()

    run_virtual(main, seed=1)
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warned) == told
    assert all(one.startswith("Keystone cannot be reached; asked again, ") for one in warned)


def test_a_worker_does_not_hammer_a_server_that_does_not_wait() -> None:
    async def main() -> int:
        empty, stop = Empty(), asyncio.Event()
        asyncio.get_running_loop().call_later(FOR_S, stop.set)
        work = Work(empty, ["q"], print, Terms(wait=0))  # type: ignore[arg-type]
        assert await work.run(stop) == 0
        return empty.asked

    assert FOR_S / 2 < run_virtual(main, seed=1) <= FOR_S + 1


def test_a_follower_does_not_hammer_a_server_that_does_not_wait() -> None:
    async def main() -> int:
        empty = Empty()

        async def follow() -> None:
            async for _ in Queue(empty, "q").follow("", wait=0):  # type: ignore[arg-type]
                raise AssertionError

        following = asyncio.create_task(follow())
        await asyncio.sleep(FOR_S)
        following.cancel()
        return empty.asked

    assert FOR_S / 2 < run_virtual(main, seed=1) <= FOR_S + 1
