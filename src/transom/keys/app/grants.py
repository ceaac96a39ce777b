# SPDX-License-Identifier: Apache-2.0
"""What parties ask for: tickets, keys of groups, certificates. Each request says who asks, and is
signed with that party's long-term key; its answer is sealed with the same key.

Invariants:
1. In this order: who signed, when, is it new, what for. A request with a bad signature reads the
   database twice at most, writes nothing, and costs as much where the party is not known.
2. A request is answered once, whatever the answer is: its nonce is kept before it is looked at.
3. What a grant holds leaves only sealed for the party that signed.
"""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from transom.errors import (
    BadRequest,
    Conflict,
    Expired,
    Forbidden,
    InternalError,
    InvalidSignature,
    NotFound,
    TransomError,
    Unauthorized,
)
from transom.keys.app.authorities import Authorities
from transom.keys.app.directory import exists, is_settled, resolved
from transom.keys.app.figures import KeyFigures
from transom.keys.app.group_keys import GroupKeys
from transom.keys.config import KeysConfig
from transom.keys.logic import freshness, generations
from transom.keys.logic.names import patterns_for
from transom.keys.model import KEY_BYTES, Authority, GroupKey, Party, PartyKey
from transom.keys.store import authorities, certificates, groups, parties, requests
from transom.keys.store.seals import Seals, of_group, of_party
from transom.messaging.security import tickets
from transom.messaging.security.certificates import Certificate
from transom.messaging.security.names import is_member, is_name
from transom.messaging.security.sealing import derive, seal
from transom.messaging.security.tickets import Grant, Purpose, Request, Ticket
from transom.runtime.clock import Clock
from transom.runtime.db.transaction import Database, Transaction
from transom.runtime.ids import Randomness

log = logging.getLogger(__name__)
GROUPS_MOST = 50
"""Registered groups of one party, whose certificate names them all."""
GENERATION_END = 1 << 63
REFUSED = "The request is not signed by the party that it names."
SEEN = "The request was answered before; sign a new one."


@dataclass(frozen=True, slots=True)
class Asker:
    """Who signed, and what goes with every answer to it."""

    request: Request
    key: bytes
    groups: Sequence[str]
    known: Sequence[Authority]
    now_ms: int


