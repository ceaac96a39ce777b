# SPDX-License-Identifier: Apache-2.0
"""Messages of another exchange in a queue of ours. Pure.

A queue is named by its topic alone, so two exchanges that carry one topic fill one queue. What is
of the other exchange is given back for its own listener; the queue gives it out again at once, so
each time it is kept a little longer. One that comes back every time has no other listener.
"""

from transom.messaging.proto.amqp import Delivered

TRIES = 4
PAUSE_S = 0.02
REMEMBERED_MAX = 1000


class Foreign:
    """`ours`: the exchanges that we listen to; the default one leads to a queue by its name."""

    def __init__(self, ours: frozenset[str]) -> None:
        self.ours = ours | {""}
        self._tries: dict[int, int] = {}

    def pause_s(self, event: Delivered) -> float | None:
        """How long to keep the message before it is given back; None: it is ours."""
        if not event.redelivered:
            return 0.0
        message = hash((event.exchange, event.routing_key, event.body))
        tries = self._tries.pop(message, 0) + 1
        if tries > TRIES:
            return None
        if len(self._tries) >= REMEMBERED_MAX:
            self._tries.clear()
        self._tries[message] = tries
        return PAUSE_S * 2.0**tries
