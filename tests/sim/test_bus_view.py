"""What `transom bus` says of live tables: where feeds and replicas stand, and who lags."""

import asyncio
from typing import Any

from transom.cli.bus import _text
from transom.errors import Unavailable
from transom.messaging.proto.feed import Change
from transom.messaging.tables import MemoryFeed, TablePublisher, TableReplica
from transom.messaging.transport import Transport
from transom.node.node import Description, Node

from support.tables import bus, consuming, of, rows
from virtual import run_virtual


async def said(transport: Transport) -> tuple[dict[str, Any], list[str]]:
    """By whoever runs on the transport; as JSON, and what its text says of feeds and replicas."""
    node = await Description(Node("one", transport)).describe({})
    lines = [line.strip() for line in _text([node])]
    return node, [line for line in lines if line.startswith(("feeds", "follows"))]


def test_it_says_where_feeds_and_replicas_stand_and_what_is_wanted() -> None:
    async def main() -> None:
        async with bus(1) as (owner, reader):
            feed = MemoryFeed(7, ["a", "b"])
            feed.replace({"a": rows(x=1), "b": rows()})
            async with TablePublisher(owner, "source", feed) as publisher:
                assert (await said(owner))[1] == ["feeds   source: epoch 7, n 1, wanted by nobody"]
                async with consuming(TableReplica(reader, "source", ["a"])) as consumer:
                    assert (await said(reader))[1] == ["follows source: loading"]
                    await consumer.until(of("a", rows(x=1)))
                    made = feed.change([Change("a", ("x",), None)])
                    assert made is not None
                    await publisher.send(made)
                    await consumer.until({})
                    node, lines = await said(reader)
                    assert lines[0].startswith("follows source: live, epoch 7, n 2, verified 0.")
                    assert 0 <= node["replicas"][0]["age_s"] < 1.1
                    node, lines = await said(owner)
                    assert lines == ["feeds   source: epoch 7, n 2, wanted: a by 1"]
                    assert node["replicas"] == []
            async with consuming(TableReplica(reader, "nowhere", ["a"])):
                await asyncio.sleep(10)
                assert (await said(reader))[1] == ["follows nowhere: loading"]

    run_virtual(main, seed=1)


def test_a_feed_that_cannot_say_where_it_stands_hides_nothing_else() -> None:
    class Away(MemoryFeed):
        async def head(self) -> Any:
            raise Unavailable("its database is away")

    async def main() -> None:
        async with (
            bus(1) as (owner, _),
            TablePublisher(owner, "away", Away(1, ["a"])),
            TablePublisher(owner, "there", MemoryFeed(1, ["a"])),
        ):
            assert (await said(owner))[1] == [
                "feeds   away: cannot say where it stands, wanted by nobody",
                "feeds   there: epoch 1, n 0, wanted by nobody",
            ]

    run_virtual(main, seed=1)
