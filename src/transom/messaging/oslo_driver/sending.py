# SPDX-License-Identifier: Apache-2.0
"""Gives messages to a driver so that callers of oslo.messaging find what the stock driver does.

Invariants:
1. `told` is called once for each message.
2. With a broker: a message whose sender gives up by a time of its own (`retry`) is not handed to
   the driver while no link stands; else it would be sent long after its sender was told that it
   was not.
3. Without one: a call to a server that is not there waits for it until its timeout, a cast for
   `CAST_S`, as they would in a broker's queue; a cast counts as taken then.
"""

import asyncio
import logging
from dataclasses import dataclass
from math import inf

from transom.errors import MessageDeliveryFailure, MessageUndeliverable, MessagingError
from transom.messaging.drivers.base import (
    Address,
    Connected,
    Disconnected,
    Driver,
    Kind,
    Sent,
    TransportEvent,
)
from transom.messaging.oslo_driver.room import Room

log = logging.getLogger(__name__)

CAST_S = 60.0
BROKERED = ("rabbit",)


@dataclass(slots=True, eq=False)
class Outgoing:
    """A message to be sent. Times are the loop's, which are the monotonic clock's.

    `deadline_s`: when nobody wants it any more; inf for what has no reply. `until_s`: when its
    sender stops waiting for the bus to take it.
    """

    address: Address
    body: bytes
    told: Sent
    deadline_s: float = inf
    until_s: float = inf
    mandatory: bool = False


class Sending:
    """On one loop, before one driver."""

    def __init__(self, scheme: str) -> None:
        self._brokered = scheme in BROKERED
        self._driver: Driver | None = None
        self._links: set[str] = set()
        self._held: dict[Outgoing, None] = {}
        self._refusal: MessagingError | None = None

    def begin(self, driver: Driver) -> None:
        """The driver runs; what was sent before goes now."""
        self._driver = driver
        self._room = Room(driver)
        self._go_on()

    def end(self, refusal: MessagingError) -> None:
        """What waits fails, and whatever comes."""
        self._refusal = refusal
        self._go_on()
        if self._driver is not None:
            self._room.close()

    def report(self, event: TransportEvent) -> None:
        """See `Driver.start`."""
        match event:
            case Connected(peer):
                log.info("bus link connected", extra={"peer": peer})
                self._links.add(peer)
                self._go_on()
            case Disconnected(peer, reason):
                log.warning("bus link lost", extra={"peer": peer, "reason": reason})
                self._links.discard(peer)

    def send(self, outgoing: Outgoing) -> None:
        driver = self._driver
        if self._refusal is not None:
            outgoing.told(self._refusal)
        elif driver is None or self._must_wait(outgoing):
            self._hold(outgoing)
        elif self._brokered or outgoing.address.kind not in (Kind.TOPIC, Kind.SERVER):
            self._pass_on(driver, outgoing, outgoing.told, outgoing.mandatory)
        else:
            self._send_patiently(driver, outgoing)

    def _pass_on(self, driver: Driver, outgoing: Outgoing, told: Sent, mandatory: bool) -> None:
        driver.send(
            outgoing.address,
            outgoing.body,
            told,
            deadline_s=outgoing.deadline_s,
            mandatory=mandatory,
        )

    def _must_wait(self, outgoing: Outgoing) -> bool:
        return self._brokered and not self._links and outgoing.until_s < outgoing.deadline_s

    def _hold(self, outgoing: Outgoing) -> None:
        self._held[outgoing] = None
        if outgoing.until_s < inf:
            asyncio.get_running_loop().call_at(outgoing.until_s, self._give_up, outgoing)

    def _give_up(self, outgoing: Outgoing) -> None:
        if self._held.pop(outgoing, self) is None:
            outgoing.told(MessageDeliveryFailure("the bus could not be reached in time"))

    def _go_on(self) -> None:
        held, self._held = self._held, {}
        for outgoing in held:
            self.send(outgoing)

    def _send_patiently(self, driver: Driver, outgoing: Outgoing) -> None:
        if outgoing.mandatory:
            self._pass_on(driver, outgoing, outgoing.told, mandatory=True)
        elif outgoing.address in self._room:
            self._wait(outgoing)
        else:

            def told(error: MessagingError | None) -> None:
                if isinstance(error, MessageUndeliverable):
                    self._wait(outgoing)
                else:
                    outgoing.told(error)

            self._pass_on(driver, outgoing, told, mandatory=True)

    def _wait(self, outgoing: Outgoing) -> None:
        until_s, told = outgoing.deadline_s, outgoing.told
        if until_s == inf:
            until_s = asyncio.get_running_loop().time() + CAST_S
            outgoing.told(None)
            told = _dropped
        self._room.put(
            outgoing.address, outgoing.body, told, deadline_s=outgoing.deadline_s, until_s=until_s
        )


def _dropped(error: MessagingError | None) -> None:
    if error is not None:
        log.warning("cast dropped, its server did not come", extra={"reason": error.detail})
