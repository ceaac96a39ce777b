# SPDX-License-Identifier: Apache-2.0
"""A process's line to the registry: says what it serves, and keeps the view of who serves what.

Invariants:
1. While the registry is away the last view stays; at its return the process registers at once.
2. A view that missed a change fetches the whole.
3. `register` returns when every living process knows (or has had its time); `sync`, when this
   view holds every change before it, of a registry that knows everybody.
"""

import asyncio
import logging
from collections.abc import Callable

import zmq

from transom.errors import InvalidEnvelope
from transom.messaging.drivers.base import (
    Address,
    Connected,
    Disconnected,
    Gap,
    TransportEvent,
)
from transom.messaging.drivers.zmq.edge import Dealer
from transom.messaging.drivers.zmq.folder import REGISTRY, Folder
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


class RegistryClient:
    """See the module. `up`: whether there is a connection to a registry."""

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        folder: Folder,
        process: str,
        report: Callable[[TransportEvent], None],
    ) -> None:
        self.view = RegistryView()
        self._folder = folder
        self._report = report
        self._dealer = Dealer(
            context, process.encode(), self._received, self._connected, self._disconnected
        )
        self._addresses: tuple[Address, ...] = ()
        self._revision = 0
        self._token = 0
        self._syncs: dict[int, asyncio.Future[None]] = {}
        self._registering: asyncio.Future[None] | None = None
        self._registering_token = 0
        self.up = False
        self._settled = False
        self._entered = False

    @property
    def current(self) -> bool:
        """Whether the view is what a living registry that knows everybody last said."""
        return self.up and self._settled

    def open(self, left: Callable[[str], None]) -> None:
        """`left` is called with each process that the registry drops."""
        self._left = left
        self._loop = asyncio.get_running_loop()
        self._dealer.open(self._folder.endpoint(REGISTRY))

    async def register(self, addresses: tuple[Address, ...], *, timeout_s: float) -> None:
        """Serves just these addresses from now on. Raises: TimeoutError; it goes on trying."""
        if self._registering is None:
            self._registering = self._loop.create_future()
        self.declare(addresses)
        async with asyncio.timeout(timeout_s):
            await asyncio.shield(self._registering)

    def declare(self, addresses: tuple[Address, ...]) -> None:
        """As `register`, without waiting; said again at each new connection."""
        self._addresses = addresses
        self._revision += 1
        self._send_registration()

    async def sync(self, *, timeout_s: float) -> None:
        """Raises: TimeoutError."""
        self._token += 1
        token = self._token
        self._syncs[token] = self._loop.create_future()
        self._send(Sync(token))
        try:
            async with asyncio.timeout(timeout_s):
                await self._syncs[token]
        finally:
            del self._syncs[token]

    def beat(self) -> None:
        """Renews; to be called once a heartbeat."""
        self._send(Renew(self._revision, self.view.epoch, self.view.number))

    def close(self) -> None:
        """Leaves."""
        self._send(Leave())
        self._dealer.close(linger_ms=200)

    def _send(self, request: Request) -> None:
        # A refused send means no connection: all that matters is said again after it.
        if self.up:
            self._dealer.send(encode(request))

    def _send_registration(self) -> None:
        self._token += 1
        self._registering_token = self._token
        self._send(Register(self._token, self._revision, self._addresses))

    def _connected(self) -> None:
        self.up = True
        self._send_registration()
        for token in self._syncs:
            self._send(Sync(token))

    def _disconnected(self) -> None:
        was_current, self.up, self._settled = self.current, False, False
        if was_current:
            self._report(Disconnected(REGISTRY, "the connection was lost"))

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
        left = self.view.apply(changed.epoch, changed.changes)
        if left is None:
            self._send(Fetch())
            return
        self._send(Applied(self.view.epoch, self.view.number))
        for process in left:
            self._left(process)

    def _replace(self, whole: Whole) -> None:
        gone = self.view.replace(whole.epoch, whole.number, whole.entries, settled=whole.settled)
        self._send(Applied(whole.epoch, whole.number))
        if whole.settled and not self._settled:
            self._settled = True
            self._report(Connected(REGISTRY))
        for process in gone:
            self._left(process)

    def _answered(self, answer: Answer) -> None:
        if not answer.known:
            if self._entered and answer.epoch == self.view.epoch:
                log.warning("the registry had dropped this process", extra={"epoch": answer.epoch})
                self._report(Gap(REGISTRY))
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
