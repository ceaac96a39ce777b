# SPDX-License-Identifier: Apache-2.0
"""What processes say to each other over a link: frames of records, to bytes and back.

A link goes one way: the sender's DEALER to the receiver's ROUTER, receipts coming back on it.
A frame is version, kind, content; version 1 on one machine, 2 where the clocks differ.

    HELLO    sender    the link stands (again), if you are who I mean: tell me what you have
    DATA     sender    the number of the first record, then records, numbered one by one
    RECEIPT  receiver  what became of the records up to a number, since the last receipt
    WHOLE    receiver  the same, complete: answers HELLO and gaps; the sender goes on after it
    BYE      receiver  the same, and nothing after it will be taken
             sender    I have read your BYE, and the link is closed
    STRANGER receiver  I am not who you mean: another process has that port now

A DATA may take along a RECEIPT for the link in the other direction, with that link's routing id,
before its records. Receipts that so overtake each other are found by their serial.

Integers are in network order. A deadline is a time on the sender's monotonic clock. Between hosts
HELLO and DATA are of version 2: they say what that clock showed when they were written, so that the
time left can be told, and HELLO whom it means. All other frames are of version 1.

Invariant: bytes that are not such a frame raise InvalidEnvelope, and nothing else.
"""

import math
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

import msgspec

from transom.errors import InvalidEnvelope
from transom.messaging.drivers.base import Address, Kind

VERSION = 1
TIMED = 2
_CACHED_ADDRESSES = 4096


class Frame(IntEnum):
    HELLO = 1
    DATA = 2
    RECEIPT = 3
    WHOLE = 4
    BYE = 5
    STRANGER = 6


class Refusal(IntEnum):
    """Why a record was surely not delivered."""

    NOBODY = 1
    LATE = 2


@dataclass(slots=True)
class Record:
    """One message on the way."""

    address: bytes
    body: bytes
    deadline_s: float


Riding = tuple[bytes, bytes]
"""A receipt on the way: the routing id of the link that it is for, and its frame."""


@dataclass(slots=True)
class Receipt:
    """What became of the records up to `last`: taken, but for the `refused`.

    `held` ones still take up the receiver's room, `released` ones no longer do. Receipts of a link
    are counted by `serial`, so that a lost one is missed; a whole one bears that of the last.
    """

    serial: int
    last: int
    held: tuple[int, ...] = ()
    released: tuple[int, ...] = ()
    refused: tuple[tuple[int, Refusal], ...] = ()


_HEAD = struct.Struct("!BB")
_CLOCK = struct.Struct("!d")
_DATA = struct.Struct("!QHI")
_RECORD = struct.Struct("!dHI")
_RECEIPT = struct.Struct("!BBQQIII")
_NUMBER = struct.Struct("!Q")
_REFUSED = struct.Struct("!QB")

HELLO = _HEAD.pack(VERSION, Frame.HELLO)
STRANGER = _HEAD.pack(VERSION, Frame.STRANGER)
BYE = _HEAD.pack(VERSION, Frame.BYE)
_PLAIN_DATA = _HEAD.pack(VERSION, Frame.DATA)
_TIMED_DATA = _HEAD.pack(TIMED, Frame.DATA)


# Measured: an enum's own look-up by value costs 0.5 us, more than the rest of `frame_kind`.
_KINDS = {int(kind): kind for kind in Frame}


def frame_kind(frame: bytes) -> Frame:
    if len(frame) < _HEAD.size or frame[0] not in (VERSION, TIMED):
        raise InvalidEnvelope("a frame of another version", detail=frame[:16].hex())
    kind = _KINDS.get(frame[1])
    if kind is None:
        raise InvalidEnvelope("a frame of no known kind", detail=frame[:16].hex())
    return kind


def encode_hello(clock_s: float, receiver: str) -> bytes:
    """To another host. `clock_s`: our clock, now. `receiver`: the process that is meant."""
    return _HEAD.pack(TIMED, Frame.HELLO) + _CLOCK.pack(clock_s) + receiver.encode()


def decode_hello(frame: bytes) -> tuple[float, str] | None:
    """The sender's clock and whom it means; None on one machine, where it need not say so."""
    if frame[:1] == HELLO[:1]:
        return None
    clock_s = _clock(frame)
    try:
        return clock_s, frame[_HEAD.size + _CLOCK.size :].decode()
    except UnicodeDecodeError:
        raise InvalidEnvelope("a greeting that cannot be read") from None


def _clock(frame: bytes) -> float:
    try:
        (clock_s,) = _CLOCK.unpack_from(frame, _HEAD.size)
    except struct.error:
        raise InvalidEnvelope("a frame is cut short") from None
    if not math.isfinite(clock_s):
        raise InvalidEnvelope("a frame without a time")
    return float(clock_s)


