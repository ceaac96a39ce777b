# SPDX-License-Identifier: Apache-2.0
"""A message on its way: to one server of an address, or to all of them.

Invariants:
1. `sent` is told once.
2. A parcel goes to another server only if it surely did not reach the first.
3. "Nobody there" is said only of a view that the registry has confirmed meanwhile.
4. A copy of a fan-out that was not handed over is logged and reported as a Gap of its peer.
"""

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

from transom.errors import MessageDeliveryFailure, MessageUndeliverable, MessagingError
from transom.messaging.drivers.base import Address, Kind, Sent
from transom.messaging.drivers.zmq.outbound import Outcome

if TYPE_CHECKING:
    from transom.messaging.drivers.zmq.sender import Sender

log = logging.getLogger(__name__)

# How long a fan-out waits for a peer that does not take its copy, before it goes on without it.
COPY_WAIT_S = 0.5


class Errand:
    """To one server of the address, in the pool that the address names."""

    __slots__ = (
        "_address",
        "_body",
        "_confirmed",
        "_content",
        "_deadline_s",
        "_mandatory",
        "_peer",
        "_refused",
        "_sender",
        "_sent",
    )

    def __init__(
        self,
        sender: "Sender",
        address: Address,
        body: bytes,
        sent: Sent,
        deadline_s: float,
        *,
        mandatory: bool,
    ) -> None:
        self._sender = sender
        self._address = address
        self._content = sender.code.encode(address)
        self._body = body
        self._sent = sent
        self._deadline_s = deadline_s
        self._mandatory = mandatory
        self._refused: tuple[str, ...] = ()
        self._confirmed = address.kind is Kind.REPLY  # of which the registry knows nothing
        self._peer = ""

    def go(self) -> None:
        link = self._sender.choose(self._address, self._content, self._refused)
        if link is None:
            self._find_nobody()
            return
        self._peer = link.peer
        if not link.post(self._content, self._body, self._deadline_s, self._settled):
            self._sent(MessageDeliveryFailure("too many messages wait for this peer"))

    def _find_nobody(self) -> None:
        if not self._confirmed:
            self._confirmed = True
            self._sender.refresh(self._deadline_s, self._refreshed, mandatory=self._mandatory)
        elif self._mandatory:
            self._sent(MessageUndeliverable(detail=f"nobody serves {self._address}"))
        else:
            log.debug("message for nobody dropped", extra={"topic": self._address.name})
            self._sent(None)

    def _refreshed(self, error: MessagingError | None) -> None:
        if error is None:
            self.go()
        else:
            self._sent(error)

    def _settled(self, outcome: Outcome) -> None:
        match outcome:
            case Outcome.TAKEN:
                self._sent(None)
            case Outcome.NOWHERE:
                self._refused += (self._peer,)
                self.go()
            case Outcome.LATE:
                self._sent(MessageDeliveryFailure("the message was not taken within its deadline"))
            case Outcome.LOST:
                self._sent(
                    MessageDeliveryFailure(
                        "the peer was lost; the message may or may not have arrived"
                    )
                )


class Copies:
    """To every server of a fan-out."""

    def __init__(
        self,
        sender: "Sender",
        address: Address,
        body: bytes,
        sent: Sent,
        deadline_s: float,
        *,
        mandatory: bool,
    ) -> None:
        self._sender = sender
        self._address = address
        self._body = body
        self._sent = sent
        self._deadline_s = deadline_s
        self._mandatory = mandatory
        self._left = 0
        self._reached = False

    def go(self) -> None:
        """To whom the view knows now."""
        content = self._sender.code.encode(self._address)
        until_s = min(self._deadline_s, asyncio.get_running_loop().time() + COPY_WAIT_S)
        for peer in self._sender.servers(self._address):
            link = self._sender.link(peer)
            settled = partial(self._settled, peer)
            if link.outbound.lags(content) or not link.post(content, self._body, until_s, settled):
                self._lose(peer)
            else:
                self._left += 1
        if not self._left:
            self._finish()

    def _settled(self, peer: str, outcome: Outcome) -> None:
        self._left -= 1
        if outcome in (Outcome.LATE, Outcome.LOST):
            self._lose(peer)
        elif outcome is Outcome.TAKEN:
            self._reached = True
        if not self._left:
            self._finish()

    def _lose(self, peer: str) -> None:
        self._reached = True
        self._sender.copy_lost(self._address, peer)

    def _finish(self) -> None:
        nobody = self._mandatory and not self._reached
        detail = f"nobody serves {self._address}"
        self._sent(MessageUndeliverable(detail=detail) if nobody else None)
