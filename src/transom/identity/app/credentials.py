# SPDX-License-Identifier: Apache-2.0
"""Whose a user's password is: the one place where passwords are checked.

Invariants:
1. Unknown, disabled and wrong are one answer after the same work.
2. Guesses are slowed down by user, whether the user exists or not. (By address as well would be
   no different: identity is served on loopback only.)
"""

from dataclasses import dataclass, field
from math import ceil

from transom.errors import TooManyRequests, Unauthorized
from transom.identity.app.passwords import Passwords
from transom.identity.logic.backoff import Backoff
from transom.identity.model import Account, Reference
from transom.identity.store import users
from transom.runtime.clock import Clock
from transom.runtime.db.transaction import Database

REFUSED = "The user, the password or the scope is not valid."


class TooManyGuesses(TooManyRequests):
    """`retry_after_s`: when the next guess is looked at."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"Too many failures for this user; try again in {retry_after_s} s.")
        self.retry_after_s = retry_after_s


@dataclass(slots=True)
class Credentials:
    """Checks passwords. The failures are of this process."""

    database: Database
    passwords: Passwords
    clock: Clock
    _backoff: Backoff = field(default_factory=Backoff)

    async def proved(self, reference: Reference, password: str) -> Account:
        """The account, as it was when its password was read.

        Raises: Unauthorized, TooManyGuesses, Unavailable.
        """
        account = await self.database.read(lambda tx: users.find(tx, reference))
        key = _key(reference, account)
        wait_s = self._backoff.admit(key, self.clock.monotonic_s())
        if wait_s > 0:
            raise TooManyGuesses(ceil(wait_s))
        record = self.passwords.nobody if account is None else account.password_hash
        fits = await self.passwords.fits(password, record)
        if account is None or not fits or not account.user.enabled:
            self._backoff.failed(key, self.clock.monotonic_s())
            raise Unauthorized(REFUSED)
        self._backoff.succeeded(key)
        return account


def _key(reference: Reference, account: Account | None) -> str:
    """One key a user, whichever way they are named."""
    user_id = reference.id if account is None else account.user.id
    return f"id {user_id}" if user_id else f"name {reference.domain_id} {reference.name}"
