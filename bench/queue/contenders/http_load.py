# SPDX-License-Identifier: Apache-2.0
"""Load on one port that speaks the queue's API: the same bytes for us and for Zaqar.

Reads {port, prefix, headers, queue, what, connections, seconds} as JSON from its input, prints what
it measured. `what`: `post 1`, `post 20`, `list 20`, `claim 20 and delete` (until the time is up, or
nothing waits any more), or `fill N`. Keep-alive connections, each with one request at a time.
`per_s`: requests are due at that rate, all connections together, and their times count from when
they were due; without it each follows the answer before it.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import uvloop

BODY = "x" * 138
CLIENT = "3381af92-2b9e-11e3-b191-71861300734c"
AT_ONCE = 500


class Link(asyncio.Protocol):
    """One connection; connects again where the server ends it between two requests."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._received = b""
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._transport: Any = None
        self.failed = 0

    async def open(self) -> "Link":
        await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", self._port)
        return self

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._received = b""

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError())

    def data_received(self, data: bytes) -> None:
        self._received = received = self._received + data
        end = received.find(b"\r\n\r\n")
        if end < 0:
            return
        status = int(received[9:12])
        length = 0
        if status != 204:
            at = received.lower().find(b"content-length: ", 0, end)
            length = int(received[at + 16 : received.index(b"\r", at)])
        if len(received) < end + 4 + length or self._answer is None or self._answer.done():
            return
        self._received = b""
        self._answer.set_result((status, received[end + 4 : end + 4 + length]))

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        if self._transport.is_closing():
            await self.open()
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            return await self._answer
        except ConnectionError:
            await self.open()
            return 0, b""


class Load:
    """The requests, and what came of them."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.told = told
        headers = {"Host": "127.0.0.1", "Client-ID": CLIENT, "Accept": "application/json"}
        headers |= {"Content-Type": "application/json", **told["headers"]}
        self._head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._queue = f"{told['prefix']}/v2/queues/{told['queue']}"
        self.took_s: list[float] = []
        self.messages = 0
        self.failed = 0
        self.empty = False

    def request(self, method: str, path: str, body: Any = None) -> bytes:
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {self._queue}{path} HTTP/1.1\r\n{self._head}"
        return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content

    def posted(self, number: int) -> bytes:
        messages = [{"body": BODY, "ttl": 3600}] * number
        return self.request("POST", "/messages", {"messages": messages})

    async def fill(self, number: int) -> None:
        link = await Link(self.told["port"]).open()
        for _ in range(0, number, AT_ONCE):
            status, answer = await link.ask(self.posted(AT_ONCE))
            if status != 201:
                raise SystemExit(f"the fill was refused: {status} {answer[:300]!r}")

    async def repeat(
        self, request: bytes, wanted: int, number: int, until_s: float, at: int
    ) -> None:
        """The same request again and again, on the connection number `at`."""
        link = await Link(self.told["port"]).open()
        due = self._due(at)
        while (began_s := await anext(due)) < until_s:
            status, _ = await link.ask(request)
            if status == wanted:
                self.took_s.append(time.perf_counter() - began_s)
                self.messages += number
            else:
                self.failed += 1

    async def _due(self, at: int) -> AsyncIterator[float]:
        """When each request of the connection begins."""
        per_s = self.told.get("per_s")
        due_s = time.perf_counter() + (at / per_s if per_s else 0)
        while True:
            if per_s:
                await asyncio.sleep(max(0, due_s - time.perf_counter()))
                yield due_s
                due_s += self.told["connections"] / per_s
            else:
                yield time.perf_counter()

    async def claim(self, until_s: float) -> None:
        """Claims 20 and deletes them with one request; one turn is both."""
        link = await Link(self.told["port"]).open()
        claim = self.request("POST", "/claims?limit=20", {"ttl": 300, "grace": 60})
        while not self.empty and (began_s := time.perf_counter()) < until_s:
            status, answer = await link.ask(claim)
            if status == 204:
                self.empty = True
                return
            if status != 201:
                self.failed += 1
                continue
            ids = [message["id"] for message in json.loads(answer)["messages"]]
            delete = self.request("DELETE", f"/messages?ids={','.join(ids)}")
            status, _ = await link.ask(delete)
            if status != 204:
                self.failed += 1
                continue
            self.took_s.append(time.perf_counter() - began_s)
            self.messages += len(ids)

    async def run(self) -> dict[str, Any]:
        what = self.told["what"]
        if what.startswith("fill "):
            await self.fill(int(what.removeprefix("fill ")))
            return {}
        began_s = time.perf_counter()
        until_s = began_s + self.told["seconds"]
        many = range(self.told["connections"])
        if what == "claim 20 and delete":
            await asyncio.gather(*(self.claim(until_s) for _ in many))
        else:
            request, wanted, number = {
                "post 1": (self.posted(1), 201, 1),
                "post 20": (self.posted(20), 201, 20),
                "list 20": (self.request("GET", "/messages?limit=20&echo=true"), 200, 20),
            }[what]
            await asyncio.gather(
                *(self.repeat(request, wanted, number, until_s, at) for at in many)
            )
        lasted_s = time.perf_counter() - began_s
        took = sorted(self.took_s) or [0.0]
        return {
            "done": len(self.took_s),
            "per_s": len(self.took_s) / lasted_s,
            "messages_per_s": self.messages / lasted_s,
            "p50_ms": took[len(took) // 2] * 1000,
            "p99_ms": took[len(took) * 99 // 100] * 1000,
            "failed": self.failed,
            "emptied": self.empty,
        }


def run() -> None:
    print(json.dumps(uvloop.run(Load(json.load(sys.stdin)).run())))


run()
