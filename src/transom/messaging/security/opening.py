# SPDX-License-Identifier: Apache-2.0
"""From the ticket that came with a message to its session; opened once, then remembered.

| ticket | opens with | taken where |
|---|---|---|
| of the key server, for a party | a long-term key of ours | shared-key, for us |
| of the key server, for a group | that generation of its key | shared-key, at the group's places |
| made by the source (`direct`) | our agreement key | public-key; shared-key for replies |
| none | our own session of that id | replies to what we sent to one party |

Invariants:
1. A session is answered only where the ticket's source is authentic, and at places of its kind:
   what a cache holds is asked again where it came.
2. No session outlives the certificate of its source, nor the group's key that its ticket is under.
3. What is remembered is bounded, and each of it is only a shortcut.
"""

from collections import OrderedDict
from collections.abc import Collection, Sequence

from transom.errors import (
    Expired,
    InvalidCertificate,
    InvalidSignature,
    SecurityError,
    WrongDestination,
)
from transom.messaging.security.certificates import Certificate, Identity, check
from transom.messaging.security.direct import LIFETIME_MS_MAX, is_direct, open_direct
from transom.messaging.security.sessions import PUBLIC_KEY, SHARED_KEY, Place, Session
from transom.messaging.security.tickets import Label, Ticket, open_ticket, read_label

SESSIONS_MAX = 10_000
REPLY = "reply"
GROUP_KINDS = frozenset({"topic", "fanout", "notification"})
"""Kinds of places that more than one party may serve."""


class KeyNeeded(SecurityError):
    """The group's key of that generation is not here yet; group "": no authority is known yet."""

    def __init__(self, group: str, generation: int) -> None:
        super().__init__(f"the key of {group or 'the authority'} is not here yet")
        self.group = group
        self.generation = generation


class Opener:
    """What a party can open with. The fields are set by who fetches keys."""

    def __init__(
        self,
        suite: str,
        name: str,
        identity: Identity,
        long_term_keys: Sequence[bytes] = (),
        *,
        skew_ms: int,
    ) -> None:
        self.suite = suite
        self.name = name
        self.identity = identity
        self.long_term_keys = tuple(long_term_keys)
        self.authorities: Collection[bytes] = ()
        self.group_keys: dict[tuple[str, int], tuple[bytes, int]] = {}
        self._newest: dict[str, int] = {}
        self._skew_ms = skew_ms
        self._opened: OrderedDict[bytes, Session] = OrderedDict()
        self._own: OrderedDict[bytes, Session] = OrderedDict()

    def remember_own(self, session: Session) -> None:
        """Replies to what is sent under it will be opened."""
        _put(self._own, session.id, session)

    def own(self, session_id: bytes) -> Session | None:
        return self._own.get(session_id)

    def add_group_key(self, group: str, generation: int, key: bytes, end_ms: int) -> None:
        """`end_ms`: nothing is sealed under it from then on."""
        if len(self.group_keys) >= SESSIONS_MAX:
            self.group_keys.pop(next(iter(self.group_keys)))
        self.group_keys[(group, generation)] = key, end_ms
        self._newest[group] = max(generation, self._newest.get(group, 0))

    def newest(self, group: str) -> int:
        """The newest generation of the group's key that was ever here; 0 if none was."""
        return self._newest.get(group, 0)

    def session(self, ticket: bytes, session_id: bytes, place: Place, now_ms: int) -> Session:
        """Of a message at `place`. Raises: KeyNeeded, SecurityError."""
        if not ticket:
            session = self._own.get(session_id)
            if session is None or session.group or place.kind != REPLY:
                raise InvalidSignature("the message is of no session that is known here")
            return session
        direct = is_direct(ticket)
        if direct and self.suite != PUBLIC_KEY and place.kind != REPLY:
            raise InvalidSignature("only replies come under a ticket of the source's own making")
        session = self._opened.get(ticket)
        if session is None:
            session = self._direct(ticket, now_ms) if direct else self._sealed(ticket, place)
            _put(self._opened, ticket, session)
        else:
            self._opened.move_to_end(ticket)
        if session.id != session_id:
            raise InvalidSignature("the message belongs to another ticket")
        if session.group != (place.kind in GROUP_KINDS) or session.destination != (
            place.name if session.group else self.name
        ):
            raise WrongDestination("the ticket is for another destination")
        return session

    def _direct(self, ticket: bytes, now_ms: int) -> Session:
        if not self.authorities:
            raise KeyNeeded("", 0)
        session = open_direct(
            ticket, self.identity, self.authorities, now_ms=now_ms, skew_ms=self._skew_ms
        )
        if session.suite != self.suite:
            raise InvalidSignature("the ticket is of another suite")
        return session

    def _sealed(self, ticket: bytes, place: Place) -> Session:
        if self.suite != SHARED_KEY:
            raise InvalidSignature("the ticket is of another suite")
        label = read_label(ticket)
        group = label.generation > 0
        if group != (place.kind in GROUP_KINDS) or label.destination != (
            place.name if group else self.name
        ):
            raise WrongDestination("the ticket is for another destination")
        certificate = None
        if group:
            opened, certificate = self._of_group(ticket, label)
        else:
            opened = open_ticket(ticket, self.long_term_keys)
        if not 0 < opened.lifetime_ms <= LIFETIME_MS_MAX:
            raise InvalidSignature("the ticket's life is none, or too long")
        return Session(
            SHARED_KEY,
            opened.source,
            opened.destination,
            opened.key,
            group=group,
            ticket=ticket,
            issued_ms=opened.issued_ms,
            lifetime_ms=opened.lifetime_ms,
            certificate=certificate,
        )

    def _of_group(self, ticket: bytes, label: Label) -> tuple[Ticket, Certificate]:
        """Whoever had the key can have made it: its life is the key's at most.

        The certificate has to hold for that time, not now: a notification may have waited.
        """
        known = self.group_keys.get((label.destination, label.generation))
        if known is None:
            raise KeyNeeded(label.destination, label.generation)
        if not self.authorities:
            raise KeyNeeded("", 0)
        key, end_ms = known
        opened = open_ticket(ticket, (key,))
        if opened.issued_ms + opened.lifetime_ms > end_ms:
            raise Expired("the ticket outlives the group's key")
        certificate = check(
            opened.certificate,
            self.authorities,
            now_ms=opened.issued_ms,
            skew_ms=self._skew_ms,
        )
        if certificate.name != opened.source:
            raise InvalidCertificate("the ticket holds the certificate of another party")
        if opened.issued_ms + opened.lifetime_ms > certificate.not_after_ms:
            raise InvalidCertificate("the ticket outlives its certificate")
        return opened, certificate


def _put(kept: OrderedDict[bytes, Session], key: bytes, session: Session) -> None:
    kept[key] = session
    if len(kept) > SESSIONS_MAX:
        kept.popitem(last=False)
