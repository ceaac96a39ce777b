"""What stands at the broker is what oslo.messaging makes, and what is on a message too."""

import asyncio
import re
import secrets
import time

import pytest

from transom.errors import MessageUndeliverable
from transom.messaging.drivers.base import Address, Kind
from transom.messaging.drivers.rabbit.link import Link
from transom.messaging.proto.amqp import Delivered, Settings
from transom.messaging.proto.amqp.methods import (
    BasicConsume,
    ExchangeDeclare,
    QueueDeclare,
)

from support.driver_peer import until
from support.rabbit import Broker, fresh_vhost
from support.rabbit_peer import Peer, peers

QUEUE = ("name", "durable", "auto_delete", "exclusive", "arguments")
EXCHANGE = ("name", "type", "durable", "auto_delete")


@pytest.fixture
def vhost():
    with fresh_vhost() as broker:
        yield broker


async def raw_link(broker: Broker) -> Link:
    """A connection without a driver."""
    host, port = broker.address
    link = Link(Settings(vhost=broker.vhost), on_lost=lambda reason: None, on_room=lambda: None)
    await asyncio.get_running_loop().create_connection(lambda: link, host, port)
    async with asyncio.timeout(10):
        await link.opened
    return link


async def listed(broker: Broker, what: str, columns: tuple[str, ...]):
    return await asyncio.to_thread(broker.listed, what, *columns)


async def serve_all(peer: Peer) -> None:
    await peer.listen(
        Address(Kind.TOPIC, "t"), Address(Kind.SERVER, "t", "h1"), Address(Kind.FANOUT, "t")
    )
    await peer.listen(peer.driver.reply_address())
    await peer.send(Address(Kind.NOTIFICATION, "n", "INFO"), b"x", mandatory=False)


async def test_exchanges_queues_and_bindings_are_those_of_oslo_messaging(vhost: Broker) -> None:
    async with peers(vhost.url) as [peer]:
        await serve_all(peer)
        await peer.listen(Address(Kind.NOTIFICATION, "n", "error", pool="audit"))
        exchanges = {row for row in await listed(vhost, "exchanges", EXCHANGE) if row[0]}
        assert {row for row in exchanges if not row[0].startswith("amq.")} == {
            ("openstack", "topic", "false", "false"),
            ("t_fanout", "fanout", "false", "true"),
        }
        rows = await listed(vhost, "queues", QUEUE)
        queues = {re.sub(r"[0-9a-f]{32}", "HEX", row[0]): row[1:] for row in rows}
        plain = ("false", "false", "false", "[]")
        expiring = ("false", "false", "false", '[{"x-expires",1800000}]')
        assert queues == {
            "t": plain,
            "t.h1": plain,
            "t_fanout_HEX": expiring,
            "reply_HEX": expiring,
            "n.info": plain,
            "audit": plain,
        }
        bound = await listed(vhost, "bindings", ("source_name", "destination_name", "routing_key"))
        assert {re.sub(r"[0-9a-f]{32}", "HEX", "|".join(row)) for row in bound if row[0]} == {
            "openstack|t|t",
            "openstack|t.h1|t.h1",
            "t_fanout|t_fanout_HEX|t",
            "openstack|n.info|n.info",
            "openstack|audit|n.error",
        }
    left = {row[0] for row in await listed(vhost, "queues", ("name",))}
    assert left == {"t", "t.h1", "n.info", "audit"}, "own queues went at a clean stop"
    names = {row[0] for row in await listed(vhost, "exchanges", ("name",))}
    assert "t_fanout" not in names


async def test_two_connections_and_one_reply_queue_a_transport(vhost: Broker) -> None:
    async with peers(vhost.url) as [peer]:
        await serve_all(peer)
        text = await vhost.controlled("list_connections", "--no-table-headers", "vhost", "state")
        mine = [row for row in text.splitlines() if row.split("\t")[0] == vhost.vhost]
        assert len(mine) == 2


@pytest.mark.parametrize(
    ("address", "lasting"),
    [
        (Address(Kind.TOPIC, "p"), False),
        (Address(Kind.SERVER, "p", "h"), False),
        (Address(Kind.NOTIFICATION, "p", "info"), True),
    ],
)
async def test_properties_of_a_message_are_those_of_oslo_messaging(
    rabbit: Broker, address: Address, lasting: bool
) -> None:
    topic = f"properties{secrets.token_hex(4)}"
    address = Address(address.kind, topic, address.part)
    arrived: asyncio.Queue[Delivered] = asyncio.Queue()
    async with peers(rabbit.url) as [peer]:
        peer.acknowledge = False
        subscription = await peer.listen(address)
        await subscription.cancel()
        await peer.send(address, b'{"a":1}', within_s=9.5, mandatory=False)
        link = await raw_link(rabbit)
        channel = link.channel()
        channel.on_delivered = arrived.put_nowait
        part = f".{address.part}" if address.part else ""
        await channel.ask(BasicConsume(queue=f"{topic}{part}", consumer_tag="c"))
        async with asyncio.timeout(10):
            message = await arrived.get()
        await link.close()
    properties = message.properties
    assert message.body == b'{"a":1}'
    assert (properties.content_type, properties.content_encoding) == ("application/json", "utf-8")
    assert (properties.delivery_mode, properties.priority) == (2, 0)
    assert properties.headers in ({}, None)
    assert properties.reply_to is properties.correlation_id is None
    assert properties.expiration is None if lasting else 9000 < int(properties.expiration) <= 9500


