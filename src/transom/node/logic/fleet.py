# SPDX-License-Identifier: Apache-2.0
"""Whose turn it is among the roles of a machine: to start in order, to stop in the reverse.

Invariants:
1. A role begins when every role of a lower order is settled: has been ready once, or has failed.
2. A role is asked to stop when every role of a higher order has ended.
"""

from collections.abc import Mapping

from transom.node.logic.life import Life, State


def to_begin(lives: Mapping[str, Life], orders: Mapping[str, int]) -> list[str]:
    """The names of those whose turn to start has come."""
    unsettled = [orders[name] for name, life in lives.items() if not life.settled]
    if not unsettled:
        return []
    turn = min(unsettled)
    return [
        name for name, life in lives.items() if life.state is State.IDLE and orders[name] == turn
    ]


def to_stop(lives: Mapping[str, Life], orders: Mapping[str, int]) -> list[str]:
    """The names of those whose turn to stop has come; some may have been asked already."""
    alive = [orders[name] for name, life in lives.items() if not life.ended]
    if not alive:
        return []
    turn = max(alive)
    return [name for name, life in lives.items() if not life.ended and orders[name] == turn]
