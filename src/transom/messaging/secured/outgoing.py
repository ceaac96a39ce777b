# SPDX-License-Identifier: Apache-2.0
"""What is sent, sealed.

Invariants:
1. Nothing waits for a key but messages that need it; those to one destination stay in order.
2. A message that cannot be sealed is not sent: its sender is told why (fails closed).
3. What goes to groups is signed at the end of the loop's turn, all of it at once, and in its order.
4. A ticket that is in use is renewed before it expires; until then the old one serves.
4. An answer is sealed for the session of its request, and encrypted where the request was.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from math import inf
from typing import NamedTuple

from transom.errors import KeyUnavailable, MessageDeliveryFailure, SecurityError
from transom.messaging.drivers.base import Address, Driver, Kind, Sent
from transom.messaging.secured.callers import Asked, Callers
from transom.messaging.secured.fetching import Fetching
from transom.messaging.secured.obtaining import ENROLMENT, Need, Obtainer
from transom.messaging.secured.settings import Security
from transom.messaging.security.message import LEAVES_MAX, Draft, Mode, Way, Writer, signed
from transom.messaging.security.sessions import Counters, Place, Role, Session
from transom.messaging.security.tickets import Purpose
from transom.runtime.clock import Clock
from transom.runtime.ids import Randomness

log = logging.getLogger(__name__)

OUTLETS_MAX = 4096
RENEW_AT = 0.7
NEVER_MS = 1 << 63
SERVERS_MAX = 65_536
INSTANCE_BYTES = 16


class Held:
    """A session in use. `until_ms`: how long it serves; `used`: since it was had."""

    __slots__ = ("renew_ms", "session", "until_ms", "used")

    def __init__(self, session: Session, until_ms: int, renew_ms: int = 0) -> None:
        self.session = session
        self.until_ms = until_ms
        self.renew_ms = renew_ms
        self.used = False


class Outlet:
    """How messages to one address are sealed, as long as `held` serves."""

    __slots__ = ("held", "lasting", "place", "writer")

    def __init__(self, way: Way, mode: Mode, held: Held) -> None:
        self.writer = Writer(way, mode)
        self.place = way.place
        self.lasting = way.place.kind == Kind.NOTIFICATION
        self.held = held


class Outgoing:
    """Seals and sends over `inner`."""

    def __init__(
        self,
        inner: Driver,
        security: Security,
        obtainer: Obtainer,
        fetching: Fetching,
        callers: Callers,
        *,
        clock: Clock,
        random: Randomness,
    ) -> None:
        self._inner = inner
        self._required = security.required
        self._mode = Mode(security.mode)
        self._obtainer = obtainer
        self._fetching = fetching
        self._callers = callers
        self._clock = clock
        self._random = random
        self._instance = random(INSTANCE_BYTES)
        self._counters = Counters()
        self._held: dict[Need, Held] = {}
        self._outlets: dict[Address, Outlet] = {}
        self._servers: OrderedDict[Need, str] = OrderedDict()
        self._reply_to = ""
        self._drafts: list[_Drafted] = []

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._reply_to = self._inner.reply_address().name

    def hold(self, need: Need, session: Session) -> None:
        """It serves from now on; replies to it are opened as long as it is remembered."""
        self._obtainer.opener.remember_own(session)
        if former := self._held.get(need):
            former.until_ms = 0
        now_ms, until_ms = self._clock.now_ms(), session.expires_ms
        share = RENEW_AT * (0.9 + self._random(1)[0] / 1275)  # not all parties at once
        self._held[need] = Held(session, until_ms, now_ms + int((until_ms - now_ms) * share))

    def party(self, topic: str, server: str) -> str | None:
        """Which party is the server of the topic, as the last ticket for it said."""
        need = Need(Purpose.TICKET, topic, server)
        held = self._held.get(need)
        return self._servers.get(need) if held is None else held.session.destination

    def renew(self, now_ms: int, now_s: float) -> None:
        """What has been used and ends before long; what has ended unused is forgotten."""
        for need, held in list(self._held.items()):
            left_ms = held.session.expires_ms - now_ms
            if left_ms <= 0:
                del self._held[need]
                self._outlived(need, held)
            elif held.used and now_ms >= held.renew_ms:
                self._fetching.renew(need, until_s=now_s + left_ms / 1000)

    def _outlived(self, need: Need, held: Held) -> None:
        """Calls go on longer than their ticket: whom they were for is known a while longer."""
        if need.server:
            self._servers[need] = held.session.destination
            self._servers.move_to_end(need)
            if len(self._servers) > SERVERS_MAX:
                self._servers.popitem(last=False)

    def send(
        self, address: Address, body: bytes, sent: Sent, *, deadline_s: float, mandatory: bool
    ) -> None:
        now_ms = self._clock.now_ms()
        outlet = self._outlets.get(address)
        if outlet is not None and now_ms < outlet.held.until_ms:
            # Invariant: nobody waits for its key, or it would not be here.
            self._seal(outlet, address, body, sent, deadline_s, mandatory, now_ms)
        elif address.kind is Kind.REPLY:
            self._send_unasked(address, body, sent, deadline_s, mandatory)
        else:
            need = _need(address)
            make = partial(self._outlet, address, need)
            self._send_first(need, make, address, body, sent, deadline_s, mandatory)

    def answer(
        self, asked: Asked, address: Address, body: bytes, sent: Sent, deadline_s: float
    ) -> None:
        """A reply, to who asked and nobody else."""
        now_ms = self._clock.now_ms()
        outlet = self._callers.get(asked)
        if outlet is None and not asked.session.group:
            outlet = self._outlet_back(asked, address)
        if outlet is not None and now_ms < outlet.held.until_ms:
            self._seal(outlet, address, body, sent, deadline_s, True, now_ms)
        else:
            make = partial(self._outlet_of_member, asked, address)
            self._send_first(ENROLMENT, make, address, body, sent, deadline_s, True)

    def _send_first(
        self,
        need: Need,
        make: Callable[[], Outlet | None],
        address: Address,
        body: bytes,
        sent: Sent,
        deadline_s: float,
        mandatory: bool,
    ) -> None:
        """Where nothing is ready; perhaps a key has to be fetched before `make` can make it."""

        def attempt(error: KeyUnavailable | None, *, may_wait: bool = False) -> None:
            """As often as the line of those who wait for the key comes to this message."""
            try:
                outlet = None if error is not None else make()
            except SecurityError as other:
                sent(_failure(other))
                return
            if outlet is not None:
                now_ms = self._clock.now_ms()
                self._seal(outlet, address, body, sent, deadline_s, mandatory, now_ms)
            elif may_wait:
                self._fetching.wait(need, attempt, until_s=deadline_s, size=len(body))
            else:
                sent(_failure(error or KeyUnavailable("the ticket expired at once")))

        if self._fetching.is_waited_for(need):
            self._fetching.wait(need, attempt, until_s=deadline_s, size=len(body))
        else:
            attempt(None, may_wait=True)

    def _send_unasked(
        self, address: Address, body: bytes, sent: Sent, deadline_s: float, mandatory: bool
    ) -> None:
        """A reply that refers to no secured request."""
        if self._required:
            sent(MessageDeliveryFailure("no secured request asked for this reply"))
        else:
            self._inner.send(address, body, sent, deadline_s=deadline_s, mandatory=mandatory)

    def _outlet(self, address: Address, need: Need) -> Outlet | None:
        """None where a key has to be fetched first. Raises: SecurityError."""
        held = self._held.get(need)
        if held is None or self._clock.now_ms() >= held.until_ms:
            return None
        held.used = True
        session = held.session
        signing = self._obtainer.identity.signing if session.group else None
        reply_to = "" if address.kind is Kind.NOTIFICATION else self._reply_to
        way = Way(session, Role.REQUEST, _place(address), self._instance, signing, reply_to)
        outlet = Outlet(way, self._mode, held)
        if not self._fetching.is_waited_for(need):
            if len(self._outlets) >= OUTLETS_MAX:
                self._outlets.clear()
            self._outlets[address] = outlet
        return outlet

    def _outlet_back(self, asked: Asked, address: Address) -> Outlet:
        """In the session of the request."""
        way = Way(asked.session, Role.REPLY, _place(address), self._instance)
        outlet = Outlet(way, self._mode_of(asked), Held(asked.session, NEVER_MS))
        self._callers.put(asked, outlet)
        return outlet

    def _outlet_of_member(self, asked: Asked, address: Address) -> Outlet | None:
        """Under a ticket of our own making, which shows that we belong to the group that was asked.

        None where a certificate has to be fetched first. Raises: SecurityError.
        """
        requester = asked.session.certificate
        if requester is None:
            raise KeyUnavailable("the caller has no certificate", lasting=True)
        if not self._obtainer.certificate:
            return None
        session = self._obtainer.answering(requester)
        held = Held(session, (session.issued_ms + session.expires_ms) // 2)
        place, answers = _place(address), asked.session.id
        way = Way(session, Role.REQUEST, place, self._instance, answers=answers)
        outlet = Outlet(way, self._mode_of(asked), held)
        if not self._fetching.is_waited_for(ENROLMENT):
            self._callers.put(asked, outlet)
        return outlet

    def _mode_of(self, asked: Asked) -> Mode:
        return Mode.ENCRYPT if asked.encrypted else self._mode

    def _seal(
        self,
        outlet: Outlet,
        address: Address,
        body: bytes,
        sent: Sent,
        deadline_s: float,
        mandatory: bool,
        now_ms: int,
    ) -> None:
        outlet.held.used = True
        deadline_ms = 0
        if deadline_s != inf and not outlet.lasting:
            deadline_ms = max(1, now_ms + int((deadline_s - self._loop.time()) * 1000) + 1)
        counter = self._counters.next(outlet.place, now_ms)
        if outlet.writer.way.signing is not None:
            draft = outlet.writer.draft(
                body, counter=counter, sent_ms=now_ms, deadline_ms=deadline_ms
            )
            self._drafts.append(_Drafted(draft, address, sent, deadline_s, mandatory))
            if len(self._drafts) >= LEAVES_MAX:
                self.flush()
            elif len(self._drafts) == 1:
                self._loop.call_soon(self.flush)
            return
        data = outlet.writer.encode(body, counter=counter, sent_ms=now_ms, deadline_ms=deadline_ms)
        self._inner.send(address, data, sent, deadline_s=deadline_s, mandatory=mandatory)

    def flush(self) -> None:
        """Signs and sends what was sealed for groups in this turn of the loop."""
        drafts, self._drafts = self._drafts, []
        if drafts:
            messages = signed(self._obtainer.identity.signing, [one.draft for one in drafts])
            for one, data in zip(drafts, messages, strict=True):
                self._inner.send(
                    one.address, data, one.sent, deadline_s=one.deadline_s, mandatory=one.mandatory
                )


class _Drafted(NamedTuple):
    """A message that waits for the end of the loop's turn, to be signed with others."""

    draft: Draft
    address: Address
    sent: Sent
    deadline_s: float
    mandatory: bool


def _failure(error: SecurityError) -> MessageDeliveryFailure:
    return MessageDeliveryFailure(
        f"the message could not be secured: {error.text}", detail=error.detail
    )


def _place(address: Address) -> Place:
    return Place(str(address.kind), address.name, address.part, address.exchange)


def _need(address: Address) -> Need:
    if address.kind is Kind.SERVER:
        return Need(Purpose.TICKET, address.name, address.part)
    return Need(Purpose.GROUP_TICKET, address.name)
