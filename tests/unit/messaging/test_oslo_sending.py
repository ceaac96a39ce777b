# SPDX-License-Identifier: Apache-2.0
"""What the driver for oslo.messaging does with messages that nobody takes yet, in virtual time."""

import asyncio
import time
from math import inf

import pytest

from transom.errors import (
    MessageDeliveryFailure,
    MessageUndeliverable,
    MessagingError,
)
from transom.messaging.drivers.base import Address, Connected, Disconnected, Kind, Sent
from transom.messaging.oslo_driver import room as room_module
from transom.messaging.oslo_driver.room import Room
from transom.messaging.oslo_driver.sending import CAST_S, Outgoing, Sending

from virtual import run_virtual

TOPIC = Address(Kind.TOPIC, "t")
OTHER = Address(Kind.TOPIC, "u")


class Bus:
    """A driver where nobody is at first. Records what was taken, and each try."""

    def __init__(self) -> None:
        self.there: set[Address] = set()
        self.taken: list[bytes] = []
        self.tries = 0

    def send(
        self, address: Address, body: bytes, sent: Sent, *, deadline_s: float, mandatory: bool
    ) -> None:
        self.tries += 1
        if address in self.there:
            self.taken.append(body)
            sent(None)
        else:
            sent(MessageUndeliverable() if mandatory else None)


class Told(list[MessagingError | None]):
    """A `sent` that remembers."""

    def __call__(self, error: MessagingError | None) -> None:
        self.append(error)


async def passes(seconds: float) -> None:
    await asyncio.sleep(seconds)


def now_s() -> float:
    return asyncio.get_running_loop().time()


def begun(scheme: str, bus: Bus) -> Sending:
    sending = Sending(scheme)
    sending.begin(bus)  # type: ignore[arg-type]
    return sending


def test_a_call_waits_for_its_server_until_its_deadline() -> None:
    async def scenario() -> None:
        bus, told = Bus(), Told()
        sending = begun("zmq", bus)
        for body in (b"1", b"2", b"3"):
            sending.send(Outgoing(TOPIC, body, told, now_s() + 10))
        await passes(5)
        assert (bus.taken, told) == ([], [])
        bus.there.add(TOPIC)
        await passes(0.5)
        assert (bus.taken, told) == ([b"1", b"2", b"3"], [None] * 3)
        sending.send(Outgoing(OTHER, b"late", told, now_s() + 10))
        await passes(11)
        assert isinstance(told[3], MessageUndeliverable)
        bus.there.add(OTHER)
        await passes(5)
        assert b"late" not in bus.taken

    run_virtual(scenario, 1)


def test_a_cast_is_taken_at_once_and_kept_for_a_while() -> None:
    async def scenario() -> None:
        bus, told = Bus(), Told()
        sending = begun("zmq", bus)
        sending.send(Outgoing(TOPIC, b"1", told))
        assert told == [None]
        await passes(CAST_S / 2)
        bus.there.add(TOPIC)
        await passes(1)
        assert bus.taken == [b"1"]
        sending.send(Outgoing(OTHER, b"2", told))
        await passes(CAST_S + 1)
        bus.there.add(OTHER)
        await passes(5)
        assert bus.taken == [b"1"]
        assert told == [None, None]

    run_virtual(scenario, 1)


def test_who_asked_to_be_told_that_nobody_is_there_is_told_at_once() -> None:
    async def scenario() -> None:
        told = Told()
        for scheme in ("zmq", "rabbit"):
            sending = begun(scheme, Bus())
            sending.report(Connected("broker"))
            sending.send(Outgoing(TOPIC, b"1", told, now_s() + 10, mandatory=True))
        assert [type(error) for error in told] == [MessageUndeliverable] * 2

    run_virtual(scenario, 1)


