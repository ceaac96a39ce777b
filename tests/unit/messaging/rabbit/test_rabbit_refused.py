# SPDX-License-Identifier: Apache-2.0
"""The broker refuses a message: nobody else's fails, and nobody's order changes."""

import asyncio
import random
from collections.abc import Callable

import pytest

from transom.errors import MessageDeliveryFailure, MessagingError
from transom.messaging.drivers.base import Address, Kind
from transom.messaging.drivers.rabbit.doubts import pointed_at
from transom.messaging.drivers.rabbit.publisher import Publisher
from transom.messaging.proto.amqp import Method
from transom.messaging.proto.amqp.frames import method_frame
from transom.messaging.proto.amqp.methods import (
    BasicAck,
    ChannelClose,
    ChannelFlow,
    ConnectionClose,
)

from support.rabbit_script import Published, Script
from virtual import run_virtual

REPLY = Address(Kind.REPLY, "q")
SIZE = 500
WITHIN_S = 30.0
Told = dict[bytes, list[MessagingError | None]]


def notification(exchange: str, topic: str = "t") -> Address:
    return Address(Kind.NOTIFICATION, topic, "info", exchange)


def send(publisher: Publisher, address: Address, body: bytes, told: Told) -> None:
    publisher.send(
        address,
        body,
        told.setdefault(body, []).append,
        deadline_s=asyncio.get_running_loop().time() + WITHIN_S,
        mandatory=False,
    )


def by_right(publish: Published) -> str:
    if publish.exchange == "secret":
        return "403 ACCESS_REFUSED - access to exchange 'secret' in vhost 'v' refused for user 'u'"
    return ""


def by_size(publish: Published) -> str:
    if len(publish.body) > SIZE:
        size = len(publish.body)
        return f"406 PRECONDITION_FAILED - message size {size} is larger than max size {SIZE}"
    return ""


def by_a_rule_of_its_own(publish: Published) -> str:
    return "406 PRECONDITION_FAILED - no" if b"bad" in publish.body else ""


def misleading(publish: Published) -> str:
    return "403 NO - exchange 'good0' says no" if publish.exchange == "secret" else ""


@pytest.mark.parametrize("refuses", [by_right, by_size, by_a_rule_of_its_own, misleading])
@pytest.mark.parametrize("seed", range(5))
def test_only_the_guilty_message_fails(refuses: Callable[[Published], str], seed: int) -> None:
    async def scenario() -> None:
        drawn = random.Random(seed)
        script = Script(refuses)
        publisher = await script.publisher()
        told: Told = {}
        sent: list[tuple[str, bytes, bool]] = []
        for number in range(600):
            guilty = drawn.random() < 0.03
            reply = drawn.random() < 0.2 and not (guilty and refuses in (by_right, misleading))
            exchange = "secret" if guilty else f"good{drawn.randrange(4)}"
            body = b"%d %s" % (number, b"bad" + b"." * 2 * SIZE if guilty else b"fine")
            sent.append(("" if reply else exchange, body, guilty))
            send(publisher, REPLY if reply else notification(exchange), body, told)
            if drawn.random() < 0.1:
                await asyncio.sleep(drawn.random() * 0.003)
        await publisher.drain(WITHIN_S)
        for _, body, guilty in sent:
            [outcome] = told[body]
            assert isinstance(outcome, MessageDeliveryFailure) == guilty, (
                body,
                outcome and outcome.detail,
            )
        for exchange in {exchange for exchange, _, _ in sent}:
            ours = [body for one, body, guilty in sent if one == exchange and not guilty]
            arrived = [one.body for one in script.taken if one.exchange == exchange]
            assert list(dict.fromkeys(arrived)) == ours, "each, and in order but for copies"
        assert script.lost == []

    run_virtual(scenario, seed)


def test_one_who_is_refused_again_and_again_closes_the_lane_of_others_once() -> None:
    async def scenario() -> None:
        script = Script(by_right)
        publisher = await script.publisher()
        told: Told = {}
        for number in range(2000):
            send(publisher, notification("good"), b"%d" % number, told)
            if number % 100 == 0:
                send(publisher, notification("secret"), b"bad %d" % number, told)
                await asyncio.sleep(0.002)
        await publisher.drain(WITHIN_S)
        assert script.closes == 21, "the first one twice, the others once"
        copies = len(script.taken) - 2000
        assert copies < 110, "only what was in flight at the first close came twice"

    run_virtual(scenario, 1)


def test_a_route_goes_back_to_its_lane_once_it_is_taken_again() -> None:
    async def scenario() -> None:
        script = Script(by_size)
        publisher = await script.publisher()
        told: Told = {}
        for body in (b"a", b"b" * 2 * SIZE, b"c", b"d"):
            send(publisher, notification("x"), body, told)
        await asyncio.sleep(1)
        channels = {one.body: one.channel for one in script.taken}
        send(publisher, notification("x"), b"e", told)
        await asyncio.sleep(1)
        assert script.taken[-1].body == b"e"
        assert script.taken[-1].channel != channels[b"c"], "not on the lane of the doubtful"
        assert [told[body] for body in (b"a", b"c", b"d", b"e")] == [[None]] * 4

    run_virtual(scenario, 1)


