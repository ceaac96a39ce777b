"""Frames: what is encoded is decoded, and other bytes are told as such."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transom.errors import InvalidEnvelope
from transom.messaging.drivers.base import Address, Kind
from transom.messaging.drivers.zmq.receiver import link_identity, link_process
from transom.messaging.drivers.zmq.registry_wire import decode_reply, decode_request
from transom.messaging.drivers.zmq.wire import (
    AddressCode,
    Frame,
    Receipt,
    Record,
    Refusal,
    decode_data,
    decode_receipt,
    encode_data,
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
    frame = encode_data(first, records, riding)
    assert frame_kind(frame) is Frame.DATA
    assert decode_data(frame) == (first, records, riding)


@given(RECEIPTS)
def test_receipts_survive_the_wire(receipt: Receipt) -> None:
    assert decode_receipt(encode_receipt(Frame.BYE, receipt)) == receipt


@given(ADDRESSES)
def test_addresses_survive_the_wire(address: Address) -> None:
    assert AddressCode().decode(AddressCode().encode(address)) == address


@given(NUMBERS, RECORDS.filter(bool), RIDING, st.data())
def test_a_frame_cut_short_is_refused_or_ends_at_a_record(
    first: int, records: list[Record], riding: tuple[bytes, bytes] | None, data: st.DataObject
) -> None:
    frame = encode_data(first, records, riding)
    cut = frame[: data.draw(st.integers(0, len(frame) - 1))]
    try:
        _, decoded, rode = decode_data(cut)
    except InvalidEnvelope:
        return
    assert decoded == records[: len(decoded)]
    assert rode == riding


@given(st.binary(max_size=80))
def test_noise_raises_nothing_but_invalid_envelope(noise: bytes) -> None:
    for read in (
        frame_kind,
        decode_data,
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
        frame_kind(b"\x02\x01")


def test_only_our_own_routing_ids_are_read() -> None:
    assert link_process(link_identity("0123456789abcdef", 7)) == ("0123456789abcdef", 7)
    for foreign in (
        b"",
        b"\x00abcd",
        b"0123456789abcdef",
        b"../../etc/passwd.1",
        b"0123456789abcdef.x",
    ):
        assert link_process(foreign) is None
