# SPDX-License-Identifier: Apache-2.0
"""What lies on the wire: alike from both kinds, and what other peers may send besides."""

import asyncio
import json
from typing import Any

import pytest

from support.interop import Bus, Pair, Peer, kinds

pytestmark = pytest.mark.asyncio(loop_scope="module")

EXCHANGE = "openstack"
KEYS = {"oslo.metadata": "e30=", "oslo.signature": "c2ln"}
BOTH = pytest.mark.parametrize("who", ["theirs", "ours"])


def client_of(bus: Bus, who: str) -> Peer:
    return bus.our if who == "ours" else bus.their_client


async def serve(bus: Bus, who: str, topic: str) -> Peer:
    server: Peer = bus.our if who == "ours" else bus.their_server
    target = {"topic": topic, "server": "s1"}
    await server.ask("serve", name=topic, target=target)
    return server


async def tapped(bus: Bus, exchange: str, routing_key: str, client: Peer, **sent: Any) -> Any:
    """What one sending of the client laid into the exchange: its message, its properties."""
    queue = await bus.wire.ask("tap", exchange=exchange, routing_key=routing_key)
    await client.ask(**sent)
    got = await bus.wire.ask("got", queue=queue)
    outer = json.loads(got["body"])
    assert outer["oslo.version"] == "2.0"
    assert set(outer) == {"oslo.version", "oslo.message"}
    properties = {name: value for name, value in got["properties"].items() if value is not None}
    return json.loads(outer["oslo.message"]), properties


async def test_a_call_of_ours_is_on_the_wire_as_theirs(bus: Bus, topic: str) -> None:
    await serve(bus, "theirs", topic)
    call = {
        "do": "call", "target": {"topic": topic, "version": "1.0"}, "method": "echo",
        "args": {"x": 1}, "context": {"request_id": "r"}, "timeout": 10,
    }  # fmt: skip
    ours, our_properties = await tapped(bus, EXCHANGE, topic, bus.our, **call)
    theirs, their_properties = await tapped(bus, EXCHANGE, topic, bus.their_client, **call)
    assert set(ours) == set(theirs)
    for key in ("method", "args", "version", "_timeout", "_context_request_id"):
        assert ours[key] == theirs[key]
    for key in ("_msg_id", "_unique_id"):
        assert len(ours[key]) == len(theirs[key]) == 32
    assert ours["_reply_q"].startswith("reply_")
    assert 9000 < int(our_properties.pop("expiration")) <= 10_000
    assert int(their_properties.pop("expiration")) == 10_000
    assert our_properties == their_properties


async def test_a_cast_of_ours_is_on_the_wire_as_theirs(bus: Bus, topic: str) -> None:
    await serve(bus, "theirs", topic)
    cast = {"do": "cast", "target": {"topic": topic}, "method": "note", "args": {"x": "é"}}
    ours, our_properties = await tapped(bus, EXCHANGE, topic, bus.our, **cast)
    theirs, their_properties = await tapped(bus, EXCHANGE, topic, bus.their_client, **cast)
    assert set(ours) == set(theirs)
    our_properties.pop("expiration", None)  # ours ends at its timeout, where nobody came for it
    assert our_properties == their_properties


async def test_a_fan_out_of_ours_is_on_the_wire_as_theirs(bus: Bus, topic: str) -> None:
    await serve(bus, "theirs", topic)
    target = {"topic": topic, "fanout": True}
    cast = {"do": "cast", "target": target, "method": "note", "args": {"x": 1}}
    exchange = f"{topic}_fanout"
    ours, our_properties = await tapped(bus, exchange, "", bus.our, **cast)
    theirs, their_properties = await tapped(bus, exchange, "", bus.their_client, **cast)
    assert set(ours) == set(theirs)
    our_properties.pop("expiration", None)
    assert our_properties == their_properties


@BOTH
async def test_keys_beside_the_message_and_in_it_are_no_hindrance_to_a_server(
    bus: Bus, topic: str, who: str
) -> None:
    server = await serve(bus, who, topic)
    message = {"method": "note", "args": {"x": "beside"}, "_later_key": {"a": 1}}
    sent = {"exchange": EXCHANGE, "routing_key": topic, "message": message}
    await bus.wire.ask("send", extra=KEYS, **sent)
    assert await server.ask("seen", name=topic, at_least=1) == [["s1", "beside"]]


@BOTH
async def test_keys_beside_an_answer_and_in_it_are_no_hindrance_to_a_client(
    bus: Bus, topic: str, who: str
) -> None:
    replies = [{"result": 7, "_later_key": 1, "beside": KEYS}]
    await bus.wire.ask("answer", exchange=EXCHANGE, topic=topic, replies=replies)
    call = {"target": {"topic": topic}, "method": "echo", "timeout": 10}
    assert (await client_of(bus, who).ask("call", **call))["result"] == 7


