"""Many workers on one queue at once, with claims, releases, deletions, rejections and expiries by
seed, each of which checks what it is given."""

import asyncio
import random
from pathlib import Path

from transom.errors import CallerError
from transom.queue.model import (
    Claim,
    ClaimId,
    ClaimNotFound,
    ClientId,
    MessageFilter,
    NewMessage,
    claim_text,
)
from transom.queue.service import QueueService

from support.queues import PROJECTS, MovedClock, open_service

CONTEXT = PROJECTS["token-a"]
NAME, DEAD = "race", "dead"
MESSAGES = 300
WORKERS = 8
CLIENT = ClientId(b"c" * 16)


class Race:
    """What every worker believes, checked against what each is given.

    A message is known by its body, since one that is rejected and redriven gets a new id.
    """

    def __init__(self, service: QueueService, clock: MovedClock, seed: int, messages: int) -> None:
        self.service = service
        self.app = service.app
        self.clock = clock
        self.dice = random.Random(seed)
        self.messages = messages
        self.held: dict[bytes, tuple[int, int]] = {}  # message -> (worker, end of its hold)
        self.fences: dict[str, int] = {}
        self.done: list[bytes] = []
        self.late = 0
        self.claims = 0
        self.moved = 0

    async def work(self, worker: int) -> None:
        while len(self.done) < self.messages:
            claim = await self.take(worker)
            if claim is None:
                self.clock.move_s(7)
                await self.app.letters.deliver()
                redriven = await self.app.letters.redrive(CONTEXT, DEAD, 5, None, None)
                self.moved += redriven.moved
                continue
            self.claims += 1
            own = {str(message.id): message.body for message in claim.messages}
            for message_id, body in own.items():
                if self.dice.random() < 0.6:
                    await self.finish(worker, message_id, body, claim.id)
                elif self.dice.random() < 0.5:
                    await self.part(worker, message_id, body, claim.id)
            if self.dice.random() < 0.2:
                await self.service.sweep_once()
            if self.dice.random() < 0.3:
                self.clock.move_s(self.dice.choice([1, 30, 61]))
            if self.dice.random() < 0.5:
                for body in own.values():
                    self.let_go(worker, body)
                delay_s = self.dice.choice([None, 5])
                await self.app.claims.release(CONTEXT, NAME, claim_text(claim.id), delay_s)

    async def take(self, worker: int) -> Claim | None:
        began_ms = self.clock.now_ms()
        claim = await self.app.claims.take(CONTEXT, NAME, 60, 60, self.dice.randint(1, 12))
        for message in claim.messages if claim else ():
            owner, end_ms = self.held.get(message.body, (worker, 0))
            assert end_ms <= self.clock.now_ms(), f"{message.body!r} is held by {owner}"
            assert message.body not in self.done
            assert message.deliveries > self.fences.get(str(message.id), 0)
            self.fences[str(message.id)] = message.deliveries
            # Its claim ends no earlier than this: the clock stood or moved on meanwhile.
            self.held[message.body] = (worker, began_ms + 60_000)
        return claim

    async def part(self, worker: int, message_id: str, body: bytes, claim_id: bytes) -> None:
        """One message of the claim is held on, or freed, or rejected."""
        claim, began_ms = claim_text(ClaimId(claim_id)), self.clock.now_ms()
        mine = self.held.get(body, (None, 0))
        verb = self.dice.choice(["touch", "touch", "release", "reject"])
        if verb != "touch":
            self.let_go(worker, body)  # once it is asked for, another may have it
        try:
            if verb == "touch":
                ttl_s = self.dice.choice([60, 90])
                touched, lost = await self.app.claims.touch(
                    CONTEXT, NAME, claim, [message_id], ttl_s, 60
                )
                for one in touched.messages:
                    assert one.fence == self.fences[message_id]
                    assert self.held[body][0] == worker
                    self.held[body] = (worker, began_ms + ttl_s * 1000)
            elif verb == "release":
                delay_s = self.dice.choice([0, 0, 20])
                _, lost = await self.app.claims.release_some(
                    CONTEXT, NAME, claim, [message_id], delay_s
                )
            else:
                _, lost = await self.app.claims.reject(CONTEXT, NAME, claim, [message_id], "x")
        except ClaimNotFound:
            lost = [message_id]
        if lost:
            self.late += 1
            if verb != "touch" and mine[0] == worker and body not in self.held:
                self.held[body] = mine  # it is not changed by who has lost it

    def let_go(self, worker: int, body: bytes) -> None:
        if self.held.get(body, (None, 0))[0] == worker:
            del self.held[body]

    async def finish(self, worker: int, message_id: str, body: bytes, claim_id: bytes) -> None:
        try:
            await self.app.messages.delete(CONTEXT, NAME, message_id, [claim_id])
        except CallerError:
            self.late += 1
            return
        # Nobody was handed it since, or this worker's deletion would have been refused, unless
        # the one who was has finished it already, or it was moved: then there was nothing there.
        if body not in self.done and self.held.get(body, (None, 0))[0] == worker:
            self.done.append(body)


async def race(folder: Path, seed: int, messages: int = MESSAGES) -> Race:
    """One whole race. Raises: AssertionError, in a group, where a promise is broken."""
    clock = MovedClock()
    async with open_service(folder, clock, seed) as service:
        run = Race(service, clock, seed, messages)
        await run.app.queues.create(CONTEXT, NAME, {"_dead_letter_queue": DEAD})
        posted = [b"%03d" % number for number in range(messages)]
        for first in range(0, messages, 20):
            new = [NewMessage(body, 1_000_000) for body in posted[first : first + 20]]
            await run.app.messages.post(CONTEXT, NAME, CLIENT, new, 100)
        async with asyncio.timeout(120), asyncio.TaskGroup() as group:
            for worker in range(WORKERS):
                group.create_task(run.work(worker))
        assert sorted(run.done) == posted
        everything = MessageFilter(include_claimed=True, include_delayed=True)
        for name in (NAME, DEAD):
            assert await run.app.messages.page(CONTEXT, name, everything, None, 1) == ()
    return run
