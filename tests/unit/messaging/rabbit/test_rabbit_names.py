"""Names at the broker, and what is declared for them."""

import pytest

from transom.messaging.drivers.base import Address, Kind
from transom.messaging.drivers.rabbit.names import place_of
from transom.messaging.drivers.rabbit.options import Options
from transom.messaging.drivers.rabbit.topology import (
    Binding,
    Exchange,
    Queue,
    for_listening,
    for_sending,
)

UNIQUE = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("address", "names"),
    [
        (Address(Kind.TOPIC, "t"), ("openstack", "t", "t", "t")),
        (Address(Kind.TOPIC, "t", exchange="nova"), ("nova", "t", "t", "t")),
        (Address(Kind.SERVER, "t", "h"), ("openstack", "t.h", "t.h", "t.h")),
        (Address(Kind.FANOUT, "t"), ("t_fanout", "", f"t_fanout_{UNIQUE}", "t")),
        (Address(Kind.FANOUT, "t", exchange="nova"), ("t_fanout", "", f"t_fanout_{UNIQUE}", "t")),
        (Address(Kind.NOTIFICATION, "n", "INFO"), ("openstack", "n.info", "n.info", "n.info")),
        (
            Address(Kind.NOTIFICATION, "n", "info", pool="audit"),
            ("openstack", "n.info", "audit", "n.info"),
        ),
        (Address(Kind.REPLY, "reply_1"), ("", "reply_1", "reply_1", "")),
    ],
)
def test_names_are_those_of_oslo_messaging(address: Address, names: tuple[str, ...]) -> None:
    place = place_of(address, control_exchange="openstack", unique=UNIQUE)
    assert (place.exchange, place.key, place.queue, place.bind_key) == names


def test_a_name_that_no_frame_carries_is_refused() -> None:
    with pytest.raises(ValueError, match="longer than 255 bytes"):
        place_of(Address(Kind.TOPIC, "ü" * 128), control_exchange="openstack")


def test_declarations_come_in_the_order_exchanges_queues_bindings() -> None:
    addresses = [
        Address(Kind.TOPIC, "t"),
        Address(Kind.SERVER, "t", "h"),
        Address(Kind.FANOUT, "t"),
    ]
    _, topology = for_listening(addresses, Options(), UNIQUE)
    kinds = [type(step) for step in topology.steps()]
    assert kinds == [Exchange, Exchange, Queue, Queue, Queue, Binding, Binding, Binding]


def test_a_sender_declares_the_exchange_and_only_of_a_notification_the_queue() -> None:
    for address, queues in (
        (Address(Kind.TOPIC, "t"), []),
        (Address(Kind.FANOUT, "t"), []),
        (Address(Kind.REPLY, "r"), []),
        (Address(Kind.NOTIFICATION, "n", "info", pool="audit"), ["n.info"]),
    ):
        _, topology = for_sending(address, Options())
        assert list(topology.queues) == queues
        assert len(topology.exchanges) == (address.kind is not Kind.REPLY)


def test_pools_of_several_priorities_have_one_queue_bound_to_each() -> None:
    addresses = [Address(Kind.NOTIFICATION, "n", one, pool="audit") for one in ("info", "error")]
    _, topology = for_listening(addresses, Options(), UNIQUE)
    assert list(topology.queues) == ["audit"]
    assert [binding.key for binding in topology.bindings] == ["n.info", "n.error"]


def test_only_queues_that_nobody_else_reads_are_own() -> None:
    addresses = [
        Address(Kind.TOPIC, "t"),
        Address(Kind.FANOUT, "t"),
        Address(Kind.REPLY, "r"),
        Address(Kind.NOTIFICATION, "n", "info"),
    ]
    _, topology = for_listening(addresses, Options(), UNIQUE)
    own = [queue.name for queue in topology.queues.values() if queue.own]
    assert own == [f"t_fanout_{UNIQUE}", "r"]