def test_many_that_wait_for_one_server_cost_one_try_at_a_time() -> None:
    async def scenario() -> None:
        bus, told = Bus(), Told()
        sending = begun("zmq", bus)
        for _ in range(1000):
            sending.send(Outgoing(TOPIC, b"x", told, now_s() + 60))
        before = bus.tries
        await passes(10)
        assert bus.tries - before <= 10 / room_module.EVERY_S + 1
        bus.there.add(TOPIC)
        await passes(1)
        assert len(bus.taken) == 1000

    run_virtual(scenario, 1)


def test_the_room_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room_module, "MESSAGES_MAX", 2)
    monkeypatch.setattr(room_module, "BYTES_MAX", 100)

    async def scenario() -> None:
        bus, told = Bus(), Told()
        room = Room(bus)  # type: ignore[arg-type]
        room.put(TOPIC, b"1" * 90, told, deadline_s=inf, until_s=now_s() + 5)
        room.put(TOPIC, b"2" * 20, told, deadline_s=inf, until_s=now_s() + 5)
        assert [type(error) for error in told] == [MessageDeliveryFailure]
        room.put(TOPIC, b"3", told, deadline_s=inf, until_s=now_s() + 5)
        room.put(TOPIC, b"4", told, deadline_s=inf, until_s=now_s() + 5)
        assert [type(error) for error in told] == [MessageDeliveryFailure] * 2
        await passes(6)
        assert [type(error) for error in told[2:]] == [MessageUndeliverable] * 2
        room.put(TOPIC, b"5" * 90, told, deadline_s=inf, until_s=now_s() + 5)
        room.close()
        assert isinstance(told[4], MessageDeliveryFailure)

    run_virtual(scenario, 1)


def test_without_a_link_what_its_sender_gives_up_is_never_sent() -> None:
    async def scenario() -> None:
        bus, told = Bus(), Told()
        bus.there.add(TOPIC)
        sending = begun("rabbit", bus)
        sending.send(Outgoing(TOPIC, b"given up", told, inf, now_s() + 2))
        sending.send(Outgoing(TOPIC, b"patient", told, inf, now_s() + 20))
        await passes(5)
        assert [type(error) for error in told] == [MessageDeliveryFailure]
        sending.report(Connected("broker"))
        assert (bus.taken, told[1:]) == ([b"patient"], [None])
        sending.report(Disconnected("broker", "gone"))
        sending.send(Outgoing(TOPIC, b"without end", told))
        assert bus.taken == [b"patient", b"without end"], "the driver keeps it until the link is up"
        sending.send(Outgoing(TOPIC, b"bounded", told, inf, now_s() + 20))
        sending.end(MessageDeliveryFailure("stopped"))
        assert isinstance(told[-1], MessageDeliveryFailure)
        sending.send(Outgoing(TOPIC, b"after", told))
        assert isinstance(told[-1], MessageDeliveryFailure)
        assert len(bus.taken) == 2

    run_virtual(scenario, 1)


def test_what_is_sent_before_the_bus_is_there_goes_when_it_is() -> None:
    async def scenario() -> None:
        bus, told = Bus(), Told()
        bus.there.add(TOPIC)
        sending = Sending("memory")
        sending.send(Outgoing(TOPIC, b"early", told, inf, inf))
        sending.send(Outgoing(TOPIC, b"hasty", told, inf, now_s() + 1))
        await passes(2)
        sending.begin(bus)  # type: ignore[arg-type]
        assert bus.taken == [b"early"]
        assert isinstance(told[0], MessageDeliveryFailure)

    run_virtual(scenario, 1)


def test_many_that_are_given_up_one_after_the_other_cost_little() -> None:
    """Each giving up looked at all that were held."""
    many = 20_000

    async def scenario() -> None:
        told = Told()
        sending = begun("rabbit", Bus())
        for number in range(many):
            sending.send(Outgoing(TOPIC, b"x", told, inf, now_s() + 10 - number * 1e-4))
        cost_s = time.process_time()
        await passes(11)
        cost_s = time.process_time() - cost_s
        assert [type(error) for error in told] == [MessageDeliveryFailure] * many
        assert cost_s < 2.0, f"{cost_s:.1f} s"

    run_virtual(scenario, 1)
