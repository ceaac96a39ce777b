# SPDX-License-Identifier: Apache-2.0
"""A process's line to one registry: says what it serves, and keeps the view of who serves what.

Invariants:
1. While the registry is away the last view stays; at its return the process registers at once.
2. A view that missed a change fetches the whole.
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import Protocol

from transom.errors import InvalidEnvelope, MessagingError
from transom.messaging.drivers.base import Address
from transom.messaging.drivers.zmq.edge import Dealer
from transom.messaging.drivers.zmq.place import Context, Place
from transom.messaging.drivers.zmq.registry_wire import (
    Answer,
    Applied,
    Changed,
    Fetch,
    Leave,
    Register,
    Renew,
    Request,
    Sync,
    Whole,
    decode_reply,
    encode,
)
from transom.messaging.registry import RegistryView

log = logging.getLogger(__name__)

LOCATE_EACH_S = 2.0
LOCATE_MOST_S = 6.0
REFUSED_LEAST = 2


class Owner(Protocol):
    """Who has the lines."""

    def changed(self, processes: Iterable[str]) -> None:
        """The view says another thing of these."""

    def turned(self, line: "RegistryLine") -> None:
        """It became (or is no longer) up, settled or refused."""

    def dropped(self, line: "RegistryLine") -> None:
        """The registry had forgotten this process, and now knows it again."""


class RegistryLine:
    """`up`: there is a connection. `settled`: the registry knows everybody, as its view does.

    `refused`: the registry does not let us in. `lost_s`: when it was last up, on the loop's clock.
    """

    def __init__(self, registry: str, place: Place, process: str, owner: Owner) -> None:
        self.registry = registry
        self.view = RegistryView()
        self.up = False
        self.settled = False
        self.lost_s = 0.0
        self._place = place
        self._owner = owner
        self._dealer = Dealer(
            process.encode(), self._received, self._connected, self._disconnected, self._turned_away
        )
        self._addresses: tuple[Address, ...] = ()
        self._revision = 0
        self._token = 0
        self._syncs: dict[int, asyncio.Future[None]] = {}
        self._registering: asyncio.Future[None] | None = None
        self._registering_token = 0
        self._entered = False
        self._refusals = 0

    @property
    def refused(self) -> bool:
        return self._refusals >= REFUSED_LEAST

    def open(self, context: Context) -> None:
        self._loop = asyncio.get_running_loop()
        self.lost_s = self._loop.time()
        self._dealer.open(context, self._place.prepare)
        self._locating = self._loop.create_task(self._locate(), name="zmq-locate")

    def register(self, revision: int, addresses: tuple[Address, ...]) -> "asyncio.Future[None]":
        """As `declare`; done when the registry has told everybody."""
        if self._registering is None:
            self._registering = self._loop.create_future()
        self.declare(revision, addresses)
        return self._registering

    def declare(self, revision: int, addresses: tuple[Address, ...]) -> None:
        """Serves just these addresses from now on; said again at each new connection."""
        self._addresses = addresses
        self._revision = revision
        self._send_registration()

    def sync(self) -> "asyncio.Future[None]":
        """Done when the view holds every change before it, of a registry that knows everybody."""
        self._token += 1
        token, synced = self._token, self._loop.create_future()
        self._syncs[token] = synced
        synced.add_done_callback(lambda _: self._syncs.pop(token, None))
        self._send(Sync(token))
        return synced

    def fail(self, error: MessagingError) -> None:
        """Who waits for the registry need not."""
        waiting = [*self._syncs.values()]
        if self._registering is not None:
            waiting.append(self._registering)
            self._registering = None
        for future in waiting:
            if not future.done():
                future.set_exception(error)
                future.exception()  # it was told, also where nobody waits any more

    def beat(self) -> None:
        """Renews."""
        self._send(Renew(self._revision, self.view.epoch, self.view.number))

    def close(self) -> None:
        """Leaves."""
        self._locating.cancel()
        self._send(Leave())
        self._dealer.close(linger_ms=200)

    async def _locate(self) -> None:
        """A name may lead elsewhere when the registry comes back."""
        told = False
        while True:
            if not self.up:
                try:
                    async with asyncio.timeout(LOCATE_MOST_S):
                        endpoint = await self._place.locate(self.registry)
                except OSError as error:
                    if not told:
                        log.warning(
                            "registry of the bus cannot be found",
                            extra={"registry": self.registry, "reason": str(error)},
                        )
                    told = True
                else:
                    told = False
                    self._dealer.connect(endpoint)
            await asyncio.sleep(LOCATE_EACH_S)

    def _send(self, request: Request) -> None:
        # A refused send means no connection: all that matters is said again after it.
        if self.up:
            self._dealer.send(encode(request))

    def _send_registration(self) -> None:
        self._token += 1
        self._registering_token = self._token
        self._send(Register(self._token, self._revision, self._addresses))

    def _connected(self) -> None:
        self._refusals = 0
        self.up = True
        self._send_registration()
        for token in self._syncs:
            self._send(Sync(token))
        self._owner.turned(self)

    def _disconnected(self) -> None:
        if self.up:
            self.up = self.settled = False
            self.lost_s = self._loop.time()
            self._owner.turned(self)

    def _turned_away(self) -> None:
        self._refusals += 1
        if self.refused:
            self._owner.turned(self)

    def _received(self, frame: bytes) -> None:
        try:
            reply = decode_reply(frame)
        except InvalidEnvelope as error:
            log.warning("answer of the registry cannot be read", extra={"reason": error.detail})
            return
        match reply:
            case Changed():
                self._apply(reply)
            case Whole():
                self._replace(reply)
            case Answer():
                self._answered(reply)

    def _apply(self, changed: Changed) -> None:
        processes = self.view.apply(changed.epoch, changed.changes)
        if processes is None:
            self._send(Fetch())
            return
        self._send(Applied(self.view.epoch, self.view.number))
        self._owner.changed(processes)

    def _replace(self, whole: Whole) -> None:
        processes = self.view.replace(
            whole.epoch, whole.number, whole.entries, settled=whole.settled
        )
        self._send(Applied(whole.epoch, whole.number))
        if whole.settled and not self.settled:
            self.settled = True
            self._owner.turned(self)
        self._owner.changed(processes)

    def _answered(self, answer: Answer) -> None:
        if not answer.known:
            if self._entered and answer.epoch == self.view.epoch:
                log.warning("the registry had dropped this process", extra={"epoch": answer.epoch})
                self._owner.dropped(self)
            self._send_registration()
            return
        if (answer.epoch, answer.number) != (self.view.epoch, self.view.number):
            self._send(Fetch())
        if answer.token == self._registering_token:
            self._entered = True
            registering, self._registering = self._registering, None
            if registering is not None and not registering.done():
                registering.set_result(None)
        sync = self._syncs.get(answer.token)
        if sync is not None and not sync.done():
            sync.set_result(None)
