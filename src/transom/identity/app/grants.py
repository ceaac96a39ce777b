# SPDX-License-Identifier: Apache-2.0
"""What callers do with roles, and with who has which role on what.

Invariant: who may is decided before anything is looked up.
"""

from dataclasses import dataclass, replace

from transom.identity.app.writes import Writes
from transom.identity.model import Filter, Grant, GrantFilter, Place, Role, RoleChange, ScopeKind
from transom.identity.store import grants, roles
from transom.runtime.auth.context import Context
from transom.runtime.auth.rules import Rules
from transom.runtime.ids import Randomness, new_hex

_LIST = ("identity:list_grants", "identity:list_system_grants_for_user")
_CHECK = ("identity:check_grant", "identity:check_system_grant_for_user")
_CREATE = ("identity:create_grant", "identity:create_system_grant_for_user")
_REVOKE = ("identity:revoke_grant", "identity:revoke_system_grant_for_user")
"""The rule for projects and domains, and that for the system."""


@dataclass(frozen=True, slots=True)
class Roles:
    """Use cases of roles. All raise Forbidden; those of one role NotFound."""

    writes: Writes
    rules: Rules
    random: Randomness

    async def listed(self, context: Context, only: Filter) -> list[Role]:
        self.rules.enforce("identity:list_roles", context)
        return await self.writes.database.read(lambda tx: roles.listed(tx, only))

    async def get(self, context: Context, role_id: str) -> Role:
        self.rules.enforce("identity:get_role", context)
        return await self.writes.database.read(lambda tx: roles.get(tx, role_id))

    async def create(self, context: Context, role: Role) -> Role:
        """`role.id` is given here. Raises: Conflict."""
        self.rules.enforce("identity:create_role", context)
        made = replace(role, id=new_hex(self.random))
        await self.writes.commit(lambda tx: roles.insert(tx, made))
        return made

    async def update(self, context: Context, role_id: str, change: RoleChange) -> Role:
        """Raises: Conflict."""
        self.rules.enforce("identity:update_role", context)
        return await self.writes.commit(lambda tx: roles.update(tx, role_id, change))

    async def delete(self, context: Context, role_id: str) -> None:
        """With all grants of it."""
        self.rules.enforce("identity:delete_role", context)
        await self.writes.commit(lambda tx: roles.delete(tx, role_id))


@dataclass(frozen=True, slots=True)
class Grants:
    """Use cases of who has which role on what. All raise Forbidden."""

    writes: Writes
    rules: Rules

    async def of(self, context: Context, user_id: str, place: Place) -> list[Role]:
        self._enforce(_LIST, context, place)
        return await self.writes.database.read(lambda tx: grants.of(tx, user_id, place))

    async def has(self, context: Context, user_id: str, place: Place, role_id: str) -> bool:
        self._enforce(_CHECK, context, place)
        return await self.writes.database.read(lambda tx: grants.has(tx, user_id, place, role_id))

    async def add(self, context: Context, user_id: str, place: Place, role_id: str) -> None:
        """Idempotent. Raises: NotFound."""
        self._enforce(_CREATE, context, place)
        await self.writes.commit(lambda tx: grants.add(tx, user_id, place, role_id))

    async def remove(self, context: Context, user_id: str, place: Place, role_id: str) -> None:
        """Raises: NotFound."""
        self._enforce(_REVOKE, context, place)
        await self.writes.commit(lambda tx: grants.remove(tx, user_id, place, role_id))

    async def assigned(self, context: Context, only: GrantFilter | None) -> list[Grant]:
        """None asks for what cannot be."""
        self.rules.enforce("identity:list_role_assignments", context)
        if only is None:
            return []
        return await self.writes.database.read(lambda tx: grants.assigned(tx, only))

    async def of_system(self, context: Context, user_id: str) -> bool:
        """Whether the user has any role on the system."""
        self.rules.enforce("identity:list_user_projects", context, {"target.user.id": user_id})
        only = GrantFilter(user_id=user_id, kind=ScopeKind.SYSTEM)
        return bool(await self.writes.database.read(lambda tx: grants.assigned(tx, only)))

    def _enforce(self, rules: tuple[str, str], context: Context, place: Place) -> None:
        self.rules.enforce(rules[place.kind is ScopeKind.SYSTEM], context)
