"""The real deliverer on a real store, subscribers that fail, kills at any moment, by seed.

Each message ends with each subscriber, or in the dead letters; each for the first time in order;
and no subscriber is ever sent two at once.
"""

import asyncio
import json
import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from transom.errors import Unavailable
from transom.queue.app.subscriptions import Wish
from transom.queue.deliveries.deliverer import Deliverer
from transom.queue.deliveries.parcel import Parcel
from transom.queue.logic import delivery
from transom.queue.logic.delivery import Outcome
from transom.queue.model import ClientId, MessageFilter, NewMessage
from transom.queue.service import MIGRATIONS, build
from transom.runtime.db.sqlite import SqliteDatabase

from support.queues import CONFIG, PROJECTS
from virtual import VirtualClock, run_virtual

CONTEXT = PROJECTS["token-a"]
CLIENT = ClientId(b"c" * 16)
SUBSCRIBERS = 6
MESSAGES = 120
POLICY = {
    "retries_with_no_delay": 1,
    "minimum_delay_retries": 1,
    "minimum_delay": 1,
    "maximum_delay": 11,
    "maximum_delay_retries": 1,
}


class Subscribers:
    """All of them, as one carrier. Each has its own bad times."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.taken: dict[str, list[int]] = defaultdict(list)
        self._under_way: set[str] = set()
        self.overlaps = 0

    async def start(self) -> None:
        """Holds nothing."""

    async def stop(self) -> None:
        """Holds nothing."""

    async def carry(self, parcel: Parcel) -> Outcome:
        url = parcel.destination.url
        self.overlaps += url in self._under_way
        self._under_way.add(url)
        try:
            await asyncio.sleep(self._random.choice([0.0, 0.01, 0.3, 5.0]))
            chance = self._random.random()
            bad = int(url[-1]) / 10
            if chance < bad:
                return delivery.failed("not now", self._random.choice([0, 0, 3]))
            if chance < bad + 0.02:
                return delivery.refused("never")
            self.taken[url].append(json.loads(parcel.content)["body"])
            if chance > 0.97:
                return delivery.failed("taken, but the answer was lost")
            return delivery.DELIVERED
        finally:
            self._under_way.discard(url)


class Mortal:
    """What a deliverer works through, until it is killed: then nothing of it comes to the disk."""

    def __init__(self, access: Any) -> None:
        self._access = access
        self.dead = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._access, name)

    async def write(self, verb: Any) -> Any:
        if self.dead:
            raise Unavailable("killed")
        return await self._access.write(verb)


@pytest.mark.parametrize("seed", range(12))
def test_each_message_ends_with_each_subscriber_or_in_the_dead_letters(
    tmp_path: Path, seed: int
) -> None:
    run_virtual(lambda: episode(tmp_path, seed), seed)


async def episode(folder: Path, seed: int) -> None:
    clock, chance = VirtualClock(), random.Random(seed)
    database = SqliteDatabase(folder / "queue.db", MIGRATIONS, clock=clock, inline_writer=True)
    service = build(CONFIG, database, clock=clock, random=random.Random(seed).randbytes)
    await service.start()
    subscribers = Subscribers(seed)
    app = service.app
    await app.queues.create(CONTEXT, "q", {"_dead_letter_queue": "dead"})
    urls = [f"https://hook.example/{at}" for at in range(SUBSCRIBERS)]
    ids = {}
    for url in urls:
        wish = Wish(url, 10**6, {"_retry_policy": POLICY})
        ids[str((await app.subscriptions.create(CONTEXT, "q", wish, "")).id)] = url

    def deliverer() -> tuple[Deliverer, Mortal]:
        mortal = Mortal(app.access)
        made = Deliverer(
            mortal,  # type: ignore[arg-type]
            app.signing,
            None,
            subscribers,
            subscribers,
            clock,
            endpoint="http://x",
            websocket="ws://x",
        )
        return made, mortal

    async def post() -> None:
        at = 0
        while at < MESSAGES:
            size = min(chance.randint(1, 10), MESSAGES - at)
            new = [NewMessage(str(number).encode(), 86_400) for number in range(at, at + size)]
            await app.messages.post(CONTEXT, "q", CLIENT, new, 1)
            at += size
            await asyncio.sleep(chance.uniform(0, 20))

    posting = asyncio.get_running_loop().create_task(post())
    for _ in range(15):
        now, life = deliverer()
        await now.start()
        await asyncio.sleep(chance.uniform(0.1, 60))
        if chance.random() < 0.7:
            life.dead = True
        await now.cut_off()
    await posting
    last, _ = deliverer()
    await last.start()
    async with asyncio.timeout(50_000):
        while await app.access.stores.home.database.read(
            lambda tx: tx.fetch("select 1 from noticed")
        ):
            await asyncio.sleep(10)
    await last.stop()
    dead = await buried(app, ids)
    for url in urls:
        first = list(dict.fromkeys(subscribers.taken[url]))
        assert first == sorted(first)
        assert sorted({*first, *dead[url]}) == list(range(MESSAGES))
        assert dead[url] == sorted(dead[url])
    assert subscribers.overlaps == 0
    assert any(dead.values())
    await service.stop()


async def buried(app: Any, ids: dict[str, str]) -> dict[str, list[int]]:
    """Subscriber -> what it was given up on, in the order of the dead letters."""
    found: dict[str, list[int]] = defaultdict(list)
    marker = None
    while True:
        page = await app.messages.page(CONTEXT, "dead", MessageFilter(), marker, 20)
        if not page:
            return found
        for letter in page:
            subscription = letter.deaths[0].text.partition(":")[0].rpartition(" ")[2]
            found[ids[subscription]].append(int(letter.body))
        marker = page[-1].id
