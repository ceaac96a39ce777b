"""Listeners: prefetch, deadlines, copies, and what comes back at the end."""

import pytest

from transom.messaging.drivers.base import Address, Delivery, Kind
from transom.messaging.drivers.zmq.inbox import Inbox, Listener, Message

TOPIC = Address(Kind.TOPIC, "t")
FANOUT = Address(Kind.FANOUT, "t")
NOTIFICATION = Address(Kind.NOTIFICATION, "n", "info")


class Bench:
    """An inbox whose clock is a number."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.inbox = Inbox()
        self.freed: list[bytes] = []
        self.given_back: list[bytes] = []

    def listen(self, *addresses: Address, prefetch: int = 1) -> tuple[Listener, list[Delivery]]:
        out: list[Delivery] = []
        listener = Listener(
            addresses,
            out.append,
            prefetch,
            lambda message: self.given_back.append(message.body),
            lambda: self.now_s,
        )
        self.inbox.add(listener)
        return listener, out

    def offer(self, address: Address, body: bytes, deadline_s: float = 10.0) -> bool | None:
        return self.inbox.offer(Message(address, body, deadline_s, lambda: self.freed.append(body)))


def bodies(deliveries: list[Delivery]) -> list[bytes]:
    return [delivery.body for delivery in deliveries]


async def test_no_more_than_prefetch_are_out_and_the_rest_follows_in_order() -> None:
    bench = Bench()
    _, out = bench.listen(TOPIC, prefetch=2)
    assert [bench.offer(TOPIC, body) for body in (b"1", b"2", b"3", b"4")] == [
        True,
        True,
        False,
        False,
    ]
    assert bodies(out) == [b"1", b"2"]
    out[1].acknowledge()
    assert bodies(out) == [b"1", b"2", b"3"]
    assert bench.freed == [b"3"]
    out[1].acknowledge()
    assert bodies(out) == [b"1", b"2", b"3"]


async def test_what_waited_past_its_deadline_is_dropped_but_a_notification_is_not() -> None:
    bench = Bench()
    _, out = bench.listen(TOPIC, NOTIFICATION)
    bench.offer(TOPIC, b"first")
    bench.offer(TOPIC, b"stale", 1.0)
    bench.offer(NOTIFICATION, b"news", 1.0)
    bench.now_s = 2.0
    out[0].acknowledge()
    assert bodies(out) == [b"first", b"news"]
    assert bench.freed == [b"stale", b"news"]


async def test_every_listener_gets_its_copy_and_the_room_is_free_after_the_last() -> None:
    bench = Bench()
    _, one = bench.listen(FANOUT)
    _, two = bench.listen(FANOUT)
    assert bench.offer(FANOUT, b"a") is True
    assert bench.offer(FANOUT, b"b") is False
    assert bodies(one) == bodies(two) == [b"a"]
    one[0].acknowledge()
    assert bench.freed == []
    two[0].acknowledge()
    assert bench.freed == [b"b"]
    assert bodies(one) == bodies(two) == [b"a", b"b"]


def test_a_topic_goes_to_the_least_loaded() -> None:
    bench = Bench()
    _, one = bench.listen(TOPIC, prefetch=3)
    _, two = bench.listen(TOPIC, prefetch=3)
    for body in (b"1", b"2", b"3", b"4"):
        bench.offer(TOPIC, body)
    assert len(one) == len(two) == 2


def test_nobody_is_told_apart_from_waiting() -> None:
    bench = Bench()
    assert bench.offer(TOPIC, b"x") is None
    listener, _ = bench.listen(TOPIC)
    assert bench.inbox.remove(listener)
    assert not bench.inbox.remove(listener)
    assert bench.offer(TOPIC, b"x") is None
    assert bench.inbox.addresses() == ()


@pytest.mark.parametrize("acknowledged", [True, False])
async def test_a_closed_listener_returns_what_it_had_not_finished(acknowledged: bool) -> None:
    bench = Bench()
    listener, out = bench.listen(TOPIC)
    bench.offer(TOPIC, b"out")
    bench.offer(TOPIC, b"waits")
    if acknowledged:
        out[0].acknowledge()
    unfinished = [message.body for message in listener.close()]
    assert unfinished == ([b"waits"] if acknowledged else [b"out", b"waits"])
    out[0].requeue()
    assert bench.given_back == []


async def test_a_requeued_delivery_is_given_back_once() -> None:
    bench = Bench()
    _, out = bench.listen(TOPIC)
    bench.offer(TOPIC, b"x")
    out[0].requeue()
    out[0].requeue()
    assert bench.given_back == [b"x"]
