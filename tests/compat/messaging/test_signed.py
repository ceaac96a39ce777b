# SPDX-License-Identifier: Apache-2.0
"""Signed messages are read by unmodified oslo.messaging, and its own are taken where security is
optional."""

import os
import uuid

import pytest

from transom.messaging import Client, Notifier, Server, Target, connect
from transom.messaging.secured import SecuredDriver
from transom.runtime.clock import SystemClock

from support.interop import Bus
from support.secured_world import KeyWorld

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Echo:
    async def echo(self, context, x=None):
        return x


@pytest.mark.parametrize("suite", ["shared-key", "public-key"])
@pytest.mark.parametrize("server", ["s1", None])
async def test_their_server_answers_a_signed_call(bus: Bus, suite: str, server: str) -> None:
    """Its party is registered, though it knows nothing of that; its answer is signed by nobody."""
    topic = f"signed{uuid.uuid4().hex[:8]}"
    await bus.their_server.ask("serve", name=f"{topic}.s1", target={"topic": topic, "server": "s1"})
    world = KeyWorld(SystemClock(), os.urandom)
    world.register(f"{topic}.s1")
    security = world.security(world.register("api.a"), suite, required=False)
    async with connect(bus.broker.url, security=security) as transport:
        assert isinstance(transport.driver, SecuredDriver)
        client = Client(transport, Target(topic=topic, server=server), timeout_s=10)
        assert await client.call({}, "echo", x={"n": [1, "ä"]}) == {"n": [1, "ä"]}


async def test_our_server_with_optional_security_answers_their_client(bus: Bus) -> None:
    topic = f"signed{uuid.uuid4().hex[:8]}"
    world = KeyWorld(SystemClock(), os.urandom)
    party = world.register(f"{topic}.s1")
    security = world.security(party, "shared-key", required=False)
    async with (
        connect(bus.broker.url, security=security) as transport,
        Server(transport, Target(topic=topic, server="s1"), [Echo()]),
    ):
        call = {"target": {"topic": topic}, "method": "echo", "args": {"x": 7}, "timeout": 10}
        assert (await bus.their_client.ask("call", **call))["result"] == 7


@pytest.mark.parametrize("bare", [False, True], ids=["envelope", "bare"])
async def test_their_listener_hears_a_signed_notification(bus: Bus, bare: bool) -> None:
    topic = f"signed{uuid.uuid4().hex[:8]}"
    await bus.their_server.ask(
        "listen", name=topic, targets=[{"topic": topic}], priorities=["info"]
    )
    world = KeyWorld(SystemClock(), os.urandom)
    security = world.security(world.register("api.a"), "shared-key")
    async with connect(bus.broker.url, security=security) as transport:
        notifier = Notifier(transport, "api.a", topics=[topic], bare=bare)
        await notifier.info({"user_id": "u"}, "thing.made", {"n": 1}, confirm=True)
    heard = await bus.their_server.ask("seen", name=topic, at_least=1)
    assert len(heard) == 1
    assert "thing.made" in str(heard)
