# SPDX-License-Identifier: Apache-2.0
"""Attacks on a secured bus: each is carried out on the wire, and does not succeed."""

import asyncio
from collections.abc import Callable, Coroutine
from itertools import product
from typing import Any

import pytest

from transom import messaging
from transom.errors import MessagingTimeout
from transom.messaging import Client, Listener, Notifier, Server, Target
from transom.messaging.authenticated import DELIVERY
from transom.messaging.drivers.base import Address, Delivery, Kind
from transom.messaging.envelope import Reply, encode_reply
from transom.messaging.secured.seen import FileSeen
from transom.messaging.security.certificates import Identity
from transom.messaging.security.message import Mode, Way, Writer
from transom.messaging.security.reading import Reader
from transom.messaging.security.sessions import Place, Role, Session

from support.secured_world import Station, Town
from virtual import run_virtual

SERVER = Address(Kind.SERVER, "work", "h1")
TOPIC = Address(Kind.TOPIC, "work")
both = pytest.mark.parametrize("suite", ["shared-key", "public-key"])
each = pytest.mark.parametrize("mode", ["sign", "encrypt"])


class Endpoint:
    """Keeps what it was asked, and by whom."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.deliveries: list[Delivery] = []

    async def do(self, context: Any, what: str) -> str:
        self.asked.append((messaging.sender(), what))
        self.deliveries += filter(None, [DELIVERY.get()])
        return f"done {what}"


def play(
    suite: str, mode: str, scene: Callable[[Town], Coroutine[Any, Any, None]], **settings: Any
) -> None:
    async def main() -> None:
        async with Town(7, suite, mode, **settings) as town:
            await scene(town)

    run_virtual(main, seed=7)


async def serve(town: Town, name: str, *patterns: str, **settings: Any) -> tuple[Station, Endpoint]:
    station = await town.station(name, *patterns, **settings)
    endpoint = Endpoint()
    topic, _, server = name.partition(".")
    await Server(station.transport, Target(topic=topic, server=server), [endpoint]).start()
    return station, endpoint


def client(station: Station, *, server: str | None = "h1", timeout_s: float = 20.0) -> Client:
    target = Target(topic="work", server=server)
    return Client(station.transport, target, timeout_s=timeout_s)


async def settle() -> None:
    await asyncio.sleep(1)


def sent_to(station: Station, kind: Kind) -> list[tuple[Address, bytes]]:
    return [one for one in station.wire.passed if one[0].kind is kind]


@both
@each
def test_calls_casts_fan_out_and_notifications_arrive_with_their_sender(
    suite: str, mode: str
) -> None:
    async def scene(town: Town) -> None:
        _, one = await serve(town, "work.h1", "events")
        _, two = await serve(town, "work.h2")
        api = await town.station("api.a")
        listener_at = await town.station("search.s", "events")
        listener = Listener(listener_at.transport, [Target(topic="events")])
        await listener.start()
        assert await client(api).call({}, "do", what="pair") == "done pair"
        assert await client(api, server=None).call({}, "do", what="group") == "done group"
        await client(api).to(server=None, fanout=True).cast({}, "do", what="all")
        await Notifier(api.transport, "api.a", topics=["events"]).info({}, "happened", {"n": 1})
        event = await anext(listener)
        assert (event.sender, event.payload) == ("api.a", {"n": 1})
        await event.acknowledge()
        await settle()
        assert {sender for sender, _ in one.asked + two.asked} == {"api.a"}
        assert sorted(what for _, what in one.asked + two.asked) == ["all", "all", "group", "pair"]
        bodies = b"".join(body for _, body in api.wire.passed)
        assert (b"oslo.message" in bodies) is (mode == "sign")
        assert (b"pair" in bodies) is (mode == "sign")

    play(suite, mode, scene)


@both
@each
def test_a_forged_message_is_refused(suite: str, mode: str) -> None:
    """Somebody without keys makes one that claims to be another's."""

    async def scene(town: Town) -> None:
        work, endpoint = await serve(town, "work.h1")
        api = await town.station("api.a")
        await client(api).call({}, "do", what="real")
        attacker = Identity.make(town.random)
        own = Session(
            suite, "api.a", "work.h1", town.random(32), group=False, ticket=b"\x92\xa0\xa0",
            issued_ms=town.clock.now_ms(), lifetime_ms=3_600_000,
        )  # fmt: skip
        way = Way(own, Role.REQUEST, Place("server", "work", "h1"), bytes(16), attacker.signing)
        forged = Writer(way, Mode(mode)).encode(
            b'{"method":"do"}', counter=1, sent_ms=town.clock.now_ms(), deadline_ms=0
        )
        api.wire.inject(SERVER, forged)
        await settle()
        assert len(endpoint.asked) == 1
        assert work.refused == {"InvalidSignature": 1}

    play(suite, mode, scene)


