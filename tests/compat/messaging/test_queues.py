# SPDX-License-Identifier: Apache-2.0
"""Options of the queues that either side may have, and queues that somebody else made before."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import pytest

from support.interop import Peer
from support.oslo_peer import program
from support.rabbit import Broker, fresh_vhost
from support.transom_peer import ours

TARGET = {"topic": "work", "server": "s1"}
ECHO = {"target": {"topic": "work"}, "method": "echo", "args": {"x": "é" * 5000}, "timeout": 10}
FANOUT = {"target": {"topic": "work", "fanout": True}, "method": "note", "args": {"x": 1}}
DIRECTIONS = pytest.mark.parametrize("direction", ["theirs to ours", "ours to theirs"])


@pytest.fixture
def broker() -> Iterator[Broker]:
    with fresh_vhost() as broker:
        yield broker


@dataclass(frozen=True)
class Sides:
    """Who calls and who serves."""

    client: Peer
    server: Peer


@asynccontextmanager
async def sides(
    broker: Broker, direction: str, *, our_options: str = "", their_options: str = ""
) -> AsyncIterator[Sides]:
    our_url = broker.url + (our_options and f"?{our_options}")
    their_url = broker.url + (their_options and f"?{their_options}")
    async with AsyncExitStack() as stack:
        our = await stack.enter_async_context(ours(our_url))
        if direction == "theirs to ours":
            client = await stack.enter_async_context(program("oslo_client.py", their_url))
            yield Sides(client, our)
        else:
            server = await stack.enter_async_context(program("oslo_server.py", their_url))
            yield Sides(our, server)


async def served(sides: Sides) -> None:
    """Calls, casts and fan-out go through."""
    await sides.server.ask("serve", name="work", target=TARGET)
    answer = await sides.client.ask("call", **ECHO)
    assert answer.get("result") == ECHO["args"]["x"], answer
    await sides.client.ask("cast", **FANOUT)
    assert await sides.server.ask("seen", name="work", at_least=1) == [["s1", 1]]


@DIRECTIONS
@pytest.mark.parametrize("option", ["rabbit_quorum_queue=true", "amqp_durable_queues=true"])
async def test_both_sides_keep_their_queues_so(broker: Broker, direction: str, option: str) -> None:
    async with sides(broker, direction, our_options=option, their_options=option) as both:
        await served(both)
    queues = {name: rest for name, *rest in broker.listed("queues", "name", "durable", "type")}
    assert queues["work"][0] == "true"
    if "quorum" in option:
        assert "quorum" in queues["work"][1]


@DIRECTIONS
async def test_transient_queues_may_be_quorum_queues_too(broker: Broker, direction: str) -> None:
    option = "rabbit_quorum_queue=true&rabbit_transient_quorum_queue=true"
    async with sides(broker, direction, our_options=option, their_options=option) as both:
        await served(both)


@DIRECTIONS
async def test_fan_out_by_a_stream(broker: Broker, direction: str) -> None:
    option = "&".join(
        ("rabbit_quorum_queue=true", "rabbit_transient_quorum_queue=true",
         "rabbit_stream_fanout=true", "rabbit_qos_prefetch_count=100")
    )  # fmt: skip
    async with sides(broker, direction, our_options=option, their_options=option) as both:
        await served(both)


@DIRECTIONS
async def test_what_they_pack_is_unpacked(broker: Broker, direction: str) -> None:
    """Their other method, bz2, does not work even among them: kombu knows it by another name."""
    async with sides(broker, direction, their_options="kombu_compression=gzip") as both:
        await served(both)


@DIRECTIONS
@pytest.mark.parametrize("packed", ["gzip", "bz2"])
async def test_what_we_pack_is_unpacked(broker: Broker, direction: str, packed: str) -> None:
    async with sides(broker, direction, our_options=f"kombu_compression={packed}") as both:
        await served(both)


@DIRECTIONS
async def test_we_join_queues_that_they_made_durable(broker: Broker, direction: str) -> None:
    """Ours is not told so, and finds them as they are."""
    async with program("oslo_server.py", f"{broker.url}?amqp_durable_queues=true") as before:
        await before.ask("serve", name="work", target=TARGET)
        await before.ask("stop", name="work")
    option = "amqp_durable_queues=true"
    async with sides(broker, direction, their_options=option) as both:
        await served(both)


@DIRECTIONS
async def test_we_join_queues_that_were_made_transient(broker: Broker, direction: str) -> None:
    """Ours is told to make durable ones, and finds others."""
    async with program("oslo_server.py", broker.url) as before:
        await before.ask("serve", name="work", target=TARGET)
        await before.ask("stop", name="work")
    async with sides(broker, direction, our_options="amqp_durable_queues=true") as both:
        await served(both)


async def test_they_find_durable_queues_of_ours(broker: Broker) -> None:
    option = "amqp_durable_queues=true"
    async with ours(f"{broker.url}?{option}") as our:
        await our.ask("serve", name="work", target=TARGET)
        async with program("oslo_server.py", f"{broker.url}?{option}") as server:
            await server.ask("serve", name="work", target={**TARGET, "server": "s2"})
            call = {**ECHO, "method": "who", "args": {}}
            answers = {(await our.ask("call", **call))["result"] for _ in range(4)}
    assert answers == {"s1", "s2"}
