# SPDX-License-Identifier: Apache-2.0
"""Frames: an octet of kind, a short of channel, a long of size, the payload, and 0xCE.

Invariants:
1. `Pending` hands on what came, in order, and keeps at most the one frame that is not whole. In
   however small pieces they come, bytes are copied a bounded number of times.
2. `whole_content` says nothing about what is not in order: it leaves it to the slow way, which
   tells what is wrong.
"""

import struct

from transom.messaging.proto.amqp.coding import encode_method
from transom.messaging.proto.amqp.methods import Method

PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
END = 0xCE
END_BYTE = b"\xce"
OVERHEAD = 8
"""Bytes of a frame beside its payload."""
BASIC = 60
"""The class of all content."""
HEARTBEAT_FRAME = b"\x08\x00\x00\x00\x00\x00\x00\xce"

HEAD = struct.Struct(">BHI")
CONTENT = struct.Struct(">HHQ")
_HEAD_AND_CONTENT = struct.Struct(">BHIHHQ")
_unpack_head = HEAD.unpack_from
_unpack_header = _HEAD_AND_CONTENT.unpack_from
_HEADER_START = _HEAD_AND_CONTENT.size


def method_frame(channel: int, method: Method) -> bytes:
    """Raises: Unencodable."""
    payload = encode_method(method)
    return HEAD.pack(METHOD, channel, len(payload)) + payload + END_BYTE


def whole_content(
    data: bytes, at: int, channel: int, size_max: int
) -> tuple[bytes, bytes, int] | None:
    """Coded properties, body and the place behind them, if a header and at most one body frame of
    the channel stand whole at `at`. `size_max`: of a payload."""
    end = len(data)
    if end - at <= _HEADER_START:
        return None
    kind, number, size, class_id, _, body_bytes = _unpack_header(data, at)
    stop = at + 7 + size
    if kind != HEADER or number != channel or class_id != BASIC or stop >= end:
        return None
    if size < CONTENT.size or size > size_max or body_bytes > size_max or data[stop] != END:
        return None
    properties = data[at + _HEADER_START : stop]
    if not body_bytes:
        return properties, b"", stop + 1
    start = stop + 8
    behind = start + body_bytes
    if behind >= end or data[behind] != END:
        return None
    if _unpack_head(data, stop + 1) != (BODY, channel, body_bytes):
        return None
    return properties, data[start:behind], behind + 1


class Pending:
    """The beginning of a frame whose rest has not come."""

    __slots__ = ("_kept", "_need")

    def __init__(self) -> None:
        self._kept = bytearray()
        self._need = 0

    def __len__(self) -> int:
        return len(self._kept)

    def join(self, data: bytes) -> bytes:
        """What there is to read now: nothing, while the frame that was begun is not whole."""
        if not self._kept:
            return data
        self._kept += data
        if len(self._kept) < self._need:
            return b""
        whole = bytes(self._kept)
        self._kept = bytearray()
        return whole

    def keep(self, rest: bytes) -> None:
        """`rest`: not a whole frame, and not longer than one may be."""
        self._kept = bytearray(rest)
        self._need = OVERHEAD
        if len(rest) >= HEAD.size:
            self._need += HEAD.unpack_from(rest)[2]
