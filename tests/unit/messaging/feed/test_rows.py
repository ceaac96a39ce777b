"""Hashes, order of keys, buffer and parts: the small pieces below publisher and replica."""

from hypothesis import given
from hypothesis import strategies as st

from transom.messaging.proto.feed import Change, ChangeSet, Part, row_hash, split
from transom.messaging.proto.feed.buffer import Buffer
from transom.messaging.proto.feed.order import SortedKeys

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
rows = st.dictionaries(st.text(), json_values, max_size=5)


def test_the_hash_of_a_row_never_changes_between_versions() -> None:
    """It is compared between processes of version N and N - 1."""
    row = {"b": [1, {"z": None, "y": 2.5}], "a": "ä"}
    assert f"{row_hash('t:x', ('k', '1'), row):032x}" == "55712b5fe8d6fcc2b922cfd1b8cf98ec"


@given(rows)
def test_the_order_of_members_does_not_change_the_hash(row: dict) -> None:
    backward = dict(reversed(list(row.items())))
    assert row_hash("t", ("k",), row) == row_hash("t", ("k",), backward)


def test_table_key_type_and_value_all_count() -> None:
    seen = {
        row_hash("t", ("k",), {"a": 1}),
        row_hash("u", ("k",), {"a": 1}),
        row_hash("t", ("l",), {"a": 1}),
        row_hash("t", ("k", ""), {"a": 1}),
        row_hash("t", ("k",), {"a": True}),
        row_hash("t", ("k",), {"a": "1"}),
        row_hash("t", ("k",), {"a": None}),
        row_hash("t", ("k",), {}),
    }
    assert len(seen) == 8


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4000)), max_size=60), st.integers(0, 4000))
def test_sorted_keys_are_a_sorted_set(steps: list[tuple[bool, int]], start: int) -> None:
    keys, model = SortedKeys(), set()
    for number in range(0, 4000, 3):
        keys.add((f"{number:04}",))
        model.add((f"{number:04}",))
    for adds, number in steps:
        key = (f"{number:04}",)
        if adds and key not in model:
            keys.add(key)
            model.add(key)
        elif not adds and key in model:
            keys.discard(key)
            model.discard(key)
    after = (f"{start:04}",)
    assert list(keys.after(None)) == sorted(model)
    assert list(keys.after(after)) == sorted(key for key in model if key > after)


def test_sorted_keys_can_be_emptied_and_filled_again() -> None:
    keys = SortedKeys()
    for _ in range(2):
        for number in range(3000):
            keys.add((f"{number:04}",))
        for number in range(3000):
            keys.discard((f"{number:04}",))
        assert list(keys.after(None)) == []


def changes(count: int) -> tuple[Change, ...]:
    return tuple(Change("t", (f"k{number}",), {"n": number}) for number in range(count))


def test_a_small_change_set_is_sent_whole() -> None:
    made = ChangeSet(1, 1, changes(10))
    assert split(made, 10) == [made]
    assert split(ChangeSet(1, 1, ())) == [ChangeSet(1, 1, ())]


def test_parts_of_a_big_one_come_together_in_any_order_whatever_comes_twice() -> None:
    parts = split(ChangeSet(1, 1, changes(25)), 10)
    assert [len(part.changes) for part in parts] == [10, 10, 5]
    buffer = Buffer(100)
    wholes = [
        buffer.put_part(part)
        for part in (parts[2], parts[0], parts[2], parts[1])
        if isinstance(part, Part)
    ]
    assert wholes == [None, None, None, changes(25)]


def test_parts_are_bounded_in_bytes() -> None:
    big = tuple(Change("t", (str(number),), {"b": "x" * 1000}) for number in range(10))
    parts = split(ChangeSet(1, 1, big), part_bytes=2500)
    assert [len(part.changes) for part in parts] == [3, 3, 3, 1]


def test_a_buffer_over_its_bound_keeps_only_the_newcomer() -> None:
    buffer = Buffer(10)
    buffer.put(2, changes(4))
    buffer.put(3, changes(4))
    buffer.put(5, changes(4))
    assert [buffer.pop(n) for n in (2, 3, 5)] == [None, None, changes(4)]
    for n in range(100):
        buffer.put(n, changes(3))
        buffer.pop(n)
    buffer.put(7, changes(50))
    assert buffer.pop(7) == changes(50)


def test_a_buffer_forgets_what_is_behind() -> None:
    buffer = Buffer(100)
    buffer.put(3, changes(1))
    buffer.put(5, changes(1))
    buffer.drop_through(4)
    assert buffer.pop(3) is None
    assert buffer.pop(5) == changes(1)
