# SPDX-License-Identifier: Apache-2.0
"""Deadlines of what is sent: told in time, at a price that does not grow with what is open."""

import asyncio
import time
from math import inf

from transom.errors import MessageDeliveryFailure, MessagingError
from transom.messaging.drivers.base import Address, Kind
from transom.messaging.drivers.rabbit.expiry import SPARE, Expiry
from transom.messaging.drivers.rabbit.options import Options
from transom.messaging.drivers.rabbit.outgoing import Outgoing
from transom.messaging.drivers.rabbit.publisher import Publisher

from support.rabbit_script import Script, Session
from virtual import run_virtual

MANY = 30_000
LASTING_S = 10.0


def message(deadline_s: float) -> Outgoing:
    return Outgoing(None, "k", b"", lambda error: None, deadline_s, False)  # type: ignore[arg-type]


def test_what_is_late_comes_by_deadline_and_once() -> None:
    expiry = Expiry()
    some = [message(deadline_s) for deadline_s in (3.0, 1.0, 2.0, 1.0, inf)]
    for one in some:
        expiry.add(one)
    assert expiry.wake_s() == 1.0
    assert expiry.due(0.5) == []
    assert expiry.due(1.0) == [some[1], some[3]]
    some[2].sent = None
    assert expiry.wake_s() == 3.0
    assert expiry.due(9.0) == [some[0]]
    assert (expiry.wake_s(), len(expiry)) == (inf, 0)


def test_what_was_told_before_its_deadline_is_let_go() -> None:
    expiry = Expiry()
    waits = message(50.0)
    expiry.add(waits)
    for number in range(20 * SPARE):
        told = message(100.0 + number)
        expiry.add(told)
        told.sent = None
        assert len(expiry) <= 2 * SPARE
    assert expiry.due(1e9) == [waits]


def test_many_deadlines_one_after_the_other_cost_little() -> None:
    """Was 4.9 s of CPU: each late message cost a look at all that were open."""

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        publisher = Publisher(Options(), lambda: None, lambda: Session())  # type: ignore[arg-type, return-value]
        told: list[tuple[float, MessagingError | None]] = []
        begun_s = loop.time()
        for number in range(MANY):
            address = Address(Kind.TOPIC, f"t{number % 50}")
            late_s = begun_s + 1 + LASTING_S * number / MANY

            def sent(error: MessagingError | None, late_s: float = late_s) -> None:
                told.append((loop.time() - late_s, error))

            publisher.send(address, b"x", sent, deadline_s=late_s, mandatory=False)
        cost_s = time.process_time()
        await asyncio.sleep(LASTING_S + 2)
        cost_s = time.process_time() - cost_s
        assert len(told) == MANY
        assert all(-0.01 < after_s < 0.02 for after_s, _ in told)
        assert all(isinstance(error, MessageDeliveryFailure) for _, error in told)
        assert "connection refused" in told[0][1].detail  # type: ignore[union-attr]
        assert cost_s < 2.5, f"{cost_s:.1f} s"
        kept = sum(len(route.waiting) for route in publisher._routes.values())
        assert kept <= 2000, "the dead are let go in bulk"

    run_virtual(scenario, 1)


def test_what_ends_in_doubt_is_a_gap_once_a_moment() -> None:
    async def scenario() -> None:
        script = Script(answers=False)
        publisher = await script.publisher()
        late_s = asyncio.get_running_loop().time() + 1
        for _ in range(10):
            publisher.send(
                Address(Kind.REPLY, "q"),
                b"x",
                lambda error: None,
                deadline_s=late_s,
                mandatory=False,
            )
        await asyncio.sleep(0.1)
        script.made.give_up("test")
        await asyncio.sleep(2)
        assert script.gaps == 1

    run_virtual(scenario, 1)
