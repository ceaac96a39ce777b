# SPDX-License-Identifier: Apache-2.0
"""A worker and an observer on the queue's WebSocket.

usage: python examples/queue_websocket.py ws://127.0.0.1:8720/queue/v2/websocket TOKEN
"""

import asyncio
import itertools
import sys
import uuid
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection, connect

HEADERS = {"Client-ID": str(uuid.uuid4())}
numbers = itertools.count()


async def ask(socket: ClientConnection, action: str, **body: Any) -> Any:
    """The body of the answer; one request at a time."""
    frame = {"action": action, "id": next(numbers), "headers": HEADERS, "body": body}
    await socket.send(msgspec.msgpack.encode(frame))
    answer = msgspec.msgpack.decode(await socket.recv())
    if answer["headers"]["status"] >= 400:
        raise RuntimeError(answer["body"]["error"])
    return answer["body"]


async def work(url: str, token: str) -> None:
    """Takes messages as they come; what it has not done when it dies is free at once."""
    async with connect(url, additional_headers={"X-Auth-Token": token}) as socket:
        for _ in range(2):
            claim = await ask(
                socket, "claim_create", queue_name="letters", ttl=300, limit=1, wait=30, bound=True
            )
            for message in claim.get("messages", ()):
                print("done:", message["body"]["to"])
                named = {"message_id": message["id"], "claim_id": claim["claim_id"]}
                await ask(socket, "message_delete", queue_name="letters", **named)


async def main(url: str, token: str) -> None:
    async with connect(url, additional_headers={"X-Auth-Token": token}) as socket:
        await ask(socket, "subscription_create", queue_name="letters")
        async with connect(url, additional_headers={"X-Auth-Token": token}) as poster:
            messages = [{"body": {"to": name}, "ttl": 300} for name in ("Ada", "Grace")]
            await ask(poster, "message_post", queue_name="letters", messages=messages)
        for _ in range(2):
            pushed = msgspec.msgpack.decode(await socket.recv())
            print("seen:", pushed["body"]["to"])
    await work(url, token)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
