# SPDX-License-Identifier: Apache-2.0
"""The registries of a bus, one to three, seen as one: any one that lives is enough.

A process registers with all of them. What they say is merged by process and revision.

Invariants:
1. "Nobody is there" is said only on the word of a registry that knows everybody (`current`).
2. What a registry said holds on while it is away: for `LOST_BEATS` if another one is current, which
   everybody who lives has found by then; else as long as it takes, so nobody is lost with it.
3. `register` and `sync` return when a registry has answered, and the others that are up have, or
   have had a beat for it.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence

from transom.errors import MessageDeliveryFailure
from transom.messaging.drivers.base import (
    Address,
    Connected,
    Disconnected,
    Gap,
    TransportEvent,
)
from transom.messaging.drivers.zmq.folder import REGISTRY
from transom.messaging.drivers.zmq.place import Context, Place
from transom.messaging.drivers.zmq.registry_line import RegistryLine
from transom.messaging.registry import MergedView

log = logging.getLogger(__name__)

LOST_BEATS = 3


class Registries:
    """All lines of a process. In events they are one peer, called `registry`."""

    def __init__(
        self,
        place: Place,
        process: str,
        report: Callable[[TransportEvent], None],
        left: Callable[[str], None],
        *,
        heartbeat_s: float,
    ) -> None:
        """`left` is called with each process that no registry names any more."""
        self._report = report
        self._left = left
        self._beat_s = heartbeat_s
        self._lines = [RegistryLine(name, place, process, self) for name in place.registries]
        self.view = MergedView(line.view for line in self._lines)
        self._revision = 0
        self._was_current = False
        self._turned_away: set[str] = set()

    @property
    def up(self) -> bool:
        """Whether there is a connection to any."""
        return any(line.up for line in self._lines)

    @property
    def current(self) -> bool:
        """Whether the view is what a living registry that knows everybody last said."""
        return any(line.up and line.settled for line in self._lines)

    def knows(self, process: str) -> bool:
        """False if the process is surely not on the bus, as far as the registries see."""
        return not self.current or self.view.names(process)

    def open(self, context: Context) -> None:
        self._loop = asyncio.get_running_loop()
        for line in self._lines:
            line.open(context)

    async def register(self, addresses: tuple[Address, ...], *, timeout_s: float) -> None:
        """Serves just these addresses from now on.

        Raises: TimeoutError, and it goes on trying; MessageDeliveryFailure if no registry lets
        this process in.
        """
        self._revision += 1
        answers = [line.register(self._revision, addresses) for line in self._lines]
        await self._answered(answers, timeout_s)

    def declare(self, addresses: tuple[Address, ...]) -> None:
        """As `register`, without waiting."""
        self._revision += 1
        for line in self._lines:
            line.declare(self._revision, addresses)

    async def sync(self, *, timeout_s: float) -> None:
        """Raises: as `register`."""
        answers = [line.sync() for line in self._lines]
        try:
            await self._answered(answers, timeout_s)
        finally:
            for answer in answers:
                answer.cancel()

    async def _answered(self, answers: "Sequence[asyncio.Future[None]]", timeout_s: float) -> None:
        if timeout_s <= 0:
            raise TimeoutError
        done, _ = await asyncio.wait(
            answers, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
        )
        if not done:
            raise TimeoutError
        for answer in done:
            answer.result()
        late = [
            answer
            for line, answer in zip(self._lines, answers, strict=True)
            if line.up and not answer.done()
        ]
        if late:
            await asyncio.wait(late, timeout=self._beat_s)

    def beat(self) -> None:
        """Renews, and forgets what was said long ago; to be called once a heartbeat."""
        for line in self._lines:
            line.beat()
        if len(self._lines) > 1 and self.current:
            lost_s = self._loop.time() - LOST_BEATS * self._beat_s
            for line in self._lines:
                if not line.up and line.lost_s <= lost_s:
                    self.changed(line.view.forget())

    def close(self) -> None:
        """Leaves."""
        for line in self._lines:
            line.close()

    def changed(self, processes: Iterable[str]) -> None:
        for process in self.view.update(processes):
            self._left(process)

    def turned(self, line: RegistryLine) -> None:
        if line.refused:
            self._refused(line)
        else:
            self._turned_away.discard(line.registry)
        if self.current == self._was_current:
            return
        self._was_current = self.current
        if self._was_current:
            self._report(Connected(REGISTRY))
        else:
            self._report(Disconnected(REGISTRY, "the connection was lost"))

    def dropped(self, line: RegistryLine) -> None:
        # Another registry may have known us all the while, and who sent to us with it.
        if not any(other.up for other in self._lines if other is not line):
            self._report(Gap(REGISTRY))

    def _refused(self, line: RegistryLine) -> None:
        if line.registry not in self._turned_away:
            self._turned_away.add(line.registry)
            log.error(
                "registry of the bus refuses this process: its bus key is another",
                extra={"registry": line.registry},
            )
            self._report(Disconnected(REGISTRY, f"{line.registry} has another bus key"))
        if all(other.refused for other in self._lines):
            where = ", ".join(other.registry for other in self._lines)
            error = MessageDeliveryFailure(
                f"the bus at {where} refuses this process: its bus key is another than that of "
                "the registry; give both the same key_file"
            )
            for other in self._lines:
                other.fail(error)
