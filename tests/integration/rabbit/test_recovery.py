"""Whatever breaks, the driver comes back by itself, tells of it, and loses nothing in silence."""

import asyncio
import os
import secrets
import time

import pytest

from transom import messaging
from transom.errors import MessageDeliveryFailure, MessagingError, RemoteError
from transom.messaging.drivers.base import Address, Connected, Disconnected, Gap, Kind
from transom.messaging.drivers.rabbit.channel import ignore
from transom.messaging.drivers.rabbit.declarer import Declarer
from transom.messaging.target import Target

from fault_proxy import FaultProxy
from support.driver_peer import until
from support.rabbit import Broker, free_port, fresh_vhost, private_node
from support.rabbit_peer import peers


class Echo:
    target = Target(topic="echo", version="1.0")

    async def echo(self, context: object, number: int) -> int:
        return number


@pytest.fixture(scope="module")
def node():
    with private_node() as made:
        yield made


def topic() -> Address:
    return Address(Kind.TOPIC, f"recovery{secrets.token_hex(4)}")


@pytest.mark.alone
async def test_links_that_the_broker_closes_are_made_again_at_once() -> None:
    with fresh_vhost() as broker:
        address = topic()
        async with peers(broker.url, broker.url) as [client, server]:
            await server.listen(address)
            await client.send(address, b"before")
            closing = asyncio.create_task(
                broker.controlled("close_all_connections", "--vhost", broker.vhost, "test")
            )
            await until(lambda: client.told(Disconnected) == 2, "both links broke")
            broke_s = time.monotonic()
            await until(lambda: client.told(Connected) == 4, "both links stand again")
            took_s = time.monotonic() - broke_s
            await closing
            await until(lambda: server.told(Connected) >= 4, "the server's too")
            await client.send(address, b"after")
            await until(lambda: b"after" in server.bodies, "it serves again")
            assert client.told(Gap, "#receive") == 1
            assert took_s < 0.5, f"{took_s:.3f} s"


@pytest.mark.alone
async def test_own_reply_queue_that_is_deleted_is_back_at_once(rabbit: Broker) -> None:
    """The call that waits gets its answer; the time until the next call works is measured."""
    name = f"echo{secrets.token_hex(4)}"
    answering, waiting = asyncio.Event(), asyncio.Event()

    class Slow:
        target = Target(topic=name, version="1.0")

        async def wait(self, context: object) -> str:
            waiting.set()
            await answering.wait()
            return "late"

        async def quick(self, context: object) -> str:
            return "quick"

    async with messaging.connect(rabbit.url) as there, messaging.connect(rabbit.url) as here:
        server = messaging.Server(there, Target(topic=name, server="h"), [Slow()])
        async with server:
            client = messaging.Client(here, Target(topic=name, version="1.0"), timeout_s=20)
            call = asyncio.create_task(client.call({}, "wait"))
            await waiting.wait()
            # By the server's own connection: rabbitmqctl takes longer than what is measured.
            declarer = there.driver._receiver._declarer
            assert isinstance(declarer, Declarer)
            deleted_s = time.monotonic()
            await declarer.delete_queue(here.calls.reply_q)
            answering.set()
            assert await client.call({}, "quick") == "quick"
            took_s = time.monotonic() - deleted_s
            assert await call == "late"
    assert took_s < 0.5, f"{took_s:.3f} s"


async def test_own_queue_whose_loss_nobody_told_is_found(rabbit: Broker) -> None:
    async with peers(rabbit.url, rabbit.url, verify_s=0.2) as [one, other]:
        await one.listen(one.driver.reply_address())
        [consumer] = one.driver._receiver._consumers
        consumer._channel.on_cancelled = ignore
        declarer = one.driver._receiver._declarer
        await declarer.delete_queue(one.driver.reply_address().name)
        # The answer to the deleted queue is tried again until the queue is back.
        other.driver.send(
            one.driver.reply_address(),
            b"kept",
            lambda error: None,
            deadline_s=asyncio.get_running_loop().time() + 10,
            mandatory=True,
        )
        assert await one.heard(1) == [b"kept"]


