# SPDX-License-Identifier: Apache-2.0
"""Request ids in bulk: `req-` and a UUID.

The first 80 bits are drawn anew for each `_RUN` ids, the last 48 count: unique, and of the form by
which OpenStack's logs are searched, but no secret.
Measured: 0.8 microseconds an id, 6.8 with a draw and a UUID object for each
(bench/http/pieces.py).
"""

from collections.abc import Callable, Iterator

from transom.runtime.ids import Randomness, new_request_id

_RUN = 65536
_COUNTED_DIGITS = 12


def request_ids(random: Randomness) -> Callable[[], str]:
    """A source of ids. Nothing is drawn before the first, so forked processes share none."""
    return _endless(random).__next__


def _endless(random: Randomness) -> Iterator[str]:
    while True:
        drawn = new_request_id(random)[:-_COUNTED_DIGITS]
        for number in range(_RUN):
            yield f"{drawn}{number:012x}"
