# SPDX-License-Identifier: Apache-2.0
"""The way to one peer: the shell around `outbound`. Receipts due to the peer ride along.

A link ends when its peer says goodbye, when the connection is lost and the peer is surely dead, or
when the registries drop the peer; but between hosts that may only mean that they do not see it, so
a link whose peer still answers goes on. Else zmq reconnects.
"""

import asyncio
import logging
import math
from collections.abc import Callable

import zmq

from transom.errors import InvalidEnvelope
from transom.messaging.drivers.base import Connected, Disconnected, Gap, TransportEvent
from transom.messaging.drivers.zmq.edge import Dealer
from transom.messaging.drivers.zmq.outbound import Outbound, Outcome, Parcel
from transom.messaging.drivers.zmq.place import Place
from transom.messaging.drivers.zmq.wire import (
    BYE,
    HELLO,
    Frame,
    Receipt,
    Riding,
    decode_receipt,
    encode_data,
    encode_hello,
    frame_kind,
)
from transom.runtime.clock import Clock

log = logging.getLogger(__name__)

FRAME_BYTES = 1 << 20
PROBE_FIRST_S = 0.01
PROBE_MOST_S = 1.0
GOODBYE_MS = 200
REFUSALS_TOLD = 2
UNREACHED_S = 60.0


class Link:
    """One way to one peer. `closed` is called once, at its end."""

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        place: Place,
        identity: bytes,
        peer: str,
        *,
        clock: Clock,
        report: Callable[[TransportEvent], None],
        closed: Callable[["Link"], None],
        receipt_due: Callable[[str], Riding | None],
    ) -> None:
        self.peer = peer
        self.identity = identity
        self.outbound = Outbound()
        self._context = context
        self._place = place
        self._clock = clock
        self._report = report
        self._closed = closed
        self._receipt_due = receipt_due
        self._dealer = Dealer(identity, self.received, self._greet, self._lost, self._refused)
        self._connected = False
        self._refusals = 0
        self._heard = 0
        self._ended = False
        self._flush_wanted = False
        self._probe_s = PROBE_FIRST_S
        self._probe_timer: asyncio.TimerHandle | None = None

    def open(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._dealer.open(self._context, self._place.prepare)
        self._dealer.connect(self._place.endpoint(self.peer))
        self._lost_s = self._loop.time()
        self._await_life()

    def post(
        self, address: bytes, body: bytes, deadline_s: float, settle: Callable[[Outcome], None]
    ) -> bool:
        """Queues a parcel; false if too many wait. `deadline_s`: on the loop's clock."""
        left_s = deadline_s - self._loop.time()
        parcel = Parcel(address, body, self._clock.monotonic_s() + left_s, settle)
        if not self.outbound.offer(parcel):
            return False
        if left_s < math.inf:
            parcel.timer = self._loop.call_at(deadline_s, self.outbound.late, parcel)
        if self.outbound.under_way:
            self._want_flush()  # what comes in this turn goes together
        else:
            self._flush()
        return True

    def drop(self, within_s: float) -> None:
        """The registries say that the peer is gone. It has `within_s` to say that it is not."""
        if self._place.spans_hosts and self.outbound.open:
            self._greet()
            self._loop.call_later(within_s, self._drop_unheard, self._heard)
        else:
            self.close("the registry dropped it")

    def _drop_unheard(self, heard: int) -> None:
        if self._heard == heard:
            self.close("the registry dropped it, and it does not answer")

    def close(self, reason: str, last_words: Receipt | None = None) -> None:
        """Settles everything. Idempotent."""
        if self._ended:
            return
        self._ended = True
        if self._probe_timer is not None:
            self._probe_timer.cancel()
        self._dealer.close(GOODBYE_MS if last_words is not None else 0)
        self._closed(self)
        unknown = self.outbound.close(last_words)
        if self._connected:
            self._connected = False
            self._report(Disconnected(self.peer, reason))
        if unknown:
            log.warning("messages to a lost peer may not have arrived", extra={"peer": self.peer})
            self._report(Gap(self.peer))

    def _greet(self) -> None:
        self._refusals = 0
        if self._place.spans_hosts:
            self._dealer.send(encode_hello(self._clock.monotonic_s(), self.peer))
        else:
            self._dealer.send(HELLO)

    def _refused(self) -> None:
        self._refusals += 1
        if self._refusals == REFUSALS_TOLD:
            log.warning("peer refuses us; is its bus key another?", extra={"peer": self.peer})

    def _lost(self) -> None:
        self.outbound.broken()
        if self._connected:
            self._connected = False
            self._report(Disconnected(self.peer, "the connection was lost"))
            self._lost_s = self._loop.time()
        self._probe_s = PROBE_FIRST_S
        self._await_life()

    def _await_life(self) -> None:
        """Until the link is open: ends it if the peer is dead, or was not reached for long."""
        if self._probe_timer is not None:
            self._probe_timer.cancel()
        self._probe_timer = self._loop.call_later(self._probe_s, self._probe)
        self._probe_s = min(2 * self._probe_s, PROBE_MOST_S)

    def _probe(self) -> None:
        if self._ended or self.outbound.open:
            return
        if self._loop.time() - self._lost_s >= UNREACHED_S:
            self.close("it was not reached")
            return
        self._await_life()
        self._place.ask_dead(self.peer, self._died)

    def _died(self) -> None:
        if not self._ended and not self.outbound.open:
            self.close("its process ended")

    def received(self, frame: bytes) -> None:
        """A receipt came, on this link or with what the peer sent on its own."""
        try:
            kind = frame_kind(frame)
            self._heard += 1
            if kind is Frame.STRANGER:
                self.close("another process is there now")
                return
            receipt = decode_receipt(frame)
        except InvalidEnvelope as error:
            log.warning("receipt cannot be read", extra={"peer": self.peer, "reason": error.text})
            return
        match kind:
            case Frame.RECEIPT:
                if not self.outbound.confirm(receipt):
                    self._greet()
            case Frame.WHOLE:
                self._resume(receipt)
            case Frame.BYE:
                self._dealer.send(BYE)
                self.close("it left", receipt)
            case _:
                log.warning("frame of a sender's kind came back", extra={"peer": self.peer})
        self._want_flush()

    def _resume(self, whole: Receipt) -> None:
        again = self.outbound.resume(whole)
        if again is None:
            self.close("it no longer knows us")
            return
        if not self._connected:
            self._connected = True
            self._report(Connected(self.peer))
        self._write(again)

    def _want_flush(self) -> None:
        if not self._flush_wanted:
            self._flush_wanted = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_wanted = False
        self._write(self.outbound.take())

    def _write(self, parcels: list[Parcel]) -> None:
        start, size_bytes = 0, 0
        for at, parcel in enumerate(parcels):
            size_bytes += len(parcel.body)
            if size_bytes >= FRAME_BYTES or at + 1 == len(parcels):
                riding = self._receipt_due(self.peer)
                first, part = parcels[start].number, parcels[start : at + 1]
                clock_s = self._clock.monotonic_s() if self._place.spans_hosts else None
                frame = encode_data(first, part, riding, clock_s=clock_s)
                # A refused send means a broken connection: all is written again after it.
                if not self._dealer.send(frame):
                    return
                start, size_bytes = at + 1, 0
