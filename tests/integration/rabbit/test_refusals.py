# SPDX-License-Identifier: Apache-2.0
"""A broker that refuses: a user, a message, an address. Who is meant is told, and nobody else."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

import pytest

from transom import messaging
from transom.errors import MessageDeliveryFailure, MessagingError, MessagingTimeout
from transom.messaging.drivers.base import Address, Disconnected, Gap, Kind, Refused
from transom.messaging.drivers.rabbit import receiver, session

from support.driver_peer import until
from support.rabbit import Broker, free_port, fresh_vhost, private_node
from support.rabbit_peer import Peer, peers

PASSWORD = secrets.token_hex(8)


class Restricted:
    """A user of a virtual host whose rights the test changes."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.name = f"transom-test-{secrets.token_hex(4)}"
        broker.control("add_user", self.name, PASSWORD)
        self.allow()

    @property
    def url(self) -> str:
        host, port = self.broker.address
        return f"rabbit://{self.name}:{PASSWORD}@{host}:{port}/{self.broker.vhost}"

    def allow(self, *, write: str = ".*", read: str = ".*") -> None:
        self.broker.control(
            "set_permissions", "-p", self.broker.vhost, self.name, ".*", write, read
        )


@pytest.fixture
def user() -> Iterator[Restricted]:
    with fresh_vhost() as broker:
        made = Restricted(broker)
        try:
            yield made
        finally:
            broker.control("delete_user", made.name)


def notification(exchange: str) -> Address:
    return Address(Kind.NOTIFICATION, f"n{exchange}", "info", exchange)


async def burst(peer: Peer, good: Address, bad: tuple[Address, bytes]) -> None:
    """2,000 good ones and 20 bad ones at once: each good one is taken, each bad one fails."""
    told: dict[bool, list[MessagingError | None]] = {True: [], False: []}
    late_s = asyncio.get_running_loop().time() + 20
    for number in range(2000):
        peer.driver.send(good, b"%d" % number, told[True].append, deadline_s=late_s)
        if number % 100 == 0:
            peer.driver.send(*bad, told[False].append, deadline_s=late_s)
        if number % 20 == 0:
            await asyncio.sleep(0)
    await until(lambda: len(told[True]) == 2000 and len(told[False]) == 20, "each was told")
    assert told[True] == [None] * 2000
    assert {type(error) for error in told[False]} == {MessageDeliveryFailure}
    assert peer.told(Disconnected) == 0


async def test_a_user_without_the_right_to_one_exchange_harms_nobody_else(
    user: Restricted,
) -> None:
    user.allow(write="^(?!secret).*")
    async with peers(user.url) as [peer]:
        await peer.send(notification("good"), b"x", mandatory=False)
        await burst(peer, notification("good"), (notification("secret"), b"bad"))


async def test_a_message_larger_than_the_broker_takes_harms_nobody_else() -> None:
    with private_node() as node:
        node.control("eval", "application:set_env(rabbit, max_message_size, 1000).")
        node.control("eval", "persistent_term:put(max_message_size, 1000).")
        async with peers(node.url) as [peer]:
            good = notification("good")
            await peer.send(good, b"x", mandatory=False)
            await burst(peer, good, (good, b"." * 2000))


async def test_a_wrong_password_is_said_by_who_waits_for_the_bus() -> None:
    with fresh_vhost() as broker:
        url = broker.url.replace("guest:guest", "guest:not-the-password")
        begun_s = time.monotonic()
        with pytest.raises(MessageDeliveryFailure, match="user name or password") as failed:
            async with messaging.connect(url):
                pass
        assert time.monotonic() - begun_s < receiver.SERVED_WITHIN_S / 2
        assert "ACCESS_REFUSED" in failed.value.detail
        async with peers(url) as [peer]:
            with pytest.raises(MessageDeliveryFailure, match="user name or password") as failed:
                await peer.send(notification("x"), b"x", within_s=1.0, mandatory=False)
        assert "not-the-password" not in f"{failed.value!r} {failed.value.detail}"


