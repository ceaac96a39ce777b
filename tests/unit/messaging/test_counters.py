"""What a transport counts, and how a survey asks all servers of a topic; in virtual time."""

import asyncio

import pytest

from transom import messaging
from transom.errors import MessageUndeliverable, MessagingTimeout, NotFound
from transom.messaging import Client, Server, Target
from transom.messaging.counters import OTHERS, TOPICS_MAX, Counters, Durations
from transom.messaging.drivers.base import Connected, Disconnected, Gap
from transom.messaging.envelope import Request, encode_request

from virtual import VirtualClock, run_virtual, seeded_randomness


def transport(peer: str) -> messaging.Transport:
    return messaging.connect(
        f"memory://counted/{peer}", clock=VirtualClock(), random=seeded_randomness(peer)
    )


class Endpoint:
    def __init__(self, name: str = "", wait_s: float = 0.0) -> None:
        self.name = name
        self.wait_s = wait_s

    async def who(self, context):
        await asyncio.sleep(self.wait_s)
        return self.name

    async def missing(self, context):
        raise NotFound("gone")


def test_calls_are_counted_by_how_they_ended_on_both_sides() -> None:
    async def main() -> None:
        async with transport("a") as ours, transport("b") as theirs:
            server = Server(theirs, Target(topic="t", server="h"), [Endpoint("h", wait_s=3.0)])
            async with server:
                client = Client(ours, Target(topic="t"), timeout_s=10)
                assert await client.call({}, "who") == "h"
                with pytest.raises(NotFound):
                    await client.call({}, "missing")
                with pytest.raises(MessagingTimeout):
                    await client.to(timeout_s=1).call({}, "who")
                with pytest.raises(MessageUndeliverable):
                    await client.to(server="nobody").call({}, "who")
                await client.cast({}, "who")
                asking = asyncio.ensure_future(client.call({}, "who"))
                await asyncio.sleep(1)
                sent, served = ours.counters.sent["t"], theirs.counters.served["t"]
                assert sent.in_flight == 1
                assert served.in_flight >= 1
                await asking
                await asyncio.sleep(10)
            assert sent.outcomes == {"answered": 2, "failed": 1, "timeout": 1, "undeliverable": 1}
            assert sent.casts == {"taken": 1}
            assert served.outcomes == {"answered": 4, "failed": 1}
            assert sent.in_flight == served.in_flight == 0
            assert sent.took.count == 5
            assert served.took.sum_s == pytest.approx(12.0, abs=0.1)
            assert ours.counters.late_replies == 1

    run_virtual(main, 1)


def test_a_request_that_comes_twice_or_is_unreadable_is_counted_as_such() -> None:
    async def main() -> None:
        async with transport("a") as ours, transport("b") as theirs:
            async with Server(theirs, Target(topic="t", server="h"), [Endpoint()]):
                client = Client(ours, Target(topic="t"))
                body = encode_request(
                    Request(method="who", args={}, context={}, unique_id="one and the same")
                )
                loop = asyncio.get_running_loop()
                for sending in (body, body, b"no message"):
                    await ours.send(client._address, sending, deadline_s=loop.time() + 60)
                await asyncio.sleep(1)
            outcomes = theirs.counters.served["t"].outcomes
            assert outcomes == {"answered": 1, "duplicate": 1, "unreadable": 1}

    run_virtual(main, 1)


def test_notifications_are_counted_where_they_are_sent_and_where_they_are_heard() -> None:
    async def main() -> None:
        async with transport("a") as ours, transport("b") as theirs:
            listener = messaging.Listener(theirs, [Target(topic="n")])
            async with listener:
                notifier = messaging.Notifier(ours, "p", topics=["n"])
                await notifier.info({}, "image.create", {})
                await (await anext(listener)).requeue()
                await (await anext(listener)).acknowledge()
            assert ours.counters.sent["n"].casts == {"taken": 1}
            assert theirs.counters.heard["n"].outcomes == {"requeued": 1, "acknowledged": 1}

    run_virtual(main, 1)


def test_events_of_links_are_counted_and_told() -> None:
    async def main() -> None:
        async with transport("a") as ours:
            before = dict(ours.counters.links)
            for event in (Connected("p"), Disconnected("p", "why"), Gap("p"), Gap("q")):
                ours._report(event)
            more = {event: count - before[event] for event, count in ours.counters.links.items()}
            assert more == {"connected": 1, "disconnected": 1, "gap": 2}

    run_virtual(main, 1)


def test_a_survey_gathers_what_comes_in_time_from_all_servers_and_nothing_else() -> None:
    async def main() -> None:
        async with transport("a") as ours, transport("b") as one, transport("c") as other:
            quick = Server(one, Target(topic="t", server="quick"), [Endpoint("quick")])
            quicker = Server(other, Target(topic="t", server="quicker"), [Endpoint("quicker")])
            slow = Server(other, Target(topic="t", server="slow"), [Endpoint("slow", wait_s=5)])
            async with quick, quicker, slow:
                client = Client(ours, Target(topic="t"), timeout_s=1)
                began_s = asyncio.get_running_loop().time()
                assert sorted(await client.survey({}, "who")) == ["quick", "quicker"]
                assert asyncio.get_running_loop().time() - began_s == pytest.approx(1.0)
                assert await client.survey({}, "missing") == []
                await asyncio.sleep(10)
            assert await client.survey({}, "who") == []

    run_virtual(main, 1)


def test_topics_beyond_the_bound_are_counted_together() -> None:
    counters = Counters()
    for number in range(TOPICS_MAX + 10):
        counters.sent[f"topic {number}"].cast("taken")
    assert len(counters.sent) == TOPICS_MAX + 1
    assert counters.sent[OTHERS].casts == {"taken": 10}


def test_a_quantile_is_the_bound_from_above() -> None:
    took = Durations()
    assert took.quantile_s(0.5) is None
    for duration_s in (0.0004, 0.002, 0.002, 99.0):
        took.add(duration_s)
    assert took.quantile_s(0.25) == 0.0005
    assert took.quantile_s(0.5) == 0.0025
    assert took.quantile_s(1.0) == 10.0
    assert (took.count, took.sum_s) == (4, pytest.approx(99.0044))
