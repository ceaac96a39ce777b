"""Subscribers are told: in order, at least once, signed, again and again, or given up."""

import asyncio
import hashlib
import hmac
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from transom.queue.contract import SUBSCRIPTIONS
from transom.queue.deliveries.figures import DeliveryFigures
from transom.queue.deliveries.line import COMMITTED_EACH
from transom.queue.model import MessageId, Place
from transom.queue.store import notices, subscriptions
from transom.queue.store.subscriptions import Terms
from transom.runtime.sealing import Sealer

from support.deliveries import EVERY, MESSAGES, World, delivering
from support.queues import MASTER_KEYS
from support.receiver import receiving

pytestmark = pytest.mark.usefixtures("engine")

POSTED = {"messages": [{"body": 1}]}
AT_ONCE = {
    "retries_with_no_delay": 2,
    "minimum_delay_retries": 0,
    "minimum_delay": 1,
    "maximum_delay": 11,
    "maximum_delay_retries": 0,
}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with delivering(tmp_path) as world:
        yield world


async def test_each_subscriber_gets_each_message_in_order_as_zaqar_sends_it(world: World) -> None:
    made = await world.subscribe()
    await world.subscribe("/other")
    await world.post(*range(50), ttl=600)
    await world.post({"a": [1.50, None]})
    await world.receiver.until(51)
    await world.receiver.until(51, "/other")
    assert world.receiver.bodies() == [*range(50), {"a": [1.5, None]}]
    assert world.receiver.bodies("/other") == world.receiver.bodies()
    first = world.receiver.received[0]
    assert first.json() == {
        "ttl": 600, "body": 0, "queue_name": "q", "Message_Type": "Notification",
    }  # fmt: skip
    assert first.headers["Content-Type"] == "application/json"
    assert first.headers["Transom-Message-Id"]
    state = await world.until_state(made, delivered=51)
    assert (state["state"], state["undeliverable"], state["last_error"]) == ("delivers", 0, "")


async def test_what_was_posted_before_the_subscription_is_not_sent(world: World) -> None:
    await world.post("before")
    await world.subscribe()
    await world.post("after")
    await world.receiver.until(1)
    assert world.receiver.bodies() == ["after"]


async def test_templates_and_headers_are_the_subscriptions_own(world: World) -> None:
    options = {
        "post_data": '{"messages": [{"body": "$zaqar_message$", "ttl": 60}]}',
        "post_headers": {"x-own": "yes", "content-type": "application/x-thing"},
    }
    await world.subscribe(options=options)
    await world.post("hello")
    await world.receiver.until(1)
    got = world.receiver.received[0]
    assert got.json()["messages"][0]["body"]["body"] == "hello"
    assert (got.headers["X-Own"], got.headers["Content-Type"]) == ("yes", "application/x-thing")


async def test_a_server_error_is_tried_again_and_nothing_overtakes(world: World) -> None:
    failures = iter([503, 500, 429])
    world.receiver.answer = lambda request: next(failures, 204)
    options = {"_retry_policy": {**AT_ONCE, "retries_with_no_delay": 5}}
    made = await world.subscribe(options=options)
    await world.post("a", "b")
    await world.receiver.until(5)
    assert world.receiver.bodies() == ["a", "a", "a", "a", "b"]
    ids = [one.headers["Transom-Message-Id"] for one in world.receiver.received]
    assert len(set(ids)) == 2
    await world.until_state(made, delivered=2, state="delivers", last_error="")


