# SPDX-License-Identifier: Apache-2.0
"""Timeouts, heartbeats of long calls, and requests to nobody, between both kinds."""

import pytest

from support.interop import Bus, Pair, Program, kinds

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_call_that_takes_too_long_ends_at_its_timeout(pair: Pair) -> None:
    target = await pair.serve()
    call = {"target": target, "method": "sleep", "args": {"seconds": 3}}
    outcome = await pair.client.ask("call", **call, timeout=1)
    assert "MessagingTimeout" in kinds(outcome)
    assert 900 <= outcome["ms"] < 2500
    again = await pair.client.ask("call", target=target, method="who", timeout=10)
    assert again["result"] == "s1"  # the late answer to the first call disturbs nobody


async def test_heartbeats_keep_a_long_call_alive(pair: Pair) -> None:
    target = await pair.serve()
    call = {"target": target, "method": "sleep", "args": {"seconds": 3.5}}
    outcome = await pair.client.ask("call", **call, timeout=20, call_monitor_timeout=2)
    assert outcome["result"] == "slept"
    assert outcome["ms"] >= 3500


async def test_heartbeats_do_not_stretch_the_timeout(pair: Pair) -> None:
    target = await pair.serve()
    call = {"target": target, "method": "sleep", "args": {"seconds": 5}}
    outcome = await pair.client.ask("call", **call, timeout=3, call_monitor_timeout=2)
    assert "MessagingTimeout" in kinds(outcome)
    assert 2900 <= outcome["ms"] < 4500


@pytest.mark.parametrize("who", ["theirs", "ours"])
async def test_a_silent_server_ends_a_monitored_call_early(bus: Bus, topic: str, who: str) -> None:
    await bus.wire.ask("answer", exchange="openstack", topic=topic, replies=[])
    client = bus.our if who == "ours" else bus.their_client
    call = {"target": {"topic": topic}, "method": "echo", "timeout": 30, "call_monitor_timeout": 2}
    outcome = await client.ask("call", **call)
    assert "MessagingTimeout" in kinds(outcome)
    assert 1900 <= outcome["ms"] < 4500


async def test_a_mandatory_call_to_nobody_fails_at_once(pair: Pair) -> None:
    call = {"target": {"topic": pair.topic}, "method": "echo", "timeout": 20, "mandatory": True}
    outcome = await pair.client.ask("call", **call)
    assert "MessageUndeliverable" in kinds(outcome)
    assert outcome["ms"] < 3000


async def test_a_call_to_a_server_that_never_was_fails_at_once(pair: Pair) -> None:
    target = {**await pair.serve(), "server": "nobody"}
    call = {"target": target, "method": "echo", "timeout": 20, "mandatory": True}
    outcome = await pair.client.ask("call", **call)
    assert "MessageUndeliverable" in kinds(outcome)


async def test_a_request_past_its_time_is_not_carried_out(pair: Pair) -> None:
    target = await pair.serve()
    await pair.server.ask("stop", name=f"{pair.topic}.s1")
    call = {"target": target, "method": "count", "args": {"x": 1}, "timeout": 1}
    outcome = await pair.client.ask("call", **call)
    # Theirs waits for its timeout; ours is told that the queue has no consumer.
    ended = "MessagingTimeout" if isinstance(pair.client, Program) else "MessageUndeliverable"
    assert ended in kinds(outcome)
    await pair.serve()
    call = {"target": target, "method": "count", "args": {"x": 2}, "timeout": 10}
    assert (await pair.client.ask("call", **call))["result"] == 2
    assert await pair.server.ask("seen", name=f"{pair.topic}.s1") == [2]


async def test_a_cast_waits_for_a_server_to_come_back(pair: Pair) -> None:
    target = await pair.serve()
    await pair.server.ask("stop", name=f"{pair.topic}.s1")
    await pair.client.ask("cast", target=target, method="note", args={"x": "waited"})
    await pair.serve()
    seen = await pair.server.ask("seen", name=f"{pair.topic}.s1", at_least=1)
    assert seen == [["s1", "waited"]]
