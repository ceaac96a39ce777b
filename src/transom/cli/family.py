# SPDX-License-Identifier: Apache-2.0
"""The process behind `transom up`: folder, socket, registry, supervisor, control socket.

Invariant: what was taken is let go in the reverse order, however starting or serving ends; the
registry outlives the roles, so that they can leave it.
"""

import asyncio
import os
import random
import resource
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from transom.cli.connecting import bus_security
from transom.cli.logs import log_to_file
from transom.cli.registry import registry
from transom.cli.settings import ApiConfig, BusConfig, Settings
from transom.errors import ConfigError, TransomError
from transom.node.control import ControlServer
from transom.node.folder import State
from transom.node.processes import RoleSpec
from transom.node.supervisor import RoleStatus, Supervisor
from transom.node.systemd import Systemd
from transom.queue.config import QueueConfig
from transom.runtime.http.listen import bind
from transom.runtime.lifecycle import Lifecycle, Service
from transom.runtime.secrets import Secret

LISTENER = "http"
MEMORY_BUS = "memory://"
CLAIM_BYTES_MOST = 40 << 20
"""What a claim or a pop may answer between two workers: with the text that carries it, less than
the largest message of the bus. What does not fit would be taken and never handed out."""
DESCRIPTORS_LEAST = 256


class Roles(Service, Protocol):
    """The roles of a family, in processes of their own or in this one."""

    @property
    def ready(self) -> bool: ...

    def status(self) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Wish:
    """What the command line asked for beyond the configuration."""

    host: str | None
    port: int | None
    single_process: bool
    database: Secret = Secret("")


class Terminal(Protocol):
    """Who is told how it goes."""

    def waiting(self) -> None: ...

    def ready(self, url: str, status: dict[str, Any]) -> None: ...

    def changed(self, role: RoleStatus) -> None: ...


@dataclass(slots=True)
class Family:
    """One run of `transom up`."""

    settings: Settings
    wish: Wish
    terminal: Terminal
    environment: Mapping[str, str]
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self) -> None:
        """Until a `stop_signals` or `transom down`. Raises: TransomError if it cannot start."""
        check_processes(self.settings, single_process=self.wish.single_process)
        with ExitStack() as taken:
            self.settings.data.take(waiting=self.terminal.waiting)
            taken.callback(self.settings.data.release)
            log_to_file(self.settings, "supervisor")
            self.settings.remember_database(self.wish.database)
            api = self.settings.config.section(ApiConfig)
            host, port = self.wish.host or api.host, self.wish.port
            listener = taken.enter_context(
                bind(
                    host,
                    api.port if port is None else port,
                    force_plain=api.leaves_loopback,
                )
            )
            runtime = self.settings.runtime_folder
            runtime.make()
            taken.callback(runtime.remove)
            url = api.public_url or door_url(api.scheme, host, listener)
            here = State(os.getpid(), listener.getsockname()[1], url, str(runtime.path))
            self.settings.data.write_state(here)
            taken.callback(self.settings.data.clear_state)
            await self._serve(url, listener)

    async def _serve(self, url: str, listener: socket.socket) -> None:
        watchdog_us = self.environment.get("WATCHDOG_USEC", "")
        systemd = Systemd(
            self.environment.get("NOTIFY_SOCKET", ""),
            int(watchdog_us) / 1_000_000 if watchdog_us.isdecimal() else 0.0,
        )
        loop = asyncio.get_running_loop()
        for number in stop_signals():
            loop.add_signal_handler(number, self._stopping.set)
        roles = self._roles(url, listener)
        drained = _Once(roles)
        async with Lifecycle(stop_grace_s=60.0) as lifecycle:
            ours = registry(self.settings)
            if ours is not None:
                await lifecycle.start("registry", ours)
            control = ControlServer(
                self.settings.runtime_folder.control_socket, roles.status, self._stop(drained)
            )
            await lifecycle.start("control", control)
            lifecycle.spawn("watchdog", systemd.keep_alive())
            try:
                await self._until_stopped(roles, url, systemd)
            finally:
                systemd.stopping()
                await drained.stop()

    async def _until_stopped(self, roles: Roles, url: str, systemd: Systemd) -> None:
        starting = asyncio.ensure_future(roles.start())
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                await starting
                status = roles.status()
                if not roles.ready:
                    raise TransomError(_why_not_ready(status))
                systemd.ready()
                self.terminal.ready(url, status)
                await stopping
        finally:
            starting.cancel()
            stopping.cancel()

    def _stop(self, drained: "_Once") -> Callable[[], Any]:
        async def stop() -> None:
            self._stopping.set()
            await drained.stop()

        return stop

    def _roles(self, url: str, listener: socket.socket) -> Roles:
        settings = replace(self.settings, public_url=url)
        listeners = {LISTENER: listener}
        if self.wish.single_process:
            from transom.cli.single import SingleProcess

            return SingleProcess(settings, listeners)
        payload = settings.encode()
        entry, follower = "transom.cli.roles:enter", "transom.cli.roles:enter_follower"
        first, *more = api_names(settings)
        return Supervisor(
            [
                # The first has the files, so it is there before the others, and goes after them.
                RoleSpec(first, entry, 1, payload, listeners=listeners),
                *(RoleSpec(name, follower, 2, payload, listeners=listeners) for name in more),
                RoleSpec("worker", entry, 3, payload),
            ],
            preload=["transom.cli.roles"],
            random=random.random,
            report=self.terminal.changed,
            keep=[self.settings.data.lock_descriptor],
        )


