"""The volatile feed: differences, numbers, what is kept, pages."""

from random import Random

import pytest

from transom.messaging.proto.feed import (
    KEY_BYTES,
    OVERSIZE,
    ROW_BYTES,
    Change,
    KeyTooLarge,
    Row,
    TableIdle,
    VolatileFeed,
    encoded_row,
    row_hash,
)


def feed_of(count: int) -> VolatileFeed:
    feed = VolatileFeed(3, ["a", "b"])
    feed.change(Change("a", (f"{number:03}",), {"n": number}) for number in range(count))
    return feed


def test_a_new_feed_stands_at_zero_with_nothing() -> None:
    head = VolatileFeed(3, ["a"]).head()
    assert VolatileFeed(3, ["b", "a"]).tables == ("a", "b")
    assert (head.epoch, head.n, head.digest, head.tables) == (3, 0, 0, {"a": 0})


def test_replace_makes_one_step_of_the_difference() -> None:
    feed = VolatileFeed(1, ["a", "b"])
    feed.replace({"a": {("x",): {"v": 1}, ("y",): {"v": 2}}, "b": {("z",): {"v": 3}}})
    made = feed.replace({"a": {("y",): {"v": 9}, ("w",): {"v": 4}}, "b": {("z",): {"v": 3}}})
    assert made is not None
    assert made.n == 2
    assert {(change.key, change.row and change.row["v"]) for change in made.changes} == {
        (("x",), None),
        (("y",), 9),
        (("w",), 4),
    }


def test_what_changes_nothing_is_no_step() -> None:
    feed = feed_of(3)
    assert feed.change([Change("a", ("000",), {"n": 0}), Change("b", ("none",), None)]) is None
    assert feed.replace({"b": {}}) is None
    assert feed.head().n == 1


def test_true_and_one_are_different() -> None:
    feed = VolatileFeed(1, ["a"])
    feed.change([Change("a", ("k",), {"v": 1})])
    assert feed.change([Change("a", ("k",), {"v": True})]) is not None


def test_of_several_changes_to_a_row_the_last_counts() -> None:
    feed = VolatileFeed(1, ["a"])
    made = feed.change([Change("a", ("k",), {"v": 1}), Change("a", ("k",), {"v": 2})])
    assert made is not None
    assert [change.row for change in made.changes] == [{"v": 2}]


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (Change("unknown", ("k",), {}), KeyError),
        (Change("a", ("k" * (KEY_BYTES + 1),), {"v": 1}), KeyTooLarge),
    ],
)
def test_a_change_that_is_refused_changes_nothing(bad: Change, error: type[Exception]) -> None:
    feed = feed_of(2)
    before = feed.head()
    with pytest.raises(error):
        feed.change([Change("a", ("good",), {}), bad])
    assert feed.head() == before
    assert feed.row("a", ("good",)) is None


def test_the_digest_is_the_sum_over_the_rows_after_any_changes() -> None:
    draws, feed, truth = Random(1), VolatileFeed(1, ["a", "b"]), {}
    for _ in range(500):
        table, key = draws.choice("ab"), (draws.choice("klmnop"),)
        row: Row | None = draws.choice([None, {"v": draws.randrange(5)}])
        feed.change([Change(table, key, row)])
        truth.pop((table, key), None)
        if row is not None:
            truth[(table, key)] = row
    expected = sum(row_hash(table, key, row) for (table, key), row in truth.items()) % 2**128
    assert feed.head().digest == expected
    assert sum(feed.head().tables.values()) % 2**128 == expected


def test_since_answers_what_follows_in_order_up_to_the_limit() -> None:
    feed = VolatileFeed(1, ["a"])
    made = [feed.change([Change("a", ("k",), {"v": number})]) for number in range(5)]
    assert feed.since(1, 0, 100) == made
    assert feed.since(1, 2, 2) == made[2:4]
    assert feed.since(1, 5, 2) == []


def test_since_says_none_for_another_epoch_the_future_and_what_is_gone() -> None:
    feed = VolatileFeed(2, ["a"], ring_sets=3)
    for number in range(5):
        feed.change([Change("a", ("k",), {"v": number})])
    assert feed.since(1, 4, 10) is None
    assert feed.since(2, 6, 10) is None
    assert feed.since(2, 1, 10) is None
    assert [made.n for made in feed.since(2, 2, 10)] == [3, 4, 5]


def test_what_is_kept_is_bounded_in_bytes() -> None:
    feed = VolatileFeed(1, ["a"], ring_bytes=10_000)
    for number in range(50):
        feed.change([Change("a", ("k",), {"v": number, "b": "x" * 1000})])
    assert feed.since(1, 40, 100) is None
    assert len(feed.since(1, 42, 100)) == 8
    feed.change([Change("a", ("big",), {"b": "x" * 20_000})])
    assert feed.since(1, 50, 100) is None


