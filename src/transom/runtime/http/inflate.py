# SPDX-License-Identifier: Apache-2.0
"""Bodies that come compressed, inflated as they arrive.

Invariants:
1. Never more than the limit plus one byte comes out, whatever goes in: what would be more is not
   inflated at all.
2. Past `FREE_BYTES`, nothing may grow more than `RATIO_MOST` times: real content does not.
3. There are at most `MEMBERS_MOST` members: empty ones of 20 bytes each would cost a lot of time.

Source: RFC 9110, 8.4.1; RFC 1950 (deflate), RFC 1952 (gzip, of one or more members).
"""

import zlib

from transom.errors import BadRequest, TooLarge, UnsupportedMedia

FREE_BYTES = 64 * 1024
RATIO_MOST = 200
MEMBERS_MOST = 100
_WINDOWS = {
    b"deflate": zlib.MAX_WBITS,
    b"gzip": 16 + zlib.MAX_WBITS,
    b"x-gzip": 16 + zlib.MAX_WBITS,
}
ACCEPTED = "gzip, deflate"


class UnsupportedEncoding(UnsupportedMedia):
    """The body's content coding is not one that is taken here; the answer names those that are."""


class Inflater:
    """Of one body."""

    def __init__(self, encoding: bytes, limit: int) -> None:
        """`limit`: the most bytes that may come out. Raises: UnsupportedEncoding."""
        windows = _WINDOWS.get(encoding.strip().lower())
        if windows is None:
            raise UnsupportedEncoding(
                f"The Content-Encoding is none of {ACCEPTED}; send the body so, or as it is."
            )
        self._windows = windows
        self._limit = limit
        self._member = zlib.decompressobj(windows)
        self._members = 1
        self._in_bytes = 0
        self._out_bytes = 0

    def inflate(self, chunk: bytes) -> bytes:
        """What the chunk holds. Raises: BadRequest, TooLarge."""
        self._in_bytes += len(chunk)
        inflated = []
        while chunk:
            if self._member.eof:
                self._next_member()
            room = self._limit - self._out_bytes + 1
            try:
                part = self._member.decompress(chunk, room)
            except zlib.error:
                raise BadRequest("The body is not what its Content-Encoding says.") from None
            self._out_bytes += len(part)
            self._check()
            inflated.append(part)
            chunk = self._member.unused_data or self._member.unconsumed_tail
        return b"".join(inflated)

    def end(self) -> None:
        """Raises: BadRequest if the body breaks off."""
        if self._in_bytes and not self._member.eof:
            raise BadRequest("The compressed body breaks off.")

    def _next_member(self) -> None:
        if self._windows == zlib.MAX_WBITS:
            raise BadRequest("The body goes on after its compressed content.")
        if self._members == MEMBERS_MOST:
            raise BadRequest(f"The body has more than {MEMBERS_MOST} gzip members; send it as one.")
        self._members += 1
        self._member = zlib.decompressobj(self._windows)

    def _check(self) -> None:
        if self._out_bytes > self._limit:
            raise TooLarge(
                f"The body, inflated, is larger than the {self._limit} bytes that are allowed here."
            )
        if self._out_bytes > max(FREE_BYTES, RATIO_MOST * self._in_bytes):
            raise TooLarge(f"The body grows more than {RATIO_MOST} times when it is inflated.")
