# SPDX-License-Identifier: Apache-2.0
"""Messages to groups of one turn of the loop are signed together, and sent in their order."""

import asyncio
from typing import Any

import pytest

from transom.messaging import Client, Server, Target
from transom.messaging.drivers.base import Address, Kind
from transom.messaging.security.message import LEAVES_MAX

from support.secured_world import Town
from support.security_parts import take
from virtual import run_virtual

FANOUT = Address(Kind.FANOUT, "work")


class Endpoint:
    def __init__(self) -> None:
        self.asked: list[int] = []

    async def do(self, context: Any, what: int) -> None:
        self.asked.append(what)


@pytest.mark.parametrize("suite", ["shared-key", "public-key"])
@pytest.mark.parametrize("mode", ["sign", "encrypt"])
def test_casts_of_one_turn_share_a_signature(suite: str, mode: str) -> None:
    async def main() -> None:
        async with Town(7, suite, mode) as town:
            work, api = await town.station("work.h1"), await town.station("api.a")
            endpoint = Endpoint()
            await Server(work.transport, Target(topic="work", server="h1"), [endpoint]).start()
            client = Client(api.transport, Target(topic="work", fanout=True))
            await client.cast({}, "do", what=0)
            count = 2 * LEAVES_MAX + 3
            for at in range(1, count):
                client.post({}, "do", what=at)
            assert len(api.wire.passed) == 1 + 2 * LEAVES_MAX, "no more than fit wait for the turn"
            await asyncio.sleep(1)
            assert sorted(endpoint.asked) == list(range(count))
            counters = [take(body).times[:8] for _, body in api.wire.passed]
            assert counters == sorted(counters), "in their order"
            assert work.refused == {}
            proofs = [take(body).proof for _, body in api.wire.passed]
            assert len(set(proofs)) == 4
            assert [proof[-1] for proof in proofs[1:]] == [LEAVES_MAX] * 2 * LEAVES_MAX + [2, 2]

    run_virtual(main, seed=7)


def test_what_waits_for_its_signature_is_sent_when_the_transport_stops() -> None:
    async def main() -> None:
        async with Town(7, "public-key") as town:
            await town.station("work.h1")
            api = await town.station("api.a")
            now_s = asyncio.get_running_loop().time()
            told: list[object] = []
            api.driver.send(FANOUT, b"first", told.append, deadline_s=now_s + 9)
            await asyncio.sleep(1)
            api.driver.send(FANOUT, b"last", told.append, deadline_s=now_s + 9)
            assert len(api.wire.passed) == 1
            await town.stop(api)
            assert len(api.wire.passed) == 2
            assert told == [None, None]

    run_virtual(main, seed=7)
