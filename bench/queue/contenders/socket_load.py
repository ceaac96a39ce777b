# SPDX-License-Identifier: Apache-2.0
"""Load on the queue's WebSocket, as `http_load` is on its HTTP.

Reads {port, prefix, headers, queue, what, connections, seconds, window, binary} as JSON from its
input, prints what it measured. `window`: requests under way on each connection. `binary`:
MessagePack, otherwise JSON. Every frame is masked by a key of zeros, which costs the client nothing
and the server what any other does.
"""

import asyncio
import base64
import json
import os
import sys
import time
from collections import deque
from typing import Any

import msgspec
import uvloop

BODY = "x" * 138
CLIENT = "3381af92-2b9e-11e3-b191-71861300734c"


class Link(asyncio.Protocol):
    """One socket. Answers come in the order of their requests, all being on one queue."""

    def __init__(self, told: dict[str, Any]) -> None:
        self._told = told
        self._first = 0x82 if told["binary"] else 0x81
        self._received = bytearray()
        self._waiting: deque[asyncio.Future[bytes]] = deque()
        self._transport: Any = None
        self._opened = asyncio.get_running_loop().create_future()

    async def open(self) -> "Link":
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self, "127.0.0.1", self._told["port"])
        key = base64.b64encode(os.urandom(16)).decode()
        headers = {
            "Host": "127.0.0.1", "Upgrade": "websocket", "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": key, **self._told["headers"],
        }  # fmt: skip
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        path = f"{self._told['prefix']}/v2/websocket"
        self._transport.write(f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode())
        await self._opened
        return self

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        for future in (self._opened, *self._waiting):
            if not future.done():
                future.set_exception(ConnectionError("the server hung up"))

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        if not self._opened.done():
            end = received.find(b"\r\n\r\n")
            if end < 0:
                return
            if not received.startswith(b"HTTP/1.1 101"):
                raise SystemExit(f"no socket was opened: {bytes(received)!r}")
            del received[: end + 4]
            self._opened.set_result(None)
        at = 0
        while len(received) >= at + 2:
            size, start = received[at + 1], at + 2
            if size == 126:
                size, start = int.from_bytes(received[at + 2 : at + 4], "big"), at + 4
            elif size == 127:
                size, start = int.from_bytes(received[at + 2 : at + 10], "big"), at + 10
            if len(received) < start + size:
                break
            if received[at] == self._first:
                self._waiting.popleft().set_result(bytes(received[start : start + size]))
            at = start + size
        del received[:at]

    def framed(self, payload: bytes) -> bytes:
        size = len(payload)
        if size < 126:
            head = bytes([self._first, 0x80 | size])
        elif size < 65536:
            head = bytes([self._first, 0xFE]) + size.to_bytes(2, "big")
        else:
            head = bytes([self._first, 0xFF]) + size.to_bytes(8, "big")
        return head + b"\0\0\0\0" + payload

    def ask(self, frame: bytes) -> "asyncio.Future[bytes]":
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._transport.write(frame)
        return future


class Load:
    """The requests, and what came of them."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.told = told
        codec = msgspec.msgpack if told["binary"] else msgspec.json
        self._encode, self._decode = codec.encode, codec.decode
        self.took_s: list[float] = []
        self.messages = 0
        self.failed = 0
        self.empty = False

    def payload(self, action: str, **body: Any) -> bytes:
        body = {"queue_name": self.told["queue"], **body}
        headers = {"Client-ID": CLIENT}
        return self._encode({"action": action, "id": 1, "headers": headers, "body": body})

    def is_good(self, answer: bytes, status: int) -> bool:
        if self.told["binary"]:
            return b"\xa6status\xcc" + bytes([status]) in answer
        return b'"status":%d' % status in answer

    async def repeat(self, link: Link, frame: bytes, status: int, n: int, until_s: float) -> None:
        while (began_s := time.perf_counter()) < until_s:
            if self.is_good(await link.ask(frame), status):
                self.took_s.append(time.perf_counter() - began_s)
                self.messages += n
            else:
                self.failed += 1

    async def claim(self, link: Link, until_s: float) -> None:
        claim = link.framed(self.payload("claim_create", limit=20, ttl=300, grace=60))
        while not self.empty and (began_s := time.perf_counter()) < until_s:
            answer = self._decode(await link.ask(claim))
            if answer["headers"]["status"] != 201:
                self.empty = answer["headers"]["status"] == 204
                self.failed += not self.empty
                continue
            ids = [message["id"] for message in answer["body"]["messages"]]
            delete = link.framed(self.payload("message_delete_many", message_ids=ids))
            if self.is_good(await link.ask(delete), 204):
                self.took_s.append(time.perf_counter() - began_s)
                self.messages += len(ids)
            else:
                self.failed += 1

    async def run(self) -> dict[str, Any]:
        told = self.told
        links = [await Link(told).open() for _ in range(told["connections"])]
        post = {"post 1": 1, "post 20": 20}.get(told["what"], 0)
        began_s = time.perf_counter()
        until_s = began_s + told["seconds"]
        work = []
        for link in links:
            for _ in range(told["window"]):
                if told["what"] == "claim 20 and delete":
                    work.append(self.claim(link, until_s))
                elif post:
                    messages = [{"body": BODY, "ttl": 3600}] * post
                    frame = link.framed(self.payload("message_post", messages=messages))
                    work.append(self.repeat(link, frame, 201, post, until_s))
                else:
                    frame = link.framed(self.payload("message_list", limit=20, echo=True))
                    work.append(self.repeat(link, frame, 200, 20, until_s))
        await asyncio.gather(*work)
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


if __name__ == "__main__":
    print(json.dumps(uvloop.run(Load(json.load(sys.stdin)).run())))
