# SPDX-License-Identifier: Apache-2.0
"""Whose a password is, or an application credential's secret: the one place where they are checked.

Invariants:
1. Unknown, disabled and wrong are one answer after the same work.
2. Guesses are slowed down by user, or credential, whether it exists or not, and by address.
3. What we drew ourselves is let in however many guess at it: nobody can find it by trying, and
   nobody can keep its owner out by that. (The service user, and an admin whose password was reset.)
"""

from dataclasses import dataclass, field
from math import ceil

from transom.errors import TooManyRequests, Unauthorized
from transom.identity.app.passwords import Passwords
from transom.identity.logic.guessing import Guesses
from transom.identity.logic.password import is_drawn
from transom.identity.model import (
    Account,
    ApplicationCredential,
    CredentialReference,
    Reference,
)
from transom.identity.store import application_credentials, users
from transom.runtime.clock import Clock
from transom.runtime.db.transaction import Database, Transaction

REFUSED = "The user, the password or the scope is not valid."


class TooManyGuesses(TooManyRequests):
    """`retry_after_s`: when the next guess is looked at."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"Too many failures; try again in {retry_after_s} s.")
        self.retry_after_s = retry_after_s


@dataclass(slots=True)
class Credentials:
    """Checks passwords and secrets. The failures are of this process."""

    database: Database
    passwords: Passwords
    clock: Clock
    _guesses: Guesses = field(default_factory=Guesses)

    async def proved(self, reference: Reference, password: str, client: str) -> Account:
        """The account, as it was when its password was read. `client`: the caller's address.

        Raises: Unauthorized, TooManyGuesses, Unavailable.
        """
        account = await self.database.read(lambda tx: users.find(tx, reference))
        key = _user_key(reference, account)
        record = None if account is None or not account.user.enabled else account.password_hash
        await self._check(key, client, password, record)
        if account is None:
            raise Unauthorized(REFUSED)
        return account

    async def proved_credential(
        self, reference: CredentialReference, secret: str, client: str
    ) -> tuple[Account, ApplicationCredential]:
        """The credential and its user, as they were when the secret was read.

        Raises: Unauthorized, TooManyGuesses, Unavailable.
        """
        key, account, found = await self.database.read(lambda tx: _credential(tx, reference))
        record = None if found is None or account is None else found[1]
        await self._check(key, client, secret, record)
        if found is None or account is None:
            raise Unauthorized(REFUSED)
        return account, found[0]

    async def _check(self, key: str, client: str, password: str, record: str | None) -> None:
        """Returns if the password fits the record; None fits none."""
        record = self.passwords.nobody if record is None else record
        wait_s = self._guesses.wait_s(key, client, self.clock.monotonic_s())
        if wait_s > 0:
            if is_drawn(record) and await self.passwords.fits(password, record):
                return
            raise TooManyGuesses(ceil(wait_s))
        self._guesses.begin(key, client, self.clock.monotonic_s())
        fits = await self.passwords.fits(password, record)
        if not fits:
            if is_drawn(record):
                await self.passwords.fits(password, self.passwords.nobody)
            self._guesses.failed(key, client, self.clock.monotonic_s())
            raise Unauthorized(REFUSED)
        self._guesses.succeeded(key, client, self.clock.monotonic_s())


async def _credential(
    tx: Transaction, reference: CredentialReference
) -> tuple[str, Account | None, tuple[ApplicationCredential, str] | None]:
    """What guesses at it are counted under, its user, and the credential with its hash."""
    if reference.id:
        found = await application_credentials.find(tx, credential_id=reference.id)
        if found is None:
            return f"credential {reference.id}", None, None
        account = await users.find(tx, Reference(id=found[0].user_id))
        return f"credential {reference.id}", account, found
    account = await users.find(tx, reference.user)
    key = f"credential {reference.name} of {_user_key(reference.user, account)}"
    if account is None:
        return key, None, None
    user_id, name = account.user.id, reference.name
    found = await application_credentials.find(tx, user_id=user_id, name=name)
    return key if found is None else f"credential {found[0].id}", account, found


def _user_key(reference: Reference, account: Account | None) -> str:
    """One key a user, whichever way they are named."""
    user_id = reference.id if account is None else account.user.id
    if user_id:
        return f"id {user_id}"
    return f"name {reference.domain_id} {reference.domain_name} {reference.name}"
