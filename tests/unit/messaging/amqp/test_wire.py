# SPDX-License-Identifier: Apache-2.0
"""Primitives and tables: back as they were, read as pamqp writes them, written as it reads them."""

import contextlib
import datetime
import decimal
import struct
from decimal import Decimal

import pamqp.decode
import pamqp.encode
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transom.messaging.proto.amqp import Timestamp, Unencodable
from transom.messaging.proto.amqp.wire import (
    BROKEN,
    DEPTH_MAX,
    Malformed,
    encode_entries,
    encode_long_bytes,
    encode_short_text,
    encode_table,
    read_long_bytes,
    read_short_text,
    read_table,
)

TABLE = {
    "none": None,
    "yes": True,
    "no": False,
    "small": -1,
    "most": 2**31 - 1,
    "large": 2**31,
    "least": -(2**63),
    "text": "Grüße",
    "bytes": b"\xff\x00",
    "float": 0.1,
    "decimal": Decimal("-12.345"),
    "hundreds": Decimal("5E+2"),
    "time": Timestamp(1_700_000_000),
    "array": [1, "a", [], {"b": None}],
    "table": {"inner": {"x": 1}},
    "": "no name",
}


def entry(value: bytes) -> bytes:
    return encode_long_bytes(b"\x01a" + value)


def test_a_table_with_every_kind_of_value_comes_back() -> None:
    coded = encode_table(TABLE)
    found, end = read_table(b"before" + coded + b"behind", 6)
    assert found == TABLE
    assert end == 6 + len(coded)
    assert type(found["time"]) is Timestamp
    assert str(found["decimal"]) == "-12.345"
    assert coded[4:] == encode_entries(TABLE)


@pytest.mark.parametrize(
    ("coded", "value"),
    [
        (b"b\xff", -1), (b"B\xff", 255), (b"s\xff\xfe", -2), (b"u\xff\xfe", 65534),
        (b"I\xff\xff\xff\xff", -1), (b"i\xff\xff\xff\xff", 2**32 - 1),
        (b"l" + b"\xff" * 8, -1), (b"L" + b"\xff" * 8, -1), (b"t\x00", False), (b"t\x02", True),
        (b"f?\x80\x00\x00", 1.0), (b"d" + struct.pack(">d", 0.1), 0.1), (b"V", None),
        (b"S\x00\x00\x00\x02\xc3\xa4", "ä"), (b"S\x00\x00\x00\x01\xff", b"\xff"),
        (b"x\x00\x00\x00\x01a", b"a"), (b"D\x02\x00\x00\x00\x65", Decimal("1.01")),
        (b"T" + b"\xff" * 8, 2**64 - 1), (b"A\x00\x00\x00\x00", []), (b"F\x00\x00\x00\x00", {}),
    ],
)  # fmt: skip
def test_every_tag_is_read(coded: bytes, value: object) -> None:
    assert read_table(entry(coded), 0)[0] == {"a": value}


@pytest.mark.parametrize(
    "coded",
    [
        b"", b"\x00\x00\x00", b"\x00\x00\x00\x01", entry(b""), entry(b"?"), entry(b"I\x00"),
        entry(b"t"), entry(b"D\x00"), entry(b"T\x00"), entry(b"S\x00\x00\x00\x05abcd"),
        entry(b"A\x00\x00\x00\x02I\x00"), entry(b"F\x00\x00\x00\x02\x05a"), entry(b"F"),
        encode_long_bytes(b"\x05abc"),
    ],
)  # fmt: skip
def test_broken_tables_are_told(coded: bytes) -> None:
    with pytest.raises(BROKEN):
        read_table(coded, 0)


def test_a_later_entry_replaces_an_earlier_one() -> None:
    assert read_table(encode_long_bytes(b"\x01aV\x01at\x01"), 0)[0] == {"a": True}


