"""Random lives of a queue, step by step beside a plain model of it."""

import random
from pathlib import Path

import pytest

from transom.errors import CallerError
from transom.queue.app import QueueApp
from transom.queue.model import (
    Claim,
    ClientId,
    Message,
    MessageFilter,
    NewMessage,
    claim_from,
    claim_text,
)
from transom.queue.service import QueueService

from support.queue_model import Held, ModelQueue
from support.queues import PROJECTS, MovedClock, open_service

pytestmark = pytest.mark.usefixtures("engine")

CONTEXT = PROJECTS["token-a"]
NAME = "life"
STEPS = 150
CLIENTS = (b"1" * 16, b"2" * 16)


class Life:
    """One seed's random walk; each step is compared with the model's."""

    def __init__(self, service: QueueService, clock: MovedClock, seed: int) -> None:
        self.app: QueueApp = service.app
        self.service = service
        self.clock = clock
        self.dice = random.Random(seed)
        self.model = ModelQueue()
        self.claims: list[bytes] = [b"?" * 16]
        self.ids: list[str] = ["00000000-0000-0001-0000-000000000000"]

    async def step(self) -> None:
        self.model.now_ms = self.clock.now_ms()
        steps = [self.post, self.claim, self.claim, self.delete, self.delete, self.renew]
        steps += [self.release, self.move, self.move, self.sweep, self.pop, self.look]
        await self.dice.choice(steps)()
        if self.dice.random() < 0.01:
            await self.give_up()
        await self.compare()

    async def post(self) -> None:
        number = self.dice.randint(1, 6)
        ttl_s, delay_s = self.dice.choice([60, 90, 300]), self.dice.choice([0, 0, 0, 20, 70])
        bodies = [b'{"n":%d}' % self.dice.randint(0, 9) for _ in range(number)]
        client = ClientId(self.dice.choice(CLIENTS))
        new = [NewMessage(body, ttl_s, delay_s) for body in bodies]
        posted = await self.app.post(CONTEXT, NAME, client, new, 10)
        ids = [str(message_id) for message_id in posted]
        assert ids == sorted(ids)
        assert ids[0] > self.ids[-1]
        self.ids += ids
        self.model.post(ids, bodies, client, ttl_s, delay_s)

    async def claim(self) -> None:
        ttl_s, grace_s = self.dice.choice([60, 61, 200]), self.dice.choice([60, 100])
        limit = self.dice.randint(1, 8)
        taken = await self.app.claim(CONTEXT, NAME, ttl_s, grace_s, limit)
        if taken is None:
            assert self.model.free() == []
            return
        self.claims.append(taken.id)
        self.same(taken.messages, self.model.take(taken.id, ttl_s, grace_s, limit))

    async def delete(self) -> None:
        message_id = self.dice.choice(self.ids[-12:])
        claim = self.dice.choice([None, *self.claims[-5:]])
        named = None if claim is None else [claim_from(claim_text(claim))]
        expected = self.model.delete(message_id, claim)
        try:
            await self.app.delete_message(CONTEXT, NAME, message_id, named)
            got: CallerError | None = None
        except CallerError as error:
            got = error
        assert type(got) is type(expected)

    async def renew(self) -> None:
        claim, ttl_s = self.dice.choice(self.claims[-5:]), self.dice.choice([60, 250])
        alive = self.model.alive(claim)
        try:
            await self.app.renew_claim(CONTEXT, NAME, claim_text(claim), ttl_s, 80)
            assert alive
        except CallerError:
            assert not alive
            return
        self.model.renew(claim, ttl_s, 80)

    async def release(self) -> None:
        claim = self.dice.choice(self.claims[-5:])
        await self.app.release_claim(CONTEXT, NAME, claim_text(claim))
        self.model.release(claim)

    async def pop(self) -> None:
        limit = self.dice.randint(1, 3)
        self.same(await self.app.pop(CONTEXT, NAME, limit), self.model.pop(limit))

    async def move(self) -> None:
        self.clock.move_s(self.dice.choice([0.001, 1, 19.999, 20, 40, 60.0]))
        self.model.now_ms = self.clock.now_ms()

    async def sweep(self) -> None:
        await self.service.sweep_once()

    async def look(self) -> None:
        claim = self.dice.choice(self.claims[-5:])
        alive = self.model.alive(claim)
        try:
            found: Claim = await self.app.get_claim(CONTEXT, NAME, claim_text(claim))
        except CallerError:
            assert not alive
            return
        lease = self.model.claims[claim]
        assert (found.ttl_s, found.age_s) == (
            lease.ttl_s,
            (self.model.now_ms - lease.renewed_ms) // 1000,
        )
        self.same(found.messages, self.model.of_claim(claim))

    async def give_up(self) -> None:
        if self.dice.random() < 0.5:
            await self.app.purge_queue(CONTEXT, NAME, messages_too=True)
        else:
            await self.app.delete_queue(CONTEXT, NAME)
        self.model.clear()

    async def compare(self) -> None:
        include_claimed, include_delayed = self.dice.random() < 0.5, self.dice.random() < 0.5
        not_from = self.dice.choice([None, *CLIENTS])
        wanted = MessageFilter(include_claimed, include_delayed, not_from)
        listed = await self.app.list_messages(CONTEXT, NAME, wanted, None, 1000)
        expected = self.model.listed(
            include_claimed=include_claimed, include_delayed=include_delayed, not_from=not_from
        )
        self.same(listed, expected)
        stats = await self.app.queue_stats(CONTEXT, NAME)
        present = self.model.present()
        held = sum(self.model.alive(message.claim) for message in present)
        assert (stats.total, stats.claimed, stats.free) == (len(present), held, len(present) - held)
        edges = [edge and str(edge.id) for edge in (stats.oldest, stats.newest)]
        assert edges == ([present[0].id, present[-1].id] if present else [None, None])

    def same(self, got: tuple[Message, ...], expected: list[Held]) -> None:
        assert [(str(m.id), m.body, m.ttl_s, m.age_s, m.claim_id, m.deliveries) for m in got] == [
            (
                held.id,
                held.body,
                held.ttl_s,
                (self.model.now_ms - held.created_ms) // 1000,
                held.claim if self.model.alive(held.claim) else None,
                held.deliveries,
            )
            for held in expected
        ]


@pytest.mark.parametrize("seed", range(12))
async def test_every_answer_is_the_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr("transom.queue.app.SCANNED_AT_ONCE", 5)
    clock = MovedClock()
    async with open_service(
        tmp_path, clock, seed, max_messages_per_page=1000, sweep_batch=7
    ) as service:
        life = Life(service, clock, seed)
        for _ in range(STEPS):
            await life.step()
