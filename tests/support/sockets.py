"""A client of the queue's WebSocket: frames out, frames in, as Zaqar's clients make them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from support.http import PATIENCE_S

CLIENT = "3381af92-2b9e-11e3-b191-71861300734c"
PATH = "/queue/v2/websocket"


class SocketClient:
    """`binary`: MessagePack is spoken."""

    def __init__(self, connection: ClientConnection, *, binary: bool = False) -> None:
        self.connection = connection
        self.binary = binary
        self.pushed: list[Any] = []

    async def send(self, frame: Any) -> None:
        if self.binary:
            await self.connection.send(msgspec.msgpack.encode(frame))
        else:
            await self.connection.send(json.dumps(frame))

    async def receive(self) -> Any:
        async with asyncio.timeout(PATIENCE_S):
            came = await self.connection.recv()
        assert isinstance(came, bytes) == self.binary, came
        return msgspec.msgpack.decode(came) if isinstance(came, bytes) else json.loads(came)

    async def ask(
        self, action: str, body: Any = None, *, client: str | None = CLIENT, **headers: Any
    ) -> tuple[int, Any]:
        """Status and body. What is pushed meanwhile is kept in `pushed`."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if client is not None:
            given["Client-ID"] = client
        frame: dict[str, Any] = {"action": action, "headers": given}
        if body is not None:
            frame["body"] = body
        await self.send(frame)
        while "request" not in (came := await self.receive()):
            self.pushed.append(came)
        assert came["request"]["action"] == action
        return came["headers"]["status"], came["body"]

    async def must(self, action: str, body: Any = None, **headers: Any) -> Any:
        status, answered = await self.ask(action, body, **headers)
        assert status < 300, (action, status, answered)
        return answered

    async def sign_in(self, token: str) -> int:
        return (await self.ask("authenticate", X_Auth_Token=token))[0]

    async def push(self) -> Any:
        if self.pushed:
            return self.pushed.pop(0)
        came = await self.receive()
        assert "request" not in came, came
        return came

    async def closed(self) -> tuple[int, str]:
        """The code and reason that the server closes with."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                while True:
                    self.pushed.append(await self.connection.recv())
            except ConnectionClosed as error:
                return (error.rcvd.code, error.rcvd.reason) if error.rcvd else (1006, "")


@asynccontextmanager
async def socket(
    base_url: str, token: str | None = None, *, binary: bool = False, **options: Any
) -> AsyncIterator[SocketClient]:
    """`token`: shown in the handshake."""
    if token is not None:
        options["additional_headers"] = {"x-auth-token": token}
    address = base_url.replace("http", "ws", 1) + PATH
    async with connect(
        address, compression=None, open_timeout=PATIENCE_S, max_size=None, **options
    ) as connection:
        yield SocketClient(connection, binary=binary)
