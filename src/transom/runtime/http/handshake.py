# SPDX-License-Identifier: Apache-2.0
"""Accepting connections that speak TLS.

Invariants:
1. A connection counts from its acceptance on: those that still shake hands hold a place among
   `connections_max`, and one too many is closed at once.
2. A handshake has `header_s`, as the headers after it; then it is cut off.
3. Where no descriptor is left for another connection, it waits in the kernel for `PAUSE_S`.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable

from transom.runtime.http.protocol import BoundedProtocol, Shared

log = logging.getLogger(__name__)

AT_ONCE = 16
GOODBYE_S = 2.0
PAUSE_S = 0.25


class SecuredListener:
    """Accepts from one socket, which it owns, until it is closed.

    `context`: of the next handshake.
    """

    def __init__(
        self,
        listening: socket.socket,
        make: Callable[[], BoundedProtocol],
        context: Callable[[], ssl.SSLContext],
        shared: Shared,
    ) -> None:
        self._listening = listening
        self._make = make
        self._context = context
        self._shared = shared
        self._loop = asyncio.get_running_loop()
        self._paused: asyncio.TimerHandle | None = None
        listening.setblocking(False)
        listening.listen(shared.limits.backlog)
        self._go_on()

    def close(self) -> None:
        """Accepts no more, and ends the handshakes under way."""
        if self._paused is not None:
            self._paused.cancel()
        self._loop.remove_reader(self._listening)
        self._listening.close()
        for handshake in list(self._shared.handshakes):
            handshake.cancel()

    def _go_on(self) -> None:
        self._paused = None
        self._loop.add_reader(self._listening, self._accept)

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            try:
                accepted, _ = self._listening.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return  # another process was quicker, or the caller has left
            except OSError as error:
                log.warning("connection not accepted", extra={"detail": str(error)})
                self._loop.remove_reader(self._listening)
                self._paused = self._loop.call_later(PAUSE_S, self._go_on)
                return
            self._begin(accepted)

    def _begin(self, accepted: socket.socket) -> None:
        shared = self._shared
        under_way = len(shared.handshakes) + len(shared.connections)
        if under_way >= shared.limits.connections_max:
            accepted.close()
            return
        accepted.setblocking(False)
        task = self._loop.create_task(self._shake(accepted))
        shared.handshakes.add(task)
        task.add_done_callback(shared.handshakes.discard)

    async def _shake(self, accepted: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(
                self._make,
                accepted,
                ssl=self._context(),
                ssl_handshake_timeout=self._shared.limits.header_s,
                ssl_shutdown_timeout=GOODBYE_S,
            )
        except (OSError, EOFError) as error:  # ssl.SSLError and timeouts are OSErrors
            log.debug("no handshake", extra={"detail": str(error)})
            accepted.close()
        except asyncio.CancelledError:
            accepted.close()
            raise