@BOTH
async def test_a_request_that_the_broker_brings_twice_is_carried_out_once(
    bus: Bus, topic: str, who: str
) -> None:
    server = await serve(bus, who, topic)
    sent = {"exchange": EXCHANGE, "routing_key": topic}
    for x, times in ((1, 3), (2, 1)):
        message = {"method": "note", "args": {"x": x}}
        await bus.wire.ask("send", message=message, times=times, **sent)
    seen = await server.ask("seen", name=topic, at_least=2)
    assert sorted(seen) == [["s1", 1], ["s1", 2]]


@BOTH
@pytest.mark.parametrize(
    ("version", "carried_out"), [("2.0", True), ("2.1", False), ("1.0", False), ("3.0", False)]
)
async def test_no_other_version_of_the_envelope_is_spoken(
    bus: Bus, topic: str, who: str, version: str, carried_out: bool
) -> None:
    server = await serve(bus, who, topic)
    for text_version, x in ((version, "asked"), ("2.0", "last")):
        message = json.dumps({"method": "note", "args": {"x": x}, "_unique_id": x * 8})
        text = json.dumps({"oslo.version": text_version, "oslo.message": message})
        await bus.wire.ask("publish", exchange=EXCHANGE, routing_key=topic, text=text)
    seen = [x for _, x in await server.ask("seen", name=topic, at_least=1 + carried_out)]
    assert sorted(seen) == (["asked", "last"] if carried_out else ["last"])


@BOTH
async def test_answers_that_come_twice_or_too_late_disturb_nobody(
    bus: Bus, topic: str, who: str
) -> None:
    replies = [{"result": "first"}, {"result": "second"}, {"failure": "no JSON"}]
    told = {"exchange": EXCHANGE, "topic": topic, "replies": replies, "requests": 4}
    await bus.wire.ask("answer", **told)
    call = {"target": {"topic": topic}, "method": "echo", "timeout": 10}
    for _ in range(4):
        assert (await client_of(bus, who).ask("call", **call))["result"] == "first"


@BOTH
async def test_an_answer_to_nobody_disturbs_nobody(bus: Bus, topic: str, who: str) -> None:
    replies = [{"_msg_id": "0" * 32, "result": "for somebody else"}, {"result": "mine"}]
    await bus.wire.ask("answer", exchange=EXCHANGE, topic=topic, replies=replies)
    call = {"target": {"topic": topic}, "method": "echo", "timeout": 10}
    assert (await client_of(bus, who).ask("call", **call))["result"] == "mine"


async def test_a_heartbeat_that_nobody_asked_for_is_passed_over(bus: Bus, topic: str) -> None:
    """By ours; a call of theirs fails at it, so our server never sends one."""
    replies = [{"result": None, "ending": False}, {"result": "mine"}]
    await bus.wire.ask("answer", exchange=EXCHANGE, topic=topic, replies=replies)
    call = {"target": {"topic": topic}, "method": "echo", "timeout": 10}
    assert (await bus.our.ask("call", **call))["result"] == "mine"


@BOTH
async def test_the_two_messages_of_an_older_servers_answer_are_one(
    bus: Bus, topic: str, who: str
) -> None:
    replies = [{"result": "kept", "ending": False}, {"result": None, "ending": True}]
    await bus.wire.ask("answer", exchange=EXCHANGE, topic=topic, replies=replies)
    call = {"target": {"topic": topic}, "method": "echo", "timeout": 10}
    assert (await client_of(bus, who).ask("call", **call))["result"] == "kept"


@BOTH
async def test_an_answer_after_the_timeout_is_dropped(bus: Bus, topic: str, who: str) -> None:
    told = {"exchange": EXCHANGE, "topic": topic, "replies": [{"result": "late"}]}
    await bus.wire.ask("answer", pause_s=1.5, requests=2, **told)
    call = {"target": {"topic": topic}, "method": "echo"}
    outcome = await client_of(bus, who).ask("call", timeout=1, **call)
    assert "MessagingTimeout" in kinds(outcome)
    answered = await client_of(bus, who).ask("call", timeout=10, **call)
    assert answered["result"] == "late"
    assert answered["ms"] >= 1400  # its own, not the first one's


async def test_a_request_without_an_envelope_is_carried_out(bus: Bus, topic: str) -> None:
    servers = [await serve(bus, who, f"{topic}.{who}") for who in ("theirs", "ours")]
    for who, server in zip(("theirs", "ours"), servers, strict=True):
        name = f"{topic}.{who}"
        text = json.dumps({"method": "note", "args": {"x": who}, "_unique_id": who * 8})
        await bus.wire.ask("publish", exchange=EXCHANGE, routing_key=name, text=text)
        assert await server.ask("seen", name=name, at_least=1) == [["s1", who]]


async def test_calls_at_once_from_both_are_answered_each_its_own(pair: Pair) -> None:
    target = await pair.serve()
    calls = [
        pair.client.ask("call", target=target, method="echo", args={"x": x}, timeout=30)
        for x in range(50)
    ]
    assert [answer["result"] for answer in await asyncio.gather(*calls)] == list(range(50))