async def test_a_queue_that_exists_with_other_flags_is_used_as_it_is(rabbit: Broker) -> None:
    """Both ways: theirs durable and ours not, theirs not and ours durable."""
    for theirs, ours in ((True, "false"), (False, "true")):
        topic = f"conflict{secrets.token_hex(4)}"
        link = await raw_link(rabbit)
        channel = link.channel()
        await channel.ask(QueueDeclare(queue=topic, durable=theirs))
        await channel.ask(ExchangeDeclare(exchange=f"x{topic}", type="topic", durable=theirs))
        await link.close()
        url = f"{rabbit.url}?amqp_durable_queues={ours}&control_exchange=x{topic}"
        async with peers(url, url) as [server, client]:
            await server.listen(Address(Kind.TOPIC, topic))
            await client.send(Address(Kind.TOPIC, topic), b"x")
            assert await server.heard(1) == [b"x"]


async def test_quorum_options_make_quorum_queues(vhost: Broker) -> None:
    options = "rabbit_quorum_queue=1&rabbit_transient_quorum_queue=1&rabbit_quorum_delivery_limit=7"
    async with peers(f"{vhost.url}?{options}") as [peer]:
        await serve_all(peer)
        rows = await listed(vhost, "queues", ("name", "type", "durable", "arguments"))
    for name, kind, durable, arguments in rows:
        assert (kind, durable) == ("quorum", "true"), name
        assert '{"x-delivery-limit",7}' in arguments
        assert ('"x-expires",1800000' in arguments) == name.startswith(("reply_", "t_fanout_"))


async def test_a_stream_serves_the_fan_out_of_all_servers(vhost: Broker) -> None:
    url = f"{vhost.url}?rabbit_stream_fanout=true&rabbit_transient_quorum_queue=true"
    address = Address(Kind.FANOUT, "t")
    async with peers(url, url, url) as [sender, one, other]:
        await sender.send(address, b"before anybody listened", mandatory=False)
        await one.listen(address)
        await other.listen(address)
        for number in range(5):
            await sender.send(address, b"%d" % number, mandatory=False)
        for server in (one, other):
            assert await server.heard(5) == [b"0", b"1", b"2", b"3", b"4"]
        # The link breaks; what is sent meanwhile is read from the stream afterwards, and no more.
        one.driver._receiving.link.give_up("test")
        await sender.send(address, b"5", mandatory=False)
        assert await one.heard(6) == [b"0", b"1", b"2", b"3", b"4", b"5"]
        rows = await listed(vhost, "queues", ("name", "type", "durable", "arguments"))
        assert [row[:3] for row in rows if row[0].startswith("t_fanout")] == [
            ("t_fanout", "stream", "true")
        ]
        assert '"x-max-age","1800s"' in next(row[3] for row in rows if row[0] == "t_fanout")


async def test_a_stream_is_read_on_where_a_break_in_its_middle_left_off(vhost: Broker) -> None:
    """At the offset after the last message that came, whether it was acknowledged or not."""
    url = f"{vhost.url}?rabbit_stream_fanout=true&rabbit_transient_quorum_queue=true"
    address = Address(Kind.FANOUT, "t")
    expected = [b"%d" % number for number in range(60)]
    async with peers(url, url) as [sender, one]:
        await one.listen(address, prefetch=5)
        for number, body in enumerate(expected):
            await sender.send(address, body, mandatory=False)
            if number in (9, 24, 25, 40):
                # In the middle of what is under way, and before anything came on the new link.
                await until(lambda: one.driver._receiving.link is not None, "there is a link")
                one.driver._receiving.link.give_up("test")
        assert await one.heard(60) == expected
        await asyncio.sleep(0.2)
        assert one.bodies == expected, "and none twice"


async def test_what_of_a_stream_waited_here_for_a_place_is_not_lost_in_a_break(
    vhost: Broker,
) -> None:
    url = f"{vhost.url}?rabbit_stream_fanout=true&rabbit_transient_quorum_queue=true"
    topic, fanout = Address(Kind.TOPIC, "t"), Address(Kind.FANOUT, "t")
    async with peers(url, url) as [sender, one]:
        one.acknowledge = False
        await one.listen(topic, fanout, prefetch=2)
        [consumer] = one.driver._receiver._consumers
        for body in (b"a", b"b"):
            await sender.send(topic, body)
        assert await one.heard(2) == [b"a", b"b"]
        for body in (b"1", b"2"):
            await sender.send(fanout, body, mandatory=False)
        await until(lambda: len(consumer._held) == 2, "they came, and all places are taken")
        one.driver._receiving.link.give_up("test")
        one.acknowledge = True
        for delivery in one.deliveries[:2]:
            delivery.acknowledge()
        await until(lambda: {b"1", b"2"} <= set(one.bodies), "they come again")


