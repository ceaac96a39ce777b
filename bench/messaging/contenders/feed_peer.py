# SPDX-License-Identifier: Apache-2.0
"""A publisher or a replica of a table: `feed_peer.py publish|replicate|both|registry URL`."""

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

from lines import serve_async

from transom import messaging
from transom.messaging.proto.feed import Change, ChangeSet
from transom.messaging.tables import MemoryFeed, TablePublisher, TableReplica

Json = dict[str, Any]
SOURCE = "bench"
TABLE = "things"
WAIT_S = 60.0


def row(number: int) -> Json:
    return {"name": f"thing-{number}", "size": number, "status": "active", "owner": "p" * 32}


class Publishing:
    """Commands of who owns the rows."""

    def __init__(self, transport: messaging.Transport) -> None:
        self._feed = MemoryFeed(1, [TABLE])
        self._publisher = TablePublisher(transport, SOURCE, self._feed)
        self._next = 0

    async def fill(self, rows: int) -> None:
        self._feed.replace({TABLE: {(str(at),): row(at) for at in range(rows)}})
        await self._publisher.start()

    async def burst(self, sets: int, changes: int, sent: bool = True) -> Json:
        """So many change sets one after the other, as fast as they go; or made and not sent."""
        began_s = time.monotonic()
        for _ in range(sets):
            made = self._feed.change([self._change() for _ in range(changes)])
            if sent and made is not None:
                await self._publisher.send(made)
        return {"began_s": began_s, "took_s": time.monotonic() - began_s}

    def _change(self) -> Change:
        self._next += 1
        return Change(TABLE, (str(self._next % 1000),), {**row(self._next), "changed": self._next})


class Replicating:
    """Commands of who follows."""

    def __init__(self, transport: messaging.Transport) -> None:
        self._transport = transport
        self._replica: TableReplica | None = None
        self._task: asyncio.Task[None] | None = None

    async def load(self, rows: int) -> Json:
        """A new replica; seconds until it has so many rows."""
        await self.leave()
        self._sets = self._changes = 0
        self._first_s = self._last_s = 0.0
        began_s = time.monotonic()
        self._replica = TableReplica(self._transport, SOURCE, [TABLE])
        self._task = asyncio.ensure_future(self._follow(self._replica))
        await self._until(lambda: self._changes >= rows)
        return {"took_s": time.monotonic() - began_s}

    async def follow(self) -> None:
        """Counts from here."""
        self._sets = self._changes = 0

    async def heard(self, changes: int) -> Json:
        """When the first and the last of so many came, on the machine's monotonic clock."""
        await self._until(lambda: self._changes >= changes)
        return {"first_s": self._first_s, "last_s": self._last_s, "sets": self._sets}

    async def leave(self) -> None:
        if self._replica is not None and self._task is not None:
            await self._replica.stop()
            await self._task
            self._replica = None

    async def _follow(self, replica: TableReplica) -> None:
        async for item in replica:
            if isinstance(item, ChangeSet):
                self._last_s = time.monotonic()
                if not self._sets:
                    self._first_s = self._last_s
                self._sets += 1
                self._changes += len(item.changes)

    async def _until(self, holds: Any) -> None:
        async with asyncio.timeout(WAIT_S):
            while not holds():
                await asyncio.sleep(0.005)


def commands(*objects: object) -> Json:
    return {
        name: getattr(one, name) for one in objects for name in dir(one) if not name.startswith("_")
    }


async def main() -> None:
    role, url = sys.argv[1:]
    if role == "registry":
        from transom.messaging.drivers.zmq import RegistryServer
        from transom.runtime.clock import SystemClock

        registry = RegistryServer(Path(url.removeprefix("zmq://")), clock=SystemClock())
        await registry.start()
        await serve_async({})
        await registry.stop()
        return
    async with messaging.connect(url) as transport:
        follower = Replicating(transport)
        roles = {"publish": [Publishing(transport)], "replicate": [follower]}
        roles["both"] = [Publishing(transport), follower]
        await serve_async(commands(*roles[role]))
        await follower.leave()


asyncio.run(main())