async def test_a_password_that_is_put_right_at_the_broker_is_taken(user: Restricted) -> None:
    control = user.broker.controlled
    await control("change_password", user.name, "another")
    async with peers(user.url) as [peer]:
        await until(lambda: bool(peer.driver._sending.refusal), "it is known to be refused")
        await control("change_password", user.name, PASSWORD)
        await peer.send(notification("x"), b"x", mandatory=False)
        await until(lambda: not peer.driver._receiving.refusal, "it is forgotten")


async def test_a_user_who_may_not_enter_the_virtual_host_is_told_so(user: Restricted) -> None:
    await user.broker.controlled("clear_permissions", "-p", user.broker.vhost, user.name)
    async with peers(user.url) as [peer]:
        with pytest.raises(MessageDeliveryFailure, match="virtual host"):
            await peer.listen(notification("x"))


async def test_a_bus_that_is_away_is_named_with_its_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver, "SERVED_WITHIN_S", 1.0)
    monkeypatch.setattr(receiver, "REFUSED_WITHIN_S", 0.2)
    async with peers(f"rabbit://guest:guest@127.0.0.1:{free_port()}/") as [peer]:
        with pytest.raises(MessagingTimeout, match=r"in time: .*Connect call failed"):
            await peer.listen(notification("x"))
        with pytest.raises(MessageDeliveryFailure) as failed:
            await peer.send(notification("x"), b"x", within_s=0.2, mandatory=False)
        assert "Connect call failed" in failed.value.detail


async def test_an_address_that_is_refused_is_an_error_of_its_own(user: Restricted) -> None:
    user.allow(read="^(?!secret).*")
    async with peers(user.url) as [peer]:
        with pytest.raises(Refused, match="ACCESS_REFUSED"):
            await peer.listen(Address(Kind.TOPIC, "secret"))
        await peer.listen(Address(Kind.TOPIC, "open"))


async def test_what_was_served_and_is_refused_after_a_break_is_a_gap_and_tried_further(
    user: Restricted,
) -> None:
    address = Address(Kind.TOPIC, "t")
    async with peers(user.url, user.broker.url) as [peer, sender]:
        await peer.listen(address)
        await asyncio.to_thread(user.allow, read="^(?!t$).*")
        peer.driver._receiving.link.give_up("test")
        begun_s = time.monotonic()
        await until(lambda: peer.told(messaging.Connected, "#receive") == 2, "the link is back")
        assert time.monotonic() - begun_s < 5.0, "what is refused does not hold up the others"
        await until(lambda: peer.told(Gap) >= 2, "of the break, and of the refusal")
        gaps = peer.told(Gap)
        await asyncio.to_thread(user.allow)
        await until(lambda: peer.told(Gap) == gaps + 1, "it is served again, after a gap")
        await sender.send(address, b"x")
        assert await peer.heard(1) == [b"x"]


@asynccontextmanager
async def flapping(node: Broker) -> AsyncIterator[tuple[int, list[float]]]:
    """A host that takes everybody to the broker and drops them after 0.3 s; its port, and when
    somebody came."""
    came: list[float] = []

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(time.monotonic())
        there, to = await asyncio.open_connection(*node.address)
        with suppress(TimeoutError, OSError):
            async with asyncio.timeout(0.3):
                await asyncio.gather(pipe(reader, to), pipe(there, writer))
        for one in (writer, to):
            one.transport.abort()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], came


async def test_a_host_that_takes_us_and_drops_us_is_left_for_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session, "shuffled", lambda hosts, random: list(hosts))
    address = Address(Kind.TOPIC, "t")
    with fresh_vhost() as broker:
        host, port = broker.address
        async with flapping(broker) as (bad, came):
            hosts = f"guest:guest@127.0.0.1:{bad},guest:guest@{host}:{port}"
            async with peers(f"rabbit://{hosts}/{broker.vhost}") as [peer]:
                both = (peer.driver._sending, peer.driver._receiving)
                await until(
                    lambda: all(one.link and f":{port}/" in one.last_peer for one in both),
                    "both links are on the good host",
                    within_s=10,
                )
                assert len(came) <= 8, "two links, and a few tries of each"
                await peer.listen(address)
                count = len(came)
                await asyncio.sleep(1.5)
                assert len(came) == count, "and it stays there"
                await peer.send(address, b"x")
                assert await peer.heard(1) == [b"x"]
