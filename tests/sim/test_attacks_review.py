# SPDX-License-Identifier: Apache-2.0
"""More attacks on a secured bus: bytes of outsiders, extremes of a party, tickets put in place."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from msgspec.structs import replace

from transom import messaging
from transom.errors import SecurityError
from transom.messaging import Client, Server, Target
from transom.messaging.drivers.base import Address, Kind
from transom.messaging.security import message as formats
from transom.messaging.security.certificates import Identity, check
from transom.messaging.security.direct import make_direct
from transom.messaging.security.message import Mode, Way, Writer
from transom.messaging.security.reading import Reader
from transom.messaging.security.sessions import Place, Role

from support.secured_world import Station, Town
from support.security_parts import take
from virtual import run_virtual

SERVER = Address(Kind.SERVER, "work", "h1")
TOPIC = Address(Kind.TOPIC, "work")
both = pytest.mark.parametrize("suite", ["shared-key", "public-key"])
each = pytest.mark.parametrize("mode", ["sign", "encrypt"])
SERVER_PLACE = Place("server", "work", "h1")
EMPTY = b'{"oslo.version":"2.0","oslo.message":"{}"}'
INTS = [0, 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1]
EXTREMES: dict[str, list[Any]] = {
    "counter": INTS, "sent_ms": INTS, "deadline_ms": INTS, "role": [Role.REPLY],
    "form": ["text", "bytes"], "reply_to": ["\0", "x" * 100_000], "answers": [b"x" * 1000],
    "instance": [b"", b"x" * 100_000], "exchange": ["e"], "part": ["zz"], "suite": ["x"],
    "source": ["", "work.h1"], "destination": ["", "evil.e"], "mode": [Mode.NONE],
}  # fmt: skip


class Endpoint:
    """Keeps what it was asked, and by whom."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    async def do(self, context: Any, what: str) -> str:
        self.asked.append((messaging.sender(), what))
        return f"done {what}"