@dataclass(frozen=True, slots=True)
class Granting:
    """Answers signed requests. Raises, beside what is said, what storage raises."""

    database: Database
    seals: Seals
    authorities: Authorities
    config: KeysConfig
    clock: Clock
    random: Randomness
    figures: KeyFigures = field(default_factory=KeyFigures)
    _nobody: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_nobody", self.random(KEY_BYTES))

    def read(self, data: bytes, purposes: Collection[Purpose]) -> Request:
        """What the request says, unproved. Raises: BadRequest."""
        try:
            request = tickets.read_request(data)
        except InvalidSignature:
            raise BadRequest("The request cannot be read: it has another form.") from None
        if request.purpose not in purposes:
            raise BadRequest(f"A request for a {request.purpose} is not taken here.")
        return request

    async def grant(self, data: bytes, request: Request) -> bytes:
        """The sealed answer to the request, which `read` gave for the data.

        Raises: Unauthorized for a request that is not signed by its source, of another time, or not
        new; Forbidden, NotFound, Conflict, BadRequest.
        """
        try:
            asker = await self._asker(data, request)
            made = await self._answered(asker)
        except TransomError as error:
            self.figures.refused(request.purpose, error)
            raise
        self.figures.given(request.purpose)
        fields = {"purpose": request.purpose, "destination": made.destination}
        log.debug("granted", extra={"party": request.source, **fields})
        return tickets.seal_grant(made, asker.key, self.random)

    async def _asker(self, data: bytes, request: Request) -> Asker:
        """Raises: Unauthorized."""
        source, now_ms = request.source, self.clock.now_ms()

        async def look(tx: Transaction) -> tuple[Party | None, int]:
            return await parties.find(tx, source), await requests.floor_ms(tx)

        party, floor_ms = await self.database.read(look)
        key, plain = self._signer(data, source, party, now_ms)
        freshness.check(request.timestamp_ms, now_ms, self.config.skew_s, floor_ms)
        expires_ms = freshness.forgotten_ms(request.timestamp_ms, self.config.skew_s)

        async def take(tx: Transaction) -> bool:
            if key.used_ms is None:
                await parties.used(tx, now_ms, source, key.generation)
            return await requests.take(tx, now_ms, source, request.nonce, expires_ms)

        if not await self.database.write(take):
            raise Unauthorized(SEEN)
        patterns = patterns_for(source)

        async def more(tx: Transaction) -> tuple[list[str], list[Authority]]:
            return await groups.groups_of(tx, patterns), await authorities.known(tx, now_ms)

        of_party, known = await self.database.read(more)
        if len(of_party) > GROUPS_MOST:
            raise Conflict(
                f"{source} is in more than {GROUPS_MOST} registered groups; register patterns."
            )
        return Asker(request, plain, of_party, known, now_ms)

    def _signer(
        self, data: bytes, source: str, party: Party | None, now_ms: int
    ) -> tuple[PartyKey, bytes]:
        """The key that signed, and its bytes. Raises: Unauthorized."""
        accepted = [] if party is None else generations.accepted(party, now_ms)
        for key in accepted:
            plain = self.seals.open(key.sealed, of_party(source, key.generation))
            if self._is_signed(data, plain, now_ms):
                return key, plain
        if not accepted:  # as much work as with a key that does not fit
            nobodys = derive(self._nobody, "nobody", source)
            seal(nobodys, bytes(KEY_BYTES), b"", self.random)
            self._is_signed(data, nobodys, now_ms)
        raise Unauthorized(REFUSED)

    def _is_signed(self, data: bytes, key: bytes, now_ms: int) -> bool:
        """Raises: Unauthorized if it is, but of another time."""
        skew_ms = self.config.skew_s * 1000
        try:
            tickets.check_request(data, key, now_ms=now_ms, skew_ms=skew_ms)
        except InvalidSignature:
            return False
        except Expired:
            raise Unauthorized(freshness.STALE) from None
        return True

    async def _answered(self, asker: Asker) -> Grant:
        match asker.request.purpose:
            case Purpose.ENROL:
                return await self._enrolled(asker)
            case Purpose.TICKET:
                return await self._ticket(asker)
            case Purpose.GROUP_TICKET:
                return await self._group_ticket(asker)
            case Purpose.GROUP_KEY:
                return await self._group_key(asker)

    async def _enrolled(self, asker: Asker) -> Grant:
        """The certificate of its public keys, which others can ask for then."""
        lifetime_ms = self.config.ticket_ttl_s * 1000
        certificate = self._certificate(asker)
        name, end_ms = asker.request.source, asker.now_ms + lifetime_ms

        async def keep(tx: Transaction) -> None:
            await certificates.keep(tx, asker.now_ms, name, certificate, end_ms)

        await self.database.write(keep)
        return self._grant(asker, "", lifetime_ms, certificate)

    async def _ticket(self, asker: Asker) -> Grant:
        """To the one party that is meant. Raises: NotFound."""
        destination = asker.request.destination

        async def look(tx: Transaction) -> tuple[list[str], Party | None]:
            names = await resolved(tx, destination)
            return names, await parties.find(tx, names[0]) if len(names) == 1 else None

        names, party = await self.database.read(look)
        if party is None:
            why = f"it may be {' or '.join(names[:3])}" if names else "enrol it first"
            raise NotFound(f"There is no one party {destination!r}; {why}.")
        key = generations.for_tickets(party, asker.now_ms)
        if key is None:
            raise NotFound(f"{party.name} has no long-term key, so there are no tickets to it.")
        plain = self.seals.open(key.sealed, of_party(party.name, key.generation))
        return self._with_ticket(asker, party.name, plain, self.config.ticket_ttl_s * 1000)

    async def _group_ticket(self, asker: Asker) -> Grant:
        """To all of a group, for anybody. Raises: NotFound."""
        group = self._group_of(asker.request)
        if not await self.database.read(lambda tx: exists(tx, group)):
            raise NotFound(f"Nobody can be in the group {group}; enrol a party of it first.")
        key = await self._current_key(group, asker)
        lifetime_ms = min(self.config.ticket_ttl_s * 1000, key.expires_ms - asker.now_ms)
        plain = self._opened(group, key)
        return self._with_ticket(asker, group, plain, lifetime_ms, key.generation)

    async def _group_key(self, asker: Asker) -> Grant:
        """For members. Raises: Forbidden, NotFound for a generation that is not given any more,
        BadRequest for one that there cannot be.
        """
        request = asker.request
        group, generation = self._group_of(request), request.generation
        if not 0 <= generation < GENERATION_END:
            raise BadRequest("A generation is a number of milliseconds since 1970.")
        if not is_member(request.source, asker.groups, group):
            raise Forbidden(f"{request.source} is not in the group {group}.")
        if generation == 0:
            key = await self._current_key(group, asker)
        else:
            found = await self.database.read(lambda tx: groups.key(tx, group, generation))
            if found is None or self._left_ms(found, asker.now_ms) <= 0:
                raise NotFound(f"The group {group} has no key of the generation {generation}.")
            key = found
        return self._grant(
            asker,
            group,
            self._left_ms(key, asker.now_ms),
            self._certificate(asker),
            key=self._opened(group, key),
            generation=key.generation,
            key_end_ms=key.expires_ms,
        )

    async def _current_key(self, group: str, asker: Asker) -> GroupKey:
        """The one to seal under, made if there is none that is good for a while yet.

        Raises: Conflict if the asker has brought too many groups to be.
        """
        config, now_ms = self.config, asker.now_ms
        found = await self.database.read(lambda tx: groups.newest_key(tx, group))
        if found is not None and generations.is_current(found, now_ms, config):
            return found
        latest = 0 if found is None else found.generation
        if found is not None and found.expires_ms > now_ms:
            made_by = found.made_by
        else:
            made_by = await self._maker(group, asker)
        made = GroupKeys(self.seals, config, self.random).made(group, latest, now_ms, made_by)
        needed_ms = generations.needed_ms(now_ms, config)
        forget_ms = generations.ended_before_ms(now_ms, config)
        newest = await self.database.write(
            lambda tx: groups.add_key(tx, group, made, needed_ms, forget_ms)
        )
        if newest is None:
            raise InternalError(detail=f"the group {group} has no key after one was made")
        if newest.generation == made.generation:
            log.info("key of group made", extra={"group": group, "generation": made.generation})
        return newest

    async def _maker(self, group: str, asker: Asker) -> str:
        """Who answers for the group: nobody has to if its name is settled. Raises: Conflict."""
        source = asker.request.source

        async def look(tx: Transaction) -> tuple[bool, int]:
            settled = await is_settled(tx, group)
            return settled, 0 if settled else await groups.made_by(tx, source, asker.now_ms)

        settled, count = await self.database.read(look)
        if count >= self.config.made_groups_max:
            raise Conflict(
                f"{source} has sent to {count} groups that only a pattern fits; register them."
            )
        return "" if settled else source

    def _with_ticket(
        self, asker: Asker, destination: str, key: bytes, lifetime_ms: int, generation: int = 0
    ) -> Grant:
        """A new session's key, for the asker and, in the ticket, for the destination."""
        session_key, certificate = self.random(KEY_BYTES), self._certificate(asker)
        source, now_ms = asker.request.source, asker.now_ms
        ticket = Ticket(source, destination, now_ms, lifetime_ms, session_key, certificate)
        issued = tickets.issue_ticket(ticket, key, self.random, generation=generation)
        return self._grant(
            asker,
            destination,
            lifetime_ms,
            certificate,
            key=session_key,
            generation=generation,
            ticket=issued,
        )

    def _grant(
        self,
        asker: Asker,
        destination: str,
        lifetime_ms: int,
        certificate: bytes,
        *,
        key: bytes = b"",
        generation: int = 0,
        ticket: bytes = b"",
        key_end_ms: int = 0,
    ) -> Grant:
        return Grant(
            nonce=asker.request.nonce,
            purpose=asker.request.purpose,
            source=asker.request.source,
            destination=destination,
            issued_ms=asker.now_ms,
            lifetime_ms=lifetime_ms,
            certificate=certificate,
            authorities=tuple(one.public_key for one in asker.known),
            key=key,
            generation=generation,
            ticket=ticket,
            key_end_ms=key_end_ms,
        )

    def _certificate(self, asker: Asker) -> bytes:
        """Of the public keys in the request; it holds as long as a ticket, in which it is found
        also when that has ended.
        """
        request = asker.request
        certificate = Certificate(
            request.source,
            tuple(asker.groups),
            request.signing_key,
            request.agreement_key,
            asker.now_ms - self.config.skew_s * 1000,
            asker.now_ms + self.config.ticket_ttl_s * 1000,
        )
        return self.authorities.issue(certificate, asker.known)

    def _group_of(self, request: Request) -> str:
        """Raises: BadRequest."""
        if not is_name(request.destination):
            raise BadRequest("The destination is no group's name.")
        return request.destination

    def _left_ms(self, key: GroupKey, now_ms: int) -> int:
        return generations.forgotten_ms(key.expires_ms, self.config) - now_ms

    def _opened(self, group: str, key: GroupKey) -> bytes:
        return self.seals.open(key.sealed, of_group(group, key.generation))