async def test_a_policy_that_is_used_up_ends_in_the_dead_letters(world: World) -> None:
    await world.door.ask("PUT", "/v2/queues/q", {"_dead_letter_queue": "dead"})
    world.receiver.answer = lambda request: 500 if request.json()["body"] == "bad" else 204
    policy = {**AT_ONCE, "minimum_delay": 1, "maximum_delay": 11}
    made = await world.subscribe(options={"_retry_policy": policy})
    await world.door.ask("DELETE", MESSAGES + "?pop=1")
    await world.post("good", "bad", "well")
    async with asyncio.timeout(20):
        await world.receiver.until(3)
    assert world.receiver.bodies()[:4][:1] == ["good"]
    verb = "update subscription set attempts = 4, next_ms = 0 where attempts = 3"
    await world.until_state(made, failed_attempts=3)
    await (await world.database()).write(lambda tx: tx.execute(verb))
    state = await world.until_state(made, delivered=2, undeliverable=1)
    assert state["state"] == "delivers"
    await world.door.service.sweep_once()  # takes it to another database, if the queue is there
    dead = (await world.door.ask("GET", "/v2/queues/dead/messages?echo=true&details=true")).json()
    assert [one["body"] for one in dead["messages"]] == ["bad"]
    letter = dead["messages"][0]["dead_letter"]
    assert (letter["queue"], letter["reason"]) == ("q", "undeliverable")
    assert made in letter["text"]
    assert "answered 500" in letter["text"]


async def a_letter_of_one(world: World) -> tuple[str, str]:
    """Two subscriptions, of which the first refused "x", which the dead letters have now; the queue
    is worked through, and the first would take it now."""
    await world.door.ask("PUT", "/v2/queues/q", {"_dead_letter_queue": "dead"})
    refused = ["x"]
    world.receiver.answer = lambda request: (
        400 if request.path == "/" and request.json()["body"] in refused else 204
    )
    made, other = await world.subscribe(), await world.subscribe("/other")
    await world.post("x", "y")
    await world.until_state(made, delivered=1, undeliverable=1)
    await world.until_state(other, delivered=2)
    popped = await world.door.ask("DELETE", MESSAGES + "?pop=2")
    assert len(popped.json()["messages"]) == 2
    await world.door.service.sweep_once()  # takes it to another database, if the queue is there
    refused.clear()
    return made, other


async def redrive(world: World, **body: Any) -> None:
    reply = await world.door.ask("POST", "/v2/queues/dead/redrive", body)
    assert reply.json() == {"moved": 1, "left": 0}
    await world.door.service.sweep_once()  # as above


async def total(world: World) -> int:
    reply = await world.door.ask("GET", "/v2/queues/q/stats")
    return int(reply.json()["messages"]["total"])


async def test_a_dead_letter_of_a_subscription_comes_back_to_it_alone(world: World) -> None:
    made, other = await a_letter_of_one(world)
    await redrive(world)
    await world.until_state(made, delivered=2)
    assert await total(world) == 0, "nobody works on it again"
    database, place = await world.database(), Place("a", "q")
    now_ms = world.door.clock.now_ms()
    await database.write(lambda tx: notices.trim(tx, now_ms, place, 100))
    assert await database.read(lambda tx: tx.fetch("select * from notice")) == []
    await world.post("z")
    await world.until_state(made, delivered=3)
    await world.until_state(other, delivered=3)
    assert world.receiver.bodies() == ["x", "y", "x", "z"]
    assert world.receiver.bodies("/other") == ["x", "y", "z"]


async def test_what_one_subscription_has_to_be_told_waits_for_it_and_for_no_other(
    world: World,
) -> None:
    made, other = await a_letter_of_one(world)
    await world.deliverer.stop()
    await redrive(world)
    database, place = await world.database(), Place("a", "q")

    async def due() -> list[str]:
        now_ms = world.door.clock.now_ms()
        lines = await database.read(lambda tx: notices.due(tx, now_ms, place, 0, 100))
        return [str(line.subscription.id) for line in lines]

    assert await due() == [made]
    now_ms = world.door.clock.now_ms()
    await database.write(lambda tx: notices.trim(tx, now_ms, place, 100))
    assert await due() == [made], "it is kept for it"
    await world.post("z")
    assert await due() == [made, other]
    await world.deliverer.start()
    await world.until_state(made, delivered=3)
    await world.until_state(other, delivered=3)


@pytest.mark.parametrize("gone", [True, False])
async def test_a_dead_letter_of_a_subscription_is_a_message_where_that_is_wished_or_it_is_gone(
    world: World, gone: bool
) -> None:
    made, other = await a_letter_of_one(world)
    if gone:
        await world.door.ask("DELETE", f"{EVERY}/{made}")
        await redrive(world)
    else:
        await redrive(world, to="q")
        await world.until_state(made, delivered=2)
    await world.until_state(other, delivered=3)
    assert await total(world) == 1


