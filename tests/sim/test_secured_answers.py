# SPDX-License-Identifier: Apache-2.0
"""Answers on a secured bus go to who asked, sealed for it alone, whoever names what address."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from transom import messaging
from transom.errors import MessageDeliveryFailure, MessagingTimeout, SecurityError
from transom.messaging import Client, Server, Target
from transom.messaging.drivers.base import Address, Kind
from transom.messaging.envelope import Request, encode_request
from transom.messaging.secured import callers, outgoing
from transom.messaging.security.reading import Reader
from transom.messaging.security.sessions import Place

from support.secured_world import Station, Town
from virtual import run_virtual

SERVER = Address(Kind.SERVER, "work", "h1")
both = pytest.mark.parametrize("suite", ["shared-key", "public-key"])
each = pytest.mark.parametrize("mode", ["sign", "encrypt"])
everyone = pytest.mark.parametrize("server", ["h1", None], ids=["server", "pool"])


class Endpoint:
    """Answers at once, or after 15 s."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    async def do(self, context: Any, what: str) -> str:
        self.asked.append((messaging.sender(), what))
        return f"done {what}"

    async def slow(self, context: Any, what: str) -> str:
        self.asked.append((messaging.sender(), what))
        await asyncio.sleep(15)
        return f"done {what}"


def play(
    suite: str, mode: str, scene: Callable[[Town], Coroutine[Any, Any, None]], **settings: Any
) -> None:
    async def main() -> None:
        async with Town(7, suite, mode, **settings) as town:
            await scene(town)

    run_virtual(main, seed=7)


async def serve(
    town: Town, name: str, *patterns: str, **settings: Any
) -> tuple[Station, Endpoint, Server]:
    station = await town.station(name, *patterns, **settings)
    endpoint = Endpoint()
    topic, _, server = name.partition(".")
    served = Server(station.transport, Target(topic=topic, server=server), [endpoint])
    await served.start()
    return station, endpoint, served


def client(station: Station, *, server: str | None = "h1", timeout_s: float = 20.0) -> Client:
    target = Target(topic="work", server=server)
    return Client(station.transport, target, timeout_s=timeout_s)


async def settle() -> None:
    await asyncio.sleep(1)


def outcomes(station: Station) -> dict[str, int]:
    return station.transport.counters.served["work"].outcomes


async def asked_slowly(
    station: Station, *, server: str | None = "h1", timeout_s: float = 30.0
) -> tuple["asyncio.Future[Any]", str]:
    """A call that is being carried out, and its id."""
    asking = client(station, server=server, timeout_s=timeout_s).call({}, "slow", what="SECRET")
    call = asyncio.ensure_future(asking)
    await settle()
    (msg_id,) = list(station.transport.calls._waiting)
    return call, msg_id


def forged(what: str, msg_id: str, reply_q: str) -> bytes:
    return encode_request(
        Request(
            method="do", args={"what": what}, context={}, unique_id="forged", msg_id=msg_id,
            reply_q=reply_q,
        )
    )  # fmt: skip


def send(station: Station, body: bytes) -> None:
    until_s = asyncio.get_running_loop().time() + 10
    station.driver.send(SERVER, body, lambda error: None, deadline_s=until_s)


@both
@each
def test_a_request_that_names_anothers_reply_address_is_refused(suite: str, mode: str) -> None:
    """It names the id of the victim's call too, which can be read where messages are signed."""

    async def scene(town: Town) -> None:
        work, endpoint, _ = await serve(town, "work.h1")
        api = await town.station("api.a")
        evil = await town.station("evil.e")
        await client(evil).call({}, "do", what="own")
        call, msg_id = await asked_slowly(api)
        send(evil, forged("forged", msg_id, api.transport.calls.reply_q))
        assert await call == "done SECRET"
        assert endpoint.asked == [("evil.e", "own"), ("api.a", "SECRET")]
        assert outcomes(work) == {"answered": 2, "misdirected": 1}

    play(suite, mode, scene)


@both
def test_an_outsiders_request_to_an_optional_server_answers_no_required_clients_call(
    suite: str,
) -> None:
    async def scene(town: Town) -> None:
        await serve(town, "work.h1", required=False)
        api = await town.station("api.a")
        call, msg_id = await asked_slowly(api)
        api.wire.inject(SERVER, forged("outsider", msg_id, api.transport.calls.reply_q))
        assert await call == "done SECRET"
        assert api.refused == {"Downgraded": 1}

    play(suite, "sign", scene)


@both
@everyone
def test_who_names_a_reply_address_first_does_not_shut_its_owner_out(
    suite: str, server: str | None
) -> None:
    async def scene(town: Town) -> None:
        work, _, _ = await serve(town, "work.h1")
        api = await town.station("api.a")
        evil = await town.station("evil.e")
        evil.driver._outgoing._reply_to = api.wire.reply_address().name
        await client(evil, server=server).cast({}, "do", what="claims")
        await settle()
        asking = client(api, server=server, timeout_s=5)
        assert await asking.call({}, "do", what="owner") == "done owner"
        assert work.refused == {}

    play(suite, "encrypt", scene)


