# SPDX-License-Identifier: Apache-2.0
"""The HTTP server of a process: listening sockets and their connections.

Invariants:
1. Signals are the process's own business; nothing here touches them.
2. The sockets are the caller's: they are duplicated, so stopping leaves them listening and what the
   kernel has queued on a shared one goes to another process.
3. A stop lets every request that was taken be answered, waits no longer than `drain_s`, and leaves
   no connection.
4. There are never more connections than file descriptors for them, less a reserve for the rest of
   the process: accepting never fails for want of one (libuv, when it does, closes what it
   accepts).
"""

import asyncio
import logging
import os
import resource
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from email.utils import formatdate

from transom.runtime.http.cycle import Application
from transom.runtime.http.handshake import SecuredListener
from transom.runtime.http.limits import HttpLimits
from transom.runtime.http.protocol import BoundedProtocol, Shared
from transom.runtime.http.request_ids import request_ids
from transom.runtime.ids import Randomness

log = logging.getLogger(__name__)

SWEEP_S = 0.25
DESCRIPTORS_RESERVED = 128


class HttpServer:
    """A `lifecycle.Service` that serves one application on listening sockets."""

    def __init__(
        self,
        app: Application,
        sockets: Sequence[socket.socket],
        limits: HttpLimits | None = None,
        *,
        random: Randomness = os.urandom,
        tls: Callable[[], ssl.SSLContext] | None = None,
        on_drain: Callable[[], None] = lambda: None,
    ) -> None:
        """`tls`: the context of the next handshake; without it, HTTP is spoken plainly.

        `on_drain` is called by `stop` when no connection is accepted any more, before the wait
        for the requests that were taken.
        """
        self._app = app
        self._sockets = sockets
        self._limits = limits or HttpLimits()
        self._random = random
        self._tls = tls
        self._on_drain = on_drain
        self._servers: list[asyncio.Server | SecuredListener] = []
        self._shared: Shared | None = None
        self._sweeping: asyncio.TimerHandle | None = None

    @property
    def connections(self) -> int:
        return 0 if self._shared is None else len(self._shared.connections)

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        limits = within_descriptors(self._limits)
        shared = Shared(limits, request_ids(self._random), loop.time())
        self._shared = shared
        self._sweep()
        tls = self._tls

        def plain() -> BoundedProtocol:
            return BoundedProtocol(self._app, shared)

        for listening in self._sockets:
            own = listening.dup()
            if tls is None:
                server = await loop.create_server(plain, sock=own, backlog=limits.backlog)
                self._servers.append(server)
            else:
                self._servers.append(SecuredListener(own, plain, tls, shared))

    async def stop(self) -> None:
        shared = self._shared
        if shared is None:
            return
        for _ in range(3):  # what the kernel has accepted or received by now still counts
            await asyncio.sleep(0)
        shared.draining = True
        for server in self._servers:
            server.close()
        for connection in list(shared.connections):
            connection.shutdown()
        self._on_drain()
        await self._drained(shared)
        if self._sweeping is not None:
            self._sweeping.cancel()
        self._shared = None
        self._servers.clear()

    async def _drained(self, shared: Shared) -> None:
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self._limits.drain_s
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until_s):
                while shared.connections:
                    shared.connection_lost.clear()
                    await shared.connection_lost.wait()
                if shared.tasks or shared.socket_tasks:  # their callers are gone already
                    await asyncio.wait([*shared.tasks, *shared.socket_tasks])
        tasks = [*shared.tasks, *shared.socket_tasks]
        if tasks:
            log.warning("requests cut off by the stop", extra={"requests": len(tasks)})
        for task in tasks:
            task.cancel()
        for connection in list(shared.connections):
            connection.transport.abort()
        if tasks:
            await asyncio.wait(tasks, timeout=1.0)
        await asyncio.sleep(0)

    def _sweep(self) -> None:
        """Moves the shared clock on and looks at every connection's deadline."""
        shared = self._shared
        if shared is None:
            return
        loop = asyncio.get_running_loop()
        now_s = shared.now_s = loop.time()
        shared.common_headers = b"date: %b\r\n" % formatdate(usegmt=True).encode()
        for connection in list(shared.connections):
            connection.check(now_s)
        self._sweeping = loop.call_later(SWEEP_S, self._sweep)


def within_descriptors(limits: HttpLimits) -> HttpLimits:
    """The limits, with no more connections than the process has file descriptors for."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return limits
    room = max(1, soft - DESCRIPTORS_RESERVED)
    if room >= limits.connections_max:
        return limits
    fields = {"connections": room, "wanted": limits.connections_max, "descriptors": soft}
    log.warning("fewer connections than configured: the descriptor limit is low", extra=fields)
    return replace(limits, connections_max=room)
