# SPDX-License-Identifier: Apache-2.0
"""What callers do with users.

Invariant: who may is decided by the id alone, before anything is looked up, so that who may not
learns nothing of what is there.
"""

from dataclasses import dataclass, replace

from transom.identity.app.credentials import Credentials
from transom.identity.app.passwords import Passwords
from transom.identity.app.writes import Writes
from transom.identity.model import Filter, Project, Reference, User, UserChange
from transom.identity.store import projects, users
from transom.runtime.auth.context import Context
from transom.runtime.auth.rules import Rules
from transom.runtime.ids import Randomness, new_hex


@dataclass(frozen=True, slots=True)
class Users:
    """Use cases of users. All raise Forbidden; those of one user NotFound."""

    writes: Writes
    rules: Rules
    passwords: Passwords
    credentials: Credentials
    random: Randomness

    async def listed(self, context: Context, only: Filter) -> list[User]:
        self.rules.enforce("identity:list_users", context)
        return await self.writes.database.read(lambda tx: users.listed(tx, only))

    async def get(self, context: Context, user_id: str) -> User:
        self._enforce("identity:get_user", context, user_id)
        return await self.writes.database.read(lambda tx: users.get(tx, user_id))

    async def create(self, context: Context, user: User, password: str | None) -> User:
        """`user.id` is given here. Without a password nobody can sign in as the user.

        Raises: Conflict; NotFound if the domain is not there.
        """
        self.rules.enforce("identity:create_user", context)
        record = await self._record(password)
        made = replace(user, id=new_hex(self.random))
        await self.writes.commit(
            lambda tx: users.insert(tx, made, self.passwords.nobody if record is None else record)
        )
        return made

    async def update(
        self, context: Context, user_id: str, change: UserChange, password: str | None
    ) -> User:
        """Raises: Conflict."""
        self._enforce("identity:update_user", context, user_id)
        change = replace(change, password_hash=await self._record(password))
        return await self.writes.commit(lambda tx: users.update(tx, user_id, change))

    async def delete(self, context: Context, user_id: str) -> None:
        self._enforce("identity:delete_user", context, user_id)
        await self.writes.commit(lambda tx: users.delete(tx, user_id))

    async def change_password(
        self, user_id: str, original: str, password: str, client: str
    ) -> None:
        """Whoever knows the password may change it. `client`: the caller's address.

        Raises: Unauthorized, TooManyGuesses; Conflict if somebody else changed it meanwhile.
        """
        account = await self.credentials.proved(Reference(id=user_id), original, client)
        change = UserChange(password_hash=await self.passwords.hash(password))
        await self.writes.commit(
            lambda tx: users.update(tx, user_id, change, if_epoch=account.epoch)
        )

    async def projects(self, context: Context, user_id: str) -> list[Project]:
        """The enabled ones on which the user has a role."""
        self._enforce("identity:list_user_projects", context, user_id)
        return await self.writes.database.read(lambda tx: projects.of_user(tx, user_id))

    def check_groups(self, context: Context, user_id: str) -> None:
        """Whether the caller may list the groups, of which there are none."""
        self._enforce("identity:list_groups", context, user_id)

    async def _record(self, password: str | None) -> str | None:
        return None if password is None else await self.passwords.hash(password)

    def _enforce(self, rule: str, context: Context, user_id: str) -> None:
        self.rules.enforce(rule, context, {"target.user.id": user_id})
