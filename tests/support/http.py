"""A served application and a small raw client, for tests of doors.

`serve(app)` runs an application on a free loopback port; `ask` sends one request; `exchange` sends
bytes as they are and gives back all that came; `Tokens` stands in for token validation.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from transom.errors import Unauthorized
from transom.runtime.auth.context import Context
from transom.runtime.http.limits import HttpLimits
from transom.runtime.http.listen import bind
from transom.runtime.http.server import HttpServer

PATIENCE_S = 20.0


class Tokens:
    """Knows the contexts that it was given; every other token is Unauthorized."""

    def __init__(self, known: Mapping[str, Context]) -> None:
        self.known = dict(known)

    def cached(self, token: str) -> Context | None:
        return self.known.get(token)

    async def validate(self, token: str) -> Context:
        raise Unauthorized

    async def validate_for(self, service_token: str, token: str) -> Context:
        raise Unauthorized


@asynccontextmanager
async def serve(
    app: Any, limits: HttpLimits | None = None, tls: Callable[[], ssl.SSLContext] | None = None
) -> AsyncIterator[str]:
    """Serves until the block ends; gives the base URL, without a slash at its end."""
    listening = bind("127.0.0.1", 0)
    server = HttpServer(app, [listening], limits, tls=tls)
    await server.start()
    try:
        scheme = "http" if tls is None else "https"
        yield f"{scheme}://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        await server.stop()
        listening.close()


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


async def connect(base_url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(base_url)
    return await asyncio.open_connection(parts.hostname, parts.port)


async def read_reply(reader: asyncio.StreamReader, method: str = "GET") -> Reply:
    """The next reply of a connection. Raises: IncompleteReadError if it ends first."""
    async with asyncio.timeout(PATIENCE_S):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status_line, *lines = head.strip().split("\r\n")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        status = int(status_line.split()[1])
        body = b""
        if method == "HEAD" or status in (204, 304):
            pass
        elif headers.get("transfer-encoding") == "chunked":
            body = await _chunks(reader)
        else:
            body = await reader.readexactly(int(headers["content-length"]))
        return Reply(status, headers, body)


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int(await reader.readline(), 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readexactly(2)
    return body


def request_bytes(
    method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "host: test"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body is not None:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


async def ask(
    base_url: str,
    method: str,
    path: str,
    headers: Mapping[str, str] | None = None,
    *,
    json_body: Any = None,
    body: bytes | None = None,
    token: str | None = None,
) -> Reply:
    """One request on a connection of its own. The path is sent as it is given."""
    sent = dict(headers or {})
    if token is not None:
        sent["x-auth-token"] = token
    if json_body is not None:
        body = json.dumps(json_body).encode()
        sent.setdefault("content-type", "application/json")
    reader, writer = await connect(base_url)
    try:
        writer.write(request_bytes(method, path, sent, body))
        await writer.drain()
        return await read_reply(reader, method)
    finally:
        await hang_up(writer)


async def exchange(base_url: str, sent: bytes, *, end: bool = True) -> bytes:
    """Sends the bytes and reads until the other side closes. `end`: shuts our side after them."""
    reader, writer = await connect(base_url)
    try:
        writer.write(sent)
        if end:
            writer.write_eof()
        async with asyncio.timeout(PATIENCE_S):
            return await reader.read()
    finally:
        await hang_up(writer)


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError, TimeoutError):
        await writer.wait_closed()