class _Once:
    """Drains once, for whoever asks first; the others wait for the same drain."""

    def __init__(self, roles: Roles) -> None:
        self._roles = roles
        self._draining: asyncio.Future[None] | None = None

    async def stop(self) -> None:
        if self._draining is None:
            self._draining = asyncio.ensure_future(self._roles.stop())
        await asyncio.shield(self._draining)


def stop_signals() -> Iterator[signal.Signals]:
    """Those that ask us to drain and end: also the end of our terminal, but under nohup."""
    yield from (signal.SIGINT, signal.SIGTERM)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        yield signal.SIGHUP


def api_names(settings: Settings) -> tuple[str, ...]:
    """The processes of a family that serve the doors; the first owns the files that have one."""
    workers = settings.config.section(ApiConfig).workers
    return ("api", *(f"api-{number}" for number in range(2, workers + 1)))


def check_descriptors() -> None:
    """Before a loop is made, which would fail with less to say. Raises: ConfigError."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < DESCRIPTORS_LEAST:
        raise ConfigError(
            f"a process may open {soft} files here, and {DESCRIPTORS_LEAST} are needed; run: "
            f"ulimit -n {DESCRIPTORS_LEAST * 4}"
        )


def check_processes(settings: Settings, *, single_process: bool) -> None:
    """Whether the configuration suits that many processes. Raises: ConfigError."""
    bus_security(settings)
    if single_process:
        if len(api_names(settings)) > 1:
            raise ConfigError(
                "[api] workers are processes of their own; leave --single-process out, or set "
                "[api] workers = 1"
            )
    elif settings.config.section(BusConfig).url.startswith(MEMORY_BUS):
        raise ConfigError(
            f"[bus] url = {MEMORY_BUS!r} is a bus within one process, and each role has its own; "
            "leave [bus] url out, or start `transom up --single-process`"
        )
    queue = settings.config.section(QueueConfig)
    largest = queue.max_messages_per_claim * queue.max_messages_post_bytes
    if len(api_names(settings)) > 1 and largest > CLAIM_BYTES_MOST:
        raise ConfigError(
            f"[queue] max_messages_per_claim times max_messages_post_bytes is {largest} bytes; "
            f"with several [api] workers one claim may hold {CLAIM_BYTES_MOST}: lower one of both"
        )


def door_url(scheme: str, host: str, listener: socket.socket) -> str:
    """What clients on this machine reach the doors by."""
    port = listener.getsockname()[1]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _why_not_ready(status: Mapping[str, Any]) -> str:
    names: dict[str, list[str]] = {}
    for role in status["roles"]:
        if "problem" in role:
            names.setdefault(role["problem"], []).append(role["name"])
    failed = [f"{', '.join(who)}: {problem}" for problem, who in names.items()]
    return "\n".join(failed) or "a role did not become ready; see the logs"