@both
@each
def test_an_altered_or_truncated_message_is_refused(suite: str, mode: str) -> None:
    async def scene(town: Town) -> None:
        work, endpoint = await serve(town, "work.h1")
        api = await town.station("api.a")
        api.wire.change = lambda address, body: (
            None if address.kind is Kind.SERVER else (address, body)
        )
        await client(api).cast({}, "do", what="real")
        await settle()
        ((_, body),) = sent_to(api, Kind.SERVER)
        altered = [
            body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :] for at in range(0, len(body), 7)
        ]
        for bad in [
            *altered,
            *(body[:at] for at in range(0, len(body), 29)),
            body + b"}",
            body + b" ",
        ]:
            api.wire.inject(SERVER, bad)
        await settle()
        assert endpoint.asked == []
        api.wire.inject(SERVER, body)
        await settle()
        assert [what for _, what in endpoint.asked] == ["real"], "the attempts did not use it up"
        assert sum(work.refused.values()) > 20

    play(suite, mode, scene)


@both
@each
@pytest.mark.parametrize("address", [SERVER, TOPIC], ids=str)
def test_a_message_that_is_played_again_is_dropped(suite: str, mode: str, address: Address) -> None:
    async def scene(town: Town) -> None:
        work, endpoint = await serve(town, "work.h1")
        api = await town.station("api.a")
        server = address.part or None
        await client(api, server=server).call({}, "do", what="once")
        ((_, body),) = sent_to(api, address.kind)
        for _ in range(3):
            api.wire.inject(address, body)
        await settle()
        assert len(endpoint.asked) == 1
        assert work.refused == {"duplicate": 3}

    play(suite, mode, scene)


@both
@each
def test_a_message_that_is_played_to_another_receiver_is_refused(suite: str, mode: str) -> None:
    async def scene(town: Town) -> None:
        await serve(town, "work.h1")
        there, endpoint = await serve(town, "work.h2")
        _, other_topic = await serve(town, "other.h1")
        api = await town.station("api.a")
        await client(api).call({}, "do", what="once")
        ((_, body),) = sent_to(api, Kind.SERVER)
        for address in (
            Address(Kind.SERVER, "work", "h2"),
            Address(Kind.SERVER, "other", "h1"),
            Address(Kind.TOPIC, "other"),
            Address(Kind.FANOUT, "other"),
        ):
            api.wire.inject(address, body)
        await settle()
        assert endpoint.asked == other_topic.asked == []
        assert there.refused == {"WrongDestination": 1}

    play(suite, mode, scene)


@both
@pytest.mark.parametrize("file", [True, False], ids=["file", "memory"])
def test_a_message_that_is_played_after_a_restart_is_refused(
    suite: str, file: bool, tmp_path: Any
) -> None:
    """With a file at once, without one when the skew has passed."""

    async def scene(town: Town) -> None:
        def given() -> dict[str, Any]:
            return {"seen": FileSeen(tmp_path / "seen")} if file else {}

        work, before = await serve(town, "work.h1", **given())
        api = await town.station("api.a")
        await client(api, timeout_s=600).call({}, "do", what="once")
        ((_, body),) = sent_to(api, Kind.SERVER)
        if not file:
            await asyncio.sleep(61)
        await town.stop(work)
        work, after = await serve(town, "work.h1", **given())
        api.wire.inject(SERVER, body)
        await settle()
        assert len(before.asked) == 1
        assert after.asked == []
        assert work.refused == {"duplicate" if file else "Expired": 1}

    play(suite, "sign", scene)


