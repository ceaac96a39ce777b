# SPDX-License-Identifier: Apache-2.0
"""What an operator does on the data folder itself, without any password.

Invariant: it is done in the database that the doors use, so it holds for those that run, at once.
"""

from dataclasses import dataclass

from transom.errors import NotFound
from transom.identity.app.bootstrap import ADMIN, Bootstrap
from transom.identity.logic.accounts import SuiteAccount, account_names
from transom.identity.model import DEFAULT_DOMAIN, Reference, User, UserChange
from transom.identity.store import users
from transom.identity.store.keys import KeyRing
from transom.runtime.clock import Clock
from transom.runtime.db.transaction import Transaction
from transom.runtime.secrets import Secret, new_password

SUITE_ROLES = ("member", "reader")


@dataclass(frozen=True, slots=True)
class Upkeep:
    """The operator's own commands."""

    bootstrap: Bootstrap
    keys: KeyRing
    clock: Clock

    async def reset_password(self, name: str) -> Secret | None:
        """A new password for the user of this name, or id; None for `admin`, whose is in the files.

        The user's tokens are void. Raises: NotFound, Unavailable.
        """
        if name == ADMIN:
            await self.bootstrap.reset_admin_password()
            return None
        seeds = self.bootstrap.seeds
        secret = new_password(seeds.random)
        change = UserChange(password_hash=await seeds.passwords.hash(secret.reveal(), drawn=True))

        async def reset(tx: Transaction) -> User:
            by_name = Reference(name=name, domain_id=DEFAULT_DOMAIN.id)
            account = await users.find(tx, by_name) or await users.find(tx, Reference(id=name))
            if account is None:
                raise NotFound(f"There is no user {name!r} in the domain {DEFAULT_DOMAIN.name}.")
            return await users.update(tx, account.user.id, change)

        await seeds.writes.commit(reset)
        return secret

    def rotate_keys(self) -> tuple[int, list[int]]:
        """The number of the key that seals from now on, and those of the removed ones."""
        return self.keys.rotate(self.clock.now_ms() / 1000)

    async def accounts(self, count: int) -> list[SuiteAccount]:
        """So many users in projects of their own, with new passwords; made where missing."""
        seeds = self.bootstrap.seeds
        made = []
        for name in account_names(count):
            secret = new_password(seeds.random).reveal()
            await seeds.sow(name, name, SUITE_ROLES, secret, drawn=True)
            made.append(SuiteAccount(name, secret, SUITE_ROLES, DEFAULT_DOMAIN.name))
        return made
