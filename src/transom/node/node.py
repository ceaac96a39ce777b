# SPDX-License-Identifier: Apache-2.0
"""A process's place on the bus: its transport, and what it serves there.

Every node is a server of the topic `node` under its own name, so that others can ask it by name
(`ping` of the base interface).

Invariant: `stop` drains every server before the transport lets go.
"""

from collections.abc import Sequence

from transom.messaging.server import Server
from transom.messaging.target import Target
from transom.messaging.transport import Transport

TOPIC = "node"


class Node:
    """A `Service` (see `runtime.lifecycle`). `name`: unique on the bus, the role process's own.

    `holder`: the same, unique among all that share a database (`place`: see `node.place`).
    """

    def __init__(self, name: str, transport: Transport, place: str = "") -> None:
        self.name = name
        self.holder = f"{name}@{place}" if place else name
        self.transport = transport

    async def start(self) -> None:
        """Returns when others can ask this node."""
        await self.transport.start()
        try:
            await self.serve(TOPIC, [])
        except BaseException:  # Safety: lets go of the bus, and goes on
            await self.transport.stop()
            raise

    async def stop(self) -> None:
        """Drains what is served, then leaves the bus. Idempotent."""
        await self.transport.stop()

    async def serve(self, topic: str, endpoints: Sequence[object]) -> None:
        """Serves the endpoints at the topic, as this node, until `stop`."""
        await Server(self.transport, Target(topic=topic, server=self.name), endpoints).start()
