# SPDX-License-Identifier: Apache-2.0
"""Servers of both kinds at one topic, and load both ways at once."""

import asyncio
from collections import Counter

import pytest

from support.interop import Bus

pytestmark = pytest.mark.asyncio(loop_scope="module")

CALLS = 2000
THREADS = 16


async def both_serve(bus: Bus, topic: str) -> None:
    for peer, server in ((bus.our, "ours"), (bus.their_server, "theirs")):
        target = {"topic": topic, "server": server}
        await peer.ask("serve", name=f"{topic}.{server}", target=target)


@pytest.mark.parametrize("who", ["theirs", "ours"])
async def test_servers_of_both_kinds_share_a_topic(bus: Bus, topic: str, who: str) -> None:
    await both_serve(bus, topic)
    client = bus.our if who == "ours" else bus.their_client
    call = {"target": {"topic": topic}, "method": "who", "timeout": 10}
    answered = Counter([(await client.ask("call", **call))["result"] for _ in range(40)])
    assert answered == {"ours": 20, "theirs": 20}  # round robin


@pytest.mark.parametrize("who", ["theirs", "ours"])
async def test_fan_out_reaches_servers_of_both_kinds(bus: Bus, topic: str, who: str) -> None:
    await both_serve(bus, topic)
    client = bus.our if who == "ours" else bus.their_client
    for x in range(10):
        fanout = {"topic": topic, "fanout": True}
        await client.ask("cast", target=fanout, method="note", args={"x": x})
    for peer, server in ((bus.our, "ours"), (bus.their_server, "theirs")):
        seen = await peer.ask("seen", name=f"{topic}.{server}", at_least=10)
        assert sorted(seen) == [[server, x] for x in range(10)]


async def test_thousands_of_calls_both_ways_at_once_none_is_lost_or_doubled(
    bus: Bus, topic: str
) -> None:
    for peer, server in ((bus.our, "ours"), (bus.their_server, "theirs")):
        target = {"topic": f"{topic}.{server}", "server": server}
        await peer.ask("serve", name=f"{topic}.{server}", target=target)
    load = {"method": "count", "count": CALLS, "threads": THREADS}
    outcomes = await asyncio.gather(
        bus.our.ask("load", target={"topic": f"{topic}.theirs"}, first=0, **load),
        bus.their_client.ask("load", target={"topic": f"{topic}.ours"}, first=0, **load),
    )
    assert outcomes == [{"wrong": [], "errors": []}] * 2
    for peer, server in ((bus.our, "ours"), (bus.their_server, "theirs")):
        told = await peer.ask("repeated", name=f"{topic}.{server}")
        assert told == {"distinct": CALLS, "repeated": []}


async def test_load_on_a_shared_topic_is_carried_out_once_in_all(bus: Bus, topic: str) -> None:
    await both_serve(bus, topic)
    load = {"target": {"topic": topic}, "method": "count", "count": CALLS, "threads": THREADS}
    outcomes = await asyncio.gather(
        bus.our.ask("load", first=0, **load), bus.their_client.ask("load", first=CALLS, **load)
    )
    assert outcomes == [{"wrong": [], "errors": []}] * 2
    ours = await bus.our.ask("seen", name=f"{topic}.ours")
    theirs = await bus.their_server.ask("seen", name=f"{topic}.theirs")
    assert sorted(ours + theirs) == list(range(2 * CALLS))
    assert ours
    assert theirs