async def test_every_call_ends_while_the_broker_restarts_under_load(node) -> None:
    """Killed once, stopped in order once; no call neither answers nor raises."""
    outcomes: list[str] = []
    stop = asyncio.Event()

    async def call_on(client: messaging.Client) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            try:
                async with asyncio.timeout(8):
                    assert await client.call({}, "echo", number=number) == number
                outcomes.append("answered")
            except RemoteError:
                raise
            except MessagingError as error:
                outcomes.append(type(error).__name__)
                await asyncio.sleep(0.02)
            except TimeoutError:
                outcomes.append("hung")

    async with (
        messaging.connect(node.url) as there,
        messaging.connect(node.url) as here,
        messaging.Server(there, Target(topic="echo", server="h"), [Echo()]),
    ):
        client = messaging.Client(here, Target(topic="echo", version="1.0"), timeout_s=4)
        events = here.events()
        async with asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(call_on(client))
            for end in (node.kill, node.stop):
                before = outcomes.count("answered")
                await until(lambda low=before: outcomes.count("answered") > low + 50, "load")
                await asyncio.to_thread(end)
                await asyncio.to_thread(node.start)
                before = outcomes.count("answered")
                await until(lambda low=before: outcomes.count("answered") > low + 50, "again")
            stop.set()
        assert "hung" not in outcomes
        told = [await anext(events) for _ in range(4)]
        assert {type(event) for event in told} >= {Disconnected}


async def test_what_was_unconfirmed_when_the_link_broke_is_sent_again(node) -> None:
    """Cut in the middle of a stream: each message is told, and each told None has arrived."""
    address = topic()
    async with (
        FaultProxy(*node.address) as proxy,
        peers(node.through(proxy.address), node.url) as [client, server],
    ):
        await server.listen(address)
        told: list[MessagingError | None] = []
        late_s = asyncio.get_running_loop().time() + 20
        for number in range(300):
            if number in (100, 200):
                proxy.faults.cut_after_bytes = 3000
            body = b"%d" % number
            client.driver.send(address, body, told.append, deadline_s=late_s)
            await asyncio.sleep(0)
        await until(lambda: len(told) == 300, "each was told")
        assert told == [None] * 300
        arrived = [int(body) for body in await server.heard(300)]
        assert sorted(set(arrived)) == list(range(300))
        first = list(dict.fromkeys(arrived))
        assert first == sorted(first), "in order, but for what came twice"
        assert client.told(Disconnected, "#send") >= 1


async def test_a_half_open_link_is_found_by_its_silence(node) -> None:
    address = topic()
    async with FaultProxy(*node.address) as proxy:
        url = f"{node.through(proxy.address)}?heartbeat_timeout_threshold=1"
        async with peers(url, node.url) as [server, client]:
            await server.listen(address)
            proxy.faults.swallow = True
            await until(lambda: server.told(Disconnected, "#receive") >= 1, "it was found")
            assert any("heartbeat" in getattr(one, "reason", "") for one in server.events)
            proxy.faults.swallow = False
            await until(lambda: server.told(Connected, "#receive") >= 2, "it is back")
            await client.send(address, b"x", mandatory=False)
            assert await server.heard(1) == [b"x"]


async def test_one_dead_host_of_several_costs_nothing(node) -> None:
    address = topic()
    dead = f"127.0.0.1:{free_port()}"
    for order in (
        [dead, f"127.0.0.1:{node.port}"],
        [f"127.0.0.1:{node.port}", dead],
    ):
        hosts = ",".join(f"guest:guest@{one}" for one in order)
        started_s = time.monotonic()
        async with peers(f"rabbit://{hosts}/") as [peer]:
            await peer.listen(address)
            await peer.send(address, b"x")
            assert time.monotonic() - started_s < 5.0


