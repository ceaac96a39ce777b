# SPDX-License-Identifier: Apache-2.0
"""Keys come and go while the bus runs: the key server away, rotation, renewal, waiting in order."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from transom.errors import MessageDeliveryFailure, MessagingError
from transom.messaging import Client, Server, Target
from transom.messaging.drivers.base import Address, Delivery, Kind
from transom.messaging.security.tickets import Purpose

from support.secured_world import Station, Town
from support.security_parts import take
from virtual import run_virtual

SERVER = Address(Kind.SERVER, "work", "h1")
TOPIC = Address(Kind.TOPIC, "work")
both = pytest.mark.parametrize("suite", ["shared-key", "public-key"])


class Endpoint:
    def __init__(self) -> None:
        self.asked: list[Any] = []

    async def do(self, context: Any, what: Any) -> Any:
        self.asked.append(what)
        return what


def play(
    suite: str, scene: Callable[[Town], Coroutine[Any, Any, None]], seed: int = 5, **settings: Any
) -> None:
    async def main() -> None:
        async with Town(seed, suite, **settings) as town:
            await scene(town)

    run_virtual(main, seed=seed)


async def serve(town: Town, name: str, *patterns: str, **settings: Any) -> tuple[Station, Endpoint]:
    station = await town.station(name, *patterns, **settings)
    endpoint = Endpoint()
    topic, _, server = name.partition(".")
    await Server(station.transport, Target(topic=topic, server=server), [endpoint]).start()
    return station, endpoint


def client(station: Station, server: str | None = "h1", timeout_s: float = 20.0) -> Client:
    return Client(station.transport, Target(topic="work", server=server), timeout_s=timeout_s)


async def hear(station: Station, *addresses: Address) -> list[bytes]:
    """The bodies that come to the addresses, in their order."""
    bodies: list[bytes] = []

    def deliver(delivery: Delivery) -> None:
        bodies.append(delivery.body)
        delivery.acknowledge()

    await station.driver.listen(list(addresses), deliver, prefetch=1000)
    return bodies


def post(station: Station, address: Address, *bodies: bytes) -> list[MessagingError | None]:
    """Sends one after the other; answers what becomes of each, as it becomes known."""
    told: list[MessagingError | None] = []
    deadline_s = asyncio.get_running_loop().time() + 20
    for body in bodies:
        station.driver.send(address, body, told.append, deadline_s=deadline_s)
    return told


@both
@pytest.mark.parametrize("address", [SERVER, TOPIC], ids=str)
def test_messages_wait_in_order_for_one_fetch(suite: str, address: Address) -> None:
    async def scene(town: Town) -> None:
        work = await town.station("work.h1")
        heard = await hear(work, SERVER, TOPIC)
        api = await town.station("api.a")
        town.keys.away, town.keys.delay_s = True, 0.05
        bodies = [b"%d" % at for at in range(50)]
        told = post(api, address, *bodies[:40])
        await asyncio.sleep(3)
        assert heard == told == []
        town.keys.asked.clear()
        town.keys.away = False
        while not town.keys.asked and not heard:
            await asyncio.sleep(0.01)
        later = post(api, address, *bodies[40:])
        await asyncio.sleep(5)
        assert heard == bodies
        assert told + later == [None] * 50
        asked = [purpose for purpose, who, _ in town.keys.asked if who == "api.a"]
        assert asked.count(Purpose.TICKET) + asked.count(Purpose.GROUP_TICKET) <= 1

    play(suite, scene)


@both
def test_what_waits_for_a_key_fails_at_its_deadline_and_says_why(suite: str) -> None:
    async def scene(town: Town) -> None:
        await serve(town, "work.h1")
        api = await town.station("api.a")
        town.keys.away = True
        started_s = asyncio.get_running_loop().time()
        with pytest.raises(MessageDeliveryFailure, match=r"could not be secured.*away"):
            await client(api, timeout_s=5).cast({}, "do", what=1)
        assert asyncio.get_running_loop().time() - started_s == pytest.approx(5, abs=0.1)
        assert [one for one in api.wire.passed if one[0].kind is Kind.SERVER] == []

    play(suite, scene)


@both
def test_a_party_that_nobody_knows_cannot_be_sent_to(suite: str) -> None:
    async def scene(town: Town) -> None:
        api = await town.station("api.a")
        with pytest.raises(MessageDeliveryFailure, match="could not be secured"):
            await client(api, "nobody").cast({}, "do", what=1)

    play(suite, scene)


@both
@pytest.mark.parametrize("server", ["h1", None])
def test_the_bus_goes_on_while_the_key_server_is_away_as_long_as_tickets_live(
    suite: str, server: str | None
) -> None:
    async def scene(town: Town) -> None:
        await serve(town, "work.h1")
        api = await town.station("api.a")
        asker = client(api, server, timeout_s=5)
        assert await asker.call({}, "do", what=0) == 0
        town.keys.away = True
        for at in range(1, 50):
            await asyncio.sleep(60)
            assert await asker.call({}, "do", what=at) == at
        await asyncio.sleep(3600)
        with pytest.raises(MessagingError):
            await asker.call({}, "do", what="expired")
        town.keys.away = False
        await asyncio.sleep(10)
        assert await asker.call({}, "do", what="back") == "back"

    play(suite, scene)


@both
@pytest.mark.parametrize("server", ["h1", None])
def test_tickets_in_use_are_renewed_without_a_message_waiting(
    suite: str, server: str | None
) -> None:
    async def scene(town: Town) -> None:
        await serve(town, "work.h1")
        api = await town.station("api.a")
        asker = client(api, server, timeout_s=10)
        await asker.call({}, "do", what=0)
        town.keys.delay_s = 3.0
        for at in range(600):
            await asyncio.sleep(30)
            started_s = asyncio.get_running_loop().time()
            assert await asker.call({}, "do", what=at) == at
            assert asyncio.get_running_loop().time() - started_s < 0.5

    play(suite, scene)


def test_a_long_call_is_answered_after_its_ticket_has_expired() -> None:
    class Slow:
        async def do(self, context: Any, what: Any) -> Any:
            await asyncio.sleep(3 * 3600)
            return what

    async def scene(town: Town) -> None:
        station = await town.station("work.h1")
        await Server(station.transport, Target(topic="work", server="h1"), [Slow()]).start()
        api = await town.station("api.a")
        for server in ("h1", None):
            asker = client(api, server, timeout_s=4 * 3600)
            assert await asker.call({}, "do", what="slow") == "slow"

    play("shared-key", scene)


@pytest.mark.parametrize("seed", range(4))
def test_keys_are_rotated_under_load_and_nothing_is_lost(seed: int) -> None:
    """Long-term keys of both ends and the group's generation, again and again."""

    async def scene(town: Town) -> None:
        town.keys.lifetime_ms = 120_000
        party = town.keys.register("work.h1")
        api_party = town.keys.register("api.a")
        # Whoever is given the next keys before the key server uses them loses nothing.
        coming = {one.name: [town.random(32) for _ in range(5)] for one in (party, api_party)}
        for one in (party, api_party):
            one.keys = [*coming[one.name], *one.keys]
        work, endpoint = await serve(town, "work.h1")
        api = await town.station("api.a")
        for one in (party, api_party):
            one.keys = one.keys[-1:]
        done = 0

        async def load(server: str | None) -> None:
            nonlocal done
            for at in range(400):
                assert await client(api, server, timeout_s=5).call({}, "do", what=at) == at
                done += 1
                await asyncio.sleep(town.chance.uniform(0, 3))

        async def rotate() -> None:
            while True:
                await asyncio.sleep(town.chance.uniform(30, 90))
                town.keys.rotate_group("work")
                for one in (party, api_party):
                    if coming[one.name]:
                        one.keys = [coming[one.name].pop()]

        rotating = asyncio.ensure_future(rotate())
        await asyncio.gather(load("h1"), load(None))
        rotating.cancel()
        assert done == 800
        assert work.refused == {}
        assert len(endpoint.asked) == 800

    play("shared-key", scene, seed=seed)


