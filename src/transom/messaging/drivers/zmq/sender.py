# SPDX-License-Identifier: Apache-2.0
"""Whom a message goes to.

What becomes of each message is in `errand`; here are the links and the choice among them.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial

import zmq

from transom.errors import MessageDeliveryFailure, MessageUndeliverable, MessagingError
from transom.messaging.drivers.base import Address, Gap, Join, Kind, Sent, TransportEvent
from transom.messaging.drivers.zmq.errand import Copies, Errand
from transom.messaging.drivers.zmq.link import Link
from transom.messaging.drivers.zmq.place import Place
from transom.messaging.drivers.zmq.receiver import link_identity
from transom.messaging.drivers.zmq.registries import Registries
from transom.messaging.drivers.zmq.wire import AddressCode, Riding
from transom.runtime.clock import Clock

log = logging.getLogger(__name__)

# A registry that restarts on hosts takes three to know everybody, and one to say so.
PATIENCE_BEATS = 4
DRAIN_POLL_S = 0.005
NO_ANSWER = "the bus registry did not answer; is the supervisor running?"


class Sender:
    """The links of a process, and the choice among them."""

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        place: Place,
        process: str,
        registry: Registries,
        code: AddressCode,
        *,
        clock: Clock,
        heartbeat_s: float,
        report: Callable[[TransportEvent], None],
        receipt_due: Callable[[str], Riding | None],
    ) -> None:
        self._context = context
        self._place = place
        self._process = process
        self._registry = registry
        self.code = code
        self._clock = clock
        self._patience_s = PATIENCE_BEATS * heartbeat_s
        self._report = report
        self._receipt_due = receipt_due
        self._loop = asyncio.get_running_loop()
        self._links: dict[str, Link] = {}
        self._linked = 0
        self._turn = 0
        self._refreshes: set[asyncio.Task[None]] = set()

    def send(
        self, address: Address, body: bytes, sent: Sent, *, deadline_s: float, mandatory: bool
    ) -> None:
        """See `base.Driver.send`."""
        if address.kind is not Kind.FANOUT and address.kind is not Kind.NOTIFICATION:
            Errand(self, address, body, sent, deadline_s, mandatory=mandatory).go()
            return

        def go(error: MessagingError | None = None) -> None:
            if error is not None:
                sent(error)
            elif address.kind is Kind.FANOUT:
                Copies(self, address, body, sent, deadline_s, mandatory=mandatory).go()
            else:
                self._send_to_pools(address, body, sent, deadline_s, mandatory)

        if self._registry.view.lookup(address):
            go()
        else:
            self.refresh(deadline_s, go, mandatory=mandatory)

    async def forward(self, address: Address, body: bytes, *, deadline_s: float) -> None:
        """To another server of the topic or listener of the pool.

        Raises: MessageUndeliverable, MessageDeliveryFailure.
        """
        outcome: asyncio.Future[MessagingError | None] = self._loop.create_future()

        def sent(error: MessagingError | None) -> None:
            if not outcome.done():
                outcome.set_result(error)

        Errand(self, address, body, sent, deadline_s, mandatory=True).go()
        error = await outcome
        if error is not None:
            raise error

    async def drain(self, timeout_s: float) -> None:
        """Until nothing is being sent, or for `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                while self._refreshes or not all(  # noqa: ASYNC110
                    link.outbound.idle for link in self._links.values()
                ):
                    # Only here, at the end, so that no message pays for an event.
                    await asyncio.sleep(DRAIN_POLL_S)
        except TimeoutError:
            log.warning("messages were still being sent")

    def receipt(self, peer: str, identity: bytes, frame: bytes) -> None:
        """A receipt for our link of that routing id came with what the peer sent."""
        link = self._links.get(peer)
        if link is not None and link.identity == identity:
            link.received(frame)

    def drop(self, peer: str) -> None:
        """The registries say that the peer is gone."""
        link = self._links.get(peer)
        if link is not None:
            link.drop(self._patience_s)

    def close(self) -> None:
        for task in self._refreshes:
            task.cancel()
        for link in list(self._links.values()):
            link.close("we stop")

    def _send_to_pools(
        self, address: Address, body: bytes, sent: Sent, deadline_s: float, mandatory: bool
    ) -> None:
        """One pool's failure keeps no other from its copy."""
        pools = self._registry.view.pools(address)
        if not pools:
            undeliverable = MessageUndeliverable(detail=f"nobody listens to {address}")
            sent(undeliverable if mandatory else None)
            return
        part = Join(sent, len(pools)).part
        for pool in pools:
            there = address.in_pool(pool)
            Errand(self, there, body, part, deadline_s, mandatory=mandatory).go()

    def choose(self, address: Address, content: bytes, refused: tuple[str, ...]) -> Link | None:
        """The link to the least loaded server that has not refused, in turns."""
        peers = self.servers(address)
        if refused:
            peers = tuple(peer for peer in peers if peer not in refused)
        if not peers:
            return None
        if len(peers) == 1:
            return self.link(peers[0])
        self._turn += 1
        turn = self._turn % len(peers)
        return self.link(
            min(peers[turn:] + peers[:turn], key=lambda peer: self._load(peer, content))
        )

    def servers(self, address: Address) -> tuple[str, ...]:
        """Who serves the address (in its pool), as far as we know."""
        match address.kind:
            case Kind.REPLY:
                return (address.name,) if self._place.is_process(address.name) else ()
            case Kind.NOTIFICATION:
                return self._registry.view.pools(address).get(address.pool, ())
            case _:
                return self._registry.view.lookup(address)

    def _load(self, peer: str, content: bytes) -> int:
        link = self._links.get(peer)
        return 0 if link is None else link.outbound.load(content)

    def link(self, peer: str) -> Link:
        """The one to the peer; made at its first use."""
        link = self._links.get(peer)
        if link is None:
            self._linked += 1
            identity = link_identity(self._process, self._linked)
            link = Link(
                self._context,
                self._place,
                identity,
                peer,
                clock=self._clock,
                report=self._report,
                closed=self._closed,
                receipt_due=self._receipt_due,
            )
            self._links[peer] = link
            link.open()
        return link

    def refresh(self, deadline_s: float, refreshed: Sent, *, mandatory: bool) -> None:
        """Makes sure that "nobody" is what the registry says now."""
        if self._registry.current and not mandatory:
            refreshed(None)
            return
        task = self._loop.create_task(self._refresh(deadline_s), name="zmq-refresh")
        self._refreshes.add(task)
        task.add_done_callback(partial(self._refreshed, refreshed))

    async def _refresh(self, deadline_s: float) -> None:
        left_s = min(deadline_s - self._loop.time(), self._patience_s)
        await self._registry.sync(timeout_s=left_s)

    def _refreshed(self, refreshed: Sent, task: "asyncio.Task[None]") -> None:
        self._refreshes.discard(task)
        if task.cancelled():
            refreshed(MessageDeliveryFailure("the bus connection was stopped"))
            return
        match task.exception():
            case None:
                refreshed(None)
            case TimeoutError():
                refreshed(MessageDeliveryFailure(NO_ANSWER))
            case MessagingError() as error:
                refreshed(error)
            case error:
                raise error

    def copy_lost(self, address: Address, peer: str) -> None:
        """The peer will miss one."""
        log.warning("copy of a fan-out lost", extra={"topic": address.name, "peer": peer})
        self._report(Gap(peer))

    def _closed(self, link: Link) -> None:
        if self._links.get(link.peer) is link:
            del self._links[link.peer]
