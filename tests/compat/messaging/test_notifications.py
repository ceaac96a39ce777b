# SPDX-License-Identifier: Apache-2.0
"""Notifications between notifiers and listeners of both kinds, in both formats."""

from typing import Any

import pytest

from support.interop import Bus, Pair

pytestmark = pytest.mark.asyncio(loop_scope="module")

PRIORITIES = ["audit", "debug", "info", "warn", "error", "critical", "sample"]
FORMATS = ["messaging", "messagingv2"]


async def listening(pair: Pair, name: str, priorities: list[str], **options: Any) -> str:
    """Starts a listener of the pair's server; the name to ask for what it saw."""
    name = f"{pair.topic}.{name}"
    targets = [{"topic": pair.topic}]
    await pair.server.ask("listen", name=name, targets=targets, priorities=priorities, **options)
    return name


@pytest.mark.parametrize("driver", FORMATS)
async def test_a_notification_arrives_whole(pair: Pair, driver: str) -> None:
    name = await listening(pair, "l", ["info"])
    event = {"event_type": "compute.instance.create.start", "payload": {"id": "ü", "n": [1, None]}}
    await pair.client.ask("notify", topics=[pair.topic], priority="info", driver=driver, **event)
    (message,) = await pair.server.ask("seen", name=name, at_least=1)
    assert message["event_type"] == event["event_type"]
    assert message["payload"] == event["payload"]
    assert message["publisher_id"] == "compute.there"
    assert len(message["metadata"]["message_id"]) == 36
    assert message["metadata"]["timestamp"][4:20:3] == "-- ::."


@pytest.mark.parametrize("driver", FORMATS)
async def test_every_priority_arrives_as_itself(pair: Pair, driver: str) -> None:
    name = await listening(pair, "l", PRIORITIES)
    for at, priority in enumerate(PRIORITIES):
        event = {"priority": priority, "event_type": "e", "payload": at, "driver": driver}
        await pair.client.ask("notify", topics=[pair.topic], **event)
    seen = await pair.server.ask("seen", name=name, at_least=len(PRIORITIES))
    arrived = {message["priority"]: message["payload"] for message in seen}
    assert arrived == {priority: at for at, priority in enumerate(PRIORITIES)}


async def test_a_listener_gets_only_the_priorities_that_it_takes(pair: Pair) -> None:
    name = await listening(pair, "l", ["error"])
    for priority in ("info", "error", "debug", "error"):
        event = {"priority": priority, "event_type": "e", "payload": priority}
        await pair.client.ask("notify", topics=[pair.topic], **event)
    seen = await pair.server.ask("seen", name=name, at_least=2)
    assert [message["payload"] for message in seen] == ["error", "error"]


async def test_no_token_travels_in_the_context(pair: Pair) -> None:
    name = await listening(pair, "l", ["info"])
    event = {"priority": "info", "event_type": "e", "payload": 1, "secret": True}
    await pair.client.ask("notify", topics=[pair.topic], **event)
    (message,) = await pair.server.ask("seen", name=name, at_least=1)
    assert message["context"]["request_id"] == "req-7"
    assert "token-of-u1" not in repr(message)


async def test_what_is_sent_before_the_first_listener_waits_for_it(pair: Pair) -> None:
    event = {"priority": "info", "event_type": "e", "payload": "early"}
    await pair.client.ask("notify", topics=[pair.topic], **event)
    name = await listening(pair, "l", ["info"])
    (message,) = await pair.server.ask("seen", name=name, at_least=1)
    assert message["payload"] == "early"


async def test_each_pool_gets_a_copy_and_shares_it_among_its_listeners(pair: Pair) -> None:
    names = [
        await listening(pair, name, ["info"], pool=pool)
        for name, pool in (
            ("plain", None), ("one", f"{pair.topic}-one"), ("two", f"{pair.topic}-two"),
            ("two again", f"{pair.topic}-two"),
        )
    ]  # fmt: skip
    event = {"priority": "info", "event_type": "e", "payload": 7, "times": 20}
    await pair.client.ask("notify", topics=[pair.topic], **event)
    plain = await pair.server.ask("seen", name=names[0], at_least=20)
    one = await pair.server.ask("seen", name=names[1], at_least=20)
    two = await pair.server.ask("seen", name=names[2], at_least=10)
    again = await pair.server.ask("seen", name=names[3], at_least=10)
    assert len(plain) == len(one) == 20
    assert len(two) == len(again) == 10


async def test_what_a_listener_requeues_comes_again(pair: Pair) -> None:
    name = await listening(pair, "l", ["info"], requeues=2)
    event = {"priority": "info", "event_type": "e", "payload": "again"}
    await pair.client.ask("notify", topics=[pair.topic], **event)
    seen = await pair.server.ask("seen", name=name, at_least=3)
    assert [message["requeued"] for message in seen] == [True, True, False]
    assert len({message["metadata"]["message_id"] for message in seen}) == 1


async def test_each_of_several_topics_gets_the_notification(pair: Pair) -> None:
    names = []
    for at in range(2):
        names.append(name := f"{pair.topic}.{at}")
        targets = [{"topic": name}]
        await pair.server.ask("listen", name=name, targets=targets, priorities=["warn"])
    event = {"priority": "warn", "event_type": "e", "payload": 1}
    await pair.client.ask("notify", topics=names, **event)
    for name in names:
        assert len(await pair.server.ask("seen", name=name, at_least=1)) == 1


async def test_one_listener_hears_several_topics(pair: Pair) -> None:
    topics = [f"{pair.topic}.{at}" for at in range(3)]
    targets = [{"topic": topic} for topic in topics]
    listen = {"name": pair.topic, "targets": targets, "priorities": ["info"]}
    await pair.server.ask("listen", **listen)
    for at, topic in enumerate(topics):
        event = {"priority": "info", "event_type": "e", "payload": at}
        await pair.client.ask("notify", topics=[topic], **event)
    seen = await pair.server.ask("seen", name=pair.topic, at_least=3)
    assert sorted(message["payload"] for message in seen) == [0, 1, 2]


async def test_a_batch_listener_of_theirs_takes_what_we_publish(bus: Bus, topic: str) -> None:
    listen = {"targets": [{"topic": topic}], "priorities": ["info"], "batch": 10}
    await bus.their_server.ask("listen", name=topic, **listen)
    event = {"priority": "info", "event_type": "e", "payload": {"n": 1}, "times": 30}
    await bus.our.ask("notify", topics=[topic], **event)
    batches = await bus.their_server.ask("seen", name=topic, at_least=3)
    assert max(len(batch) for batch in batches) > 1
    while sum(len(batch) for batch in batches) < 30:
        batches = await bus.their_server.ask("seen", name=topic, at_least=len(batches) + 1)
    assert all(message["payload"] == {"n": 1} for batch in batches for message in batch)