@both
@each
def test_a_stale_message_is_refused(suite: str, mode: str) -> None:
    async def scene(town: Town) -> None:
        work, endpoint = await serve(town, "work.h1")
        api = await town.station("api.a")
        held: list[bytes] = []
        api.wire.change = lambda address, body: held.append(body)
        with pytest.raises(MessagingTimeout):
            await client(api).call({}, "do", what="late")
        await asyncio.sleep(61)
        api.wire.inject(SERVER, held[0])
        await settle()
        assert endpoint.asked == []
        assert work.refused == {"Expired": 1}

    play(suite, mode, scene)


@both
def test_a_message_from_the_future_is_refused(suite: str) -> None:
    async def scene(town: Town) -> None:
        work, endpoint = await serve(town, "work.h1")
        api = await town.station("api.a")
        await client(api).call({}, "do", what="now")
        town.clock.shift_ms = 3_000_000
        await client(api).cast({}, "do", what="ahead")
        town.clock.shift_ms = 0
        await settle()
        assert [what for _, what in endpoint.asked] == ["now"]
        assert work.refused == {"Expired": 1}

    play(suite, "sign", lambda town: scene(town))


@both
@each
def test_a_request_that_is_reflected_as_its_reply_is_refused(suite: str, mode: str) -> None:
    async def scene(town: Town) -> None:
        await serve(town, "work.h1")
        api = await town.station("api.a")
        back = api.wire.reply_address()
        api.wire.change = lambda address, body: (back, body)
        with pytest.raises(MessagingTimeout):
            await client(api).call({}, "do", what="mirror")
        assert api.refused == {"WrongDestination": 1}

    play(suite, mode, scene)


@both
@each
def test_a_message_that_is_stripped_of_its_security_is_refused(suite: str, mode: str) -> None:
    async def scene(town: Town) -> None:
        work, endpoint = await serve(town, "work.h1")
        plain = messaging.connect("memory://town", clock=town.clock, random=town.random)
        async with plain:
            await Client(plain, Target(topic="work", server="h1")).cast({}, "do", what="plain")
        api = await town.station("api.a")
        if mode == "sign":
            at = lambda body: body.rfind(b',"transom.head"')  # noqa: E731
            api.wire.change = lambda address, body: (address, body[: at(body)] + b"}")
            await client(api).cast({}, "do", what="stripped")
        await settle()
        assert endpoint.asked == []
        assert work.refused == {"Downgraded": 2 if mode == "sign" else 1}

    play(suite, mode, scene)


@both
def test_signed_instead_of_encrypted_is_refused_where_encryption_is_required(suite: str) -> None:
    async def scene(town: Town) -> None:
        work, endpoint = await serve(town, "work.h1", mode="encrypt")
        api = await town.station("api.a")
        await client(api).cast({}, "do", what="open")
        await settle()
        assert endpoint.asked == []
        assert work.refused == {"Downgraded": 1}

    play(suite, "sign", scene)


@both
def test_a_receiver_to_whom_security_is_optional_takes_plain_messages_of_nobody(suite: str) -> None:
    async def scene(town: Town) -> None:
        work, endpoint = await serve(town, "work.h1", required=False)
        plain = messaging.connect("memory://town", clock=town.clock, random=town.random)
        async with plain:
            asker = Client(plain, Target(topic="work", server="h1"))
            assert await asker.call({}, "do", what="plain") == "done plain"
        api = await town.station("api.a")
        assert await client(api).call({}, "do", what="signed") == "done signed"
        assert endpoint.asked == [("", "plain"), ("api.a", "signed")]
        assert work.refused == {}

    play(suite, "sign", scene)