def test_an_answer_is_bounded_in_bytes_but_never_empty() -> None:
    feed = VolatileFeed(1, ["a"])
    for number in range(12):
        feed.change([Change("a", ("k",), {"v": number, "b": "x" * 200_000})])
    assert [made.n for made in feed.since(1, 0, 100)] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_pages_give_every_row_once_in_order(limit: int) -> None:
    feed = feed_of(50)
    feed.change(Change("b", (f"{number:03}",), {}) for number in range(20))
    seen, after = [], None
    while True:
        chunk = feed.snapshot([], after, limit)
        assert len(chunk.rows) <= limit
        assert (chunk.epoch, chunk.n) == (3, 2)
        seen += [(row.table, row.key) for row in chunk.rows]
        after = chunk.after
        if after is None:
            break
    assert seen == [("a", (f"{n:03}",)) for n in range(50)] + [
        ("b", (f"{n:03}",)) for n in range(20)
    ]


def test_a_page_of_named_tables_has_only_those() -> None:
    feed = feed_of(5)
    feed.change([Change("b", ("x",), {})])
    assert {row.table for row in feed.snapshot(["b", "unknown"], None, 100).rows} == {"b"}


def test_a_page_goes_on_behind_a_row_that_is_gone() -> None:
    feed = feed_of(5)
    first = feed.snapshot([], None, 2)
    feed.change([Change("a", ("001",), None), Change("a", ("0015",), {})])
    second = feed.snapshot([], first.after, 2)
    assert [row.key for row in second.rows] == [("0015",), ("002",)]
    assert second.n == 2


def test_a_page_is_bounded_in_bytes() -> None:
    feed = VolatileFeed(1, ["a"])
    feed.change(Change("a", (f"{n:02}",), {"b": "x" * 200_000}) for n in range(20))
    assert len(feed.snapshot([], None, 1000).rows) == 6


@pytest.mark.parametrize(
    ("row", "cut", "kept"),
    [
        ({"name": "k", "v": "x" * ROW_BYTES, "small": 1}, ["v"], {"name": "k", "small": 1}),
        ({"v": "x" * ROW_BYTES, "w": ["y" * ROW_BYTES]}, ["v", "w"], {}),
        ({"v": "x" * 200_000, "w": "y" * 100_000}, ["v"], {"w": "y" * 100_000}),
        ({f"m{n}": 1 for n in range(60_000)}, ["*"], {}),
        ({"n" * 150_000: 1, "m" * 150_000: "k"}, ["*"], {}),
        ({"\u00e9" * 40_000: "x" * 100_000, "\x01" * 20_000: "y" * 100_000}, ["*"], {}),
    ],
)
def test_a_row_that_is_too_large_is_carried_cut_and_says_so(
    row: Row, cut: list[str], kept: Row
) -> None:
    feed = VolatileFeed(1, ["a"])
    made = feed.change([Change("a", ("k",), row), Change("a", ("other",), {"v": 2})])
    assert made is not None
    carried = made.changes[0].row
    assert carried is not None
    assert len(encoded_row("a", ("k",), carried)) <= ROW_BYTES
    assert carried[OVERSIZE]["columns"] == cut
    assert carried[OVERSIZE]["bytes"] == len(encoded_row("a", ("k",), row))
    assert {name: value for name, value in carried.items() if name in kept} == kept
    assert all(carried[name] is None for name in cut if name != "*")
    assert feed.head().digest == sum(
        row_hash(change.table, change.key, change.row)
        for change in made.changes
        if change.row is not None
    ) % (2**128)


def test_a_change_of_what_is_cut_is_a_change() -> None:
    feed = VolatileFeed(1, ["a"])
    feed.change([Change("a", ("k",), {"v": "x" * ROW_BYTES})])
    assert feed.change([Change("a", ("k",), {"v": "x" * ROW_BYTES})]) is None
    assert feed.change([Change("a", ("k",), {"v": "y" * ROW_BYTES})]) is not None


def test_an_idle_table_keeps_its_rows_gives_no_snapshot_and_wakes_with_the_difference() -> None:
    feed = VolatileFeed(1, ["a", "b"], idle=["b"])
    with pytest.raises(TableIdle):
        feed.snapshot(["b"], None, 9)
    feed.replace({"b": {("x",): {"v": 1}, ("y",): {"v": 2}}})
    assert feed.head().idle == frozenset()
    feed.rest(["b", "unknown"])
    assert feed.head().idle == {"b"}
    assert feed.row("b", ("x",)) == {"v": 1}
    assert feed.snapshot(["a"], None, 9).rows == ()
    with pytest.raises(TableIdle):
        feed.snapshot([], None, 9)
    made = feed.replace({"b": {("x",): {"v": 1}}})
    assert made is not None
    assert [change.key for change in made.changes] == [("y",)]
    assert len(feed.snapshot([], None, 9).rows) == feed.counts()["b"] == 1
    feed.rest(["b"])
    assert feed.replace({"b": {("x",): {"v": 1}}}) is None
    assert feed.head().idle == frozenset()
