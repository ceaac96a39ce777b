"""Random lives of queues, step by step beside a plain model of them."""

import random
from collections.abc import Sequence
from pathlib import Path

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

from support.queue_model import Held, Letters, Model, ModelQueue
from support.queues import PROJECTS, MovedClock, open_service

CONTEXT = PROJECTS["token-a"]
NAMES = ("work", "other", "dead", "grave")
TARGETS = {"work": "dead", "other": "dead", "dead": "grave"}
WINDOW_S = 100
NOBODY = b"?" * 16
MISCOUNTED = """
select project_id, name, total, body_bytes from queue
where total <> (select count(*) from message where message.content_id = queue.content_id)
  or body_bytes <> (select coalesce(sum(length(body)), 0) from message
    where message.content_id = queue.content_id)
"""
ASTRAY = """
select queue.name, message.sequence from message
join queue on queue.content_id = message.content_id
where message.claim_id is not null and message.available_ms > ?
  and not exists (select 1 from claim where claim.content_id = message.content_id
    and claim.claim_id = message.claim_id and claim.expires_ms = message.available_ms)
  and not exists (select 1 from strand where strand.content_id = message.content_id
    and strand.claim_id = message.claim_id and strand.expires_ms = message.available_ms)
"""
CLIENTS = (b"1" * 16, b"2" * 16)


