# SPDX-License-Identifier: Apache-2.0
"""A channel that is closing: settling on it is a no-op, and whoever asks is told."""

import asyncio
from collections.abc import Callable

import pytest

from transom.messaging.drivers.rabbit.channel import Channel, ChannelLost
from transom.messaging.drivers.rabbit.link import Link
from transom.messaging.proto.amqp import Delivered, Oversized
from transom.messaging.proto.amqp.frames import method_frame
from transom.messaging.proto.amqp.methods import (
    BasicDeliver,
    BasicQos,
    ChannelClose,
    ConnectionClose,
)

from support.amqp_peer import content
from support.rabbit_script import Script
from virtual import run_virtual

TAGS = (1, 2, 3)


def delivery(tag: int) -> bytes:
    method = BasicDeliver(
        consumer_tag="c", delivery_tag=tag, redelivered=False, exchange="", routing_key="q"
    )
    return content(1, method, b"x")


async def with_deliveries(*, patient: bool = False) -> tuple[Script, Link, Channel]:
    script = Script()
    link = await script.link()
    channel = link.channel(patient=patient)
    await asyncio.sleep(0.01)
    script.feed_bytes(b"".join(map(delivery, TAGS)))
    return script, link, channel


def acknowledge(channel: Channel) -> None:
    for tag in TAGS:
        channel.acknowledge(tag)


def reject(channel: Channel) -> None:
    for tag in TAGS:
        channel.reject(tag, requeue=True)


def oversized(channel: Channel) -> None:
    channel.link._take(Oversized(channel.number, "c", 4, 1 << 40))


@pytest.mark.parametrize("settle", [acknowledge, reject, oversized])
@pytest.mark.parametrize("patient", [False, True])
def test_settling_while_it_closes_is_a_no_op(
    settle: Callable[[Channel], None], patient: bool
) -> None:
    async def scenario() -> None:
        script, link, channel = await with_deliveries(patient=patient)
        closing = asyncio.create_task(link.close_channel(channel))
        again = asyncio.create_task(link.close_channel(channel))
        await asyncio.sleep(0)
        settle(channel)
        await asyncio.gather(closing, again)
        settle(channel)
        await asyncio.sleep(1)
        assert (link.lost, script.lost) == ("", [])
        assert channel.lost is not None

    run_virtual(scenario, 1)


@pytest.mark.parametrize("settle", [acknowledge, reject, oversized])
@pytest.mark.parametrize("number", [0, 1])
def test_settling_what_came_together_with_a_close_harms_nothing(
    settle: Callable[[Channel], None], number: int
) -> None:
    """One read: the machine knows of the close when the delivery is handed over."""

    async def scenario() -> None:
        script, _, channel = await with_deliveries()
        taken: list[int] = []

        def deliver(event: Delivered) -> None:
            taken.append(event.delivery_tag)
            settle(channel)

        channel.on_delivered = deliver
        kind = ChannelClose if number else ConnectionClose
        close = kind(reply_code=320, reply_text="CONNECTION_FORCED")
        script.feed_bytes(delivery(4) + method_frame(number, close))
        await asyncio.sleep(1)
        assert taken == [4]
        assert script.lost == ([] if number else ["320 CONNECTION_FORCED"])
        assert channel.lost is not None
        assert channel.lost.detail.endswith("CONNECTION_FORCED")

    run_virtual(scenario, 1)


def test_whoever_asks_a_closing_channel_is_told_that_it_is_lost() -> None:
    async def scenario() -> None:
        _, link, channel = await with_deliveries()
        closing = asyncio.create_task(link.close_channel(channel))
        await asyncio.sleep(0)
        with pytest.raises(ChannelLost):
            await channel.ask(BasicQos(prefetch_count=1))
        await closing

    run_virtual(scenario, 1)
