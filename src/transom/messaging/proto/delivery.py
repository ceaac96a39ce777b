# SPDX-License-Identifier: Apache-2.0
"""What a receiver remembers: how a delivery is settled, and what has been here before. Pure.

Invariants:
1. A delivery is settled once. What was taken back (its listener went) is no longer settled by
   the receiver: somebody else may have it already.
2. Within its span an id is seen as new once, however often it comes, as long as not more than
   `ids_max` others have come since.
"""

from collections import OrderedDict
from enum import StrEnum
from math import inf


class State(StrEnum):
    """Where a delivery stands."""

    OUT = "out"  # handed over, not settled
    ACKNOWLEDGED = "acknowledged"  # done with
    REQUEUED = "requeued"  # given back by the receiver
    TAKEN_BACK = "taken-back"  # the listener was cancelled before it settled


class Verb(StrEnum):
    """What happens to a delivery."""

    ACKNOWLEDGE = "acknowledge"
    REQUEUE = "requeue"
    TAKE_BACK = "take-back"


TRANSITIONS: dict[tuple[State, Verb], State] = {
    (State.OUT, Verb.ACKNOWLEDGE): State.ACKNOWLEDGED,
    (State.OUT, Verb.REQUEUE): State.REQUEUED,
    (State.OUT, Verb.TAKE_BACK): State.TAKEN_BACK,
    (State.ACKNOWLEDGED, Verb.TAKE_BACK): State.ACKNOWLEDGED,
    (State.REQUEUED, Verb.TAKE_BACK): State.REQUEUED,
    (State.TAKEN_BACK, Verb.ACKNOWLEDGE): State.TAKEN_BACK,
    (State.TAKEN_BACK, Verb.REQUEUE): State.TAKEN_BACK,
    (State.TAKEN_BACK, Verb.TAKE_BACK): State.TAKEN_BACK,
}


def settle(state: State, verb: Verb) -> State:
    """The next state. Raises: ValueError if the receiver settles twice."""
    following = TRANSITIONS.get((state, verb))
    if following is None:
        raise ValueError(f"{verb.value}: the delivery is {state.value} already")
    return following


class DuplicateWindow:
    """Remembers the last `ids_max` ids, each until a time of its own. Seconds of one clock.

    An id need not be remembered longer than its message may be carried out.
    """

    def __init__(self, *, ids_max: int = 50_000) -> None:
        self._ids_max = ids_max
        self._ids: OrderedDict[str, float] = OrderedDict()

    def holds(self, unique_id: str, now_s: float) -> bool:
        """Whether it is remembered."""
        return self._ids.get(unique_id, -inf) > now_s

    def first(self, unique_id: str, now_s: float, until_s: float) -> bool:
        """Whether this id is new; it is remembered until `until_s`."""
        ids = self._ids
        if self.holds(unique_id, now_s):
            return False
        ids[unique_id] = until_s
        ids.move_to_end(unique_id)
        # Two for each that comes: what is over does not pile up.
        for _ in range(2):
            if next(iter(ids.values())) > now_s and len(ids) <= self._ids_max:
                break
            ids.popitem(last=False)
        return True

    def __len__(self) -> int:
        return len(self._ids)
