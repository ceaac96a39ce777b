# SPDX-License-Identifier: Apache-2.0
"""How long requests of callers that died keep a healthy caller waiting, beside oslo.messaging.

64 requests arrive whose reply queues do not exist; then a healthy client calls. The figure is how
long its call took. A server of oslo.messaging tries each missing queue for a minute in the thread
of the request, and has 64 threads; that is measured once.

usage: python -m bench.messaging.dead_callers       -> bench/results/dead_callers.json
"""

import sys

from bench.messaging.running import ARGUMENT, HAND, OSLO, OURS, Kind, Process, broker, contender
from bench.report import median, rounds_argument, table, written

DEAD = 64
WAIT_S = 75.0
GOAL_MS = 100.0


def stalls(kind: Kind, rounds: int) -> list[float]:
    """Milliseconds of a healthy call behind the dead ones, once a round."""
    told = []
    with broker() as place:
        hand = Process(HAND, "hand", HAND.url(place))
        try:
            for _ in range(rounds):
                with contender(kind, place) as it:
                    hand.ask("dead_requests", topic=it.topic, count=DEAD, x=ARGUMENT)
                    once = it.client.ask("once", topic=it.topic, timeout=WAIT_S)
                    if once["error"] not in (None, "MessagingTimeout"):
                        raise RuntimeError(f"{kind.name}: {once['error']}")
                    told.append(once["ms"])
        finally:
            hand.stop()
    return told


def main() -> int:
    ours, theirs = stalls(OURS, rounds_argument(5)), stalls(OSLO, 1)
    result = {
        "claim": f"{DEAD} requests of dead callers stall a server for less than {GOAL_MS:.0f} ms",
        "unit": "milliseconds until a healthy call is answered",
        "median": {OURS.name: median(ours), OSLO.name: median(theirs)},
        "rounds": {OURS.name: [round(one, 1) for one in ours], OSLO.name: [round(theirs[0])]},
        "goal": GOAL_MS,
        "waited_at_most_s": WAIT_S,
        "versions": [OURS.version, OSLO.version],
    }
    written("dead_callers", result)
    rows = [(name, f"{figure:.1f}") for name, figure in result["median"].items()]
    table((f"a call behind {DEAD} dead callers'", "ms"), rows)
    print(f"goal: below {GOAL_MS:.0f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
