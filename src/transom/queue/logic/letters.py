# SPDX-License-Identifier: Apache-2.0
"""Dead letters: what is written down of each move, and where a redrive sends a message.

Invariant: what is remembered of a message is bounded: its last `TRAIL_MOST` moves.
"""

from collections.abc import Sequence
from dataclasses import replace

from transom.queue.model import Death, MessageId

TRAIL_MOST = 10
LONGEST_TEXT = 1024
REDRIVEN, MOST_REDRIVEN = 100, 1000
"""How many a redrive moves at once, where it does not say, and at most."""


def died(before: Sequence[Death], last: Death) -> tuple[Death, ...]:
    """The moves of a message after one more, the last one first."""
    return (replace(last, text=last.text[:LONGEST_TEXT]), *before)[:TRAIL_MOST]


def claimed_too_often(claims: int) -> str:
    """The text of such a move."""
    return f"It was claimed {claims} times and not deleted."


def way_back(deaths: Sequence[Death], to: str | None) -> str | None:
    """The queue that a dead letter is moved to; None if nobody knows where it came from."""
    if to is not None:
        return to
    return deaths[0].queue or None if deaths else None


def sent_back(deaths: tuple[Death, ...], to: str | None) -> tuple[Death, ...]:
    """What is remembered of a letter on its way. One that is told where to go is for that queue,
    though it was of a subscription."""
    if to is None:
        return deaths
    return (replace(deaths[0], subscription=""), *deaths[1:])


def addressee(source_id: str | None, deaths: Sequence[Death]) -> MessageId | None:
    """The subscription that alone is told of a message which comes; None if it is for the queue.

    `source_id`: None of one that comes back from the dead letters.
    """
    if source_id is not None or not deaths:
        return None
    return MessageId.parse(deaths[0].subscription)
