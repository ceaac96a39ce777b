# SPDX-License-Identifier: Apache-2.0
"""Load on one port: keep-alive connections, each asking again as soon as it is answered."""

import asyncio
import json
import re
import ssl
import sys

import uvloop

LENGTH = re.compile(rb"content-length: (\d+)")
TOKEN = "gAAAAABh" + "x" * 175
BODY = json.dumps(
    {
        **{f"text_{number:02}": f"value {number:02} of a field" for number in range(12)},
        **{f"count_{number:02}": number * 1000 for number in range(6)},
        "flag": True,
        "tags": ["a", "b", "c"],
    }
).encode()


class Caller(asyncio.Protocol):
    """One connection; `left` is shared by all."""

    left = 0
    failed = 0

    def __init__(self, request: bytes, done: asyncio.Future[None]) -> None:
        self.request = request
        self.done = done
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        if Caller.left <= 0:
            self.transport.close()
            return
        Caller.left -= 1
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.received += data
        head_end = self.received.find(b"\r\n\r\n")
        if head_end < 0:
            return
        found = LENGTH.search(self.received)
        if len(self.received) < head_end + 4 + int(found[1]):
            return
        if not self.received.startswith(b"HTTP/1.1 201 "):
            Caller.failed += 1
        self.received = b""
        self.ask()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


async def main(port: int, path: str, connections: int, requests: int, kind: str) -> None:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: load\r\n"
        f"Accept: application/json\r\nContent-Type: application/json\r\n"
        f"X-Auth-Token: {TOKEN}\r\nClient-ID: 3381af92-2b9e-11e3-b191-71861300734c\r\n"
        f"Content-Length: {len(BODY)}\r\n\r\n"
    )
    secured = None
    if kind == "secured":
        secured = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        secured.check_hostname, secured.verify_mode = False, ssl.CERT_NONE
    Caller.left = requests
    loop = asyncio.get_running_loop()
    ends = [loop.create_future() for _ in range(connections)]
    for end in ends:
        await loop.create_connection(
            lambda end=end: Caller(head.encode() + BODY, end), "127.0.0.1", port, ssl=secured
        )
    await asyncio.wait(ends, timeout=120)
    if Caller.failed or Caller.left > 0:
        sys.exit(f"{Caller.failed} answers were not 201, {Caller.left} requests not sent")


def run() -> None:
    """With the command line's arguments: PORT PATH CONNECTIONS REQUESTS KIND."""
    port, path, connections, requests, kind = sys.argv[1:]
    uvloop.run(main(int(port), path, int(connections), int(requests), kind))
