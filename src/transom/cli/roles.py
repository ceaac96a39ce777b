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
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import uvloop
from prometheus_client import CollectorRegistry
from prometheus_client.registry import Collector

from transom.cli import deliveries, parts, queue_bus, tls
from transom.cli.connecting import connect_bus
from transom.cli.family import LISTENER, api_names
from transom.cli.logs import audit_log, log_to_file
from transom.cli.settings import Settings
from transom.errors import ConfigError
from transom.identity.bus import read_row
from transom.identity.contract import SOURCE as IDENTITY
from transom.identity.contract import TABLES as IDENTITY_TABLES
from transom.messaging.drivers import driver_class
from transom.messaging.proto.feed import ChangeSet
from transom.messaging.schema import Table
from transom.messaging.server import Server
from transom.messaging.tables import TablePublisher, poke
from transom.messaging.target import Target
from transom.node.channel import Channel
from transom.node.feed import DurableFeed, ReadRow
from transom.node.figures import BusMetrics
from transom.node.node import Node
from transom.node.place import place_of
from transom.node.publisher import DurablePublisher
from transom.queue.bus.frames import TOPIC as QUEUE_WRITES
from transom.queue.bus.frames import is_private
from transom.queue.bus.owner import Owner
from transom.queue.bus.writer import RemoteWriter
from transom.queue.contract import SOURCE as QUEUE
from transom.queue.contract import TABLES as QUEUE_TABLES
from transom.runtime.auth.generation import FILE_NAME as GENERATION_FILE
from transom.runtime.auth.generation import Generation
from transom.runtime.auth.keystone import Keystone
from transom.runtime.auth.tokens import TokenValidator
from transom.runtime.auth.watch import KeystoneWatch
from transom.runtime.clock import SystemClock
from transom.runtime.db.transaction import Database
from transom.runtime.http.app import make_app
from transom.runtime.http.limits import HttpLimits
from transom.runtime.http.route import Mount
from transom.runtime.http.server import HttpServer
from transom.runtime.lifecycle import Lifecycle
from transom.runtime.telemetry.collectors import register as figures_of_process
from transom.runtime.telemetry.drift import DriftWatch
from transom.runtime.telemetry.shared import SharedRegistry
from transom.runtime.telemetry.watchdog import LoopWatchdog

if TYPE_CHECKING:
    from transom.runtime.http.tls import Certificate

driver_class("zmq")  # the embedded bus's driver, loaded once for all roles

SWITCH_S = 0.0005
"""How long the loop may keep the interpreter from the writer thread. Measured: with Python's own
5 ms a lone caller beside a busy loop gets 360 to 600 durable writes a second, with this 1,300 to
3,000 (`bench/db/group_commit.py`)."""

Listeners = Mapping[str, socket.socket]
Complain = Callable[[], str]
"""What keeps a role from all of its work though it runs, for people; "" if nothing."""
Role = Callable[[str, Settings, Listeners, Lifecycle, LoopWatchdog], Awaitable[Complain]]
"""(name of the process on the bus, settings, inherited sockets, owner of what is started, what
watches the loop)"""


def enter(name: str, payload: bytes, channel: Channel) -> None:
    """A role's process, from its fork to its end; called by the fork server."""
    _enter(name, name, payload, channel)


def enter_follower(name: str, payload: bytes, channel: Channel) -> None:
    """As `enter`, for the role `FOLLOWER`."""
    _enter(FOLLOWER, name, payload, channel)


def _enter(role: str, name: str, payload: bytes, channel: Channel) -> None:
    settings = Settings.decode(payload)
    log_to_file(settings, name)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(role, name, settings, channel))


async def _serve(role: str, name: str, settings: Settings, channel: Channel) -> None:
    async with channel.attend() as stopping, Lifecycle() as lifecycle:
        channel.complain = await start_role(role, name, settings, channel.listeners, lifecycle)
        channel.ready()
        lifecycle.spawn("drain at the supervisor's word", _stop_after(stopping, lifecycle))
        await lifecycle.wait()


