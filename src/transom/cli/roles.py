# SPDX-License-Identifier: Apache-2.0
"""Which part runs in which role. The fork server imports this, and with it all parts, once.

`api` holds the doors and, embedded, the parts whose files it alone writes; `worker` what may run
anywhere. A role is a function that starts its services, in order, on a lifecycle: what stands
earlier is there for what stands later, and outlives it.
"""

import asyncio
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

import uvloop

from transom.cli import parts
from transom.cli.family import LISTENER
from transom.cli.logs import log_to_file
from transom.cli.settings import Settings
from transom.identity.bus import read_row
from transom.identity.contract import SOURCE as IDENTITY
from transom.identity.contract import TABLES as IDENTITY_TABLES
from transom.messaging import connect
from transom.messaging.drivers import driver_class
from transom.messaging.schema import Table
from transom.messaging.tables import TablePublisher, poke
from transom.node.channel import Channel
from transom.node.feed import DurableFeed, ReadRow
from transom.node.node import Node
from transom.node.publisher import DurablePublisher
from transom.queue.contract import SOURCE as QUEUE
from transom.queue.contract import TABLES as QUEUE_TABLES
from transom.runtime.auth.keystone import Keystone
from transom.runtime.auth.tokens import TokenValidator
from transom.runtime.clock import SystemClock
from transom.runtime.db.transaction import Database
from transom.runtime.http.app import make_app
from transom.runtime.http.limits import HttpLimits
from transom.runtime.http.route import Mount
from transom.runtime.http.server import HttpServer
from transom.runtime.lifecycle import Lifecycle
from transom.runtime.telemetry.drift import DriftWatch
from transom.runtime.telemetry.watchdog import LoopWatchdog

driver_class("zmq")  # the embedded bus's driver, loaded once for all roles

SWITCH_S = 0.0005
"""How long the loop may keep the interpreter from the writer thread. Measured: with Python's own
5 ms a lone caller beside a busy loop gets 360 to 600 durable writes a second, with this 1,300 to
3,000 (`bench/db/group_commit.py`)."""

Listeners = Mapping[str, socket.socket]
Complain = Callable[[], str]
"""What keeps a role from all of its work though it runs, for people; "" if nothing."""
Role = Callable[[str, Settings, Listeners, Lifecycle], Awaitable[Complain]]
"""(name of the process on the bus, settings, inherited sockets, owner of what is started)"""


def enter(name: str, payload: bytes, channel: Channel) -> None:
    """A role's process, from its fork to its end; called by the fork server."""
    settings = Settings.decode(payload)
    log_to_file(settings, name)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(name, settings, channel))


async def _serve(name: str, settings: Settings, channel: Channel) -> None:
    async with channel.attend() as stopping, Lifecycle() as lifecycle:
        channel.complain = await start_role(name, name, settings, channel.listeners, lifecycle)
        channel.ready()
        lifecycle.spawn("drain at the supervisor's word", _stop_after(stopping, lifecycle))
        await lifecycle.wait()


async def start_role(
    role: str, name: str, settings: Settings, listeners: Listeners, lifecycle: Lifecycle
) -> Complain:
    """Starts a role in this process; `name` is unique on the bus."""
    sys.setswitchinterval(SWITCH_S)
    await lifecycle.start("watchdog", LoopWatchdog())
    await lifecycle.start("clock", DriftWatch(SystemClock()))
    return await ROLES[role](name, settings, listeners, lifecycle)


async def _stop_after(event: asyncio.Event, lifecycle: Lifecycle) -> None:
    await event.wait()
    lifecycle.request_stop()


async def _start_api(
    name: str, settings: Settings, listeners: Listeners, lifecycle: Lifecycle
) -> Complain:
    """The doors, identity where no real Keystone is named, and the queue with its feed."""
    clock = SystemClock()
    node = await _node(name, settings, clock, lifecycle)
    mounts: list[Mount] = []
    databases: list[Database] = []
    generation: Callable[[], int] = int
    embedded = parts.is_embedded(settings)
    if embedded:
        bind_host = listeners[LISTENER].getsockname()[0]
        tell_worker = partial(poke, node.transport, IDENTITY)
        identity = parts.identity(settings, clock, bind_host, tell_worker)
        await lifecycle.start("identity", identity)
        mounts.append(identity.mount)
        databases.append(identity.database)
        generation = identity.generation
    queue = parts.queue(settings, clock, on_change=lambda: publisher.poke())
    await lifecycle.start("queue", queue)
    mounts.append(queue.mount)
    databases.append(queue.database)
    publisher = await _publish(
        node, queue.database, QUEUE, QUEUE_TABLES, queue.read_row, clock, lifecycle
    )
    credentials = parts.credentials(settings)
    validator = TokenValidator(Keystone(credentials, clock), clock, generation)
    await lifecycle.start("tokens", validator)
    limits = settings.config.section(HttpLimits)
    app = make_app(
        mounts,
        authenticate=validator,
        random=os.urandom,
        checks={database.name: partial(_is_sound, database) for database in databases},
        www_authenticate=f'Keystone uri="{credentials.auth_url}"',
        limits=limits,
    )
    # Draining, the doors would wait for answers that only they, taking nobody in, could give.
    on_drain = validator.give_up if embedded else _nothing
    doors = HttpServer(app, [listeners[LISTENER]], limits, on_drain=on_drain)
    await lifecycle.start("doors", doors)
    return partial(_complaint, databases)


async def _start_worker(
    name: str, settings: Settings, listeners: Listeners, lifecycle: Lifecycle
) -> Complain:
    """What needs no door: identity's feed."""
    clock = SystemClock()
    node = await _node(name, settings, clock, lifecycle)
    if parts.is_embedded(settings):
        database = parts.IDENTITY.database(settings, clock)
        await lifecycle.start("identity database", database)
        await _publish(node, database, IDENTITY, IDENTITY_TABLES, read_row, clock, lifecycle)
        return partial(_complaint, [database])
    return str


ROLES: Mapping[str, Role] = {"api": _start_api, "worker": _start_worker}
"""In the order in which they start."""


def _is_sound(database: Database) -> bool:
    return not database.problem


def _complaint(databases: Sequence[Database]) -> str:
    return "; ".join(database.problem for database in databases if database.problem)


def _nothing() -> None:
    """There is nothing to give up."""


async def _node(name: str, settings: Settings, clock: SystemClock, lifecycle: Lifecycle) -> Node:
    node = Node(name, connect(settings.bus_url, clock=clock))
    await lifecycle.start("node", node)
    return node


async def _publish(
    node: Node,
    database: Database,
    source: str,
    tables: Sequence[Table],
    read_row: ReadRow,
    clock: SystemClock,
    lifecycle: Lifecycle,
) -> DurablePublisher:
    """A part's durable tables on the bus, as long as this process holds their lease."""
    names = [table.name for table in tables]
    feed = DurableFeed(database, source, names, read_row, clock=clock)
    shell = TablePublisher(node.transport, source, feed, on_poke=lambda: publisher.poke())
    publisher = DurablePublisher(feed, shell, holder=node.name, clock=clock)
    await lifecycle.start(f"{source} feed", publisher)
    return publisher