def test_messages_that_wait_for_a_groups_key_keep_their_order_and_hold_up_nobody() -> None:
    """A long-term key is there from the start, a group's key has to be fetched."""

    async def scene(town: Town) -> None:
        town.keys.register("work.h1")
        api = await town.station("api.a")
        post(api, TOPIC, b"0")
        post(api, SERVER, b"own")
        await asyncio.sleep(1)
        town.keys.away = True
        heard = await hear(await town.station("work.h1"), SERVER, TOPIC)
        post(api, TOPIC, *(b"%d" % at for at in range(1, 20)))
        post(api, SERVER, b"own again")
        await asyncio.sleep(2)
        assert heard == [b"own", b"own again"]
        town.keys.away = False
        await asyncio.sleep(10)
        assert heard[2:] == [b"%d" % at for at in range(20)]

    play("shared-key", scene)


def test_a_made_up_generation_holds_up_only_itself() -> None:
    async def scene(town: Town) -> None:
        from transom.messaging.security.tickets import Ticket, issue_ticket

        work, endpoint = await serve(town, "work.h1")
        api = await town.station("api.a")
        await client(api, None).call({}, "do", what=1)
        body = next(body for at, body in api.wire.passed if at.kind is Kind.TOPIC)
        bad = issue_ticket(
            Ticket("api.a", "work", 0, 1, bytes(32), b""),
            bytes(32),
            town.random,
            generation=town.clock.now_ms() + 1,
        )
        data = take(body)._replace(ticket=bad).put()
        town.keys.away = True
        api.wire.inject(Address(Kind.TOPIC, "work"), data)
        assert await client(api, None).call({}, "do", what=2) == 2
        await asyncio.sleep(31)
        town.keys.away = False
        assert work.refused == {"KeyUnavailable": 1}
        assert endpoint.asked == [1, 2]

    play("shared-key", scene)


@both
def test_one_process_serves_several_topics_under_one_name(suite: str) -> None:
    async def scene(town: Town) -> None:
        station = await town.station("queue.h1", "feed.*", "work")
        endpoint = Endpoint()
        for topic in ("feed.queue", "work"):
            await Server(station.transport, Target(topic=topic, server="h1"), [endpoint]).start()
        api = await town.station("api.a")
        for topic in ("feed.queue", "work"):
            for server in ("h1", None):
                one = Client(api.transport, Target(topic=topic, server=server))
                assert await one.call({}, "do", what=topic) == topic

    play(suite, scene)


def test_who_stops_tells_those_who_wait() -> None:
    async def scene(town: Town) -> None:
        api = await town.station("api.a")
        town.keys.away = True
        cast = asyncio.ensure_future(client(api).cast({}, "do", what=1))
        await asyncio.sleep(1)
        await town.stop(api)
        with pytest.raises(MessageDeliveryFailure):
            await cast

    play("shared-key", scene)