async def start_role(
    role: str, name: str, settings: Settings, listeners: Listeners, lifecycle: Lifecycle
) -> Complain:
    """Starts a role in this process; `name` is unique on the bus."""
    parts.check_owned_files(settings)
    sys.setswitchinterval(SWITCH_S)
    watchdog = LoopWatchdog()
    await lifecycle.start("watchdog", watchdog)
    await lifecycle.start("clock", DriftWatch(SystemClock()))
    return await _EVERY_ROLE[role](name, settings, listeners, lifecycle, watchdog)


async def _stop_after(event: asyncio.Event, lifecycle: Lifecycle) -> None:
    await event.wait()
    lifecycle.request_stop()


@dataclass(slots=True)
class _Served:
    """What a process's doors lead to, as its parts come to be.

    `problems`: name -> what keeps that part from all of its work, "" if nothing; `warnings`: name
    -> what a person should see to though it works; `complaints`: what the role says is wrong,
    beside its problems, though every part answers; `on_drain`: what is given up when nobody is let
    in any more; `figures`: what parts count; `generation`: see `runtime.auth.generation`.
    """

    mounts: list[Mount] = field(default_factory=list)
    problems: dict[str, Complain] = field(default_factory=dict)
    warnings: dict[str, Complain] = field(default_factory=dict)
    complaints: list[Complain] = field(default_factory=list)
    on_drain: list[Callable[[], None]] = field(default_factory=list)
    figures: list[Collector] = field(default_factory=list)
    generation: Callable[[], int] = int


async def _start_api(
    name: str,
    settings: Settings,
    listeners: Listeners,
    lifecycle: Lifecycle,
    watchdog: LoopWatchdog,
    *,
    follows: bool = False,
) -> Complain:
    """The doors to the parts that are served here. `follows`: files with an owner are another's."""
    clock = SystemClock()
    node = await _node(name, settings, clock, lifecycle)
    served = _Served()
    if parts.is_embedded(settings):
        await _serve_identity(node, settings, listeners, clock, served, lifecycle)
    if "queue" in settings.parts:
        await _serve_queue(node, settings, clock, served, lifecycle, follows=follows)
    if "keys" in settings.parts:
        await _serve_keys(settings, clock, served, lifecycle)
    _require_mounts(served)
    credentials = parts.credentials(settings)
    registry = await _registry(name, settings, lifecycle)
    _show_figures(registry, served, node, watchdog)
    certificate = await _certificate(settings, clock, registry, lifecycle)
    own = certificate if parts.is_embedded(settings) else None
    keystone = Keystone(credentials, clock, trust=None if own is None else own.trust)
    validator = await _validator(keystone, settings, clock, served, lifecycle)
    limits = settings.config.section(HttpLimits)
    audit = audit_log(settings)
    if audit is not None:
        await lifecycle.start("audit log", audit)
        served.warnings["audit log"] = lambda: audit.problem
    app = make_app(
        served.mounts,
        authenticate=validator,
        random=os.urandom,
        registry=registry,
        warnings=served.warnings,
        checks={part: partial(_is_sound, problem) for part, problem in served.problems.items()},
        www_authenticate=f'Keystone uri="{credentials.auth_url}"',
        limits=limits,
        audit_log=audit,
        share=1 / _workers(name, settings),
    )
    on_drain = partial(_call_all, served.on_drain)
    context = None if certificate is None else certificate.current
    doors = HttpServer(app, [listeners[LISTENER]], limits, tls=context, on_drain=on_drain)
    await lifecycle.start("doors", doors)
    return partial(_complaint, [*served.problems.values(), *served.complaints])


def _require_mounts(served: _Served) -> None:
    """Raises: ConfigError."""
    if not served.mounts:
        raise ConfigError(
            "nothing is served: [keystone] auth_url is set, and identity is the only part"
        )