def play(suite: str, mode: str, scene: Callable[[Town], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        async with Town(7, suite, mode) as town:
            await scene(town)

    run_virtual(main, seed=7)


async def serve(town: Town) -> tuple[Station, Endpoint]:
    station, endpoint = await town.station("work.h1"), Endpoint()
    await Server(station.transport, Target(topic="work", server="h1"), [endpoint]).start()
    return station, endpoint


def client(station: Station, *, server: str | None = "h1") -> Client:
    return Client(station.transport, Target(topic="work", server=server), timeout_s=20)


def sent_to(station: Station, kind: Kind) -> list[tuple[Address, bytes]]:
    return [one for one in station.wire.passed if one[0].kind is kind]


def altered(body: bytes, chance: random.Random) -> bytes:
    """With some bytes changed, taken out, put in, or made into a large number."""
    data = bytearray(body)
    for _ in range(chance.choice((1, 1, 2, 8))):
        at = chance.randrange(len(data) + 1)
        end = at + chance.randrange(40)
        data[at:end] = chance.choice(
            (b"", chance.randbytes(end - at), chance.randbytes(3) + data[at:end], b"\xff" * 4)
        )
    return bytes(data)


@both
@each
def test_no_bytes_of_an_outsider_are_opened_or_raise_another_error(suite: str, mode: str) -> None:
    async def scene(town: Town) -> None:
        work, _ = await serve(town)
        api = await town.station("api.a")
        await client(api).call({}, "do", what="pair")
        await client(api, server=None).call({}, "do", what="group")
        opener = work.driver._obtainer.opener
        passed = {body for _, body in api.wire.passed}
        refused = 0
        for turn in range(3000):
            address, body = api.wire.passed[turn % len(api.wire.passed)]
            body = altered(body, town.chance)
            place = Place(str(address.kind), address.name, address.part, address.exchange)
            try:
                opened = Reader(opener, {place: ("",)}).decode(body, town.clock.now_ms())
            except SecurityError:
                refused += 1
            else:
                assert opened is None or body in passed
        assert refused > 1500

    play(suite, mode, scene)


@both
@each
def test_metadata_out_of_all_bounds_from_a_party_do_no_harm(
    suite: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(town: Town) -> None:
        errors: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, about: errors.append(about))
        work, _ = await serve(town)
        evil = await town.station("evil.e")
        await client(evil).call({}, "do", what="pair")
        await client(evil, server=None).call({}, "do", what="group")
        held = evil.driver._outgoing._held
        write, changed = formats._write, dict[str, Any]()
        monkeypatch.setattr(formats, "_write", lambda one: write(replace(one, **changed)))
        for need, one in list(held.items()):
            place = SERVER_PLACE if need.server else Place("topic", "work")
            address = Address(Kind(place.kind), place.name, place.part)
            signing = evil.driver._obtainer.identity.signing if one.session.group else None
            for field, values in EXTREMES.items():
                for value in values:
                    instance = value if field == "instance" else bytes(16)
                    way = Way(one.session, Role.REQUEST, place, instance, signing)
                    times = {"counter": 5, "sent_ms": town.clock.now_ms(), "deadline_ms": 0}
                    if field in times:
                        times[field] = value
                    elif field != "instance":
                        changed = {field: value}
                    body = Writer(way, Mode(mode)).encode(EMPTY, **times)
                    changed = {}
                    evil.wire.inject(address, body)
                    await asyncio.sleep(0.01)
        assert await client(evil).call({}, "do", what="after") == "done after"
        assert errors == []
        assert sum(work.refused.values()) > 20

    play(suite, mode, scene)


@both
def test_a_ticket_that_was_put_in_place_of_another_is_refused(suite: str) -> None:
    """One's own beside a neighbour's message, and a neighbour's beside one's own."""

    async def scene(town: Town) -> None:
        work, endpoint = await serve(town)
        api, evil = await town.station("api.a"), await town.station("evil.e")
        await client(api).call({}, "do", what="a")
        await client(evil).call({}, "do", what="e")
        ((_, one),), ((_, other),) = sent_to(api, Kind.SERVER), sent_to(evil, Kind.SERVER)
        for mine, theirs in ((one, other), (other, one)):
            put = take(mine)._replace(ticket=take(theirs).ticket)
            api.wire.inject(SERVER, put.put())
        await asyncio.sleep(1)
        assert len(endpoint.asked) == 2
        assert work.refused == {"InvalidSignature": 2}

    play(suite, "sign", scene)


def test_a_ticket_of_ones_own_making_with_anothers_certificate_is_refused() -> None:
    async def scene(town: Town) -> None:
        work, endpoint = await serve(town)
        api, evil = await town.station("api.a"), await town.station("evil.e")
        now_ms = town.clock.now_ms()
        receiver = check(
            town.keys.parties["work.h1"].certificate, town.keys.authorities, now_ms=now_ms
        )
        forged = make_direct(
            "public-key", "api.a", Identity.make(town.random), api.driver._obtainer.certificate,
            "work.h1", [receiver], group=False, now_ms=now_ms, lifetime_ms=3_600_000,
            random=town.random,
        )  # fmt: skip
        way = Way(forged, Role.REQUEST, SERVER_PLACE, bytes(16))
        body = Writer(way, Mode.SIGN).encode(EMPTY, counter=1, sent_ms=now_ms, deadline_ms=0)
        evil.wire.inject(SERVER, body)
        await asyncio.sleep(1)
        assert endpoint.asked == []
        assert work.refused == {"InvalidSignature": 1}

    play("public-key", "sign", scene)


@both
@each
def test_two_processes_with_one_partys_keys_never_use_a_key_and_a_nonce_twice(
    suite: str, mode: str
) -> None:
    async def scene(town: Town) -> None:
        await serve(town)
        used = []
        for _ in range(2):
            api = await town.station("api.a")
            for server in ("h1", None):
                await client(api, server=server).call({}, "do", what="x")
            for _, body in api.wire.passed:
                taken = take(body)
                used.append((taken.metadata, taken.times[:8]))
        assert len(set(used)) == len(used) == 4

    play(suite, mode, scene)


@both
def test_an_answer_that_is_played_to_another_call_or_caller_is_refused(suite: str) -> None:
    async def scene(town: Town) -> None:
        work, _ = await serve(town)
        api, other = await town.station("api.a"), await town.station("api.b")
        for station in (api, other):
            assert await client(station).call({}, "do", what="x") == "done x"
        back = api.wire.reply_address()
        answer = next(body for address, body in work.wire.passed if address == back)
        api.wire.inject(back, answer)
        api.wire.inject(other.wire.reply_address(), answer)
        api.wire.inject(TOPIC, answer)
        await asyncio.sleep(1)
        assert api.refused == {"duplicate": 1}
        assert other.refused == work.refused == {"WrongDestination": 1}
        asker = Client(api.transport, Target(topic="work", server="h1"), timeout_s=5)
        assert await asker.call({}, "do", what="after") == "done after"

    play(suite, "sign", scene)