@pytest.mark.parametrize("status", [400, 404, 301])
async def test_an_answer_that_would_not_change_is_not_asked_for_again(
    world: World, status: int
) -> None:
    moved = web.Response(status=status, headers={"location": world.receiver.url + "/other"})
    world.receiver.answer = lambda request: moved if request.json()["body"] == 1 else 204
    made = await world.subscribe()
    await world.post(1, 2)
    await world.until_state(made, delivered=1, undeliverable=1)
    assert world.receiver.bodies() == [1, 2]
    assert world.receiver.bodies("/other") == []


async def test_a_database_that_does_not_answer_holds_up_its_own_queues_alone(
    tmp_path: Path,
) -> None:
    async with delivering(tmp_path, shards=3) as world:
        service, names = world.door.service, [f"q{number}" for number in range(12)]
        for name in names:
            wanted = {"subscriber": f"{world.receiver.url}/{name}"}
            path = f"/v2/queues/{name}/subscriptions"
            assert (await world.door.ask("POST", path, wanted)).status == 201
        of = {name: await service.stores.of(Place("a", name)) for name in names}
        gone = next(store for store in service.stores.every() if store.name == "shard-1")
        assert {"shard-1", "shard-2"} <= {store.name for store in of.values()}
        await gone.database.stop()
        for name in names:
            reply = await world.door.ask("POST", f"/v2/queues/{name}/messages", POSTED)
            assert reply.status == (503 if of[name] is gone else 201)
        for name in names:
            if of[name] is not gone:
                await world.receiver.until(1, f"/{name}")
        await gone.database.start()
        for name in names:
            if of[name] is gone:
                reply = await world.door.ask("POST", f"/v2/queues/{name}/messages", POSTED)
                assert reply.status == 201
                await world.receiver.until(1, f"/{name}")


async def test_retry_after_is_heeded(world: World) -> None:
    busy = web.Response(status=429, headers={"retry-after": "1000"})
    world.receiver.answer = lambda request: busy
    made = await world.subscribe()
    await world.post(1)
    state = await world.until_state(made, failed_attempts=1)
    assert state["state"] == "fails"
    assert len(world.receiver.received) == 1


async def test_one_that_stalls_holds_nobody_up(tmp_path: Path) -> None:
    async with delivering(tmp_path, deliveries_at_once=4) as world:
        world.receiver.gate = asyncio.Event()
        async with receiving() as other:
            await world.subscribe()
            await world.post(0)
            await world.receiver.until(1)
            body = {"subscriber": other.url + "/"}
            assert (await world.door.ask("POST", EVERY, body)).status == 201
            await world.post(*range(1, 30))
            await other.until(29)
            assert other.bodies() == list(range(1, 30))
            assert world.receiver.bodies() == [0]
            world.receiver.gate.set()
            await world.receiver.until(30)
        assert world.receiver.bodies() == list(range(30))


async def test_a_signature_can_be_verified_with_the_secret_that_was_shown(world: World) -> None:
    body = {"subscriber": world.receiver.url + "/", "options": {"_signature": True}}
    made = (await world.door.ask("POST", EVERY, body)).json()
    secret = made["signing_secret"].encode()
    shown = await world.state(made["subscription_id"])
    assert shown["options"] == {"_signature": True}
    again = (await world.door.ask("POST", EVERY, body)).json()
    assert "signing_secret" not in again
    await check_signed(world, secret)


async def check_signed(world: World, secret: bytes) -> None:
    """The first that the receiver is sent."""
    await world.post("x")
    await world.receiver.until(1)
    got = world.receiver.received[0]
    signed = got.headers["Transom-Timestamp"].encode() + b"." + got.body
    expected = hmac.new(secret, signed, hashlib.sha256).hexdigest()
    assert got.headers["Transom-Signature"] == f"sha256={expected}"