def _show_figures(
    registry: CollectorRegistry, served: _Served, node: Node, watchdog: LoopWatchdog
) -> None:
    """Of the process, of its bus, and of its parts."""
    figures_of_process(registry, served.problems, watchdog)
    for figures in (BusMetrics(node.transport.counters), *served.figures):
        registry.register(figures)


async def _certificate(
    settings: Settings, clock: SystemClock, registry: CollectorRegistry, lifecycle: Lifecycle
) -> "Certificate | None":
    """What the doors show; None where they speak plain HTTP."""
    certificate = tls.certificate(settings, clock)
    if certificate is not None:
        registry.register(certificate)
        await lifecycle.start("certificate", certificate)
    return certificate


async def _validator(
    keystone: Keystone,
    settings: Settings,
    clock: SystemClock,
    served: _Served,
    lifecycle: Lifecycle,
) -> TokenValidator:
    """What says whose a token is."""
    validator = TokenValidator(keystone, clock, served.generation, parts.token_cache_s(settings))
    await lifecycle.start("tokens", validator)
    if parts.is_embedded(settings):
        # Draining, the doors would wait for answers that only they, taking nobody in, could give.
        served.on_drain.append(validator.give_up)
    else:
        watch = KeystoneWatch(keystone, clock)
        await lifecycle.start("keystone watch", watch)
        served.warnings["keystone"] = watch.warning
    return validator


async def _serve_identity(
    node: Node,
    settings: Settings,
    listeners: Listeners,
    clock: SystemClock,
    served: _Served,
    lifecycle: Lifecycle,
) -> None:
    """Embedded identity; where it is another process's part, what it says of revocations."""
    if "identity" not in settings.parts:
        generation = Generation(settings.data.path / GENERATION_FILE, os.urandom)
        await lifecycle.start("generation", generation)
        served.generation = generation.read
        return
    bind_host = listeners[LISTENER].getsockname()[0]
    tell_worker = partial(poke, node.transport, IDENTITY)
    identity = parts.identity(settings, clock, bind_host, tell_worker)
    await lifecycle.start("identity", identity)
    served.mounts.append(identity.mount)
    served.problems["identity"] = lambda: identity.database.problem
    served.warnings["identity rules"] = identity.policy.warning
    served.generation = identity.generation


async def _serve_queue(
    node: Node,
    settings: Settings,
    clock: SystemClock,
    served: _Served,
    lifecycle: Lifecycle,
    *,
    follows: bool,
) -> None:
    """The queue; its feed too, and the writes of others, unless another process owns its file."""
    tell_owner = partial(poke, node.transport, QUEUE)
    neighbours = parts.neighbours(settings, clock, node.name, node.transport, api_names(settings))
    publishers: list[DurablePublisher[ChangeSet]] = []

    def changed() -> None:
        # On a server another worker may hold the lease of the feed.
        own = publishers[0] if publishers else None
        if own is None or own.generation is None:
            tell_owner()
        else:
            own.poke()

    if follows and parts.QUEUE.has_owner(settings):
        writer = RemoteWriter(node.transport)
        await lifecycle.start("queue writer", writer)
        served.on_drain.append(writer.give_up)
        queue = parts.queue(settings, clock, changed, writer, neighbours, node.holder)
        await lifecycle.start("queue", queue)
    else:
        queue = parts.queue(settings, clock, changed, None, neighbours, node.holder)
        await lifecycle.start("queue", queue)
        publishers.append(
            await _publish(
                node, queue.database, QUEUE, QUEUE_TABLES, queue.read_row, clock, lifecycle
            )
        )
        if parts.QUEUE.has_owner(settings) and is_private(node.transport):
            target = Target(topic=QUEUE_WRITES, server=node.name)
            writes = Server(node.transport, target, [Owner(queue.writer)])
            await lifecycle.start("queue writes of others", writes)
        if deliveries.by_owner(settings, node.transport):
            await deliveries.start(node, settings, clock, queue, lifecycle)
    follows = follows and parts.QUEUE.has_owner(settings)
    await queue_bus.start(node, settings, clock, queue, lifecycle, follows=follows)
    served.figures.append(queue.app.figures)
    if not follows:
        served.figures.append(await deliveries.start_figures(settings, clock, queue, lifecycle))
    served.on_drain += [queue.app.bell.close, queue.stores.give_up]
    served.warnings["queue stores"] = queue.stores.warning
    served.mounts.append(queue.mount)
    served.problems["queue"] = lambda: queue.writer.problem
    served.complaints.append(queue.stores.problem)
    served.warnings["queue rules"] = queue.policy.warning


