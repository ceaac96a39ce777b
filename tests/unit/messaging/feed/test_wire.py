"""Feeds as JSON: what goes out comes in; what is no feed's message is refused as such."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transom.errors import InvalidEnvelope
from transom.messaging.proto.feed import Change, ChangeSet, Chunk, Head, Part
from transom.messaging.proto.feed.wire import (
    decode_beat,
    decode_changes,
    decode_chunk,
    decode_cursor,
    decode_since,
    encode_beat,
    encode_changes,
    encode_chunk,
    encode_since,
    schema_of,
)

names = st.text(min_size=1, max_size=5)
keys = st.lists(names, min_size=1, max_size=3).map(tuple)
numbers = st.integers(0, 2**53)
rows = st.none() | st.dictionaries(names, st.integers() | st.text() | st.none(), max_size=3)
changes = st.lists(st.builds(Change, names, keys, rows), max_size=4).map(tuple)
sets = st.builds(ChangeSet, numbers, numbers, changes)
digests = st.integers(0, 2**128 - 1)
heads = st.builds(
    Head,
    numbers,
    numbers,
    digests,
    st.none() | st.dictionaries(names, digests, max_size=3),
    st.frozensets(names, max_size=2),
    st.text("0123456789abcdef", max_size=16),
)
cursors = st.none() | st.tuples(names, keys)
chunks = st.builds(Chunk, numbers, numbers, changes, cursors)


def carried(value: object) -> object:
    return json.loads(msgspec.json.encode(value))


@given(sets)
def test_change_sets_come_in_as_they_went_out(made: ChangeSet) -> None:
    assert decode_changes(carried(encode_changes(made))) == made


@given(numbers, changes)
def test_parts_come_in_as_they_went_out(n: int, some: tuple[Change, ...]) -> None:
    part = Part(1, n, 2, 5, some)
    assert decode_changes(carried(encode_changes(part))) == part


@given(st.none() | st.lists(sets, max_size=3), heads)
def test_answers_to_since_come_in_as_they_went_out(found: list | None, head: Head) -> None:
    expected = None if found is None else tuple(found)
    assert decode_since(carried(encode_since(found, head))) == (expected, head)


@given(chunks, heads)
def test_pages_come_in_as_they_went_out(chunk: Chunk, head: Head) -> None:
    assert decode_chunk(carried(encode_chunk(chunk, head))) == (chunk, head)
    assert decode_cursor(carried(chunk.after)) == chunk.after


@given(st.dictionaries(names, heads, max_size=4))
def test_heartbeats_come_in_as_they_went_out(beat: dict[str, Head]) -> None:
    assert decode_beat(carried(encode_beat(beat))) == beat


@given(st.text("0123456789abcdef", max_size=16), sets)
def test_change_sets_bring_the_fingerprint_of_their_schemas(schema: str, made: ChangeSet) -> None:
    value = carried(encode_changes(made, schema))
    assert schema_of(value) == schema
    assert decode_changes(value) == made


@pytest.mark.parametrize("value", [None, [], {}, {"schema": 5}])
def test_what_brings_no_fingerprint_has_none(value: object) -> None:
    assert schema_of(value) == ""


def test_members_of_a_newer_version_are_skipped() -> None:
    coded = {"epoch": 1, "n": 2, "changes": [["t", ["k"], None]], "newer": True}
    assert decode_changes(coded) == ChangeSet(1, 2, (Change("t", ("k",), None),))


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        {"epoch": "1", "n": 2, "changes": []},
        {"epoch": 1, "n": 2, "changes": [["t", "k", None]]},
        {"epoch": 1, "n": 2, "changes": [["t", ["k"]]]},
        {"epoch": 1, "n": 2, "changes": [["t", ["k"], 5]]},
        {"epoch": 1, "n": 2, "changes": [], "part": 2, "parts": 2},
        {"epoch": 1, "n": 2, "changes": [], "part": -1, "parts": 2},
    ],
)
def test_what_is_no_change_set_is_refused(value: object) -> None:
    with pytest.raises(InvalidEnvelope):
        decode_changes(value)


def test_a_digest_that_is_no_number_is_refused() -> None:
    with pytest.raises(InvalidEnvelope):
        decode_beat([{"source": "s", "epoch": 1, "n": 1, "digest": "zz"}])