def encode_data(
    first: int,
    records: Iterable[Record],
    riding: Riding | None = None,
    *,
    clock_s: float | None = None,
) -> bytes:
    """One frame. `clock_s`: our clock, now, for another host.

    An address is at most 65535 bytes, a body at most 4 GiB.
    """
    identity, receipt = riding or (b"", b"")
    head = _DATA.pack(first, len(identity), len(receipt))
    if clock_s is None:
        parts = [_PLAIN_DATA, head, identity, receipt]
    else:
        parts = [_TIMED_DATA, _CLOCK.pack(clock_s), head, identity, receipt]
    for record in records:
        parts.append(_RECORD.pack(record.deadline_s, len(record.address), len(record.body)))
        parts.append(record.address)
        parts.append(record.body)
    return b"".join(parts)


def decode_data(frame: bytes) -> tuple[float | None, int, list[Record], Riding | None]:
    """The sender's clock (None: it is ours), the number of the first record, the records, and what
    rode along.
    """
    records: list[Record] = []
    size = len(frame)
    clock_s, head_bytes = None, _HEAD.size
    if frame[:2] == _TIMED_DATA:
        clock_s, head_bytes = _clock(frame), _HEAD.size + _CLOCK.size
    try:
        first, identity_bytes, receipt_bytes = _DATA.unpack_from(frame, head_bytes)
        identity_at = head_bytes + _DATA.size
        receipt_at = identity_at + identity_bytes
        at = receipt_at + receipt_bytes
        if at > size:
            raise InvalidEnvelope("a frame is cut short")
        riding = (frame[identity_at:receipt_at], frame[receipt_at:at]) if receipt_bytes else None
        while at < size:
            deadline_s, address_bytes, body_bytes = _RECORD.unpack_from(frame, at)
            at += _RECORD.size
            middle = at + address_bytes
            end = middle + body_bytes
            if end > size:
                raise InvalidEnvelope("a frame is cut short")
            records.append(Record(frame[at:middle], frame[middle:end], deadline_s))
            at = end
    except struct.error:
        raise InvalidEnvelope("a frame is cut short") from None
    return clock_s, first, records, riding


def encode_receipt(kind: Frame, receipt: Receipt) -> bytes:
    held, released, refused = receipt.held, receipt.released, receipt.refused
    counts = len(held), len(released), len(refused)
    head = _RECEIPT.pack(VERSION, kind, receipt.serial, receipt.last, *counts)
    if not (held or released or refused):
        return head
    numbers = [_NUMBER.pack(number) for number in (*held, *released)]
    return b"".join([head, *numbers, *(_REFUSED.pack(*pair) for pair in refused)])


def decode_receipt(frame: bytes) -> Receipt:
    try:
        _, _, serial, last, held_count, released_count, refused_count = _RECEIPT.unpack_from(frame)
        at = _RECEIPT.size
        counted = held_count + released_count
        size = at + counted * _NUMBER.size + refused_count * _REFUSED.size
        if size != len(frame):
            raise InvalidEnvelope("a receipt of a wrong length")
        if not counted and not refused_count:
            return Receipt(serial, last)
        numbers = struct.unpack_from(f"!{counted}Q", frame, at)
        pairs = _REFUSED.iter_unpack(frame[at + counted * _NUMBER.size :])
        refused = tuple((int(number), Refusal(reason)) for number, reason in pairs)
    except (struct.error, ValueError):
        raise InvalidEnvelope("a receipt that cannot be read") from None
    return Receipt(serial, last, numbers[:held_count], numbers[held_count:], refused)


class AddressCode:
    """Addresses to bytes and back, remembering those seen lately."""

    def __init__(self) -> None:
        self._bytes: dict[Address, bytes] = {}
        self._addresses: dict[bytes, Address] = {}

    def encode(self, address: Address) -> bytes:
        known = self._bytes.get(address)
        if known is None:
            if len(self._bytes) >= _CACHED_ADDRESSES:
                self._bytes.clear()
            known = msgspec.msgpack.encode(
                (address.kind, address.name, address.part, address.exchange, address.pool)
            )
            self._bytes[address] = known
        return known

    def decode(self, content: bytes) -> Address:
        known = self._addresses.get(content)
        if known is None:
            try:
                fields = msgspec.msgpack.decode(content, type=tuple[Kind, str, str, str, str])
            except (msgspec.DecodeError, UnicodeDecodeError):
                raise InvalidEnvelope("a record with an address that cannot be read") from None
            if len(self._addresses) >= _CACHED_ADDRESSES:
                self._addresses.clear()
            known = self._addresses[content] = Address(*fields)
        return known