async def _serve_keys(
    settings: Settings, clock: SystemClock, served: _Served, lifecycle: Lifecycle
) -> None:
    """The key server. Each process that has doors serves it from the one database."""
    keys = parts.keys(settings, clock)
    await lifecycle.start("keys", keys)
    served.mounts.append(keys.mount)
    served.problems["keys"] = lambda: keys.database.problem
    served.warnings["keys rules"] = keys.policy.warning
    served.figures.append(keys.figures)


def _workers(name: str, settings: Settings) -> int:
    """How many processes share the doors with this one, itself among them."""
    names = api_names(settings)
    return len(names) if name in names else 1


async def _registry(name: str, settings: Settings, lifecycle: Lifecycle) -> CollectorRegistry:
    """Where the doors have several workers, it shows the figures of all of them."""
    if _workers(name, settings) == 1:
        return CollectorRegistry()
    registry = SharedRegistry(settings.runtime_folder.metrics, name)
    await lifecycle.start("metrics", registry)
    return registry


async def _start_worker(
    name: str,
    settings: Settings,
    listeners: Listeners,
    lifecycle: Lifecycle,
    watchdog: LoopWatchdog,
) -> Complain:
    """What needs no door: identity's feed, and what is sent to the queue's subscribers."""
    clock = SystemClock()
    node = await _node(name, settings, clock, lifecycle)
    problems: list[Complain] = []
    if parts.is_embedded(settings) and "identity" in settings.parts:
        database = parts.IDENTITY.database(settings, clock)
        await lifecycle.start("identity database", database)
        await _publish(node, database, IDENTITY, IDENTITY_TABLES, read_row, clock, lifecycle)
        problems.append(lambda: database.problem)
    if "queue" in settings.parts and not deliveries.by_owner(settings, node.transport):
        await deliveries.start_in_worker(node, settings, clock, lifecycle)
    return partial(_complaint, problems)


ROLES: Mapping[str, Role] = {"api": _start_api, "worker": _start_worker}
"""In the order in which they start."""
FOLLOWER = "follower"
"""A further worker of the doors of a family, whose first has the files that have an owner."""
_EVERY_ROLE: Mapping[str, Role] = {**ROLES, FOLLOWER: partial(_start_api, follows=True)}


def _is_sound(problem: Complain) -> bool:
    return not problem()


def _complaint(problems: Iterable[Complain]) -> str:
    """What is wrong, each thing once: parts of one database complain alike."""
    return "; ".join(dict.fromkeys(told for problem in problems if (told := problem())))


def _call_all(calls: Sequence[Callable[[], None]]) -> None:
    for call in calls:
        call()


async def _node(name: str, settings: Settings, clock: SystemClock, lifecycle: Lifecycle) -> Node:
    transport = connect_bus(settings, clock)
    node = Node(name, transport, place_of(settings.data.path))
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
) -> DurablePublisher[ChangeSet]:
    """A part's durable tables on the bus, as long as this process holds their lease."""
    names = [table.name for table in tables]
    feed = DurableFeed(database, source, names, read_row, clock=clock)
    shell = TablePublisher(
        node.transport,
        source,
        feed,
        schemas=tables,
        name=node.name,
        on_poke=lambda: publisher.poke(),
    )
    publisher = DurablePublisher(feed, shell, holder=node.holder, clock=clock)
    await lifecycle.start(f"{source} feed", publisher)
    return publisher
