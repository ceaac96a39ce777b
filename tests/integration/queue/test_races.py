"""Many workers on one queue at once, with claims, releases, deletions and expiries at random."""

import asyncio
from pathlib import Path

import pytest

from transom.queue.model import ClientId, MessageFilter, NewMessage

from support.queue_race import CONTEXT, NAME, WORKERS, race
from support.queues import MovedClock, open_service

pytestmark = pytest.mark.usefixtures("engine")

# A server takes many times longer for each; `make proof` has the long races on it, too.
MESSAGES_ON = {"sqlite": 300, "shards": 300, "postgres": 160, "pools": 160}


@pytest.mark.parametrize("seed", range(6))
async def test_no_message_is_held_twice_or_lost_or_done_twice(
    engine: str, tmp_path: Path, seed: int
) -> None:
    assert (await race(tmp_path, seed, MESSAGES_ON[engine])).late > 0  # it was one


async def test_posts_at_once_each_lie_together_and_in_one_order(tmp_path: Path) -> None:
    async with open_service(tmp_path, MovedClock()) as service:
        seen: list[str] = []

        async def post(worker: int) -> None:
            for turn in range(10):
                new = [NewMessage(b'"%d.%d.%d"' % (worker, turn, part)) for part in range(3)]
                await service.app.messages.post(
                    CONTEXT, NAME, ClientId(b"%016d" % worker), new, 100
                )

        async def observe() -> None:
            marker = None
            while len(seen) < WORKERS * 30:
                page = await service.app.messages.page(CONTEXT, NAME, MessageFilter(), marker, 7)
                seen.extend(message.body.decode() for message in page)
                marker = page[-1].id if page else marker
                await asyncio.sleep(0)

        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            group.create_task(observe())
            for worker in range(WORKERS):
                group.create_task(post(worker))
        assert len(set(seen)) == WORKERS * 30
        for start in range(0, len(seen), 3):
            worker, turn, _ = seen[start].strip('"').split(".")
            assert seen[start : start + 3] == [f'"{worker}.{turn}.{part}"' for part in range(3)]
        for worker in range(WORKERS):
            own = [body for body in seen if body.startswith(f'"{worker}.')]
            assert own == sorted(own)