@both
@everyone
def test_a_flood_of_reply_addresses_turns_no_answer_to_who_makes_it(
    suite: str, server: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than are remembered, while the victim's call is carried out; then the victim's own."""
    bound = 20
    monkeypatch.setattr(callers.Callers.__init__, "__defaults__", (bound,))

    async def scene(town: Town) -> None:
        work, _, _ = await serve(town, "work.h1")
        api = await town.station("api.a")
        evil = await town.station("evil.e")
        call, _ = await asked_slowly(api, server=server)
        back = api.wire.reply_address().name
        for name in [*(f"flood{number}" for number in range(bound + 5)), back]:
            evil.driver._outgoing._reply_to = evil.transport.calls.reply_q = name
            evil.driver._outgoing._outlets.clear()
            with pytest.raises(MessagingTimeout):
                await client(evil, server=server, timeout_s=0.1).call({}, "do", what=name)
        assert await call == "done SECRET"
        for address, body in work.wire.passed:
            if address.name == back:
                assert b"SECRET" not in opened_by(evil, address, body, town.clock.now_ms())
        assert len(work.driver._callers) <= bound

    play(suite, "encrypt", scene)


def opened_by(station: Station, address: Address, body: bytes, now_ms: int) -> bytes:
    """What the party could read of it."""
    place = Place(str(address.kind), address.name)
    try:
        opened = Reader(station.driver._obtainer.opener, {place: ("", "")}).decode(body, now_ms)
    except SecurityError:
        return b""
    return body if opened is None else opened.body


@both
@everyone
def test_the_answer_to_an_encrypted_request_is_never_in_clear(
    suite: str, server: str | None
) -> None:
    """Where security is optional, its caller forgotten, and the server's own mode only signs."""

    async def scene(town: Town) -> None:
        work, _, _ = await serve(town, "work.h1", mode="sign")
        api = await town.station("api.a")
        call, _ = await asked_slowly(api, server=server)
        work.driver._callers = work.driver._outgoing._callers = callers.Callers()
        assert await call == "done SECRET"
        back = [body for address, body in work.wire.passed if address.kind is Kind.REPLY]
        assert len(back) == 1
        assert b"SECRET" not in back[0]

    play(suite, "encrypt", scene, required=False)


@both
def test_what_was_asked_in_plain_is_answered_in_plain_and_nothing_else_is(suite: str) -> None:
    async def scene(town: Town) -> None:
        work, _, _ = await serve(town, "work.h1", required=False)
        plain = messaging.connect("memory://town", clock=town.clock, random=town.random)
        async with plain:
            asker = Client(plain, Target(topic="work", server="h1"), timeout_s=5)
            assert await asker.call({}, "do", what="plain") == "done plain"
        api = await town.station("api.a")
        assert await client(api).call({}, "do", what="sealed") == "done sealed"
        back = [body for address, body in work.wire.passed if address.kind is Kind.REPLY]
        assert [b"transom.head" in body for body in back] == [False, True]

    play(suite, "sign", scene)


def test_another_party_cannot_use_up_the_id_of_a_request() -> None:
    """Ids can be read where messages are signed; the copy that is not its sender's comes first."""

    async def scene(town: Town) -> None:
        _, endpoint, _ = await serve(town, "work.h1")
        api = await town.station("api.a")
        evil = await town.station("evil.e")
        request = Request(method="do", args={"what": "x"}, context={}, unique_id="one")
        for station in (evil, api, api):
            send(station, encode_request(request))
            await settle()
        assert endpoint.asked == [("evil.e", "x"), ("api.a", "x")]

    play("shared-key", "sign", scene)


@pytest.mark.parametrize("names", [["work.a.h1", "work.h1"], ["work.h1", "work.a.h1"]], ids=str)
def test_a_server_is_found_by_its_exact_name_first(names: list[str]) -> None:
    async def scene(town: Town) -> None:
        for name in names:
            await serve(town, name)
        api = await town.station("api.a")
        assert await client(api).call({}, "do", what="x") == "done x"
        assert api.driver._outgoing.party("work", "h1") == "work.h1"

    play("public-key", "encrypt", scene)


def test_a_server_that_could_be_either_of_two_parties_is_refused_naming_both() -> None:
    async def scene(town: Town) -> None:
        town.keys.register("node.h1", "work")
        town.keys.register("other.h1", "wo*")
        api = await town.station("api.a")
        with pytest.raises(MessageDeliveryFailure) as error:
            await client(api).call({}, "do", what="x")
        assert "work.h1 could be node.h1 or other.h1" in error.value.text

    play("public-key", "encrypt", scene)


def test_one_server_more_than_are_remembered_costs_no_other_its_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outgoing, "OUTLETS_MAX", 2)

    async def scene(town: Town) -> None:
        names = ["h1", "h2", "h3"]
        for name in names:
            await serve(town, f"work.{name}")
        api = await town.station("api.a")
        for name in [*names, *names]:
            asking = client(api, server=name, timeout_s=5)
            assert await asking.call({}, "do", what=name) == f"done {name}"

    play("shared-key", "sign", scene)


def test_a_call_that_outlives_its_ticket_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key server is away meanwhile. Of servers whose tickets ended only some are known."""
    monkeypatch.setattr(outgoing, "SERVERS_MAX", 1, raising=False)

    async def scene(town: Town) -> None:
        town.keys.lifetime_ms = 10_000
        await serve(town, "work.h1")
        await serve(town, "work.h2")
        api = await town.station("api.a")
        await client(api, server="h2").call({}, "do", what="short")
        call, _ = await asked_slowly(api)
        town.keys.away = True
        assert await call == "done SECRET"
        await asyncio.sleep(20)
        assert len(api.driver._outgoing._servers) <= 1

    play("shared-key", "sign", scene)
