# SPDX-License-Identifier: Apache-2.0
"""A live table: its owner publishes what changes, a replica elsewhere has the same rows.

python examples/live_table.py [memory://bus | zmq:///folder]
"""

import asyncio
import sys
from typing import Any

from transom.messaging import TablePublisher, TableReplica, connect
from transom.messaging.proto.feed import ChangeSet, Key, Live
from transom.messaging.tables import MemoryFeed

TABLE = "lab:hosts"


class Rows:
    """The consumer owns the rows: a replica only says what to do to them."""

    def __init__(self) -> None:
        self.rows: dict[Key, dict[str, Any]] = {}
        self.changed = asyncio.Condition()

    async def follow(self, replica: TableReplica) -> None:
        async for item in replica:
            async with self.changed:
                if isinstance(item, ChangeSet):
                    for change in item.changes:  # as one: they changed together
                        if change.row is None:
                            self.rows.pop(change.key, None)
                        else:
                            self.rows[change.key] = dict(change.row)
                    print(f"step {item.n}: {self.text()}")
                else:
                    print("live" if isinstance(item, Live) else "stale")
                self.changed.notify_all()

    async def until(self, text: str) -> None:
        async with asyncio.timeout(10), self.changed:
            await self.changed.wait_for(lambda: self.text() == text)

    def text(self) -> str:
        return ", ".join(f"{key[0]} {row['state']}" for key, row in sorted(self.rows.items()))


async def main(url: str) -> None:
    # `epoch` rises each time another process becomes the owner; a lease's generation serves.
    feed = MemoryFeed(epoch=1, tables=[TABLE])
    feed.replace({TABLE: {("host1",): {"state": "up"}, ("host2",): {"state": "up"}}})
    rows = Rows()
    async with (
        connect(url) as transport,
        TablePublisher(transport, "lab", feed) as publisher,
        TableReplica(transport, source="lab", tables=[TABLE]) as replica,
    ):
        following = asyncio.create_task(rows.follow(replica))
        await rows.until("host1 up, host2 up")
        # A poll's whole result goes in; what comes out is the difference, or None.
        polled = {("host1",): {"state": "up"}, ("host2",): {"state": "down"}}
        for found in (polled, polled, {("host1",): {"state": "up"}}):
            difference = feed.replace({TABLE: found})
            if difference is not None:
                await publisher.send(difference)
        await rows.until("host1 up")
        following.cancel()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "memory://bus"))