@both
@each
def test_a_member_of_the_group_cannot_speak_as_another(suite: str, mode: str) -> None:
    """It opens a ticket to the group as every member does, and seals under its key."""

    async def scene(town: Town) -> None:
        work, endpoint = await serve(town, "work.h1")
        evil = await town.station("work.evil")
        api = await town.station("api.a")
        listening = messaging.Server(
            evil.transport, Target(topic="work", server="evil"), [Endpoint()]
        )
        await listening.start()
        await client(api).to(server=None, fanout=True).cast({}, "do", what="real")
        await settle()
        ((_, body),) = sent_to(api, Kind.FANOUT)
        place, now_ms = Place("fanout", "work"), town.clock.now_ms()
        opened = Reader(evil.driver._obtainer.opener, {place: ()}).decode(body, now_ms)
        assert opened is not None
        stolen = opened.session
        for signing in (evil.driver._obtainer.identity.signing, None):
            way = Way(stolen, Role.REQUEST, place, bytes(16), signing)
            forged = Writer(way, Mode(mode)).encode(
                b'{"method":"do","args":{"what":"forged"}}', counter=5, sent_ms=now_ms,
                deadline_ms=0,
            )  # fmt: skip
            evil.wire.inject(Address(Kind.FANOUT, "work"), forged)
        await settle()
        assert [what for _, what in endpoint.asked] == ["real"]
        assert work.refused == {"InvalidSignature": 2}

    play(suite, mode, scene)


@both
def test_who_does_not_belong_to_the_group_reads_nothing_of_it(suite: str) -> None:
    async def scene(town: Town) -> None:
        await serve(town, "work.h1")
        spy = await town.station("spy.s")
        spied: list[bytes] = []
        api = await town.station("api.a")
        await spy.driver.listen(
            [Address(Kind.FANOUT, "work")], lambda one: spied.append(one.body), prefetch=10
        )
        await client(api).to(server=None, fanout=True).cast({}, "do", what="secret")
        await asyncio.sleep(40)
        assert spied == []
        assert set(spy.refused) <= {"KeyUnavailable", "WrongDestination"}
        assert sum(spy.refused.values()) == 1

    play(suite, "encrypt", scene)


@both
def test_another_party_cannot_answer_a_call_that_was_not_for_it(suite: str) -> None:
    """It has sessions with the caller and has read the call's id, but is not whom it was for."""

    async def scene(town: Town) -> None:
        await serve(town, "work.h1")
        evil, endpoint = await serve(town, "other.evil")
        api = await town.station("api.a")
        theirs = client(api, server="evil").to(topic="other")
        assert await theirs.call({}, "do", what="for evil") == "done for evil"
        assert await theirs.to(server=None).call({}, "do", what="for all") == "done for all"
        for delivery, server in product(endpoint.deliveries, ("h1", None)):
            api.wire.change = lambda address, body: None
            back = api.wire.reply_address()
            call = asyncio.ensure_future(client(api, server=server).call({}, "do", what="x"))
            await settle()
            (msg_id,) = list(api.transport.calls._waiting)
            told: list[Any] = []
            body = encode_reply(Reply(msg_id=msg_id, result="forged"))
            now_s = asyncio.get_running_loop().time()
            answer = evil.driver.answering(delivery, back.name)
            assert answer is not None
            answer(body, told.append, now_s + 5)
            await settle()
            assert told == [None]
            with pytest.raises(MessagingTimeout):
                await call
            api.wire.change = None
            real = client(api, server=server)
            assert await real.call({}, "do", what="real") == "done real"
        assert api.refused == {}

    play(suite, "sign", scene)


