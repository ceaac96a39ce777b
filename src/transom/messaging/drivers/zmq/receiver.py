# SPDX-License-Identifier: Apache-2.0
"""The one bound socket of a process: what peers send arrives here, receipts go back.

Invariant: a record's fate is in a receipt that leaves `PATIENCE_TURNS` turns of the loop after it
arrived, or before, with what we send to its sender: an answer made at once takes it along.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from transom.errors import InvalidEnvelope
from transom.messaging.drivers.zmq.edge import EdgeSocket
from transom.messaging.drivers.zmq.inbound import Inbound, Order
from transom.messaging.drivers.zmq.peer_clock import PeerClock
from transom.messaging.drivers.zmq.place import Place, Socket
from transom.messaging.drivers.zmq.wire import (
    STRANGER,
    Frame,
    Record,
    Refusal,
    Riding,
    decode_data,
    decode_hello,
    encode_receipt,
    frame_kind,
)
from transom.runtime.clock import Clock

log = logging.getLogger(__name__)

# Measured: from 2 on, both receipts of an echo call ride, so it is 2 sends, not 4; one to spare.
PATIENCE_TURNS = 3

# What to do with a record: True if it was handed over, False if it waits (the function is called
# when it no longer does), a Refusal if it was not taken.
Accept = Callable[[Record, Callable[[], None]], bool | Refusal]


def link_identity(process: str, number: int) -> bytes:
    """The zmq routing id of the process's link of that number."""
    return f"{process}.{number}".encode("ascii")


def link_process(identity: bytes) -> tuple[str, int] | None:
    """The process and link number that a routing id tells; None if it tells none."""
    process, _, number = identity.decode("latin-1").rpartition(".")
    if not process or not (number.isascii() and number.isdigit()):
        return None
    return process, int(number[:18])