async def test_a_memory_alarm_blocks_senders_until_their_deadline(node) -> None:
    address = topic()
    async with peers(node.url, node.url) as [client, server]:
        await server.listen(address)
        await client.send(address, b"before")
        await node.controlled("set_vm_memory_high_watermark", "0.00001")
        try:
            # The broker says so at the first message that it does not read.
            client.driver.send(
                address,
                b"waits",
                lambda error: None,
                deadline_s=asyncio.get_running_loop().time() + 60,
            )
            link = client.driver._sending.link
            await until(lambda: bool(link.blocked), "the broker said that it is blocked")
            with pytest.raises(MessageDeliveryFailure) as failed:
                await client.send(address, b"late", within_s=0.5)
            assert "blocked" in failed.value.detail
        finally:
            await node.controlled("set_vm_memory_high_watermark", "0.9")
        await until(lambda: b"waits" in server.bodies, "what waited is sent")
        await client.send(address, b"after")
        await until(lambda: b"after" in server.bodies, "and so is what follows")
        assert b"late" not in server.bodies


async def test_wrong_credentials_are_said_and_tried_further(node) -> None:
    url = node.url.replace("guest:guest", "guest:wrong")
    async with peers(url) as [peer]:
        await until(lambda: "ACCESS_REFUSED" in peer.driver._sending.reason, "the reason is kept")
        with pytest.raises(MessageDeliveryFailure):
            await peer.send(topic(), b"x", within_s=0.3)
        assert peer.told(Connected) == 0


async def test_the_child_of_a_fork_writes_nothing(node) -> None:
    address = topic()
    async with peers(node.url) as [peer]:
        await peer.listen(address)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:  # pragma: no cover - the child
            link = peer.driver._sending.link
            peer.driver._publisher.send(
                address, b"from the child", lambda error: None, deadline_s=1e12, mandatory=False
            )
            link._flush()
            os.write(writer, b"w" if link.writable else b"-")
            os._exit(0)
        os.close(writer)
        assert os.read(reader, 1) == b"-"
        os.close(reader)
        os.waitpid(child, 0)
        await peer.send(address, b"from the parent")
        assert await peer.heard(1) == [b"from the parent"]
        assert peer.told(Disconnected) == 0


async def dead_callers(server_url: str, count: int) -> tuple[float, float]:
    """Requests of callers that are gone, then a live call: the loop's longest stall, its time."""
    name = f"dead{secrets.token_hex(4)}"

    class Endpoint(Echo):
        target = Target(topic=name, version="1.0")

    stall_s = 0.0

    async def watch() -> None:
        nonlocal stall_s
        while True:
            before_s = time.monotonic()
            await asyncio.sleep(0.005)
            stall_s = max(stall_s, time.monotonic() - before_s - 0.005)

    async with messaging.connect(server_url) as there, messaging.connect(server_url) as here:
        server = messaging.Server(there, Target(topic=name, server="h"), [Endpoint()])
        async with server:
            client = messaging.Client(here, Target(topic=name, version="1.0"), timeout_s=20)
            assert await client.call({}, "echo", number=1) == 1
            watching = asyncio.create_task(watch())
            address = Address(Kind.TOPIC, name)
            for number in range(count):
                body = messaging.envelope.encode_request(
                    messaging.envelope.Request(
                        method="echo",
                        args={"number": number},
                        context={},
                        unique_id=secrets.token_hex(16),
                        version="1.0",
                        msg_id=secrets.token_hex(16),
                        reply_q=f"reply_{secrets.token_hex(16)}",
                    )
                )
                await here.send(address, body, deadline_s=asyncio.get_running_loop().time() + 20)
            started_s = time.monotonic()
            assert await client.call({}, "echo", number=2) == 2
            took_s = time.monotonic() - started_s
            await asyncio.sleep(0.3)
            watching.cancel()
    return stall_s, took_s


@pytest.mark.alone
async def test_64_dead_callers_do_not_stall_a_server(rabbit: Broker) -> None:
    stall_s, took_s = await dead_callers(rabbit.url, 64)
    assert took_s < 0.5, f"the next call took {took_s:.3f} s"
    assert stall_s < 0.5, f"the loop stood for {stall_s:.3f} s"
