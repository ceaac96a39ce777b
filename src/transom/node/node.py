# SPDX-License-Identifier: Apache-2.0
"""A process's place on the bus: its transport, and what it serves there.

Every node is a server of the topic `node` under its own name, so that others can ask it by name
(`ping` of the base interface), and all of them what they do (`describe`, see `Description`).

Invariant: `stop` drains every server before the transport lets go.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Mapping, Sequence
from typing import Any

import transom
from transom.errors import TransomError
from transom.messaging.counters import Durations
from transom.messaging.replica import TableReplica
from transom.messaging.server import Server
from transom.messaging.tables import TablePublisher
from transom.messaging.target import Target
from transom.messaging.transport import Transport

TOPIC = "node"
HEAD_S = 0.5
DESCRIBED = Target(topic=TOPIC, namespace="transom.node", version="1.0")


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
            await self.serve(TOPIC, [Description(self)])
        except BaseException:  # Safety: lets go of the bus, and goes on
            await self.transport.stop()
            raise

    async def stop(self) -> None:
        """Drains what is served, then leaves the bus. Idempotent."""
        await self.transport.stop()

    async def serve(self, topic: str, endpoints: Sequence[object]) -> None:
        """Serves the endpoints at the topic, as this node, until `stop`."""
        await Server(self.transport, Target(topic=topic, server=self.name), endpoints).start()


class Description:
    """The endpoint that says what a node is, serves and does."""

    target = Target(namespace=DESCRIBED.namespace, version=DESCRIBED.version)

    def __init__(self, node: Node) -> None:
        self._node = node

    async def describe(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """`serves`: by topic, its endpoints and figures; `calls`: by topic; `feeds`: what it
        publishes, where each stands, by how many replicas each table is wanted; `replicas`: what it
        follows, where the rows stand, `age_s` since they were verified; `refused`: messages that
        security dropped, by reason.

        Times are seconds, `p50_s` and `p99_s` bounds from above, counted since the start.
        """
        transport = self._node.transport
        counters = transport.counters
        servers = [user for user in transport.users if isinstance(user, Server)]
        feeds = [user for user in transport.users if isinstance(user, TablePublisher)]
        replicas = [user for user in transport.users if isinstance(user, TableReplica)]
        return {
            "name": self._node.name,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "version": transom.__version__,
            "links": counters.links,
            "refused": dict(counters.refused),
            "serves": [
                {
                    "topic": server.topic,
                    "endpoints": server.endpoints(),
                    "outcomes": dict(counters.served[server.topic].outcomes),
                    "in_flight": counters.served[server.topic].in_flight,
                    **_quantiles(counters.served[server.topic].took),
                }
                for server in servers
            ],
            "calls": {
                topic: {
                    "outcomes": {**sent.outcomes, **sent.casts},
                    "in_flight": sent.in_flight,
                    **_quantiles(sent.took),
                }
                for topic, sent in counters.sent.items()
            },
            "feeds": [await _feed(feed) for feed in feeds],
            "replicas": [_replica(replica) for replica in replicas],
        }


async def _feed(feed: TablePublisher) -> dict[str, Any]:
    """`epoch` and `n` are None if the feed cannot say now where it stands."""
    epoch, n = None, None
    with contextlib.suppress(TransomError, TimeoutError):
        async with asyncio.timeout(HEAD_S):
            head = await feed.head()
            epoch, n = head.epoch, head.n
    return {"source": feed.source, "epoch": epoch, "n": n, "wanted": feed.wanted()}


def _replica(replica: TableReplica) -> dict[str, Any]:
    epoch, n = replica.position
    return {
        "source": replica.source,
        "state": type(replica.state).__name__.lower(),
        "epoch": epoch,
        "n": n,
        "age_s": replica.age_s,
    }


def _quantiles(took: Durations) -> dict[str, float | None]:
    return {"p50_s": took.quantile_s(0.5), "p99_s": took.quantile_s(0.99)}
