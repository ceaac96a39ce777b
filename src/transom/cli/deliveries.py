# SPDX-License-Identifier: Apache-2.0
"""Where subscribers are told from: the role `worker`, or, where that may not write, the owner.

What the worker writes to a file goes to the file's owner over the embedded bus. Where the bus is
another one, nobody but the owner may write, so it delivers itself.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from transom.cli import parts
from transom.cli.family import api_names
from transom.cli.settings import Settings
from transom.messaging.server import Server
from transom.messaging.tables import poke
from transom.messaging.target import Target
from transom.messaging.transport import Transport
from transom.node.node import Node
from transom.queue.api.mount import PREFIX
from transom.queue.bus.frames import is_private
from transom.queue.bus.ringing import TOPIC
from transom.queue.bus.writer import RemoteWriter
from transom.queue.config import QueueConfig
from transom.queue.contract import SOURCE
from transom.queue.deliveries.deliverer import Deliverer
from transom.queue.deliveries.figures import DeliveryFigures
from transom.queue.deliveries.service import LeasedDeliverer
from transom.queue.deliveries.service import build as build_deliverer
from transom.queue.model import Place
from transom.queue.service import QueueService
from transom.runtime.clock import Clock
from transom.runtime.lifecycle import Lifecycle

LOOK_S = 0.5


class _Heard:
    """What other processes say of queues that they wrote to; where they do not, it looks itself."""

    def __init__(self, deliverer: Deliverer) -> None:
        self._deliverer = deliverer

    async def rung(
        self, context: Mapping[str, Any], by: str, places: Sequence[Sequence[str]]
    ) -> None:
        for project_id, name in places:
            self._deliverer.wake(Place(str(project_id), str(name)))


class _Draining:
    """A service that is stopped first: an owner that is away is waited for no longer then."""

    def __init__(self, *give_up: Callable[[], None]) -> None:
        self._give_up = give_up

    async def start(self) -> None:
        """There is nothing to do yet."""

    async def stop(self) -> None:
        for give_up in self._give_up:
            give_up()


def by_owner(settings: Settings, transport: Transport) -> bool:
    """Whether the owner of the queue's file delivers, and no worker."""
    return parts.QUEUE.has_owner(settings) and not is_private(transport)


async def start_in_worker(
    node: Node, settings: Settings, clock: Clock, lifecycle: Lifecycle
) -> None:
    """With the queue's data as a follower has them; once their owner has made them, where it has
    not yet. Raises: ConfigError."""
    if parts.QUEUE.may_be_there(settings):
        await _start_in_worker(node, settings, clock, lifecycle)
    else:
        lifecycle.spawn("deliveries to be", _start_later(node, settings, clock, lifecycle))


async def _start_later(node: Node, settings: Settings, clock: Clock, lifecycle: Lifecycle) -> None:
    while not parts.QUEUE.may_be_there(settings):  # noqa: ASYNC110  another process makes it
        await asyncio.sleep(LOOK_S)
    await _start_in_worker(node, settings, clock, lifecycle)


async def _start_in_worker(
    node: Node, settings: Settings, clock: Clock, lifecycle: Lifecycle
) -> None:
    writer = None
    if parts.QUEUE.has_owner(settings):
        writer = RemoteWriter(node.transport)
        await lifecycle.start("queue writer", writer)
    workers = api_names(settings)
    neighbours = parts.neighbours(settings, clock, node.name, node.transport, workers, owns=False)
    tell_owner = partial(poke, node.transport, SOURCE)
    queue = parts.queue(settings, clock, tell_owner, writer, neighbours, node.holder)
    await lifecycle.start("queue", queue)
    await start(node, settings, clock, queue, lifecycle)
    own = () if writer is None else (writer.give_up,)
    await lifecycle.start("draining", _Draining(*own, queue.stores.give_up))


async def start(
    node: Node, settings: Settings, clock: Clock, queue: QueueService, lifecycle: Lifecycle
) -> None:
    """On a server, where several processes could, under a lease. Raises: ConfigError."""
    url = f"{settings.public_url}{PREFIX}"
    deliverer = build_deliverer(
        queue.app,
        parts.sealer(settings),
        clock,
        keystone=None if parts.is_embedded(settings) else parts.credentials(settings),
        endpoint=url,
        websocket=f"ws{url.removeprefix('http')}/v2/websocket",
    )
    queue.app.bell.listen(deliverer.wake)
    heard = Server(node.transport, Target(topic=TOPIC, fanout=True), [_Heard(deliverer)])
    await lifecycle.start("queue bell for deliveries", heard)
    if parts.QUEUE.has_owner(settings):
        await lifecycle.start("deliveries", deliverer)
    else:
        leased = LeasedDeliverer(deliverer, queue.database, node.holder, clock)
        await lifecycle.start("deliveries", leased)


async def start_figures(
    settings: Settings, clock: Clock, queue: QueueService, lifecycle: Lifecycle
) -> DeliveryFigures:
    """How deliveries go, to be shown at the doors."""
    interval_s = settings.config.section(QueueConfig).stats_interval_s
    figures = DeliveryFigures(queue.stores, clock, interval_s)
    await lifecycle.start("delivery figures", figures)
    return figures
