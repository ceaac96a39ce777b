# SPDX-License-Identifier: Apache-2.0
"""What outsiders and single parties can make a receiver spend is bounded: requests, places, memory,
and the time for which what they made is taken.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from transom import messaging
from transom.messaging import Client, Listener, Notifier, Server, Target
from transom.messaging.drivers.base import Address, Kind
from transom.messaging.envelope import Request, encode_request
from transom.messaging.secured.outgoing import _need
from transom.messaging.secured.seen import FileSeen, MemorySeen
from transom.messaging.security.certificates import check
from transom.messaging.security.direct import make_direct
from transom.messaging.security.message import Mode, Way, Writer
from transom.messaging.security.sealing import write
from transom.messaging.security.sessions import Place, Role, Session
from transom.messaging.security.tickets import Label, Ticket, _Labelled, issue_ticket

from support.secured_world import DAY_MS, Station, Town
from support.security_parts import take
from virtual import run_virtual

SERVER = Address(Kind.SERVER, "work", "h1")
TOPIC = Address(Kind.TOPIC, "work")
EVENT = Address(Kind.NOTIFICATION, "work", "info")
HOUR_MS = 3_600_000
both = pytest.mark.parametrize("suite", ["shared-key", "public-key"])


class Endpoint:
    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []

    async def do(self, context: Any, what: Any) -> Any:
        self.asked.append((messaging.sender(), what))
        return what


def play(suite: str, scene: Callable[[Town], Coroutine[Any, Any, None]], **settings: Any) -> None:
    async def main() -> None:
        async with Town(9, suite, **settings) as town:
            await scene(town)

    run_virtual(main, seed=9)


async def serve(town: Town, name: str, *patterns: str, **settings: Any) -> tuple[Station, Endpoint]:
    station = await town.station(name, *patterns, **settings)
    endpoint = Endpoint()
    topic, _, server = name.partition(".")
    await Server(station.transport, Target(topic=topic, server=server), [endpoint]).start()
    return station, endpoint


def client(station: Station, server: str | None = "h1", timeout_s: float = 20.0) -> Client:
    return Client(station.transport, Target(topic="work", server=server), timeout_s=timeout_s)


def request(what: str) -> bytes:
    return encode_request(Request(method="do", args={"what": what}, context={}, unique_id=what))


def way(station: Station) -> Way:
    """Of what the party sends to the server; it has sent before."""
    outlet = station.driver._outgoing._outlet(SERVER, _need(SERVER))
    assert outlet is not None
    return outlet.writer.way


def renamed(body: bytes, generation: int) -> bytes:
    """The message under a ticket of that generation that nobody made."""
    ticket = write(_Labelled(write(Label("work", generation, bytes(16))), b""))
    return take(body)._replace(ticket=ticket).put()


async def sample(town: Town, station: Station, kind: Kind) -> bytes:
    """A message to the group that is known, as an outsider reads it off the bus."""
    await client(station).call({}, "do", what="known")
    await client(station, None).call({}, "do", what="known")
    await Notifier(station.transport, "api.a", topics=["work"]).info({}, "happened", 0)
    return next(body for address, body in station.wire.passed if address.kind is kind)


def test_a_ticket_of_ones_own_making_calls_nobody_after_it_came_as_a_reply() -> None:
    async def scene(town: Town) -> None:
        work, endpoint = await serve(town, "work.h1")
        evil = await town.station("evil.e")
        await client(evil).call({}, "do", what="warm")
        certificate = work.driver._obtainer.certificate
        known = check(certificate, town.keys.authorities, now_ms=town.clock.now_ms())
        del town.keys.parties["evil.e"]
        await asyncio.sleep(7200)
        own, now_ms = evil.driver._obtainer, town.clock.now_ms()
        session = make_direct(
            "shared-key", "evil.e", own.identity, own.certificate, "work.h1", [known],
            group=False, now_ms=now_ms, lifetime_ms=HOUR_MS, random=town.random,
        )  # fmt: skip
        back = work.wire.reply_address()
        for address in (back, SERVER):
            place = Place(str(address.kind), address.name, address.part)
            writer = Writer(Way(session, Role.REQUEST, place, bytes(16)), Mode.SIGN)
            body = writer.encode(request("removed"), counter=1, sent_ms=now_ms, deadline_ms=0)
            evil.wire.inject(address, body)
            await asyncio.sleep(1)
        assert [what for _, what in endpoint.asked] == ["warm"]

    play("shared-key", scene)


@pytest.mark.parametrize(
    ("first", "step", "most"),
    [(-50 * HOUR_MS, 1, 0), (2**63, 1, 0), (10, 10, 40), (-HOUR_MS, 1, 40)],
    ids=["long ago", "never", "newer", "older"],
)
def test_generations_that_are_made_up_make_few_requests(first: int, step: int, most: int) -> None:
    async def scene(town: Town) -> None:
        work, _ = await serve(town, "work.h1")
        api = await town.station("api.a")
        body = await sample(town, api, Kind.TOPIC)
        begin = min(town.clock.now_ms() + first, 2**63)
        before = len(town.keys.asked)
        for number in range(2000):
            api.wire.inject(TOPIC, renamed(body, begin + number * step))
        await asyncio.sleep(5)
        assert len(town.keys.asked) - before <= most
        assert await client(api, None).call({}, "do", what="honest") == "honest"
        town.keys.rotate_group("work")
        town.keys.lifetime_ms = HOUR_MS
        fresh = await town.station("api.b")
        assert await client(fresh, None).call({}, "do", what="next") == "next"
        await asyncio.sleep(40)
        assert sum(work.refused.values()) == 2000

    play("shared-key", scene)


@pytest.mark.parametrize("trouble", ["away", "slow"])
def test_outsiders_hold_up_no_honest_call_while_the_key_server_is_in_trouble(trouble: str) -> None:
    async def scene(town: Town) -> None:
        work, _ = await serve(town, "work.h1")
        await serve(town, "other.h9")
        api = await town.station("api.a")
        body = await sample(town, api, Kind.TOPIC)
        town.keys.away, town.keys.delay_s = trouble == "away", 9.0
        for number in range(500):
            generation = town.clock.now_ms() + number * (1 if number % 2 else -1000)
            api.wire.inject(TOPIC, renamed(body, generation))
        await asyncio.sleep(0.1)
        started_s = asyncio.get_running_loop().time()
        assert await client(api).call({}, "do", what="honest") == "honest"
        assert asyncio.get_running_loop().time() - started_s < 18
        await asyncio.sleep(1)
        town.keys.away, town.keys.delay_s = False, 0.2
        started_s = asyncio.get_running_loop().time()
        theirs = Client(work.transport, Target(topic="other", server="h9"), timeout_s=20)
        assert await theirs.call({}, "do", what="sent") == "sent"
        assert asyncio.get_running_loop().time() - started_s < 1

    play("shared-key", scene)


def test_a_notification_under_a_key_that_is_denied_is_given_up_after_some_tries(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """But not at the first no, which anybody on the way may have said."""

    async def scene(town: Town) -> None:
        await serve(town, "work.h1")
        api = await town.station("api.a")
        body = await sample(town, api, Kind.NOTIFICATION)
        api.wire.inject(EVENT, renamed(body, town.clock.now_ms() - 1000))
        api.wire.inject(EVENT, renamed(body, 2**64 - 1))
        at = await town.station("work.l")
        listener = Listener(at.transport, [Target(topic="work")])
        await listener.start()
        await (await anext(listener)).acknowledge()
        await asyncio.sleep(4)
        assert at.refused == {"Expired": 1}
        await asyncio.sleep(16)
        assert at.refused == {"Expired": 1, "KeyUnavailable": 1}
        asked = len(town.keys.asked)
        await asyncio.sleep(60)
        assert len(town.keys.asked) == asked
        assert "insecure message dropped" in caplog.text

    play("shared-key", scene)


def test_a_notification_whose_key_was_denied_for_a_while_is_taken() -> None:
    async def scene(town: Town) -> None:
        town.keys.register("work.h1")
        api = await town.station("api.a")
        notifier = Notifier(api.transport, "api.a", topics=["work"])
        await notifier.info({}, "happened", "kept")
        town.keys.rotate_group("work")
        ((first, key), *_) = town.keys.groups["work"].items()
        at = await town.station("work.h1")
        listener = Listener(at.transport, [Target(topic="work")])
        del town.keys.groups["work"][first]
        await listener.start()
        await asyncio.sleep(4)
        town.keys.groups["work"] = {first: key, **town.keys.groups["work"]}
        event = await anext(listener)
        assert event.payload == "kept"
        await event.acknowledge()
        assert at.refused == {}

    play("shared-key", scene)


@pytest.mark.parametrize("file", [True, False], ids=["file", "memory"])
def test_a_deadline_makes_no_message_outlast_its_ticket(file: bool, tmp_path: Any) -> None:
    async def scene(town: Town) -> None:
        seen = FileSeen(tmp_path / "seen") if file else MemorySeen()
        _, endpoint = await serve(town, "work.h1", seen=seen)
        evil, api = await town.station("evil.e"), await town.station("api.a")
        await client(evil).call({}, "do", what="warm")
        writer, now_ms = Writer(way(evil), Mode.SIGN), town.clock.now_ms()
        errors: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, what: errors.append(what))
        for counter, deadline_ms in enumerate((2**64 - 1, now_ms + 40 * DAY_MS)):
            body = writer.encode(
                request(f"late {counter}"), counter=(1 << 60) + counter, sent_ms=now_ms,
                deadline_ms=deadline_ms,
            )  # fmt: skip
            if counter == 0:
                evil.wire.inject(SERVER, body)
                await asyncio.sleep(1)
        town.clock.shift_ms = 30 * DAY_MS
        evil.wire.inject(SERVER, body)
        await asyncio.sleep(1)
        town.clock.shift_ms = 0
        assert [what for _, what in endpoint.asked] == ["warm", "late 0"]
        if file:
            seen._bytes = 1 << 40  # type: ignore[union-attr]
        await asyncio.sleep(130)
        assert await client(api).call({}, "do", what="after") == "after"
        assert errors == []

    play("shared-key", scene)


def test_upkeep_goes_on_whatever_fails_in_it(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(MemorySeen):
        def forget(self, now_ms: int) -> None:
            raise RuntimeError("broken")

    async def scene(town: Town) -> None:
        await serve(town, "work.h1", seen=Broken())
        api = await town.station("api.a", seen=Broken())
        for at in range(200):
            assert await client(api).call({}, "do", what=at) == at
            await asyncio.sleep(60)
        assert "upkeep of keys failed" in caplog.text

    with caplog.at_level(logging.ERROR):
        play("shared-key", scene)


@both
def test_where_the_record_was_lost_what_was_sent_before_is_refused(
    suite: str, tmp_path: Any
) -> None:
    async def scene(town: Town) -> None:
        work, endpoint = await serve(town, "work.h1", seen=FileSeen(tmp_path / "seen"))
        api = await town.station("api.a")
        await client(api, timeout_s=3600).cast({}, "do", what="once")
        await asyncio.sleep(1200)
        assert len(endpoint.asked) == 1
        (body,) = [body for address, body in api.wire.passed if address == SERVER]
        await town.stop(work)
        (tmp_path / "seen").unlink()
        work, endpoint = await serve(town, "work.h1", seen=FileSeen(tmp_path / "seen"))
        api.wire.inject(SERVER, body)
        await asyncio.sleep(1)
        assert endpoint.asked == []
        assert work.refused == {"Expired": 1}

    play(suite, scene)


@both
def test_a_party_with_many_instances_and_a_clock_ahead_shuts_out_itself_alone(suite: str) -> None:
    async def scene(town: Town) -> None:
        seen = MemorySeen(streams_max=1000, source_streams_max=100)
        work, _ = await serve(town, "work.h1", seen=seen)
        api, evil = await town.station("api.a"), await town.station("evil.e")
        for one in (api, evil):
            await client(one).call({}, "do", what="warm")
        town.clock.shift_ms = 55_000
        for _ in range(1200):
            writer = Writer(way(evil)._replace(instance=os.urandom(16)), Mode.SIGN)
            sent_ms = town.clock.now_ms()
            body = writer.encode(request("x"), counter=1 << 60, sent_ms=sent_ms, deadline_ms=0)
            evil.wire.inject(SERVER, body)
            await asyncio.sleep(0.001)
        town.clock.shift_ms = 0
        await asyncio.sleep(0.1)
        other = await town.station("api.b")
        for one in (api, other):
            assert await client(one).call({}, "do", what="honest") == "honest"
        assert work.refused == {}

    play(suite, scene)


def test_a_message_that_went_back_is_taken_however_many_came_meanwhile() -> None:
    async def scene(town: Town) -> None:
        work, endpoint = await serve(town, "work.h1")
        api = await town.station("api.a")
        await client(api).call({}, "do", what="warm")
        held: list[tuple[Address, bytes]] = []
        api.wire.change = lambda address, body: held.append((address, body))
        await client(api, timeout_s=600).cast({}, "do", what="first")
        api.wire.change = None
        for at in range(5200):
            await client(api, timeout_s=600).cast({}, "do", what=at)
        api.wire.inject(*held[0])
        await asyncio.sleep(1)
        assert ("api.a", "first") in endpoint.asked
        assert work.refused == {}

    play("shared-key", scene)


def test_who_knew_a_groups_key_makes_no_tickets_under_it_after_its_end() -> None:
    """A member that was removed, three days ago, with its certificate or another's."""

    async def scene(town: Town) -> None:
        work, endpoint = await serve(town, "work.h1")
        evil = await town.station("work.evil")
        api = await town.station("api.a")
        await client(api, None).call({}, "do", what="warm")
        ((generation, key),) = town.keys.groups["work"].items()
        certificate = evil.driver._obtainer.certificate
        signing = evil.driver._obtainer.identity.signing
        await town.stop(evil)
        del town.keys.parties["work.evil"]

        async def forged(what: str, issued_ms: int) -> None:
            made = Ticket("work.evil", "work", issued_ms, HOUR_MS, bytes(32), certificate)
            ticket = issue_ticket(made, key, town.random, generation=generation)
            session = Session(
                "shared-key", "work.evil", "work", bytes(32), group=True, ticket=ticket,
                issued_ms=issued_ms, lifetime_ms=HOUR_MS,
            )  # fmt: skip
            place = Place("topic", "work")
            writer = Writer(Way(session, Role.REQUEST, place, bytes(16), signing), Mode.SIGN)
            now_ms = town.clock.now_ms()
            body = writer.encode(request(what), counter=now_ms, sent_ms=now_ms, deadline_ms=0)
            api.wire.inject(TOPIC, body)
            await asyncio.sleep(1)

        await forged("before its end", town.clock.now_ms())
        town.keys.rotate_group("work")
        town.clock.shift_ms = 3 * DAY_MS
        await forged("after its end", town.clock.now_ms())
        await forged("backdated", generation)
        assert [what for _, what in endpoint.asked] == ["warm", "before its end"]
        assert work.refused == {"Expired": 2}

    play("shared-key", scene)
