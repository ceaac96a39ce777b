"""Schemas: what is added is read by both sides, what is not is refused, whoever is newer."""

import asyncio
from dataclasses import replace
from random import Random

import pytest

from transom.errors import InvalidEnvelope, NoSuchMethod
from transom.messaging.drivers.memory import Faults, MemoryBus
from transom.messaging.proto.feed import Live, Loading, Row
from transom.messaging.schema import (
    Audience,
    Column,
    ColumnKind,
    SchemaRefused,
    Table,
    check_readable,
    decode_tables,
    encode_tables,
    fingerprint,
)
from transom.messaging.tables import MemoryFeed, TablePublisher, TableReplica, _Served

from support.tables import Consumer, bus, consuming
from virtual import run_virtual

NAME = Column("name", ColumnKind.TEXT, "Its name.")
SIZE = Column("size", ColumnKind.INTEGER, "Its size.")
COLOUR = Column("colour", ColumnKind.TEXT, "Its colour.")
ONE = Table("part:thing", (NAME, SIZE), ("name",), None, Audience.ADMIN, 1)
TWO = replace(ONE, columns=(NAME, SIZE, COLOUR), version=2)
WRONG = replace(ONE, columns=(NAME, replace(SIZE, kind=ColumnKind.TEXT)), version=2)
OLD_ROW: Row = {"name": "x", "size": 1}
NEW_ROW: Row = {"name": "x", "size": 1, "colour": "red"}


def feed_with(row: Row, epoch: int = 1) -> MemoryFeed:
    feed = MemoryFeed(epoch, [ONE.name])
    feed.replace({ONE.name: {("x",): row}})
    return feed


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("published", "read", "row"),
    [(ONE, ONE, OLD_ROW), (TWO, ONE, NEW_ROW), (ONE, TWO, OLD_ROW), (None, TWO, OLD_ROW)],
    ids=["same", "newer publisher", "older publisher", "one that tells no schemas"],
)
def test_neighbouring_versions_work_together(
    published: Table | None, read: Table, row: Row, seed: int
) -> None:
    async def main() -> None:
        async with bus(seed) as (owner, reader):
            schemas = [published] if published else []
            replica = TableReplica(reader, "part", [ONE.name], schemas=[read])
            async with (
                TablePublisher(owner, "part", feed_with(row), schemas=schemas),
                consuming(replica) as consumer,
            ):
                await consumer.until({(ONE.name, ("x",)): row}, within_s=3)

    run_virtual(main, seed)


@pytest.mark.parametrize("seed", range(5))
def test_a_publisher_that_was_upgraded_under_a_replica_is_read_on(seed: int) -> None:
    async def main() -> None:
        async with bus(seed) as (owner, reader):
            replica = TableReplica(reader, "part", [ONE.name], schemas=[ONE])
            async with consuming(replica) as consumer:
                async with TablePublisher(owner, "part", feed_with(OLD_ROW), schemas=[ONE]):
                    await consumer.until({(ONE.name, ("x",)): OLD_ROW})
                async with TablePublisher(owner, "part", feed_with(NEW_ROW, 2), schemas=[TWO]):
                    await consumer.until({(ONE.name, ("x",)): NEW_ROW}, within_s=6)

    run_virtual(main, seed)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("at_first", [True, False])
def test_an_incompatible_publisher_is_refused_before_a_row_of_it_is_read(
    seed: int, at_first: bool
) -> None:
    async def main() -> None:
        async with bus(seed) as (owner, reader):
            draws = Random(seed)
            MemoryBus.named("bus").faults = Faults(
                draws, drop=0.2, duplicate=0.2, delay_s=0.5, reorder=0.5
            )
            replica = TableReplica(reader, "part", [ONE.name], schemas=[ONE])
            consumer = Consumer(replica)
            async with replica:
                running = asyncio.ensure_future(consumer.run())
                if not at_first:
                    feed = feed_with(OLD_ROW)
                    async with TablePublisher(owner, "part", feed, schemas=[ONE]):
                        await consumer.until({(ONE.name, ("x",)): OLD_ROW})
                wrong = feed_with({"name": "x", "size": "large"}, 2)
                async with TablePublisher(owner, "part", wrong, schemas=[WRONG]) as publisher:
                    made = wrong.replace({ONE.name: {("y",): {"name": "y", "size": "small"}}})
                    assert made is not None
                    await publisher.send(made)
                    with pytest.raises(SchemaRefused, match="size is text there and integer here"):
                        async with asyncio.timeout(60):
                            await running
                expected = {} if at_first else {(ONE.name, ("x",)): OLD_ROW}
                assert consumer.rows == expected

    run_virtual(main, seed)