class Life:
    """One random walk; each step is compared with the model's."""

    def __init__(self, service: QueueService, clock: MovedClock, dice: random.Random) -> None:
        self.app: QueueApp = service.app
        self.service = service
        self.clock = clock
        self.dice = dice
        self.model = Model(*NAMES)
        self.claims: dict[str, list[bytes]] = {name: [NOBODY] for name in NAMES}
        self.ids = {name: ["00000000-0000-0001-0000-000000000000"] for name in NAMES}
        self.name = "work"

    @property
    def queue(self) -> ModelQueue:
        return self.model.of[self.name]

    async def step(self) -> None:
        self.model.now_ms = self.clock.now_ms()
        self.name = self.dice.choice(["work", "work", "work", "other", "dead", "dead", "grave"])
        steps = [self.post, self.post, self.claim, self.claim, self.claim, self.delete, self.delete]
        steps += [self.renew, self.touch, self.touch, self.release, self.release_some, self.reject]
        steps += [self.redrive, self.move, self.move, self.move, self.sweep, self.pop, self.look]
        steps += [self.configure, self.give_up]
        await self.dice.choice(steps)()
        await self.app.letters.deliver()  # as the service does after each sweep
        await self.audit()
        for name in NAMES:
            await self.compare(name)

    async def post(self) -> None:
        number = self.dice.randint(1, 6)
        ttl_s, delay_s = self.dice.choice([60, 90, 300]), self.dice.choice([0, 0, 0, 20, 70])
        client = ClientId(self.dice.choice(CLIENTS))
        new = [
            NewMessage(
                b'{"n":%d}' % self.dice.randint(0, 9),
                ttl_s,
                delay_s,
                self.dice.choice([None, *"ab"]),
            )
            for _ in range(number)
        ]
        posted = await self.app.messages.post(CONTEXT, self.name, client, new, 10)
        now_ms, duplicates, before = self.model.now_ms, [], self.ids[self.name][-1]
        self.queue.exists = True
        for at, (one, said) in enumerate(zip(new, map(str, posted.ids), strict=True)):
            known = self.queue.known(one.key)
            if known is not None:
                assert said == known
                duplicates.append(at)
                continue
            assert said > before
            before = said
            self.ids[self.name].append(said)
            expires_ms, delayed_ms = now_ms + ttl_s * 1000, now_ms + delay_s * 1000
            held = Held(said, one.body, client, now_ms, ttl_s, expires_ms, delayed_ms, one.key)
            self.queue.post(held, WINDOW_S)
        assert posted.duplicates == tuple(duplicates)

    async def claim(self) -> None:
        ttl_s, grace_s = self.dice.choice([60, 61, 200]), self.dice.choice([60, 100])
        limit = self.dice.randint(1, 8)
        taken = await self.app.claims.take(CONTEXT, self.name, ttl_s, grace_s, limit)
        claim = NOBODY if taken is None else taken.id
        expected = self.queue.take(claim, ttl_s, grace_s, limit)
        assert (taken is None) == (not expected)
        if taken is not None:
            self.claims[self.name].append(taken.id)
            assert taken.expires_ms == self.queue.claims[claim].end_ms
            self.same(self.queue, taken.messages, expected)

    async def delete(self) -> None:
        message_id = self.dice.choice(self.ids[self.name][-12:])
        claim = self.dice.choice([None, *self.claims[self.name][-5:]])
        named = None if claim is None else [claim_from(claim_text(claim))]
        expected = self.queue.delete(message_id, claim)
        try:
            await self.app.messages.delete(CONTEXT, self.name, message_id, named)
            got: CallerError | None = None
        except CallerError as error:
            got = error
        assert type(got) is type(expected)

    async def renew(self) -> None:
        claim, ttl_s = self.one_claim(), self.dice.choice([60, 250])
        try:
            await self.app.claims.renew(CONTEXT, self.name, claim_text(claim), ttl_s, 80)
        except CallerError:
            assert not self.queue.alive(claim)
            return
        self.queue.renew(claim, ttl_s, 80)

    async def touch(self) -> None:
        claim, ids = self.one_claim(), self.some_ids()
        ttl_s, grace_s = self.dice.choice([60, 75, 250]), self.dice.choice([60, 100])
        try:
            touched, lost = await self.app.claims.touch(
                CONTEXT, self.name, claim_text(claim), ids, ttl_s, grace_s
            )
        except CallerError:
            assert not self.queue.alive(claim)
            return
        assert lost == self.queue.touch(claim, ids, ttl_s, grace_s)
        by_id = {held.id: held for held in self.queue.messages}
        assert [(str(one.id), one.expires_ms, one.fence) for one in touched.messages] == [
            (one, by_id[one].claim_end_ms, by_id[one].deliveries) for one in ids if one not in lost
        ]

    async def release(self) -> None:
        claim, delay_s = self.one_claim(), self.dice.choice([None, 0, 15, 80])
        await self.app.claims.release(CONTEXT, self.name, claim_text(claim), delay_s)
        self.queue.release(claim, delay_s or 0)

    async def release_some(self) -> None:
        claim, ids, delay_s = self.one_claim(), self.some_ids(), self.dice.choice([0, 15, 80])
        whole = self.dice.random() < 0.2
        try:
            released, lost = await self.app.claims.release_some(
                CONTEXT, self.name, claim_text(claim), None if whole else ids, delay_s
            )
        except CallerError:
            assert not self.queue.alive(claim)
            return
        if whole:
            assert (released.number, lost) == (len(self.queue.of_claim(claim)), [])
            self.queue.release(claim, delay_s)
        else:
            assert lost == self.queue.release_some(claim, ids, delay_s)
            assert released.number == len(ids) - len(lost)

    async def reject(self) -> None:
        claim, ids = self.one_claim(), self.some_ids()
        wanted = None if self.dice.random() < 0.2 else ids
        text = self.dice.choice(["", "bad"])
        held = len(self.queue.of_claim(claim))
        got: type[CallerError] | None = None
        try:
            rejected, lost = await self.app.claims.reject(
                CONTEXT, self.name, claim_text(claim), wanted, text
            )
        except CallerError as error:
            got = type(error)
        if got is not None:
            assert got is self._refused(claim, wanted, text)
            return
        assert lost == self.queue.reject(claim, wanted, text)
        assert rejected.number == (held if wanted is None else len(ids) - len(lost))

    def _refused(self, claim: bytes, ids: list[str] | None, text: str) -> type[CallerError] | None:
        """How the model refuses it."""
        try:
            self.queue.reject(claim, ids, text)
        except CallerError as error:
            return type(error)
        return None

    async def redrive(self) -> None:
        limit, ids = self.dice.randint(1, 6), self.dice.choice([None, None, self.some_ids()])
        to = self.dice.choice([None, None, *(name for name in NAMES if name != self.name)])
        done = await self.app.letters.redrive(CONTEXT, self.name, limit, ids, to)
        assert (done.moved, done.left) == self.queue.redrive(limit, ids, to)

    async def pop(self) -> None:
        limit = self.dice.randint(1, 3)
        popped = await self.app.messages.pop(CONTEXT, self.name, limit)
        self.same(self.queue, popped, self.queue.pop(limit))

    async def move(self) -> None:
        self.clock.move_s(self.dice.choice([0.001, 1, 14.999, 15, 19.999, 20, 40, 60.0]))
        self.model.now_ms = self.clock.now_ms()

    async def sweep(self) -> None:
        await self.service.sweep_once()

    async def look(self) -> None:
        claim = self.one_claim()
        try:
            found: Claim = await self.app.claims.get(CONTEXT, self.name, claim_text(claim))
        except CallerError:
            assert not self.queue.alive(claim)
            return
        lease = self.queue.claims[claim]
        assert (found.ttl_s, found.age_s, found.expires_ms) == (
            lease.ttl_s,
            (self.model.now_ms - lease.renewed_ms) // 1000,
            lease.end_ms,
        )
        self.same(self.queue, found.messages, self.queue.of_claim(claim))

    async def configure(self) -> None:
        """A queue that is not there gets dead letters."""
        target = TARGETS.get(self.name)
        if target is None:
            return
        claims, ttl_s = self.dice.choice([None, 1, 2]), self.dice.choice([None, 80])
        metadata = {
            "_dead_letter_queue": target,
            "_max_claim_count": claims,
            "_dead_letter_queue_messages_ttl": ttl_s,
        }
        if await self.app.queues.create(CONTEXT, self.name, metadata):
            assert not self.queue.exists
            self.queue.letters, self.queue.exists = Letters(target, claims, ttl_s), True
        else:
            assert self.queue.exists

    async def give_up(self) -> None:
        match self.dice.choice(["purge", "delete", "nothing", "nothing", "nothing"]):
            case "purge":
                await self.app.queues.purge(CONTEXT, self.name, messages_too=True)
                self.queue.clear()
            case "delete":
                await self.app.queues.delete(CONTEXT, self.name)
                self.queue.clear()
                self.queue.keys, self.queue.letters, self.queue.exists = {}, None, False
                await self.configure()

    async def audit(self) -> None:
        """What is counted is what lies there, and what is held has an end that is known."""
        now_ms = self.clock.now_ms()
        for store in self.service.stores.every():
            wrong = await store.database.read(lambda tx: tx.fetch(MISCOUNTED))
            assert not wrong, "counts of these queues are not those of their rows"
            astray = await store.database.read(lambda tx: tx.fetch(ASTRAY, (now_ms,)))
            assert not astray, "these messages end with no strand of their claim"

    async def compare(self, name: str) -> None:
        queue = self.model.of[name]
        everything = MessageFilter(include_claimed=True, include_delayed=True)
        listed = await self.app.messages.page(CONTEXT, name, everything, None, 1000)
        present = queue.present()
        assert len(listed) == len(present)
        for got, held in zip(listed, present, strict=True):
            if not held.id:  # it was moved here, and gets its id now
                held.id = str(got.id)
                self.ids[name].append(held.id)
        ids = [held.id for held in present]
        assert ids == sorted(ids)
        self.same(queue, listed, present)
        include_claimed, include_delayed = self.dice.random() < 0.5, self.dice.random() < 0.5
        not_from = self.dice.choice([None, *CLIENTS])
        wanted = MessageFilter(include_claimed, include_delayed, not_from)
        expected = queue.listed(
            include_claimed=include_claimed, include_delayed=include_delayed, not_from=not_from
        )
        self.same(queue, await self.app.messages.page(CONTEXT, name, wanted, None, 1000), expected)
        stats = await self.app.queues.stats(CONTEXT, name)
        held_now = sum(queue.holder(held) is not None for held in present)
        assert (stats.total, stats.claimed) == (len(present), held_now)
        edges = [edge and str(edge.id) for edge in (stats.oldest, stats.newest)]
        assert edges == ([present[0].id, present[-1].id] if present else [None, None])

    def one_claim(self) -> bytes:
        return self.dice.choice(self.claims[self.name][-4:])

    def some_ids(self) -> list[str]:
        """Of messages that are held, more often than not."""
        held = [one.id for one in self.queue.messages if one.claim is not None]
        pool = (held + self.ids[self.name])[:4] + self.ids[self.name][-4:]
        return list(dict.fromkeys(self.dice.choice(pool) for _ in range(self.dice.randint(1, 4))))

    def same(self, queue: ModelQueue, got: Sequence[Message], expected: Sequence[Held]) -> None:
        now_ms = self.model.now_ms
        assert [_facts(one) for one in got] == [
            (
                held.id,
                held.body,
                held.ttl_s,
                (now_ms - held.created_ms) // 1000,
                queue.holder(held),
                held.deliveries,
                (held.created_ms, held.expires_ms),
                max(held.delayed_until_ms, held.claim_end_ms)
                if queue.holder(held) or held.delayed_until_ms > now_ms
                else None,
                held.key,
                held.deaths,
            )
            for held in expected
        ]


def _facts(one: Message) -> tuple[object, ...]:
    times = (one.created_ms, one.expires_ms)
    said = (str(one.id), one.body, one.ttl_s, one.age_s, one.claim_id, one.deliveries, times)
    return (*said, one.available_ms, one.key, one.deaths)


async def live(folder: Path, dice: random.Random, steps: int) -> None:
    """Raises: AssertionError at the first answer that is not the model's."""
    clock = MovedClock()
    limits = {"max_messages_per_page": 1000, "sweep_batch": 7, "message_key_window_s": WINDOW_S}
    async with open_service(folder, clock, 1, **limits) as service:
        life = Life(service, clock, dice)
        for name in TARGETS:
            life.name = name
            await life.configure()
        for _ in range(steps):
            await life.step()
