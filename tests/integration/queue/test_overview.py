"""`queue:stats` and the figures: what a look at all queues finds, and what is sent of it."""

import asyncio
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from transom.messaging import TableReplica, connect
from transom.queue.bus.overview import SOURCE, Overview
from transom.queue.contract import STATS
from transom.queue.model import ClientId, NewMessage
from transom.queue.service import QueueService
from transom.runtime.telemetry.metrics import exposition

from support.queues import PROJECTS, MovedClock, open_service
from support.tables import consuming

pytestmark = pytest.mark.usefixtures("engine")

CONTEXT, OTHER = PROJECTS["token-a"], PROJECTS["token-b"]
CLIENT = ClientId(b"c" * 16)


def overview(service: QueueService, clock: MovedClock, transport: object = None) -> Overview:
    return Overview(
        transport,  # type: ignore[arg-type]
        service.stores,
        service.app.figures,
        clock,
        holder="test",
        name="test",
        interval_s=0.01,
    )


def shown(service: QueueService) -> list[str]:
    registry = CollectorRegistry()
    registry.register(service.app.figures)
    return exposition(registry).decode().splitlines()


async def filled(service: QueueService, clock: MovedClock) -> None:
    post = service.app.messages.post
    await post(CONTEXT, "q", CLIENT, [NewMessage(b"1"), NewMessage(b"2"), NewMessage(b"33")], 1)
    await post(CONTEXT, "q", CLIENT, [NewMessage(b"4", delay_s=300)], 1)
    clock.move_s(10)
    await service.app.claims.take(CONTEXT, "q", 60, 60, 1)
    await service.app.queues.create(CONTEXT, "empty", {})
    await post(OTHER, "q", CLIENT, [NewMessage(b"5", ttl_s=60)], 1)


async def test_rows_say_what_lies_in_each_queue_and_fit_the_contract(tmp_path: Path) -> None:
    clock = MovedClock()
    began_ms = clock.now_ms()
    async with open_service(tmp_path, clock) as service:
        await filled(service, clock)
        look = overview(service, clock).look
        rows = await look()
        for row in rows.values():
            STATS.check(row)
        assert rows[("a", "q")] == {
            "project_id": "a",
            "name": "q",
            "free": 2,
            "claimed": 1,
            "delayed": 1,
            "oldest": began_ms,
            "body_bytes": 5,
            "posted": 4,
            "expired": 0,
        }
        assert rows[("a", "empty")]["oldest"] is None
        clock.move_s(60)
        assert (await look())[("b", "q")]["free"] == 0  # expired, and not swept yet
        await service.sweep_once()
        rows = await look()
        assert (rows[("b", "q")]["expired"], rows[("b", "q")]["posted"]) == (1, 1)
        assert (rows[("a", "q")]["free"], rows[("a", "q")]["claimed"]) == (3, 0)
        assert 'transom_queue_messages_total{operation="expired"} 1.0' in shown(service)


async def test_many_queues_are_all_seen_page_by_page(tmp_path: Path) -> None:
    clock = MovedClock()
    async with open_service(tmp_path, clock, stats_queues=3) as service:
        for number in range(120):
            await service.app.queues.create(CONTEXT, f"q{number}", {})
        new = [NewMessage(b"1")]
        for number in range(10):
            await service.app.messages.post(CONTEXT, f"q{number}", CLIENT, new * (number + 1), 1)
        rows = await overview(service, clock).look()
        assert len(rows) == 120
        lines = [line for line in shown(service) if "deepest_depth{" in line]
        assert len(lines) == 3 * 3  # three queues alone, three states each
        assert any('queue="q9",state="free"} 10.0' in line for line in lines)


async def test_figures_that_anybody_may_read_name_no_queue_and_no_project(tmp_path: Path) -> None:
    clock = MovedClock()
    async with open_service(tmp_path, clock) as service:
        await service.app.messages.post(CONTEXT, "secret-name", CLIENT, [NewMessage(b"1")], 1)
        await overview(service, clock).look()
        told = "\n".join(shown(service))
        assert 'transom_queue_depth{state="free"} 1.0' in told
        assert "secret-name" not in told
        assert "project_id=" not in told


async def test_figures_count_what_callers_did(tmp_path: Path) -> None:
    clock = MovedClock()
    async with open_service(tmp_path, clock) as service:
        await filled(service, clock)
        await service.app.messages.pop(CONTEXT, "q", 1)
        await overview(service, clock).look()
        lines = shown(service)
        for line in (
            'transom_queue_messages_total{operation="posted"} 5.0',
            'transom_queue_messages_total{operation="claimed"} 1.0',
            'transom_queue_messages_total{operation="popped"} 1.0',
            'transom_queue_depth{state="free"} 2.0',
            'transom_queue_depth{state="delayed"} 1.0',
            "transom_queue_queues 3.0",
            "transom_queue_oldest_age_seconds 10.0",
            "transom_queue_waiters 0.0",
            "transom_queue_waiting_writes 0.0",
        ):
            assert line in lines, (line, lines)


async def test_what_a_claim_gives_up_is_counted_as_other_dead_letters_are(tmp_path: Path) -> None:
    clock = MovedClock()
    async with open_service(tmp_path, clock) as service:
        await service.app.queues.create(
            CONTEXT, "q", {"_dead_letter_queue": "dead", "_max_claim_count": 1}
        )
        await service.app.messages.post(CONTEXT, "q", CLIENT, [NewMessage(b"1")] * 4, 1)
        claims = service.app.claims
        await claims.take(CONTEXT, "q", 60, 60, 3)
        clock.move_s(60)
        rest = await claims.take(CONTEXT, "q", 60, 60, 3)
        assert rest is not None
        assert len(rest.messages) == 1
        assert 'transom_queue_messages_total{operation="buried"} 3.0' in shown(service)
        clock.move_s(60)
        assert await service.app.many_claims.take(CONTEXT, ["q"], 60, 60, 3) is None
        assert 'transom_queue_messages_total{operation="buried"} 4.0' in shown(service)


async def test_replicas_follow_the_table_and_only_changed_rows_travel(tmp_path: Path) -> None:
    clock = MovedClock()
    async with (
        open_service(tmp_path, clock) as service,
        connect("memory://stats/owner") as owner,
        connect("memory://stats/reader") as reader,
    ):
        await filled(service, clock)
        published = overview(service, clock, owner)
        await published.start()
        try:
            replica = TableReplica(reader, source=SOURCE, tables=[STATS.name])
            async with asyncio.timeout(30), consuming(replica) as consumer:
                while len(consumer.rows) < 3:
                    consumer.moved.clear()
                    await consumer.moved.wait()
                await service.app.messages.post(CONTEXT, "q", CLIENT, [NewMessage(b"9")], 1)
                key = (STATS.name, ("a", "q"))
                while consumer.rows[key]["free"] != 3:
                    consumer.moved.clear()
                    await consumer.moved.wait()
                assert [one.key for one in consumer.sets[-1].changes] == [("a", "q")]
        finally:
            await published.stop()