async def test_a_change_that_keeps_the_secret_does_not_bring_an_older_one_back(
    world: World,
) -> None:
    made = await world.subscribe(options={"_signature": {"secret": "o" * 20}})
    place, wanted = Place("a", "q"), MessageId.parse(made)
    assert wanted is not None
    now_ms = world.door.clock.now_ms()
    database = await world.database()
    before = await database.read(lambda tx: subscriptions.get(tx, now_ms, place, wanted))
    newer = {"options": {"_signature": {"secret": "n" * 20}}}
    assert (await world.door.ask("PATCH", f"{EVERY}/{made}", newer)).status == 204
    kept = Terms(before.subscriber, before.options, None, 600, False, keeps_secret=True)
    await database.write(lambda tx: subscriptions.change(tx, now_ms, place, before, kept))
    await check_signed(world, b"n" * 20)
    await world.door.ask("PATCH", f"{EVERY}/{made}", {"options": {}})
    unsigned = await world.door.ask("PATCH", f"{EVERY}/{made}", {"options": {"_signature": True}})
    assert unsigned.status == 400, "it has no secret any more"


async def test_nothing_is_sent_to_a_name_that_resolves_to_an_address_of_ours(
    tmp_path: Path,
) -> None:
    async with delivering(tmp_path) as world:
        world.deliverer._by_http._guard._allowed = ()  # type: ignore[attr-defined]
        port = world.receiver.url.rpartition(":")[2]
        body = {"subscriber": f"http://localhost:{port}/"}
        made = (await world.door.ask("POST", EVERY, body)).json()["subscription_id"]
        await world.post(1)
        state = await world.until_state(made, undeliverable=1)
        assert world.receiver.received == []
        assert "no public address" in state["last_error"]


async def test_who_is_cut_off_as_it_begins_to_look_delivers_when_its_turn_comes_again(
    world: World,
) -> None:
    await world.deliverer.cut_off()
    await world.deliverer.start()
    await asyncio.sleep(0)  # it has made its looks, and none has begun
    await world.deliverer.cut_off()
    await world.deliverer.start()
    await world.subscribe()
    await world.post("hello")
    await world.receiver.until(1)


async def test_notices_are_gone_when_all_have_them_and_when_nobody_is_left(world: World) -> None:
    made = await world.subscribe()

    async def noted() -> int:
        database = await world.database()
        rows = await database.read(lambda tx: tx.fetch("select count(*) from notice"))
        rows += await database.read(lambda tx: tx.fetch("select count(*) from noticed"))
        return int(rows[0][0] + rows[1][0])

    async def until_none() -> None:
        async with asyncio.timeout(10):
            while await noted():
                await asyncio.sleep(0.05)

    await world.post(*range(20))
    await world.receiver.until(20)
    await until_none()
    world.receiver.answer = lambda request: 500
    await world.post(*range(20))
    await world.until_state(made, state="fails")
    assert await noted() == 21
    await world.door.ask("DELETE", f"{EVERY}/{made}")
    world.deliverer._trim_at_s.clear()
    await until_none()


@pytest.mark.parametrize("turns", range(6))
async def test_a_deliverer_that_is_woken_as_it_stops_has_stopped(world: World, turns: int) -> None:
    await asyncio.sleep(0.2)  # it waits to be woken
    world.deliverer.wake(Place("a", "q"))
    for _ in range(turns):
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await world.deliverer.stop()
    await world.deliverer.start()


async def test_a_deliverer_that_starts_again_goes_on_where_it_was(world: World) -> None:
    made = await world.subscribe()
    await world.post(*range(100))
    await world.receiver.until(10)
    await world.deliverer.stop()
    await world.deliverer.start()
    await world.until_state(made, delivered=100)
    seen = world.receiver.bodies()
    assert [body for at, body in enumerate(seen) if body not in seen[:at]] == list(range(100))


