# SPDX-License-Identifier: Apache-2.0
"""Whether a signed request is of now, by the time that it bears."""

from transom.errors import Unauthorized

STALE = (
    "The request's time is not now: it was sent again, or this machine's clock or the server's is "
    "wrong."
)


def check(timestamp_ms: int, now_ms: int, skew_s: int, floor_ms: int) -> None:
    """Returns if it is within the skew, before and after, and not before the floor.

    `floor_ms`: from when on all nonces are known. Raises: Unauthorized.
    """
    if abs(timestamp_ms - now_ms) > skew_s * 1000 or timestamp_ms < floor_ms:
        raise Unauthorized(STALE)


def forgotten_ms(timestamp_ms: int, skew_s: int) -> int:
    """From when on the request is refused by its time alone, so its nonce can be forgotten."""
    return timestamp_ms + skew_s * 1000 + 1
