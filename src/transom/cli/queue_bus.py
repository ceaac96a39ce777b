# SPDX-License-Identifier: Apache-2.0
"""What a process with the queue has on the bus beside its feed: its bell, and its calls."""

from transom.cli.settings import BusConfig, Settings
from transom.messaging.server import Server
from transom.node.node import Node
from transom.queue.bus.calls import TARGET, Calls
from transom.queue.bus.frames import is_private
from transom.queue.bus.overview import Overview
from transom.queue.bus.ringing import Ringing
from transom.queue.config import QueueConfig
from transom.queue.service import QueueService
from transom.runtime.clock import Clock
from transom.runtime.lifecycle import Lifecycle


async def start(
    node: Node,
    settings: Settings,
    clock: Clock,
    queue: QueueService,
    lifecycle: Lifecycle,
    *,
    follows: bool,
) -> None:
    """Where strangers could listen or ask, its statistics alone."""
    if not follows:
        overview = Overview(
            node.transport,
            queue.stores,
            queue.app.figures,
            clock,
            holder=node.holder,
            name=node.name,
            interval_s=settings.config.section(QueueConfig).stats_interval_s,
        )
        await lifecycle.start("queue statistics", overview)
    secured = settings.config.section(BusConfig).security != "none"
    if not is_private(node.transport) and not secured:
        return
    await lifecycle.start("queue bell", Ringing(node.transport, queue.app.bell, node.name))
    calls = Calls(queue.app, node.transport, private=is_private(node.transport))
    target = TARGET.to(server=node.name)
    await lifecycle.start("queue calls", Server(node.transport, target, [calls]))