async def test_a_subscriber_confirms_by_the_address_that_it_was_sent(tmp_path: Path) -> None:
    async with delivering(tmp_path, require_confirmation=True) as world:
        made = await world.subscribe()
        await world.receiver.until(1)
        asked = world.receiver.received[0].json()
        assert asked["Message_Type"] == "SubscriptionConfirmation"
        await world.post("unseen")
        headers = {
            name: asked[name]
            for name in ("URL-Signature", "URL-Methods", "URL-Paths", "URL-Expires", "X-Project-ID")
        }
        path = asked["WSGISubscribeURL"].partition("/queue")[2]

        async def put(body: Any) -> int:
            reply = await world.door.ask("PUT", path, body, token="", headers=headers)
            return reply.status

        wrong = {**headers, "URL-Signature": "0" * 64}
        refused = await world.door.ask("PUT", path, asked["SubscribeBody"], token="", headers=wrong)
        assert refused.status == 404
        assert await put(asked["SubscribeBody"]) == 204
        await world.post("seen")
        await world.receiver.until(2)
        assert world.receiver.received[1].json()["body"] == "seen"
        assert await put(asked["UnsubscribeBody"]) == 204
        await world.receiver.until(3)
        left = world.receiver.received[2].json()
        assert left["Message_Type"] == "UnsubscribeConfirmation"
        await world.post("unseen")
        assert await put(left["SubscribeBody"]) == 204
        await world.post("again")
        await world.receiver.until(4)
        assert world.receiver.received[3].json()["body"] == "again"
        assert (await world.until_state(made, delivered=2))["confirmed"] is True


@pytest.mark.parametrize("stalls", [False, True])
async def test_an_answer_counts_by_its_head_whatever_becomes_of_its_body(
    world: World, stalls: bool
) -> None:
    heard, over = [], asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ncut")
        await writer.drain()
        if stalls:
            await over.wait()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    made = (await world.door.ask("POST", EVERY, {"subscriber": f"http://127.0.0.1:{port}/"})).json()
    await world.post(1)
    state = await world.until_state(made["subscription_id"], delivered=1)
    assert (len(heard), state["last_error"]) == (1, "")
    over.set()
    server.close()


async def test_a_line_holds_no_more_than_it_may(world: World) -> None:
    world.receiver.gate = asyncio.Event()
    made = await world.subscribe()
    texts = [str(number) * 1000 for number in (1, 2, 3, 4)]
    await world.post(*texts)
    await world.receiver.until(1)
    database, place, wanted = await world.database(), Place("a", "q"), MessageId.parse(made)
    assert wanted is not None
    for most_bytes, number in ((0, 1), (1, 1), (2004, 2), (4007, 3), (4008, 4), (10**6, 4)):
        read = await database.read(
            lambda tx, most=most_bytes: notices.following(tx, place, wanted, 0, 32, most)
        )
        assert [json.loads(one.body) for one in read] == texts[:number]
    world.receiver.gate.set()


async def changed(world: World, made: str, path: str) -> None:
    body = {"subscriber": world.receiver.url + path}
    assert (await world.door.ask("PATCH", f"{EVERY}/{made}", body)).status == 204


async def test_a_changed_address_is_soon_the_only_one_that_is_told(world: World) -> None:
    world.receiver.gate = asyncio.Event()
    made = await world.subscribe()
    await world.post(*range(100))
    await world.receiver.until(1)
    await changed(world, made, "/new")
    world.receiver.gate.set()
    await world.until_state(made, delivered=100)
    before = world.receiver.bodies()
    assert len(before) <= COMMITTED_EACH
    assert before + world.receiver.bodies("/new") == list(range(100))


@pytest.mark.parametrize("status", [400, 500])
async def test_what_a_former_address_answers_gives_nothing_up(world: World, status: int) -> None:
    world.receiver.gate = asyncio.Event()
    world.receiver.answer = lambda request: status if request.path == "/" else 204
    made = await world.subscribe(options={"_retry_policy": {**AT_ONCE, "retries_with_no_delay": 0}})
    await world.post("x")
    await world.receiver.until(1)
    await changed(world, made, "/new")
    world.receiver.gate.set()
    await world.receiver.until(1, "/new")
    state = await world.until_state(made, delivered=1)
    assert (state["undeliverable"], state["failed_attempts"]) == (0, 0)


