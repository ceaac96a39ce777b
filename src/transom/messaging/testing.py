# SPDX-License-Identifier: Apache-2.0
"""The conformance suite of drivers: `await check_driver(make_driver)`.

`make_driver()` makes a new driver, not started, of a bus that all made ones share; whatever the
bus needs (a broker, a registry) runs already. It runs without a test framework, in real or
virtual time. Each check is also in `CHECKS` by name, for frameworks that want one test each.

A driver need not keep messages for a topic that nobody serves, nor hand a requeued message to
somebody else at once; what it must do is what the checks below say.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from transom.errors import MessageDeliveryFailure, MessageUndeliverable, MessagingError
from transom.messaging.drivers.base import Address, Delivery, Driver, Kind, Subscription

MakeDriver = Callable[[], Driver]
WAIT_S = 10.0
QUIET_S = 0.3
LATE_S = 1.0
LARGE_BYTES = 5 * 1024 * 1024


class ConformanceError(AssertionError):
    """The driver does not do what drivers must do."""


def require(holds: bool, claim: str) -> None:
    """Raises: ConformanceError with the claim that does not hold."""
    if not holds:
        raise ConformanceError(claim)


class Listening:
    """What arrived at one listen. Acknowledges at once unless told not to."""

    def __init__(self, *, acknowledge: bool = True) -> None:
        self.deliveries: list[Delivery] = []
        self._acknowledge = acknowledge
        self._arrived = asyncio.Event()
        self.subscription: Subscription | None = None

    @property
    def bodies(self) -> list[bytes]:
        return [delivery.body for delivery in self.deliveries]

    def deliver(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)
        self._arrived.set()
        if self._acknowledge:
            delivery.acknowledge()

    async def count(self, least: int) -> list[bytes]:
        """The bodies, once `least` are there. Raises: ConformanceError."""
        try:
            async with asyncio.timeout(WAIT_S):
                while len(self.deliveries) < least:
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError as error:
            got = len(self.deliveries)
            raise ConformanceError(f"{got} of {least} messages arrived in {WAIT_S} s") from error
        return self.bodies

    async def cancel(self) -> None:
        if self.subscription is not None:
            await self.subscription.cancel()


class Bus:
    """Started drivers of one bus, for one check."""

    def __init__(self, make_driver: MakeDriver) -> None:
        self._make = make_driver
        self._drivers: list[Driver] = []

    async def driver(self) -> Driver:
        driver = self._make()
        await driver.start(lambda event: None)
        self._drivers.append(driver)
        return driver

    async def stop(self) -> None:
        for driver in reversed(self._drivers):
            await driver.stop()


@contextlib.asynccontextmanager
async def _bus(make_driver: MakeDriver) -> AsyncIterator[Bus]:
    bus = Bus(make_driver)
    try:
        yield bus
    finally:
        await bus.stop()


async def listen(
    driver: Driver, *addresses: Address, prefetch: int = 100, acknowledge: bool = True
) -> Listening:
    """A listen whose arrivals are collected."""
    listening = Listening(acknowledge=acknowledge)
    listening.subscription = await driver.listen(
        list(addresses), listening.deliver, prefetch=prefetch
    )
    return listening


async def send(
    driver: Driver,
    address: Address,
    *bodies: bytes,
    mandatory: bool = True,
    within_s: float = WAIT_S,
) -> None:
    """One after the other. Who has just begun to listen is surely found if it is mandatory.

    Raises: what became of the first that was not taken.
    """
    loop = asyncio.get_running_loop()
    for body in bodies:
        told: asyncio.Queue[MessagingError | None] = asyncio.Queue()
        deadline_s = loop.time() + within_s
        driver.send(address, body, told.put_nowait, deadline_s=deadline_s, mandatory=mandatory)
        try:
            async with asyncio.timeout_at(deadline_s + LATE_S):
                error = await told.get()
        except TimeoutError:
            raise ConformanceError("a sender was told by its deadline") from None
        require(told.empty(), "a sender was told once")
        if error is not None:
            raise error


def numbered(count: int, prefix: bytes = b"") -> list[bytes]:
    return [prefix + b"%d" % number for number in range(count)]


async def order_is_kept_per_sender(bus: Bus) -> None:
    topic = Address(Kind.TOPIC, "order")
    server, one, other = await bus.driver(), await bus.driver(), await bus.driver()
    listening = await listen(server, topic, prefetch=7)
    first, second = numbered(200, b"a"), numbered(200, b"b")
    await asyncio.gather(send(one, topic, *first), send(other, topic, *second))
    bodies = await listening.count(400)
    require([b for b in bodies if b[:1] == b"a"] == first, "one sender's messages came in order")
    require([b for b in bodies if b[:1] == b"b"] == second, "the other's came in order too")


async def a_topic_is_shared_by_its_servers(bus: Bus) -> None:
    topic = Address(Kind.TOPIC, "pool")
    sender = await bus.driver()
    pool = [await listen(await bus.driver(), topic) for _ in range(3)]
    await send(sender, topic, *numbered(30))
    deadline_s = asyncio.get_running_loop().time() + WAIT_S
    while sum(len(one.bodies) for one in pool) < 30:
        require(asyncio.get_running_loop().time() < deadline_s, "all 30 messages arrived")
        await asyncio.sleep(0.01)
    await asyncio.sleep(QUIET_S)
    everything = [body for one in pool for body in one.bodies]
    require(sorted(everything) == sorted(numbered(30)), "each message came to exactly one server")
    shares = [len(one.bodies) for one in pool]
    require(min(shares) >= 5, f"the servers took turns, not {shares}")


async def a_server_can_be_addressed_alone(bus: Bus) -> None:
    sender, one, other = await bus.driver(), await bus.driver(), await bus.driver()
    here = await listen(one, Address(Kind.TOPIC, "narrow"), Address(Kind.SERVER, "narrow", "h1"))
    there = await listen(other, Address(Kind.TOPIC, "narrow"), Address(Kind.SERVER, "narrow", "h2"))
    await send(sender, Address(Kind.SERVER, "narrow", "h2"), *numbered(10))
    await there.count(10)
    await asyncio.sleep(QUIET_S)
    require(here.bodies == [], "the other server of the topic got nothing")
    require(there.bodies == numbered(10), "the server got all, in order")


async def fan_out_reaches_every_server(bus: Bus) -> None:
    address = Address(Kind.FANOUT, "all")
    sender = await bus.driver()
    servers = [await listen(await bus.driver(), address) for _ in range(3)]
    twice = await bus.driver()
    servers += [await listen(twice, address), await listen(twice, address)]
    await send(sender, address, *numbered(10))
    for server in servers:
        require(await server.count(10) == numbered(10), "each listen got a copy of each, in order")


async def exchanges_are_apart(bus: Bus) -> None:
    sender, server = await bus.driver(), await bus.driver()
    nova = await listen(server, Address(Kind.TOPIC, "same", exchange="nova"))
    neutron = await listen(server, Address(Kind.TOPIC, "same", exchange="neutron"))
    await send(sender, Address(Kind.TOPIC, "same", exchange="nova"), b"x")
    await nova.count(1)
    await asyncio.sleep(QUIET_S)
    require(neutron.bodies == [], "a topic of the same name in another exchange got nothing")


async def mandatory_to_nobody_fails_at_once(bus: Bus) -> None:
    sender = await bus.driver()
    started_s = asyncio.get_running_loop().time()
    for address in (
        Address(Kind.TOPIC, "nobody"),
        Address(Kind.SERVER, "nobody", "h"),
        Address(Kind.REPLY, "reply_of_nobody"),
    ):
        try:
            await send(sender, address, b"x", within_s=30.0)
        except MessageUndeliverable:
            continue
        raise ConformanceError(f"a mandatory send to {address.kind} nobody raised nothing")
    took_s = asyncio.get_running_loop().time() - started_s
    require(took_s < 3.0, f"the answers came at once, not after {took_s:.1f} s")


async def mandatory_finds_a_listener_at_once(bus: Bus) -> None:
    sender, server = await bus.driver(), await bus.driver()
    for number in range(20):
        topic = Address(Kind.TOPIC, f"found{number}")
        listening = await listen(server, topic)
        await send(sender, topic, b"x")
        await listening.count(1)


async def mandatory_misses_a_listener_that_left(bus: Bus) -> None:
    sender, server = await bus.driver(), await bus.driver()
    topic = Address(Kind.TOPIC, "left")
    listening = await listen(server, topic)
    await send(sender, topic, b"x")
    await listening.count(1)
    await listening.cancel()
    deadline_s = asyncio.get_running_loop().time() + WAIT_S
    while asyncio.get_running_loop().time() < deadline_s:
        try:
            await send(sender, topic, b"y")
        except MessageUndeliverable:
            break
        await asyncio.sleep(0.05)
    else:
        raise ConformanceError("a listener that left was still found")
    require(listening.bodies == [b"x"], "nothing was handed over after cancel had returned")


async def prefetch_bounds_what_is_out(bus: Bus) -> None:
    sender, server = await bus.driver(), await bus.driver()
    topic = Address(Kind.TOPIC, "prefetch")
    listening = await listen(server, topic, prefetch=3, acknowledge=False)
    await send(sender, topic, *numbered(10))
    await listening.count(3)
    await asyncio.sleep(QUIET_S)
    require(len(listening.bodies) == 3, "no more than `prefetch` were out unacknowledged")
    for number in range(10):
        await listening.count(number + 1)
        listening.deliveries[number].acknowledge()
    require(await listening.count(10) == numbered(10), "the rest came as these were acknowledged")


async def cancel_requeues_what_was_not_acknowledged(bus: Bus) -> None:
    sender, one, other = await bus.driver(), await bus.driver(), await bus.driver()
    topic = Address(Kind.NOTIFICATION, "requeue", "info")
    first = await listen(one, topic, prefetch=5, acknowledge=False)
    await send(sender, topic, *numbered(8))
    await first.count(5)
    first.deliveries[0].acknowledge()
    await first.cancel()
    second = await listen(other, topic)
    await second.count(7)
    await asyncio.sleep(QUIET_S)
    require(
        sorted(second.bodies) == numbered(8)[1:],
        "another listener got all but what was acknowledged, once",
    )


async def requeue_brings_it_again(bus: Bus) -> None:
    sender, server = await bus.driver(), await bus.driver()
    topic = Address(Kind.NOTIFICATION, "again", "info")
    listening = await listen(server, topic, acknowledge=False)
    await send(sender, topic, b"x")
    await listening.count(1)
    listening.deliveries[0].requeue()
    await listening.count(2)
    listening.deliveries[1].acknowledge()
    await asyncio.sleep(QUIET_S)
    require(listening.bodies == [b"x", b"x"], "it came again once, and not after acknowledging")


async def nothing_is_delivered_after_its_deadline(bus: Bus) -> None:
    sender, server = await bus.driver(), await bus.driver()
    topic = Address(Kind.TOPIC, "deadline")
    listening = await listen(server, topic, prefetch=1, acknowledge=False)
    await send(sender, topic, b"holds the place")
    await listening.count(1)
    with contextlib.suppress(MessageDeliveryFailure):  # not taken at all is as good
        await send(sender, topic, b"too late", within_s=QUIET_S)
    await asyncio.sleep(QUIET_S * 2)
    listening.deliveries[0].acknowledge()
    await asyncio.sleep(QUIET_S)
    require(listening.bodies == [b"holds the place"], "what was past its deadline did not come")


async def a_send_ends_by_its_deadline(bus: Bus) -> None:
    sender, server = await bus.driver(), await bus.driver()
    topic = Address(Kind.TOPIC, "full")
    await listen(server, topic, prefetch=1, acknowledge=False)
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    body = bytes(64 * 1024)
    try:
        while loop.time() < started_s + 1.0:
            await send(sender, topic, body, within_s=started_s + 1.0 - loop.time())
            await asyncio.sleep(0.001)
    except MessageDeliveryFailure:
        pass
    took_s = loop.time() - started_s
    require(took_s < 3.0, f"sending to a listener that is full ended in time, not {took_s:.1f} s")


async def a_reply_reaches_who_asked(bus: Bus) -> None:
    one, other, server = await bus.driver(), await bus.driver(), await bus.driver()
    require(one.reply_address() != other.reply_address(), "reply addresses are each one's own")
    require(one.reply_address().kind is Kind.REPLY, "a reply address is of kind REPLY")
    at_one = await listen(one, one.reply_address())
    at_other = await listen(other, other.reply_address())
    by_name = Address(Kind.REPLY, one.reply_address().name)
    await send(server, by_name, *numbered(5))
    require(await at_one.count(5) == numbered(5), "the name of the address suffices")
    await send(one, by_name, b"self")
    await at_one.count(6)
    require(at_other.bodies == [], "nobody else got them")


async def each_pool_of_listeners_gets_a_copy(bus: Bus) -> None:
    sender = await bus.driver()
    plain = Address(Kind.NOTIFICATION, "events", "info")
    audit = Address(Kind.NOTIFICATION, "events", "info", pool="audit")
    error = Address(Kind.NOTIFICATION, "events", "error")
    default = await listen(await bus.driver(), plain)
    pool = [await listen(await bus.driver(), audit) for _ in range(2)]
    errors = await listen(await bus.driver(), error)
    await send(sender, plain, *numbered(20))
    require(await default.count(20) == numbered(20), "the default pool got each")
    deadline_s = asyncio.get_running_loop().time() + WAIT_S
    while sum(len(one.bodies) for one in pool) < 20:
        require(asyncio.get_running_loop().time() < deadline_s, "the named pool got each")
        await asyncio.sleep(0.01)
    await asyncio.sleep(QUIET_S)
    shared = sorted(body for one in pool for body in one.bodies)
    require(shared == sorted(numbered(20)), "a pool of two listeners got each once")
    require(errors.bodies == [], "another priority got none")


async def a_notification_to_nobody_is_no_error(bus: Bus) -> None:
    sender = await bus.driver()
    unheard = Address(Kind.NOTIFICATION, "unheard", "info")
    await send(sender, unheard, *numbered(50), mandatory=False)


async def large_bodies_arrive_whole(bus: Bus) -> None:
    sender, server = await bus.driver(), await bus.driver()
    topic = Address(Kind.TOPIC, "large")
    listening = await listen(server, topic)
    large = bytes(range(256)) * (LARGE_BYTES // 256)
    await send(sender, topic, b"", large, b"after")
    require(await listening.count(3) == [b"", large, b"after"], "5 MB and nothing arrived whole")


async def a_listener_can_come_back(bus: Bus) -> None:
    sender, server = await bus.driver(), await bus.driver()
    topic = Address(Kind.TOPIC, "back")
    for turn in range(3):
        listening = await listen(server, topic)
        await send(sender, topic, *numbered(5))
        require(await listening.count(5) == numbered(5), f"all came in turn {turn}")
        await listening.cancel()
        await listening.cancel()


async def a_server_on_a_new_driver_is_found(bus: Bus) -> None:
    sender = await bus.driver()
    topic = Address(Kind.SERVER, "restart", "h1")
    for turn in range(3):
        server = await bus.driver()
        listening = await listen(server, topic)
        await send(sender, topic, b"%d" % turn)
        require(await listening.count(1) == [b"%d" % turn], "the new server got the message")
        await server.stop()


async def stop_hands_over_what_was_accepted(bus: Bus) -> None:
    sender, server = await bus.driver(), await bus.driver()
    topic = Address(Kind.TOPIC, "stop")
    listening = await listen(server, topic, prefetch=200)
    bodies = numbered(100)
    sending = [asyncio.ensure_future(send(sender, topic, body)) for body in bodies]
    await sending[0]
    await sender.stop()
    await sender.stop()
    outcomes = await asyncio.gather(*sending, return_exceptions=True)
    for outcome in outcomes:
        require(
            outcome is None or isinstance(outcome, MessageDeliveryFailure),
            f"a send in flight ends or raises MessageDeliveryFailure, not {outcome!r}",
        )
    accepted = [body for body, outcome in zip(bodies, outcomes, strict=True) if outcome is None]
    arrived = await listening.count(len(accepted))
    require(set(accepted) <= set(arrived), "all that was accepted before stop arrived")


async def a_stopped_driver_refuses(bus: Bus) -> None:
    driver = await bus.driver()
    await driver.stop()
    try:
        await send(driver, Address(Kind.TOPIC, "stopped"), b"x", within_s=1.0)
    except MessageDeliveryFailure:
        return
    raise ConformanceError("a stopped driver took a message")


Check = Callable[[Bus], Awaitable[None]]
CHECKS: dict[str, Check] = {
    check.__name__: check
    for check in (
        order_is_kept_per_sender,
        a_topic_is_shared_by_its_servers,
        a_server_can_be_addressed_alone,
        fan_out_reaches_every_server,
        exchanges_are_apart,
        mandatory_to_nobody_fails_at_once,
        mandatory_finds_a_listener_at_once,
        mandatory_misses_a_listener_that_left,
        prefetch_bounds_what_is_out,
        cancel_requeues_what_was_not_acknowledged,
        requeue_brings_it_again,
        nothing_is_delivered_after_its_deadline,
        a_send_ends_by_its_deadline,
        a_reply_reaches_who_asked,
        each_pool_of_listeners_gets_a_copy,
        a_notification_to_nobody_is_no_error,
        large_bodies_arrive_whole,
        a_listener_can_come_back,
        a_server_on_a_new_driver_is_found,
        stop_hands_over_what_was_accepted,
        a_stopped_driver_refuses,
    )
}


async def check_driver(make_driver: MakeDriver, names: Sequence[str] = tuple(CHECKS)) -> None:
    """Runs the checks one after the other, each with drivers of its own.

    Raises: ConformanceError at the first claim that does not hold; its note names the check.
    """
    for name in names:
        try:
            async with _bus(make_driver) as bus:
                await CHECKS[name](bus)
        except BaseException as error:  # Safety: it only gets the name of the check, and goes on
            error.add_note(f"check of the driver: {name}")
            raise
