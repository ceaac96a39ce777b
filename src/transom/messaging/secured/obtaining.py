# SPDX-License-Identifier: Apache-2.0
"""What a party needs before it can send or open, and how it is had.

| need | shared-key | public-key |
|---|---|---|
| ENROL | its certificate and the authorities, from the key server | it has both |
| TICKET, GROUP_TICKET | from the key server | made by itself for the receivers' certificates |
| GROUP_KEY | from the key server | not needed |
"""

import logging
from typing import NamedTuple

from transom.errors import InvalidCertificate, KeyUnavailable, SecurityError, WrongDestination
from transom.messaging.secured.settings import Security
from transom.messaging.security.certificates import Certificate, Identity, check
from transom.messaging.security.direct import make_direct
from transom.messaging.security.opening import Opener
from transom.messaging.security.sessions import PUBLIC_KEY, SHARED_KEY, Session
from transom.messaging.security.tickets import (
    NONCE_BYTES,
    Grant,
    Purpose,
    Request,
    make_request,
    open_grant,
)
from transom.runtime.clock import Clock
from transom.runtime.ids import Randomness

log = logging.getLogger(__name__)


class Need(NamedTuple):
    """`name`: the group; or for TICKET the topic, and `server` the server of it."""

    purpose: Purpose
    name: str = ""
    server: str = ""
    generation: int = 0

    @property
    def destination(self) -> str:
        return f"{self.name}.{self.server}" if self.server else self.name


ENROLMENT = Need(Purpose.ENROL)


class Obtainer:
    """Asks the source of keys; holds what a party has of its own."""

    def __init__(
        self, security: Security, identity: Identity, clock: Clock, random: Randomness
    ) -> None:
        self.identity = identity
        self.certificate = security.certificate
        self.opener = Opener(
            security.suite,
            security.name,
            identity,
            security.long_term_keys,
            skew_ms=int(security.skew_s * 1000),
        )
        self.opener.authorities = frozenset(security.authorities)
        self._security = security
        self._clock = clock
        self._random = random

    async def obtain(self, need: Need) -> tuple[Session | None, int]:
        """The session for a ticket, else None; and until when what was had holds, ms since 1970.

        Raises: KeyUnavailable.
        """
        try:
            if self._security.suite == PUBLIC_KEY:
                return await self._certified(need)
            return await self._granted(need)
        except KeyUnavailable:
            raise
        except SecurityError as error:
            raise KeyUnavailable(error.text, lasting=True, detail=error.detail) from error

    def answering(self, requester: Certificate) -> Session:
        """For a reply to a member's request, made here. Raises: KeyUnavailable."""
        if not self.certificate:
            raise KeyUnavailable("this party has no certificate yet")
        return self._direct(requester.name, [requester], group=False)

    async def _certified(self, need: Need) -> tuple[Session | None, int]:
        group = need.purpose is Purpose.GROUP_TICKET
        if need.purpose not in {Purpose.TICKET, Purpose.GROUP_TICKET}:
            raise KeyUnavailable("the suite public-key has no keys of groups", lasting=True)
        source = self._security.source
        found = await (
            source.certificates(group=need.name)
            if group
            else source.certificates(topic=need.name, server=need.server)
        )
        receivers = self._checked(found)
        if group:
            receivers = [one for one in receivers if one.belongs_to(need.name)]
        else:
            receivers = _server(receivers, need)
        if not receivers:
            raise KeyUnavailable(f"no certificate is known for {need.destination}", lasting=True)
        name = need.name if group else receivers[0].name
        session = self._direct(name, receivers, group=group)
        return session, session.expires_ms

    def _checked(self, found: list[bytes]) -> list[Certificate]:
        authorities, now_ms = self.opener.authorities, self._clock.now_ms()
        skew_ms = int(self._security.skew_s * 1000)
        checked = []
        for data in found:
            try:
                checked.append(check(data, authorities, now_ms=now_ms, skew_ms=skew_ms))
            except InvalidCertificate as error:
                log.warning("certificate left out", extra={"reason": error.text})
        return checked

    def _direct(self, name: str, receivers: list[Certificate], *, group: bool) -> Session:
        """It ends with our certificate, as for those who open it. Raises: SecurityError."""
        now_ms = self._clock.now_ms()
        skew_ms = int(self._security.skew_s * 1000)
        own = check(self.certificate, self.opener.authorities, now_ms=now_ms, skew_ms=skew_ms)
        return make_direct(
            self._security.suite,
            self._security.name,
            self.identity,
            self.certificate,
            name,
            receivers,
            group=group,
            now_ms=now_ms,
            lifetime_ms=min(int(self._security.lifetime_s * 1000), own.not_after_ms - now_ms),
            random=self._random,
        )

    async def _granted(self, need: Need) -> tuple[Session | None, int]:
        grant = await self._ask(need)
        self.certificate = grant.certificate
        self.opener.authorities = frozenset(grant.authorities)
        until_ms = grant.issued_ms + grant.lifetime_ms
        if need.purpose is Purpose.GROUP_KEY:
            self.opener.add_group_key(need.name, grant.generation, grant.key, grant.key_end_ms)
        if need.purpose not in {Purpose.TICKET, Purpose.GROUP_TICKET}:
            return None, until_ms
        session = Session(
            SHARED_KEY,
            self._security.name,
            grant.destination,
            grant.key,
            group=need.purpose is Purpose.GROUP_TICKET,
            ticket=grant.ticket,
            issued_ms=grant.issued_ms,
            lifetime_ms=grant.lifetime_ms,
        )
        return session, until_ms

    async def _ask(self, need: Need) -> Grant:
        """With the first of the long-term keys that the key server knows."""
        refusal: SecurityError | None = None
        for key in self._security.long_term_keys:
            request = Request(
                need.purpose,
                self._security.name,
                need.destination,
                need.generation,
                self._clock.now_ms(),
                self._random(NONCE_BYTES),
                self.identity.signing_key,
                self.identity.agreement_key,
            )
            try:
                answer = await self._security.source.grant(
                    need.purpose, self._security.name, make_request(request, key)
                )
                grant = open_grant(answer, key, request)
            except SecurityError as error:
                if isinstance(error, KeyUnavailable) and not error.lasting:
                    raise
                refusal = refusal or error
                continue
            if need.purpose is Purpose.GROUP_TICKET and grant.destination != need.name:
                raise WrongDestination("the key server answered for another group")
            if need.generation not in {0, grant.generation}:
                raise WrongDestination("the key server answered with another generation")
            return grant
        if refusal is None:
            refusal = KeyUnavailable("the party has no long-term key", lasting=True)
        raise refusal


def _server(found: list[Certificate], need: Need) -> list[Certificate]:
    """The party of exactly this name, else the only one that serves it; none if there is none.

    Raises: KeyUnavailable where it could be either of several: a message for one is not another's.
    """
    exact = [one for one in found if one.name == need.destination]
    if exact:
        return exact[:1]
    serving = {one.name: one for one in found if one.serves(need.name, need.server)}
    if len(serving) > 1:
        names = " or ".join(sorted(serving))
        raise KeyUnavailable(f"{need.destination} could be {names}", lasting=True)
    return list(serving.values())
