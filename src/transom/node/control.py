# SPDX-License-Identifier: Apache-2.0
"""The control socket of a running family: JSON lines, answered by the supervisor.

`{"command": "status"}` -> what `Supervisor.status` says; `{"command": "stop"}` -> after the drain
`{"stopped": true}`; anything else -> `{"error": "..."}` and the end of the connection.

Invariants:
1. Only the owner gets in: the socket is 0600, in a 0700 folder.
2. A request has `REQUEST_BYTES_MOST` bytes and `REQUEST_WAIT_S` seconds, and there are at most
   `CONNECTIONS_MOST` connections; who breaks that is cut off, and costs nothing more.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from transom.node.channel import encode_line

log = logging.getLogger(__name__)

REQUEST_BYTES_MOST = 4096
REQUEST_WAIT_S = 5.0
CONNECTIONS_MOST = 16


class ControlServer:
    """Serves the control socket. A `Service` (see `runtime.lifecycle`).

    `status`: the answer to a status request. `stop`: begins the drain (or joins it) and returns
    when every role has ended; this server must be stopped after that, so that the asker hears.
    """

    def __init__(
        self,
        path: Path,
        status: Callable[[], dict[str, Any]],
        stop: Callable[[], Awaitable[None]],
    ) -> None:
        self._path = path
        self._status = status
        self._stop = stop
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[Any]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(
            self._serve, self._path, limit=REQUEST_BYTES_MOST
        )
        self._path.chmod(0o600)

    async def stop(self) -> None:
        """Lets answers that are on their way leave, ends the other connections. Idempotent."""
        if self._server is None:
            return
        self._server.close()
        self._path.unlink(missing_ok=True)
        self._server = None
        if self._connections:
            _, idle = await asyncio.wait(self._connections, timeout=0.1)
            for connection in idle:
                connection.cancel()
            if idle:
                await asyncio.wait(idle, timeout=1.0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.current_task()
        if connection is None or len(self._connections) >= CONNECTIONS_MOST:
            writer.close()
            return
        self._connections.add(connection)
        try:
            await self._converse(reader, writer)
        except asyncio.IncompleteReadError:
            pass  # the asker has left, as it should
        except (OSError, asyncio.LimitOverrunError) as error:
            log.info("control connection cut off", extra={"reason": type(error).__name__})
        finally:
            self._connections.discard(connection)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            async with asyncio.timeout(REQUEST_WAIT_S):
                line = await reader.readuntil(b"\n")
            answer = await self._answer(line)
            writer.write(encode_line(answer))
            async with asyncio.timeout(REQUEST_WAIT_S):
                await writer.drain()
            if "error" in answer or "stopped" in answer:
                return

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            command = request["command"]
        except (ValueError, TypeError, KeyError, RecursionError):
            return {"error": 'a request is a line like {"command": "status"}'}
        match command:
            case "status":
                return self._status()
            case "stop":
                await self._stop()
                return {"stopped": True}
            case _:
                return {"error": "commands are status and stop"}
