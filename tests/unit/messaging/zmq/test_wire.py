"""Frames: what is encoded is decoded, and other bytes are told as such."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transom.errors import InvalidEnvelope
from transom.messaging.drivers.base import Address, Kind
from transom.messaging.drivers.zmq import folder, tcp
from transom.messaging.drivers.zmq.receiver import link_identity, link_process
from transom.messaging.drivers.zmq.registry_wire import decode_reply, decode_request
from transom.messaging.drivers.zmq.wire import (
    HELLO,
    AddressCode,
    Frame,
    Receipt,
    Record,
    Refusal,
    decode_data,
    decode_hello,
    decode_receipt,
    encode_data,
    encode_hello,
    encode_receipt,
    frame_kind,
)

NUMBERS = st.integers(0, 2**64 - 1)
RECORDS = st.lists(
    st.builds(
        Record,
        st.binary(max_size=60),
        st.binary(max_size=300),
        st.floats(allow_nan=False),
    ),
    max_size=6,
)
RECEIPTS = st.builds(
    Receipt,
    NUMBERS,
    NUMBERS,
    st.lists(NUMBERS, max_size=5).map(tuple),
    st.lists(NUMBERS, max_size=5).map(tuple),
    st.lists(st.tuples(NUMBERS, st.sampled_from(Refusal)), max_size=5).map(tuple),
)
ADDRESSES = st.builds(Address, st.sampled_from(Kind), st.text(), st.text(), st.text(), st.text())


RIDING = st.none() | st.tuples(st.binary(max_size=30), st.binary(min_size=1, max_size=60))


@given(NUMBERS, RECORDS, RIDING)
def test_records_and_what_rides_along_survive_the_wire(
    first: int, records: list[Record], riding: tuple[bytes, bytes] | None
) -> None:
    for clock_s in (None, 12.5):
        frame = encode_data(first, records, riding, clock_s=clock_s)
        assert frame_kind(frame) is Frame.DATA
        assert decode_data(frame) == (clock_s, first, records, riding)


@given(st.floats(allow_nan=False, allow_infinity=False), st.text())
def test_greetings_survive_the_wire(clock_s: float, receiver: str) -> None:
    frame = encode_hello(clock_s, receiver)
    assert frame_kind(frame) is Frame.HELLO
    assert decode_hello(frame) == (clock_s, receiver)
    assert decode_hello(HELLO) is None


def test_a_frame_without_a_time_is_refused() -> None:
    for clock_s in (math.nan, math.inf, -math.inf):
        with pytest.raises(InvalidEnvelope, match="without a time"):
            decode_data(encode_data(1, [], clock_s=clock_s))
        with pytest.raises(InvalidEnvelope, match="without a time"):
            decode_hello(encode_hello(clock_s, "p"))


@given(RECEIPTS)
def test_receipts_survive_the_wire(receipt: Receipt) -> None:
    assert decode_receipt(encode_receipt(Frame.BYE, receipt)) == receipt


@given(ADDRESSES)
def test_addresses_survive_the_wire(address: Address) -> None:
    assert AddressCode().decode(AddressCode().encode(address)) == address


@given(NUMBERS, RECORDS.filter(bool), RIDING, st.none() | st.just(1.5), st.data())
def test_a_frame_cut_short_is_refused_or_ends_at_a_record(
    first: int,
    records: list[Record],
    riding: tuple[bytes, bytes] | None,
    clock_s: float | None,
    data: st.DataObject,
) -> None:
    frame = encode_data(first, records, riding, clock_s=clock_s)
    cut = frame[: data.draw(st.integers(0, len(frame) - 1))]
    try:
        _, _, decoded, rode = decode_data(cut)
    except InvalidEnvelope:
        return
    assert decoded == records[: len(decoded)]
    assert rode == riding


@given(st.binary(max_size=80))
def test_noise_raises_nothing_but_invalid_envelope(noise: bytes) -> None:
    for read in (
        frame_kind,
        decode_data,
        decode_hello,
        decode_receipt,
        AddressCode().decode,
        decode_request,
        decode_reply,
    ):
        try:
            read(noise)
        except InvalidEnvelope:
            continue


def test_a_frame_of_another_version_is_refused() -> None:
    with pytest.raises(InvalidEnvelope, match="version"):
        frame_kind(b"\x03\x01")


def test_a_routing_id_tells_process_and_link() -> None:
    for process in ("0123456789abcdef", "0123456789abcdef@10.0.0.7:40001"):
        assert link_process(link_identity(process, 7)) == (process, 7)
    for foreign in (b"", b"\x00abcd", b"0123456789abcdef", b"0123456789abcdef.x", b".1"):
        assert link_process(foreign) is None


@pytest.mark.parametrize(
    "name", ["", "../../etc/passwd", "0123456789abcdeF", "0123456789abcdef ", "0123456789abcdef\n"]
)
def test_no_name_but_a_process_s_is_one(name: str) -> None:
    assert not folder.is_process(name)
    assert not tcp.is_process(name)
    assert not tcp.is_process(f"{name}@10.0.0.7:40001")


def test_a_process_s_name_is_of_its_place() -> None:
    assert folder.is_process("0123456789abcdef")
    assert not tcp.is_process("0123456789abcdef")
    for there in ("10.0.0.7:40001", "[fe80::1]:1"):
        assert tcp.is_process(f"0123456789abcdef@{there}")
        assert not folder.is_process(f"0123456789abcdef@{there}")
    for there in ("host:1", "10.0.0.7", "/tmp/x:1", "10.0.0.7:1;ipc:///tmp/x", "[::1%lo]:1"):
        assert not tcp.is_process(f"0123456789abcdef@{there}")
