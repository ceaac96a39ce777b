# SPDX-License-Identifier: Apache-2.0
"""The file that makes a process a party: with its long-term key, or with a pair of keys of its own
and their certificate. Whoever has the data folder writes it, and it goes to that process alone.
"""

from dataclasses import dataclass

from transom.errors import NotFound
from transom.keys.app.authorities import Authorities
from transom.keys.app.custody import Custody
from transom.keys.model import KEY_BYTES, Party
from transom.keys.store import certificates
from transom.messaging.security.certificates import Certificate, Identity
from transom.messaging.security.keyfile import KeyFile
from transom.runtime.ids import Randomness


@dataclass(frozen=True, slots=True)
class Place:
    """How parties reach the key server. `url`: of its mount; `ca`: PEM of what they have to trust,
    "" if they do anyway."""

    url: str
    ca: str = ""


@dataclass(frozen=True, slots=True)
class Enrolment:
    """All methods raise what storage raises, and InternalError for a broken seal."""

    custody: Custody
    authorities: Authorities
    place: Place
    random: Randomness

    async def add(self, name: str) -> KeyFile:
        """A new party with a new key. Raises: BadRequest, Conflict."""
        await self.custody.add(name)
        return await self.file_of(name)

    async def file_of(self, name: str) -> KeyFile:
        """The party's file with the keys that it has; a party that is not there, or has none, gets
        one. Raises: BadRequest, Conflict.
        """
        party = await self._found(name)
        if party is None or party.newest is None:
            await self.custody.put(name, self.random(KEY_BYTES))
            party = await self.custody.party(name)
        return KeyFile(
            name=name,
            server=self.place.url,
            ca=self.place.ca,
            keys=tuple(self.custody.keys_of(party)),
            authorities=await self._public_keys(),
        )

    async def rotated(self, name: str, *, at_once: bool) -> KeyFile:
        """The file with a new key, and those before it. Raises: NotFound, Conflict."""
        await self.custody.rotate(name, at_once=at_once)
        return await self.file_of(name)

    async def certified(self, name: str) -> KeyFile:
        """A file with a new pair of keys and their certificate, and no long-term key. What the
        party had before is not revoked. Raises: BadRequest, Conflict.
        """
        if await self._found(name) is None:
            await self.custody.add(name)
        custody, now_ms = self.custody, self.custody.clock.now_ms()
        identity, known = Identity.make(self.random), await self.authorities.known()
        end_ms = now_ms + custody.config.certificate_ttl_s * 1000
        certificate = Certificate(
            name,
            tuple(await custody.groups_of(name)),
            identity.signing_key,
            identity.agreement_key,
            now_ms - custody.config.skew_s * 1000,
            end_ms,
        )
        document = self.authorities.issue(certificate, known)
        await custody.database.write(
            lambda tx: certificates.keep(tx, now_ms, name, document, end_ms)
        )
        return KeyFile(
            name=name,
            server=self.place.url,
            ca=self.place.ca,
            authorities=await self._public_keys(),
            identity=identity.dump(),
            certificate=document,
        )

    async def _found(self, name: str) -> Party | None:
        try:
            return await self.custody.party(name)
        except NotFound:
            return None

    async def _public_keys(self) -> tuple[bytes, ...]:
        return tuple(one.public_key for one in await self.authorities.known())
