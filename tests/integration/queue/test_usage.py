"""What a queue keeps is counted exactly, whatever takes it away; and a project's limits hold."""

import random
from pathlib import Path
from typing import Any

import pytest

from transom.queue.logic.quota import Limits
from transom.queue.model import ClientId, NewMessage, QuotaReached, claim_text
from transom.queue.service import QueueService

from support.queues import PROJECTS, MovedClock, open_door, open_service

pytestmark = pytest.mark.usefixtures("engine")

CONTEXT, OTHER = PROJECTS["token-a"], PROJECTS["token-b"]
CLIENT = ClientId(b"c" * 16)


async def kept(service: QueueService, name: str = "q") -> tuple[int, int]:
    """(messages, bytes of their bodies) by the row of the queue."""
    row = await service.database.read(
        lambda tx: tx.fetch_one(
            "select total, body_bytes from queue where project_id = 'a' and name = ?", (name,)
        )
    )
    return (0, 0) if row is None else (int(row[0]), int(row[1]))


async def there(service: QueueService, name: str = "q") -> tuple[int, int]:
    """The same, by counting."""
    row = await service.database.read(
        lambda tx: tx.fetch_one(
            "select count(*), coalesce(sum(length(body)), 0) from message where content_id = "
            "(select content_id from queue where project_id = 'a' and name = ?)",
            (name,),
        )
    )
    assert row is not None
    return int(row[0]), int(row[1])


def new(*sizes: int, **more: Any) -> list[NewMessage]:
    return [NewMessage(b'"%b"' % (b"x" * size), **more) for size in sizes]


@pytest.mark.parametrize("seed", range(3))
async def test_the_kept_counts_are_those_of_counting(tmp_path: Path, seed: int) -> None:
    clock, draw = MovedClock(), random.Random(seed)
    metadata = {"_dead_letter_queue": "dead", "_max_claim_count": 2}
    async with open_service(tmp_path, clock, seed) as service:
        app = service.app
        await app.queues.create(CONTEXT, "q", metadata)
        for _ in range(40):
            sizes = [draw.randint(1, 500) for _ in range(draw.randint(1, 8))]
            key = draw.choice([None, None, f"k{draw.randint(1, 5)}"])
            ttl_s = draw.choice([60, 600])
            await app.messages.post(CONTEXT, "q", CLIENT, new(*sizes, ttl_s=ttl_s, key=key), 1)
            step = draw.randint(0, 6)
            if step == 0:
                await app.messages.pop(CONTEXT, "q", 3)
            elif step == 1:
                claim = await app.claims.take(CONTEXT, "q", 60, 60, 5)
                if claim is not None:
                    ids = [str(message.id) for message in claim.messages]
                    await app.messages.delete_many(CONTEXT, "q", ids[:2], [claim.id])
                    await app.claims.reject(
                        CONTEXT, "q", claim_text(claim.id), ids[2:3] or None, ""
                    )
            elif step == 2:
                claim = await app.claims.take(CONTEXT, "q", 60, 60, 5)
                clock.move_s(61)
            elif step == 3:
                clock.move_s(70)
                await service.sweep_once()
            elif step == 4:
                await app.letters.redrive(CONTEXT, "dead", 3, None, None)
            elif step == 5:
                listed = await service.database.read(
                    lambda tx: tx.fetch("select sequence, token from message limit 2")
                )
                assert listed is not None
            elif draw.random() < 0.3:
                await app.queues.purge(CONTEXT, "q", messages_too=True)
            for name in ("q", "dead"):
                assert await kept(service, name) == await there(service, name), (step, name)


async def test_a_project_cannot_go_over_its_messages_or_bytes(tmp_path: Path) -> None:
    async with open_service(
        tmp_path, MovedClock(), project_max_messages=5, project_max_bytes=1000
    ) as service:
        post = service.app.messages.post
        await post(CONTEXT, "q", CLIENT, new(10, 10, 10), 1)
        with pytest.raises(QuotaReached, match="5 messages and has 3"):
            await post(CONTEXT, "r", CLIENT, new(10, 10, 10), 1)
        assert not await service.app.queues.exists(CONTEXT, "r")  # undone whole
        await post(CONTEXT, "r", CLIENT, new(10), 1)
        with pytest.raises(QuotaReached, match="1000 bytes of bodies"):
            await post(CONTEXT, "r", CLIENT, new(990), 1)
        await post(OTHER, "q", CLIENT, new(900), 1)  # another project's
        await service.app.messages.pop(CONTEXT, "q", 3)
        await post(CONTEXT, "r", CLIENT, new(900), 1)