@both
def test_a_neighbours_answers_cannot_be_turned_to_oneself(suite: str) -> None:
    """A party names another's reply address: it gets its own answers there, and no other's."""

    async def scene(town: Town) -> None:
        work, endpoint = await serve(town, "work.h1")
        api = await town.station("api.a")
        evil = await town.station("evil.e")
        await client(api).call({}, "do", what="first")
        evil.driver._outgoing._reply_to = api.wire.reply_address().name
        evil.transport.calls.reply_q = api.transport.calls.reply_q
        with pytest.raises(MessagingTimeout):
            await client(evil).call({}, "do", what="claims")
        assert [what for _, what in endpoint.asked] == ["first", "claims"]
        assert api.refused == {"InvalidSignature": 1}
        assert await client(api).call({}, "do", what="again") == "done again"
        assert work.refused == evil.refused == {}

    play(suite, "encrypt", scene)


def test_a_suite_that_is_renamed_is_refused() -> None:
    async def scene(town: Town) -> None:
        work, endpoint = await serve(town, "work.h1")
        town.suite = "public-key"
        api = await town.station("api.a")
        await client(api).cast({}, "do", what="other suite")
        await settle()
        assert endpoint.asked == []
        assert work.refused == {"InvalidSignature": 1}

    play("shared-key", "sign", scene)


def test_a_notification_waits_for_its_listener_and_is_taken_once(tmp_path: Any) -> None:
    """Longer than a ticket lives; played again after a restart of the listener it is dropped."""

    async def scene(town: Town) -> None:
        api = await town.station("api.a")
        await Notifier(api.transport, "api.a", topics=["events"]).info({}, "happened", 1)
        await asyncio.sleep(3 * 3600)
        for turn in range(2):
            seen = FileSeen(tmp_path / "seen")
            at = await town.station("search.s", "events", seen=seen)
            listener = Listener(at.transport, [Target(topic="events")])
            await listener.start()
            if turn == 0:
                event = await anext(listener)
                assert (event.sender, event.payload) == ("api.a", 1)
                await event.acknowledge()
                await town.stop(at)
                ((address, body),) = sent_to(api, Kind.NOTIFICATION)
                api.wire.inject(address, body)
            else:
                await settle()
                assert at.refused == {"duplicate": 1}

    play("shared-key", "sign", scene)


@both
def test_a_notification_that_is_older_than_the_retention_is_refused(suite: str) -> None:
    async def scene(town: Town) -> None:
        town.keys.register("search.s")
        api = await town.station("api.a")
        await Notifier(api.transport, "api.a", topics=["search"]).info({}, "happened", 1)
        await asyncio.sleep(3600 + 86_400 + 120)
        at = await town.station("search.s")
        await Listener(at.transport, [Target(topic="search")]).start()
        await settle()
        assert at.refused == {"Expired": 1}

    play(suite, "sign", scene)


@both
@each
def test_everybody_answers_a_question_to_all_and_nobody_else_does(suite: str, mode: str) -> None:
    async def scene(town: Town) -> None:
        await serve(town, "work.h1")
        await serve(town, "work.h2")
        api = await town.station("api.a")
        answers = await client(api, server=None, timeout_s=5).survey({}, "do", what="x")
        assert answers == ["done x", "done x"]

    play(suite, mode, scene)


def test_of_two_copies_that_are_out_the_second_waits_for_the_first() -> None:
    """It takes the place of one that goes back to the bus, and is dropped once that is done."""

    async def scene(town: Town) -> None:
        api = await town.station("api.a")
        at = await town.station("search.s", "events")
        listener = Listener(at.transport, [Target(topic="events")])
        await listener.start()
        await Notifier(api.transport, "api.a", topics=["events"]).info({}, "happened", 1)
        first = await anext(listener)
        ((address, body),) = sent_to(api, Kind.NOTIFICATION)
        api.wire.inject(address, body)
        await settle()
        assert at.refused == {}
        await first.requeue()
        second = await anext(listener)
        await settle()
        await second.acknowledge()
        await settle()
        assert at.refused == {"duplicate": 1}
        assert second.payload == 1

    play("shared-key", "sign", scene)
