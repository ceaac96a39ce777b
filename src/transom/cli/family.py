# SPDX-License-Identifier: Apache-2.0
"""The process behind `transom up`: folder, socket, registry, supervisor, control socket.

Invariant: what was taken is let go in the reverse order, however starting or serving ends; the
registry outlives the roles, so that they can leave it.
"""

import asyncio
import os
import random
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Protocol

from transom.cli.logs import log_to_file
from transom.cli.settings import ApiConfig, BusConfig, Settings
from transom.errors import TransomError
from transom.node.control import ControlServer
from transom.node.folder import State
from transom.node.processes import RoleSpec
from transom.node.supervisor import RoleStatus, Supervisor
from transom.node.systemd import Systemd
from transom.runtime.clock import SystemClock
from transom.runtime.http.listen import bind
from transom.runtime.lifecycle import Lifecycle, Service

LISTENER = "http"


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
        with ExitStack() as taken:
            self.settings.data.take(waiting=self.terminal.waiting)
            taken.callback(self.settings.data.release)
            log_to_file(self.settings, "supervisor")
            api = self.settings.config.section(ApiConfig)
            host, port = self.wish.host or api.host, self.wish.port
            listener = taken.enter_context(
                bind(
                    host,
                    api.port if port is None else port,
                    force_plain=api.plain_http_anywhere,
                )
            )
            runtime = self.settings.runtime_folder
            runtime.make()
            taken.callback(runtime.remove)
            url = api.public_url or door_url(host, listener)
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
            if not self.settings.config.section(BusConfig).url:
                await lifecycle.start("registry", registry(self.settings))
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
        settings = Settings(self.settings.config, self.settings.data, self.settings.file, url)
        listeners = {LISTENER: listener}
        if self.wish.single_process:
            from transom.cli.single import SingleProcess

            return SingleProcess(settings, listeners)
        payload = settings.encode()
        entry = "transom.cli.roles:enter"
        return Supervisor(
            [
                RoleSpec("api", entry, 1, payload, listeners=listeners),
                RoleSpec("worker", entry, 2, payload),
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


def registry(settings: Settings) -> Service:
    """Who serves what on the embedded bus of the data folder."""
    from transom.messaging.drivers.zmq import RegistryServer

    return RegistryServer(settings.runtime_folder.path, clock=SystemClock())


def door_url(host: str, listener: socket.socket) -> str:
    """What clients on this machine reach the doors by."""
    port = listener.getsockname()[1]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _why_not_ready(status: Mapping[str, Any]) -> str:
    names: dict[str, list[str]] = {}
    for role in status["roles"]:
        if "problem" in role:
            names.setdefault(role["problem"], []).append(role["name"])
    failed = [f"{', '.join(who)}: {problem}" for problem, who in names.items()]
    return "\n".join(failed) or "a role did not become ready; see the logs"
