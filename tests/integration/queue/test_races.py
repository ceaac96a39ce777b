"""Many workers on one queue at once, with claims, releases, deletions and expiries at random."""

import asyncio
import random
from pathlib import Path

import pytest

from transom.errors import CallerError
from transom.queue.model import ClientId, MessageFilter, NewMessage, claim_text
from transom.queue.service import QueueService

from support.queues import PROJECTS, MovedClock, open_service

pytestmark = pytest.mark.usefixtures("engine")

CONTEXT = PROJECTS["token-a"]
NAME = "race"
MESSAGES = 300
WORKERS = 8
CLIENT = ClientId(b"c" * 16)


class Race:
    """What every worker believes, checked against what each is given."""

    def __init__(self, service: QueueService, clock: MovedClock, seed: int) -> None:
        self.service = service
        self.app = service.app
        self.clock = clock
        self.dice = random.Random(seed)
        self.held: dict[str, tuple[int, int]] = {}  # message -> (worker, end of its claim)
        self.done: list[str] = []
        self.late = 0

    async def work(self, worker: int) -> None:
        while len(self.done) < MESSAGES:
            began_ms = self.clock.now_ms()
            claim = await self.app.claim(CONTEXT, NAME, 60, 60, self.dice.randint(1, 12))
            if claim is None:
                self.clock.move_s(7)
                continue
            ids = [str(message.id) for message in claim.messages]
            for message_id in ids:
                owner, end_ms = self.held.get(message_id, (worker, 0))
                assert end_ms <= self.clock.now_ms(), f"{message_id} is held by {owner}"
                assert message_id not in self.done
                # Its claim ends no earlier than this: the clock stood or moved on meanwhile.
                self.held[message_id] = (worker, began_ms + 60_000)
            for message_id in ids:
                if self.dice.random() < 0.7:
                    await self.finish(worker, message_id, claim.id)
            if self.dice.random() < 0.2:
                await self.service.sweep_once()
            if self.dice.random() < 0.3:
                self.clock.move_s(self.dice.choice([1, 30, 61]))
            if self.dice.random() < 0.5:
                for message_id in ids:
                    if self.held.get(message_id, (None, 0))[0] == worker:
                        del self.held[message_id]
                await self.app.release_claim(CONTEXT, NAME, claim_text(claim.id))

    async def finish(self, worker: int, message_id: str, claim_id: bytes) -> None:
        try:
            await self.app.delete_message(CONTEXT, NAME, message_id, [claim_id])
        except CallerError:
            self.late += 1
            return
        # Nobody was handed it since, or this worker's deletion would have been refused, unless
        # the one who was has finished it already: then there was nothing to delete.
        if message_id not in self.done:
            assert self.held[message_id][0] == worker
            self.done.append(message_id)


@pytest.mark.parametrize("seed", range(4))
async def test_no_message_is_held_twice_or_lost_or_done_twice(tmp_path: Path, seed: int) -> None:
    clock = MovedClock()
    async with open_service(tmp_path, clock, seed) as service:
        race = Race(service, clock, seed)
        posted: list[str] = []
        for first in range(0, MESSAGES, 20):
            new = [NewMessage(b"%d" % number, 1_000_000) for number in range(first, first + 20)]
            ids = await race.app.post(CONTEXT, NAME, CLIENT, new, 100)
            posted += [str(message_id) for message_id in ids]
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for worker in range(WORKERS):
                group.create_task(race.work(worker))
        assert sorted(race.done) == posted
        assert race.late > 0  # the race was one
        everything = MessageFilter(include_claimed=True, include_delayed=True)
        assert await race.app.list_messages(CONTEXT, NAME, everything, None, 1) == ()


async def test_posts_at_once_each_lie_together_and_in_one_order(tmp_path: Path) -> None:
    async with open_service(tmp_path, MovedClock()) as service:
        seen: list[str] = []

        async def post(worker: int) -> None:
            for turn in range(10):
                new = [NewMessage(b'"%d.%d.%d"' % (worker, turn, part)) for part in range(3)]
                await service.app.post(CONTEXT, NAME, ClientId(b"%016d" % worker), new, 100)

        async def observe() -> None:
            marker = None
            while len(seen) < WORKERS * 30:
                page = await service.app.list_messages(CONTEXT, NAME, MessageFilter(), marker, 7)
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
