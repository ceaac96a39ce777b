# SPDX-License-Identifier: Apache-2.0
"""Real oslo.messaging beside ours on one broker, in a vhost of the module's own.

A claim that takes `pair` is asked of every pairing of clients and servers. Theirs with theirs shows
that the claim is what they do.
"""

import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from support.interop import PAIRINGS, Bus, Pair
from support.oslo_peer import program
from support.rabbit import Broker, fresh_vhost
from support.transom_peer import ours


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    with fresh_vhost() as broker:
        yield broker


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def bus(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bus]:
    log = tmp_path_factory.mktemp("oslo") / "stderr.log"
    async with AsyncExitStack() as stack:
        yield Bus(
            broker,
            await stack.enter_async_context(ours(broker.url)),
            await stack.enter_async_context(program("oslo_client.py", broker.url, log)),
            await stack.enter_async_context(program("oslo_server.py", broker.url, log)),
            await stack.enter_async_context(program("wire_peer.py", broker.url, log)),
        )


_topics = itertools.count()


@pytest.fixture
def topic() -> str:
    return f"topic-{next(_topics)}"


@pytest_asyncio.fixture(loop_scope="module")
async def pair(bus: Bus, topic: str, request: pytest.FixtureRequest) -> Pair:
    client, _, server = request.param.partition(" to ")
    return Pair(
        bus.our if client == "ours" else bus.their_client,
        bus.our if server == "ours" else bus.their_server,
        topic,
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "pair" in metafunc.fixturenames:
        metafunc.parametrize("pair", PAIRINGS, indirect=True)
