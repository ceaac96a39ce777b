"""Live tables between transports of their own over `zmq://`, with the registry between them."""

import asyncio

from transom import messaging
from transom.messaging.proto.feed import Change, ChangeSet, Live
from transom.messaging.tables import MemoryFeed, TablePublisher, TableReplica

from support.zmq_bus import zmq_bus

WAIT_S = 20.0


async def test_replicas_over_zmq_load_follow_and_survive_a_new_owner() -> None:
    async with zmq_bus() as bus:
        url = f"zmq://{bus.folder}"
        async with (
            messaging.connect(url) as reader,
            TableReplica(reader, "source", ["a"]) as replica,
        ):
            rows: dict[tuple[str, ...], object] = {}
            async with messaging.connect(url) as owner:
                feed = MemoryFeed(1, ["a"])
                feed.replace({"a": {(f"k{n}",): {"n": n} for n in range(1200)}})
                async with TablePublisher(owner, "source", feed) as publisher:
                    await follow(replica, rows, 1200)
                    made = feed.change([Change("a", ("new",), {"n": -1})])
                    assert made is not None
                    await publisher.send(made)
                    await follow(replica, rows, 1201)
                    feed.change([Change("a", ("never sent",), {"n": -2})])
                    await follow(replica, rows, 1202)
            async with messaging.connect(url) as owner:
                feed = MemoryFeed(2, ["a"])
                feed.replace({"a": {("k0",): {"n": 0}, ("other",): {"n": 5}}})
                async with TablePublisher(owner, "source", feed):
                    await follow(replica, rows, 2)
            assert rows == {("k0",): {"n": 0}, ("other",): {"n": 5}}


async def follow(replica: TableReplica, rows: dict[tuple[str, ...], object], count: int) -> None:
    """Until there are `count` rows and the replica is live."""
    async with asyncio.timeout(WAIT_S):
        while len(rows) != count or not isinstance(replica.state, Live):
            item = await anext(replica)
            if isinstance(item, ChangeSet):
                for change in item.changes:
                    if change.row is None:
                        del rows[change.key]
                    else:
                        rows[change.key] = change.row
