# SPDX-License-Identifier: Apache-2.0
"""Content that comes in several pieces: a method, a header frame, then body frames.

Invariants:
1. At most BODY_BYTES_MAX bytes are kept; a larger body is counted and not kept.
2. Whatever the frames, `header` and `body` end, or raise Fault or one of BROKEN.
"""

from transom.messaging.proto.amqp.fault import Code, Fault
from transom.messaging.proto.amqp.frames import BASIC, CONTENT
from transom.messaging.proto.amqp.methods import Method
from transom.messaging.proto.amqp.properties import Properties, decode_properties
from transom.messaging.proto.amqp.settings import BODY_BYTES_MAX


class Content:
    """What belongs to `method`, as far as it has come. `request`: what a GetOk answers.
    `body_bytes`: as the header says."""

    __slots__ = ("_body", "_left", "_properties", "body_bytes", "method", "request")

    def __init__(self, method: Method, request: Method | None) -> None:
        self.method = method
        self.request = request
        self.body_bytes = 0
        self._left = 0
        self._properties: Properties | None = None
        self._body = bytearray()

    @property
    def oversized(self) -> bool:
        return self.body_bytes > BODY_BYTES_MAX

    def header(self, payload: bytes) -> bool:
        """Whether all is there."""
        if self._properties is not None:
            raise Fault(Code.UNEXPECTED_FRAME, "a content header came where a body was due")
        class_id, _, self.body_bytes = CONTENT.unpack_from(payload)
        if class_id != BASIC:
            raise Fault(Code.FRAME_ERROR, f"a content header of class {class_id}")
        self._properties = decode_properties(payload, CONTENT.size)
        self._left = self.body_bytes
        return not self._left

    def body(self, payload: bytes) -> bool:
        """Whether all is there."""
        if self._properties is None:
            raise Fault(Code.UNEXPECTED_FRAME, "a body came where a content header was due")
        self._left -= len(payload)
        if self._left < 0:
            raise Fault(Code.FRAME_ERROR, f"a body has more than its {self.body_bytes} bytes")
        if not self.oversized:
            self._body += payload
        return not self._left

    def whole(self) -> tuple[Properties, bytes]:
        """Of what is all there."""
        return self._properties or Properties(), bytes(self._body)