class Receiver:
    """Bound at the process's endpoint."""

    def __init__(
        self,
        place: Place,
        accept: Accept,
        receipt: Callable[[str, bytes, bytes], None],
        *,
        clock: Clock,
        known: Callable[[str], bool],
    ) -> None:
        """`receipt`: a peer's receipt that came along, and the routing id of our link.

        `known`: whether the registries name the process, or can't tell.
        """
        self._place = place
        self._accept = accept
        self._receipt = receipt
        self._clock = clock
        self._known = known
        self._newest: dict[str, bytes] = {}
        self._links: dict[bytes, Inbound] = {}
        self._clocks: dict[bytes, PeerClock] = {}
        self._due: dict[bytes, Inbound] = {}
        self._receipts_wanted = False
        self._leaving = False
        self._parted = asyncio.Event()

    def open(self, name: str, socket: Socket) -> None:
        """`name`: this process's, whose bound socket it is."""
        self._loop = asyncio.get_running_loop()
        self._name = name
        self._edge = EdgeSocket(socket, self._received)
        self._edge.open()

    def receipt_due(self, process: str) -> Riding | None:
        """The receipt that the process waits for, to send along."""
        identity = self._newest.get(process)
        link = None if identity is None else self._due.pop(identity, None)
        if identity is None or link is None:
            return None
        return identity, encode_receipt(Frame.RECEIPT, link.receipt())

    async def say_goodbye(self, timeout_s: float) -> None:
        """Takes nothing from now on, and tells every peer what it has taken, until they know."""
        self._leaving = True
        self.forget_the_dead()
        for identity, link in self._links.items():
            self._edge.send(identity, encode_receipt(Frame.BYE, link.whole()))
        if not self._links:
            self._parted.set()
        try:
            async with asyncio.timeout(timeout_s):
                await self._parted.wait()
        except TimeoutError:
            log.warning("peers did not hear our goodbye", extra={"count": len(self._links)})
        self._links.clear()
        self._due.clear()
        self._place.unbind()
        self._edge.close(0)

    def forget_the_dead(self) -> None:
        """Drops the links of processes that no longer live."""
        for identity in list(self._links):
            process, _, _ = identity.decode("latin-1").rpartition(".")
            if not self._place.spans_hosts:
                self._place.ask_dead(process, partial(self._forget, identity))
            elif not self._known(process) and self._is_gone(identity):
                self._forget(identity)

    def _is_gone(self, identity: bytes) -> bool:
        """On other hosts it is gone that the registries do not name and that is not connected."""
        link = self._links[identity]
        return not self._edge.send(identity, encode_receipt(Frame.RECEIPT, link.receipt()))

    def _forget(self, identity: bytes) -> None:
        self._links.pop(identity, None)
        self._clocks.pop(identity, None)
        self._due.pop(identity, None)
        process, _, _ = identity.decode("latin-1").rpartition(".")
        if self._newest.get(process) == identity:
            del self._newest[process]

    def _received(self, parts: list[bytes]) -> None:
        try:
            if len(parts) != 2:
                raise InvalidEnvelope("a message of a wrong number of frames")
            identity, frame = parts
            match frame_kind(frame):
                case Frame.HELLO:
                    self._greeted(identity, decode_hello(frame))
                case Frame.DATA:
                    self._arrived(identity, frame)
                case Frame.BYE:
                    self._left(identity)
                case _:
                    raise InvalidEnvelope("a frame of a receiver's kind")
        except InvalidEnvelope as error:
            log.warning("frame cannot be read", extra={"reason": error.text})

    def _greeted(self, identity: bytes, said: tuple[float, str] | None) -> None:
        known = link_process(identity)
        if known is None or not self._place.is_process(known[0]):
            raise InvalidEnvelope("a routing id that no process has")
        if said is None and self._place.spans_hosts:
            raise InvalidEnvelope("a greeting of another host without a time")
        if said is not None and said[1] != self._name:
            self._edge.send(identity, STRANGER)
            return
        process, number = known
        for other in list(self._links):
            theirs = link_process(other)
            if theirs is None or theirs[0] != process or other == identity:
                continue
            if theirs[1] > number:
                return
            self._forget(other)
        self._newest[process] = identity
        if said is not None:
            clock = self._clocks[identity] = PeerClock()
            clock.ahead_s(said[0], self._clock.monotonic_s())
        link = self._links.setdefault(identity, Inbound())
        self._due.pop(identity, None)
        kind = Frame.BYE if self._leaving else Frame.WHOLE
        self._edge.send(identity, encode_receipt(kind, link.whole()))

    def _left(self, identity: bytes) -> None:
        self._forget(identity)
        if self._leaving and not self._links:
            self._parted.set()

    def _arrived(self, identity: bytes, frame: bytes) -> None:
        clock_s, number, records, riding = decode_data(frame)
        if riding is not None:
            self._receipt(identity.decode("latin-1").rpartition(".")[0], *riding)
        link = self._links.get(identity)
        if link is None or self._leaving:
            # It writes again after its greeting has been answered.
            return
        clock = self._clocks.get(identity)
        if clock is not None and clock_s is not None:
            ahead_s = clock.ahead_s(clock_s, self._clock.monotonic_s())
            for record in records:
                record.deadline_s += ahead_s
        for record in records:
            match link.order(number):
                case Order.NEXT:
                    self._admit(identity, link, number, record)
                case Order.GAP:
                    if link.tell_gap():
                        self._edge.send(identity, encode_receipt(Frame.WHOLE, link.whole()))
                    return
                case Order.AGAIN:
                    pass
            number += 1
        self._want_receipts(identity, link)

    def _admit(self, identity: bytes, link: Inbound, number: int, record: Record) -> None:
        verdict = self._accept(record, partial(self._released, identity, link, number))
        if verdict is True:
            link.take(number)
        elif verdict is False:
            link.hold(number)
        else:
            link.refuse(number, verdict)

    def _released(self, identity: bytes, link: Inbound, number: int) -> None:
        link.release(number)
        if self._links.get(identity) is link:
            self._want_receipts(identity, link)

    def _want_receipts(self, identity: bytes, link: Inbound) -> None:
        self._due[identity] = link
        if not self._receipts_wanted:
            self._receipts_wanted = True
            self._loop.call_soon(self._send_receipts, PATIENCE_TURNS)

    def _send_receipts(self, turns: int) -> None:
        if turns > 1 and self._due:
            self._loop.call_soon(self._send_receipts, turns - 1)
            return
        self._receipts_wanted = False
        due, self._due = self._due, {}
        for identity, link in due.items():
            self._edge.send(identity, encode_receipt(Frame.RECEIPT, link.receipt()))