async def test_a_topic_in_two_exchanges_shares_a_queue_and_each_gets_its_own(
    rabbit: Broker,
) -> None:
    topic = f"shared{secrets.token_hex(4)}"
    nova, neutron = (Address(Kind.TOPIC, topic, exchange=name) for name in ("nova", "neutron"))
    async with peers(rabbit.url, rabbit.url, rabbit.url) as [sender, at_nova, at_neutron]:
        await at_nova.listen(nova)
        await at_neutron.listen(neutron)
        for number in range(20):
            await sender.send(nova, b"a%d" % number)
            await sender.send(neutron, b"b%d" % number)
        assert sorted(await at_nova.heard(20)) == sorted(b"a%d" % n for n in range(20))
        assert sorted(await at_neutron.heard(20)) == sorted(b"b%d" % n for n in range(20))


async def test_a_message_of_another_exchange_that_nobody_else_takes_is_delivered(
    rabbit: Broker,
) -> None:
    topic = f"alone{secrets.token_hex(4)}"
    nova = Address(Kind.NOTIFICATION, topic, "info", exchange="nova")
    neutron = Address(Kind.NOTIFICATION, topic, "info", exchange="neutron")
    async with peers(rabbit.url, rabbit.url) as [sender, server]:
        await server.listen(neutron)
        await sender.send(nova, b"as a peer would", mandatory=False)
        assert await server.heard(1) == [b"as a peer would"]


async def test_a_queue_without_consumers_is_nobody(rabbit: Broker) -> None:
    address = Address(Kind.TOPIC, f"deserted{secrets.token_hex(4)}")
    async with peers(rabbit.url, rabbit.url) as [client, server]:
        await (await server.listen(address)).cancel()
        with pytest.raises(MessageUndeliverable):
            await client.send(address, b"x")
        await server.listen(address)
        await client.send(address, b"y")
        assert await server.heard(1) == [b"y"]


@pytest.mark.alone
async def test_a_consumer_that_comes_a_moment_after_its_queue_is_waited_for(rabbit: Broker) -> None:
    address = Address(Kind.TOPIC, f"arriving{secrets.token_hex(4)}")
    async with peers(rabbit.url, rabbit.url) as [client, server]:
        await (await server.listen(address)).cancel()
        sending = asyncio.create_task(client.send(address, b"x"))
        done, _ = await asyncio.wait([sending], timeout=0.15)
        assert not done, "it was given up, or sent, before anybody consumed"
        await server.listen(address)
        await sending
        assert await server.heard(1) == [b"x"]
        began_s = time.monotonic()
        with pytest.raises(MessageUndeliverable):
            await client.send(Address(Kind.TOPIC, f"missing{secrets.token_hex(4)}"), b"x")
        assert time.monotonic() - began_s < 0.4, "without a queue it is told at once"


async def test_a_fan_out_exchange_that_vanished_is_declared_again(rabbit: Broker) -> None:
    address = Address(Kind.FANOUT, f"vanishing{secrets.token_hex(4)}")
    async with peers(rabbit.url, rabbit.url) as [client, server]:
        for turn in range(3):
            subscription = await server.listen(address)
            await client.send(address, b"%d" % turn, mandatory=False)
            await server.heard(turn + 1)
            await subscription.cancel()
            await client.send(address, b"to nobody", mandatory=False)
        assert server.bodies == [b"0", b"1", b"2"]


async def test_packed_bodies_of_peers_are_read(rabbit: Broker) -> None:
    topic = f"packed{secrets.token_hex(4)}"
    urls = [f"{rabbit.url}?kombu_compression={how}" for how in ("gzip", "bz2")]
    async with peers(rabbit.url, *urls) as [server, *senders]:
        await server.listen(Address(Kind.TOPIC, topic))
        for sender in senders:
            await sender.send(Address(Kind.TOPIC, topic), b"x" * 10_000)
        assert await server.heard(2) == [b"x" * 10_000] * 2


async def test_names_that_are_too_long_are_refused_and_harm_nobody(rabbit: Broker) -> None:
    async with peers(rabbit.url) as [peer]:
        told: list[object] = []
        late_s = asyncio.get_running_loop().time() + 5
        long = Address(Kind.TOPIC, "x" * 256)
        peer.driver.send(long, b"x", told.append, deadline_s=late_s)
        peer.driver.send(Address(Kind.REPLY, "x" * 256), b"x", told.append, deadline_s=late_s)
        await until(lambda: len(told) == 2, "both were told")
        assert None not in told
        await peer.listen(Address(Kind.TOPIC, f"after{secrets.token_hex(4)}"))