def test_a_table_that_is_not_published_yet_is_waited_for() -> None:
    other = replace(ONE, name="part:other")

    async def main() -> None:
        async with bus(1) as (owner, reader):
            replica = TableReplica(reader, "part", [ONE.name], schemas=[ONE])
            async with consuming(replica) as consumer:
                feed = MemoryFeed(1, [other.name])
                async with TablePublisher(owner, "part", feed, schemas=[other]):
                    await asyncio.sleep(30)
                    assert isinstance(replica.state, Loading)
                async with TablePublisher(owner, "part", feed_with(OLD_ROW, 2), schemas=[ONE]):
                    await consumer.until({(ONE.name, ("x",)): OLD_ROW}, within_s=10)

    run_virtual(main, 1)


def test_a_publisher_of_the_version_before_schemas_hears_no_wish_and_serves_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for method in ("want", "schemas", "describe"):
        monkeypatch.delattr(_Served, method)

    async def main() -> None:
        async with (
            bus(1) as (owner, reader),
            TablePublisher(owner, "part", feed_with(OLD_ROW)),
            consuming(TableReplica(reader, "part", schemas=[TWO])) as consumer,
        ):
            await consumer.until({(ONE.name, ("x",)): OLD_ROW})
            with pytest.raises(NoSuchMethod):
                await consumer.replica._client.call({}, "schemas")
            await asyncio.sleep(20)
            assert isinstance(consumer.replica.state, Live)

    run_virtual(main, 1)


@pytest.mark.parametrize(
    ("published", "says"),
    [
        (replace(ONE, columns=(NAME,)), "column size is gone"),
        (replace(ONE, columns=(NAME,), version=2), "column size is gone"),
        (replace(TWO, version=1), "column colour is unknown here"),
        (replace(TWO, version=0), "column colour is unknown here"),
        (replace(TWO, key=("colour",)), "the key is colour there and name here"),
    ],
)
def test_what_is_no_addition_is_refused_by_name(published: Table, says: str) -> None:
    with pytest.raises(SchemaRefused, match=says):
        check_readable(ONE, published)


def test_schemas_come_in_as_they_went_out_and_what_is_newer_is_read_as_it_can_be() -> None:
    assert decode_tables(encode_tables([ONE, TWO])) == (ONE, TWO)
    coded = encode_tables([ONE])
    shape = {"name": "shape", "kind": "polygon", "newer": 1}
    coded[0]["columns"] = [*coded[0]["columns"], shape]
    coded[0]["audience"] = "domain"
    (table,) = decode_tables(coded)
    assert table.columns[-1].kind is ColumnKind.JSON
    assert table.audience is Audience.ADMIN
    with pytest.raises(InvalidEnvelope):
        decode_tables([{"name": "x"}])
    with pytest.raises(InvalidEnvelope):
        decode_tables([{"name": "x", "columns": [], "key": ["no"], "version": 1}])


def test_a_fingerprint_tells_forms_apart_and_heeds_no_order_and_no_words() -> None:
    worded = replace(ONE, columns=(SIZE, replace(NAME, meaning="Other words.")))
    assert fingerprint([ONE]) == fingerprint([worded])
    forms = [[ONE], [TWO], [WRONG], [ONE, replace(ONE, name="part:other")], []]
    assert len({fingerprint(form) for form in forms}) == len(forms)
