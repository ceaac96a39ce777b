"""A subscriber that notes what it is sent and answers as it is told."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass(frozen=True)
class Received:
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


Behaviour = Callable[[Received], "web.StreamResponse | int"]


@dataclass
class Receiver:
    """`answer`: what a request is answered; a status, or a response."""

    url: str = ""
    received: list[Received] = field(default_factory=list)
    answer: Behaviour = lambda request: 204
    gate: asyncio.Event | None = None

    def bodies(self, path: str = "/") -> list[Any]:
        return [one.json()["body"] for one in self.received if one.path == path]

    async def until(self, number: int, path: str = "/", seconds: float = 20) -> None:
        """Returns when so many have come there."""
        async with asyncio.timeout(seconds):
            while sum(one.path == path for one in self.received) < number:
                await asyncio.sleep(0.01)


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """On a free loopback port."""
    receiver = Receiver()

    async def handle(request: web.Request) -> web.StreamResponse:
        got = Received(request.path, dict(request.headers), await request.read())
        receiver.received.append(got)
        if receiver.gate is not None:
            await receiver.gate.wait()
        answer = receiver.answer(got)
        return web.Response(status=answer) if isinstance(answer, int) else answer

    app = web.Application(client_max_size=1 << 24)
    app.router.add_route("*", "/{rest:.*}", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    receiver.url = f"http://127.0.0.1:{port}"
    try:
        yield receiver
    finally:
        if receiver.gate is not None:
            receiver.gate.set()
        await runner.cleanup()