def test_what_a_stranger_nested_too_deep_stays_bytes_and_is_not_written() -> None:
    coded = b"\x00\x00\x00\x00"
    for _ in range(5_000):
        coded = entry(b"F" + coded)
    found: object = read_table(coded, 0)[0]
    for _ in range(DEPTH_MAX):
        assert isinstance(found, dict)
        found = found["a"]
    assert isinstance(found, dict)
    assert isinstance(found["a"], bytes)
    deep: dict[str, object] = {}
    for _ in range(DEPTH_MAX + 1):
        deep = {"a": deep}
    with pytest.raises(Unencodable):
        encode_table(deep)
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(Unencodable):
        encode_table({"a": endless})


@pytest.mark.parametrize(
    "value",
    [
        2**63, -(2**63) - 1, Timestamp(-1), Timestamp(2**64), Decimal("NaN"), Decimal("Infinity"),
        Decimal("1E-256"), Decimal("1E+1000000"), Decimal(2**31), object(), {1, 2}, "\ud800",
        {"x" * 256: 1}, {"\ud800": 1},
    ],
)  # fmt: skip
def test_what_has_no_form_is_refused(value: object) -> None:
    with pytest.raises(Unencodable):
        encode_table({"a": value})


def test_decimals_come_as_they_were_sent_whatever_the_context() -> None:
    with decimal.localcontext(prec=2):
        assert read_table(entry(b"D\x03\x00\x01\xe2\x40"), 0)[0] == {"a": Decimal("123.456")}


def test_short_texts_are_any_bytes() -> None:
    every = bytes(range(255))
    text, end = read_short_text(b"\xff" + every, 0)
    assert end == 256
    assert encode_short_text(text) == b"\xff" + every
    with pytest.raises(Unencodable):
        encode_short_text("ä" * 128)
    with pytest.raises(Malformed):
        read_short_text(b"\x02a", 0)


def test_long_strings_know_their_bound() -> None:
    class Vast(bytes):
        def __len__(self) -> int:
            return 2**32

    assert read_long_bytes(encode_long_bytes(b"abc"), 0) == (b"abc", 7)
    with pytest.raises(Unencodable):
        encode_long_bytes(Vast())


LEAF = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    | st.floats(allow_nan=False)
    | st.binary(max_size=9).map(bytearray)
    | st.integers(0, 2**32 - 1).map(Timestamp)
    | st.decimals(0, 1000, places=3)
)
NAME = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
TABLES = st.dictionaries(
    NAME,
    st.recursive(
        LEAF,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAME, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=5,
)


def theirs(value: object) -> object:
    """The value as pamqp has it."""
    if isinstance(value, Timestamp):
        return datetime.datetime.fromtimestamp(value, datetime.UTC)
    if isinstance(value, dict):
        return {name: theirs(one) for name, one in value.items()}
    return [theirs(one) for one in value] if isinstance(value, list) else value


def ours(value: object) -> object:
    """What pamqp has, as we have it; it sends floats as 32 bits."""
    if isinstance(value, datetime.datetime):
        return Timestamp(int(value.timestamp()))
    if isinstance(value, dict):
        return {name: ours(one) for name, one in value.items()}
    return [ours(one) for one in value] if isinstance(value, list) else value


@settings(deadline=None)
@given(TABLES)
def test_any_table_is_read_by_pamqp(table: dict[str, object]) -> None:
    coded = encode_table(table)
    assert read_table(coded, 0) == (table, len(coded))
    assert pamqp.decode.field_table(coded) == (len(coded), theirs(table))


@settings(deadline=None)
@given(TABLES)
def test_any_table_of_pamqp_is_read(table: dict[str, object]) -> None:
    try:
        coded = pamqp.encode.field_table(theirs(table))  # type: ignore[arg-type]
    except OverflowError:  # a double that its 32 bits do not hold
        return
    found, end = read_table(coded, 0)
    assert end == len(coded)
    assert ours(pamqp.decode.field_table(coded)[1]) == found


@settings(deadline=None)
@given(st.binary(max_size=64))
def test_any_bytes_give_a_table_or_are_told(data: bytes) -> None:
    with contextlib.suppress(BROKEN):
        read_table(encode_long_bytes(data), 0)