async def test_a_project_may_have_limits_of_its_own_and_they_change_while_it_runs(
    tmp_path: Path,
) -> None:
    async with open_service(tmp_path, MovedClock(), project_max_messages=5) as service:
        app, quotas = service.app, service.quota_file.quotas
        quotas.replace({"a": Limits(queues=1, messages=8, subscriptions=1)})
        await app.messages.post(CONTEXT, "q", CLIENT, new(*[10] * 8), 1)
        with pytest.raises(QuotaReached, match="8 messages and has 8"):
            await app.messages.post(CONTEXT, "q", CLIENT, new(10), 1)
        with pytest.raises(QuotaReached, match="1 queues"):
            await app.queues.create(CONTEXT, "r", {})
        for _ in range(5):
            await app.messages.post(OTHER, "q", CLIENT, new(10), 1)
        with pytest.raises(QuotaReached, match="5 messages and has 5"):
            await app.messages.post(OTHER, "q", CLIENT, new(10), 1)
        quotas.replace({})
        with pytest.raises(QuotaReached, match="5 messages and has 8"):
            await app.messages.post(CONTEXT, "q", CLIENT, new(10), 1)


async def test_single_posts_reach_a_limit_exactly(tmp_path: Path) -> None:
    async with open_service(tmp_path, MovedClock(), project_max_messages=200) as service:
        post, stored = service.app.messages.post, 0
        with pytest.raises(QuotaReached, match="200 messages and has 200"):
            while stored <= 200:
                await post(CONTEXT, f"q{stored % 7}", CLIENT, new(10), 1)
                stored += 1
        assert stored == 200


async def test_a_project_cannot_make_more_queues_than_it_may(tmp_path: Path) -> None:
    async with open_door(tmp_path, project_max_queues=2) as door:
        assert (await door.ask("PUT", "/v2/queues/a")).status == 201
        body = {"messages": [{"body": 1}]}
        assert (await door.ask("POST", "/v2/queues/b/messages", body)).status == 201
        for method, path, sent in (
            ("PUT", "/v2/queues/c", None),
            ("POST", "/v2/queues/c/messages", body),
            ("POST", "/v2/queues/c/subscriptions", {"subscriber": "http://example.org/"}),
        ):
            refused = await door.ask(method, path, sent)
            assert (refused.status, refused.json()["title"]) == (403, "Limit reached")
            assert "2 queues" in refused.json()["description"]
        assert (await door.ask("GET", "/v2/queues/c/messages?limit=1")).json()["messages"] == []
        assert (await door.ask("PUT", "/v2/queues/a")).status == 204
        assert (await door.ask("PUT", "/v2/queues/c", token="token-b")).status == 201
        assert (await door.ask("DELETE", "/v2/queues/a")).status == 204
        assert (await door.ask("PUT", "/v2/queues/c")).status == 201


async def test_nor_by_a_redrive(tmp_path: Path) -> None:
    async with open_door(tmp_path, project_max_queues=2) as door:
        await door.ask("PUT", "/v2/queues/a", {"_dead_letter_queue": "dead"})
        await door.ask("POST", "/v2/queues/a/messages", {"messages": [{"body": 1}]})
        claimed = await door.ask("POST", "/v2/queues/a/claims")
        rejected = await door.ask("POST", claimed.headers["location"] + "/reject", {})
        assert rejected.status == 200, rejected.body
        refused = await door.ask("POST", "/v2/queues/dead/redrive", {"to": "new"})
        assert (refused.status, refused.json()["title"]) == (403, "Limit reached")
        back = await door.ask("POST", "/v2/queues/dead/redrive", {})
        assert back.json() == {"moved": 1, "left": 0}