async def test_who_has_left_is_soon_told_no_more_while_others_are(tmp_path: Path) -> None:
    async with delivering(tmp_path, require_confirmation=True) as world:
        leaver, stayer = await world.subscribe("/leaver"), await world.subscribe("/stayer")
        await world.receiver.until(1, "/leaver")
        await world.receiver.until(1, "/stayer")
        for one in (leaver, stayer):
            await world.door.ask("PUT", f"{EVERY}/{one}/confirm", {"confirmed": True})
        world.receiver.gate = asyncio.Event()
        await world.post(*range(100))
        await world.receiver.until(2, "/leaver")
        await world.door.ask("PUT", f"{EVERY}/{leaver}/confirm", {"confirmed": False})
        world.receiver.gate.set()
        await world.until_state(stayer, delivered=100)
        told = [
            one.json()["Message_Type"] for one in world.receiver.received if "leaver" in one.path
        ]
        assert told.count("Notification") <= COMMITTED_EACH


async def test_a_new_address_is_asked_though_the_former_one_answers_late(tmp_path: Path) -> None:
    async with delivering(tmp_path, require_confirmation=True) as world:
        world.receiver.gate = asyncio.Event()
        made = await world.subscribe()
        await world.receiver.until(1)
        await changed(world, made, "/new")
        world.receiver.gate.set()
        await world.receiver.until(1, "/new")
        assert world.receiver.received[-1].json()["Message_Type"] == "SubscriptionConfirmation"


async def test_figures_say_how_deliveries_go(world: World) -> None:
    service = world.door.service
    figures = DeliveryFigures(service.stores, world.door.clock, 3600)

    async def shown() -> dict[str, float]:
        await figures.look()
        return {
            "_".join([sample.name, *sample.labels.values()]): sample.value
            for metric in figures.collect()
            for sample in metric.samples
        }

    busy = web.Response(status=503, headers={"retry-after": "1000"})
    world.receiver.answer = lambda request: busy if request.json()["body"] == 2 else 204
    made = await world.subscribe()
    await world.post(0, 1, 2, 3)
    await world.until_state(made, delivered=2, failed_attempts=1)
    found = await shown()
    assert found["transom_queue_notices_total_delivered"] == 2
    assert found["transom_queue_notices_total_retried"] == 1
    assert found["transom_queue_notices_waiting"] == 2
    assert found["transom_queue_subscriptions_failing"] == 1
    assert found["transom_queue_notices_lag_seconds"] >= 0
    await world.door.ask("DELETE", f"{EVERY}/{made}")
    assert (await shown())["transom_queue_notices_waiting"] == 0


async def test_the_live_table_shows_how_a_subscription_fares_and_no_secret(world: World) -> None:
    made = await world.subscribe("/?token=x", options={"post_headers": {"authorization": "y"}})

    async def row() -> dict[str, Any]:
        for relay in world.door.service.relays.all():
            await relay.quiet()
        found = await world.door.service.database.read(
            lambda tx: world.door.service.read_row(tx, SUBSCRIPTIONS.name, ("a", "q", made))
        )
        assert found is not None
        SUBSCRIPTIONS.check(found)
        return dict(found)

    first = await row()
    assert (first["subscriber"], first["state"]) == ("http://127.0.0.1", "delivers")
    assert "token" not in str(first)
    busy = web.Response(status=503, headers={"retry-after": "1000"})
    world.receiver.answer = lambda request: busy
    await world.post(1)
    await world.until_state(made, state="fails")
    failing = await row()
    assert (failing["state"], failing["last_error"]) == ("fails", "The subscriber answered 503.")


async def test_secrets_are_sealed_again_under_a_new_master_key(world: World) -> None:
    await world.subscribe(options={"_signature": {"secret": "s" * 20}})
    database, draw = await world.database(), random.Random(9).randbytes
    newer = Sealer(lambda: [b"n" * 32, *MASTER_KEYS], draw)
    assert await database.read(lambda tx: subscriptions.any_left(tx, newer))
    assert await database.write(lambda tx: subscriptions.sealed_again(tx, newer)) == 1
    assert not await database.read(lambda tx: subscriptions.any_left(tx, newer))
