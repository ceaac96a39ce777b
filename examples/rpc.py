# SPDX-License-Identifier: Apache-2.0
"""A server with two interfaces, and a client that calls, casts and is told of failures.

python examples/rpc.py [memory://bus | zmq:///folder]
"""

import asyncio
import sys
from collections.abc import Mapping
from typing import Any

from transom.errors import MessageUndeliverable, NotFound, RemoteError
from transom.messaging import Client, Server, Target, connect, expected_exceptions


class Scheduler:
    """The topic's own interface, version 1.2: callers may ask for 1.0 to 1.2."""

    target = Target(version="1.2")

    def __init__(self) -> None:
        self.refreshed = asyncio.Event()

    async def select_host(self, context: Mapping[str, Any], flavor: str) -> str:
        return "host2" if flavor == "m1.large" else "host1"

    @expected_exceptions(NotFound)
    async def describe(self, context: Mapping[str, Any], host: str) -> dict[str, Any]:
        if host != "host1":
            raise NotFound(f"there is no host {host}")
        return {"host": host, "asked_by": context["user_id"]}

    async def refresh(self, context: Mapping[str, Any]) -> None:
        self.refreshed.set()

    async def divide(self, context: Mapping[str, Any], by: int) -> float:
        return 1 / by


class Admin:
    """Another interface at the same topic, under a namespace."""

    target = Target(namespace="admin", version="1.0")

    def pause(self, context: Mapping[str, Any]) -> str:  # need not be async
        return "paused"


async def main(url: str) -> None:
    scheduler = Scheduler()
    async with (
        connect(url) as transport,
        Server(transport, Target(topic="scheduler", server="host1"), [scheduler, Admin()]),
    ):
        client = Client(transport, Target(topic="scheduler", version="1.1"), timeout_s=5)
        context = {"user_id": "ada"}

        print("call:", await client.call(context, "select_host", flavor="m1.large"))
        print("namespace:", await client.to(namespace="admin", version="1.0").call({}, "pause"))

        await client.to(fanout=True).cast(context, "refresh")
        async with asyncio.timeout(5):
            await scheduler.refreshed.wait()
        print("cast: every server of the topic has refreshed")

        print("described:", await client.call(context, "describe", host="host1"))
        try:
            await client.call(context, "describe", host="host9")
        except NotFound as error:  # an error of transom.errors comes back as itself
            print("not found:", error.text)
        try:
            await client.call(context, "divide", by=0)
        except RemoteError as error:  # any other as RemoteError, with its class's name
            print("remote:", error.exc_type)
        try:
            await client.to(server="host9").call(context, "select_host", flavor="m1.small")
        except MessageUndeliverable:  # at once, not after the timeout
            print("nobody serves host9")

        base = client.to(namespace="transom", version="1.0")  # every server answers this one
        print("ping:", await base.call({}, "ping"))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "memory://bus"))
