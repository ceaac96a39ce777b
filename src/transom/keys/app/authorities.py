# SPDX-License-Identifier: Apache-2.0
"""The server's own key pairs: one signs certificates, those before it are still believed.

Invariant: a private key is opened for one signature at a time; none is kept open.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from transom.errors import InternalError
from transom.keys.config import KeysConfig
from transom.keys.model import KEY_BYTES, Authority
from transom.keys.store import authorities, certificates
from transom.keys.store.seals import Seals, of_authority
from transom.messaging.security.certificates import Certificate, issue
from transom.runtime.clock import Clock
from transom.runtime.db.transaction import Database, Transaction
from transom.runtime.ids import Randomness

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Authorities:
    """All of them. Methods raise what storage raises, and InternalError where a seal is broken."""

    database: Database
    seals: Seals
    config: KeysConfig
    clock: Clock
    random: Randomness

    async def ensure(self) -> None:
        """Makes the first one, unless some process has."""
        known = await self.known()
        if not known:
            made = self._made()
            await self.database.write(lambda tx: authorities.ensure(tx, made))
            known = await self.known()
            log.info("authority of keys", extra={"public_key": known[0].public_key.hex()})

    async def known(self) -> list[Authority]:
        """The one that signs, then those that are still believed."""
        now_ms = self.clock.now_ms()
        return await self.database.read(lambda tx: authorities.known(tx, now_ms))

    async def rotate(self) -> Authority:
        """Another one signs from now on. The one before is believed until all that it signed ends.

        Raises: Conflict.
        """
        made, now_ms = self._made(), self.clock.now_ms()
        granted_ms = now_ms + (self.config.ticket_ttl_s + self.config.retention_s) * 1000

        async def replace(tx: Transaction) -> None:
            known = await authorities.known(tx, now_ms)
            until_ms = max(granted_ms, await certificates.latest_end_ms(tx))
            await authorities.replace(tx, now_ms, signing(known).public_key, made, until_ms)

        await self.database.write(replace)
        log.info("authority of keys rotated", extra={"public_key": made.public_key.hex()})
        return made

    def issue(self, certificate: Certificate, known: Sequence[Authority]) -> bytes:
        """Signed by the first of the known."""
        authority = signing(known)
        private = self.seals.open(authority.sealed, of_authority(authority.public_key))
        return issue(certificate, Ed25519PrivateKey.from_private_bytes(private))

    def _made(self) -> Authority:
        private = self.random(KEY_BYTES)
        pair = Ed25519PrivateKey.from_private_bytes(private)
        public_key = pair.public_key().public_bytes_raw()
        sealed = self.seals.seal(private, of_authority(public_key))
        return Authority(public_key, sealed, self.clock.now_ms())


def signing(known: Sequence[Authority]) -> Authority:
    """Raises: InternalError if none was made, which a start does."""
    if not known or known[0].until_ms is not None:
        raise InternalError(detail="the key server has no authority; start it again")
    return known[0]