def test_an_exchange_that_vanished_is_declared_again_and_given_up_in_the_end() -> None:
    refusals = 3

    def vanished(publish: Published) -> str:
        nonlocal refusals
        refusals -= 1
        return "404 NOT_FOUND - no exchange 'x_fanout' in vhost '/'" if refusals >= 0 else ""

    async def scenario() -> None:
        nonlocal refusals
        publisher = await Script(vanished).publisher()
        told: Told = {}
        send(publisher, Address(Kind.FANOUT, "x"), b"back", told)
        await asyncio.sleep(1)
        refusals = 1_000
        send(publisher, Address(Kind.FANOUT, "x"), b"gone", told)
        await asyncio.sleep(1)
        assert told[b"back"] == [None]
        assert [type(error) for error in told[b"gone"]] == [MessageDeliveryFailure]

    run_virtual(scenario, 1)


def test_a_broken_link_clears_all_suspicion_and_loses_nothing() -> None:
    async def scenario() -> None:
        script = Script(by_right)
        publisher = await script.publisher()
        told: Told = {}
        send(publisher, notification("secret"), b"bad", told)
        await asyncio.sleep(1)
        assert isinstance(told[b"bad"][0], MessageDeliveryFailure)
        send(publisher, notification("secret"), b"later", told)
        script.feed(0, ConnectionClose(reply_code=320, reply_text="CONNECTION_FORCED"))
        again = Script()
        await publisher.up(await again.link())
        await asyncio.sleep(1)
        assert told[b"later"] == [None]
        assert [one.channel for one in again.taken] == [1], "on the lane of all"

    run_virtual(scenario, 1)


@pytest.mark.parametrize(
    ("channel", "close"),
    [
        (0, ConnectionClose(reply_code=320, reply_text="CONNECTION_FORCED")),
        (1, ChannelClose(reply_code=404, reply_text="NOT_FOUND - no exchange 'x'")),
    ],
    ids=["connection", "channel"],
)
def test_what_is_sent_between_a_confirm_and_a_close_is_sent_again(
    channel: int, close: Method
) -> None:
    """The two were read at once: the machine knows of the close when the confirm is told."""

    async def scenario() -> None:
        script = Script(answers=False)
        publisher = await script.publisher()
        told: Told = {}

        def first(error: MessagingError | None) -> None:
            for body in (b"two", b"three"):
                send(publisher, REPLY, body, told)

        loop = asyncio.get_running_loop()
        publisher.send(REPLY, b"one", first, deadline_s=loop.time() + 9, mandatory=False)
        await asyncio.sleep(0.01)
        script.answers = True
        script.feed_bytes(method_frame(1, BasicAck(delivery_tag=1)) + method_frame(channel, close))
        assert told == {b"two": [], b"three": []}
        if not channel:
            script = Script()
            await publisher.up(await script.link())
        await asyncio.sleep(1)
        assert told == {b"two": [None], b"three": [None]}
        assert [one.body for one in script.taken][-2:] == [b"two", b"three"]

    run_virtual(scenario, 1)


def test_a_lane_stops_when_the_broker_says_so_and_goes_on_in_order() -> None:
    async def scenario() -> None:
        script = Script()
        publisher = await script.publisher()
        told: Told = {}
        send(publisher, REPLY, b"0", told)
        await asyncio.sleep(0.1)
        script.feed(1, ChannelFlow(active=False))
        for number in range(1, 50):
            send(publisher, REPLY, b"%d" % number, told)
        send(publisher, Address(Kind.FANOUT, "t"), b"another lane", told)
        await asyncio.sleep(5)
        assert [one.body for one in script.taken] == [b"0", b"another lane"]
        script.feed(1, ChannelFlow(active=True))
        await asyncio.sleep(0.1)
        assert [one.body for one in script.taken if not one.exchange] == [
            b"%d" % number for number in range(50)
        ]
        assert all(outcome == [None] for outcome in told.values())

    run_virtual(scenario, 1)


def test_the_text_of_a_refusal_points_at_messages() -> None:
    class Route:
        def __init__(self, exchange: str) -> None:
            self.exchange = exchange

    class Message:
        def __init__(self, exchange: str, size_bytes: int) -> None:
            self.route = Route(exchange)
            self.size_bytes = size_bytes

    some = [Message("a", 1), Message("", 2), Message("b", 33), Message("a", 4)]
    for text, expected in {
        "no exchange 'a' in vhost '/'": [0, 3],
        "access to exchange 'amq.default' in vhost '/' refused": [1],
        "message size 33 is larger than configured max size 3": [2],
        "INTERNAL_ERROR": [0, 1, 2, 3],
    }.items():
        assert pointed_at(text, some) == [some[at] for at in expected]  # type: ignore[arg-type, comparison-overlap]
