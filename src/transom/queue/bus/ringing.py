# SPDX-License-Identifier: Apache-2.0
"""The bells of several processes: who has written says in which queues, and all others ring.

Invariants:
1. One frame at most every `EACH_S`, and under a steady stream of writes ever more seldom, down to
   one every `SELDOM_S`; in it the names of queues only, each of them once.
2. What is heard is never told on, so a ring goes round once.
3. It is told only where none but our own processes listen. Elsewhere, and where a frame is lost,
   each process looks for itself (see `app.bell`): a waiter is late then, and misses nothing.
"""

import asyncio
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from transom.messaging.client import Client
from transom.messaging.server import Server
from transom.messaging.target import Target
from transom.messaging.transport import Transport
from transom.queue.app.bell import Bell
from transom.queue.model import Place

TOPIC = "queue.bell"
EACH_S = 0.003
SELDOM_S = 0.024
PLACES_MOST = 500
"""In one frame; what is over goes with the next."""
SEND_S = 1.0


class Ringing:
    """A `Service`. `name`: this process's on the bus."""

    def __init__(self, transport: Transport, bell: Bell, name: str) -> None:
        self._bell = bell
        self._name = name
        target = Target(topic=TOPIC, fanout=True)
        self._everyone = Client(transport, target, timeout_s=SEND_S)
        self._server = Server(transport, target, [self])
        self._rung: dict[Place, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._pause_s = EACH_S
        self._stopped = True

    async def start(self) -> None:
        if not self._stopped:
            return
        self._stopped = False
        self._loop = asyncio.get_running_loop()
        self._bell.listen(self.tell)
        await self._server.start()

    async def stop(self) -> None:
        if self._stopped:
            return
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._send()
        await self._server.stop()

    def tell(self, place: Place) -> None:
        """To all others: at once, or with what comes in the next moment."""
        if self._stopped:
            return
        self._rung[place] = None
        if self._timer is None:
            self._send()

    async def rung(
        self, context: Mapping[str, Any], by: str, places: Sequence[Sequence[str]]
    ) -> None:
        """Another process has written to these queues."""
        if by != self._name:
            for project_id, name in places:
                self._bell.heard(Place(str(project_id), str(name)))

    def _send(self) -> None:
        """What was rung since; the next frame goes after the pause."""
        self._timer = None
        places = list(islice(self._rung, PLACES_MOST))
        if not places:
            self._pause_s = EACH_S
            return
        for place in places:
            del self._rung[place]
        told = [[place.project_id, place.name] for place in places]
        self._everyone.post({}, "rung", by=self._name, places=told)
        if not self._stopped:
            self._timer = self._loop.call_later(self._pause_s, self._send)
            self._pause_s = min(2 * self._pause_s, SELDOM_S)
