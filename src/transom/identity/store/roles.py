# SPDX-License-Identifier: Apache-2.0
"""Verbs on roles. Those that the first start makes are nobody's to change."""

from transom.errors import Conflict, Forbidden, NotFound
from transom.identity.model import BUILT_IN_ROLES, Filter, Role, RoleChange
from transom.identity.store import application_credentials
from transom.identity.store.filters import fetched
from transom.runtime.db.transaction import Transaction

_LIST = "select id, name, description from roles where {} {}"
_ONE = "select id, name, description from roles where id = ?"
_NAMED = "select id, name, description from roles where name = ?"
_INSERT = """
insert into roles (id, name, description) values (?, ?, ?) on conflict (name) do nothing
"""
_UPDATE = """
update roles set name = coalesce(?, name), description = coalesce(?, description) where id = ?
"""
_DELETE = "delete from roles where id = ?"
_DELETE_GRANTS = "delete from grants where role_id = ?"
_DELETE_SCOPE_GRANTS = "delete from scope_grants where role_id = ?"


async def listed(tx: Transaction, only: Filter) -> list[Role]:
    """By name."""
    return [Role(*row) for row in await fetched(tx, _LIST, only, "roles")]


async def get(tx: Transaction, role_id: str) -> Role:
    """Raises: NotFound."""
    row = await tx.fetch_one(_ONE, (role_id,))
    if row is None:
        raise NotFound(f"Could not find role: {role_id}.")
    return Role(*row)


async def named(tx: Transaction, name: str) -> Role | None:
    row = await tx.fetch_one(_NAMED, (name,))
    return None if row is None else Role(*row)


async def ensure(tx: Transaction, made: Role) -> None:
    """Leaves a role of this name as it is."""
    await tx.execute(_INSERT, (made.id, made.name, made.description))


async def insert(tx: Transaction, made: Role) -> None:
    """Raises: Conflict if the name is taken."""
    if not await tx.execute(_INSERT, (made.id, made.name, made.description)):
        raise _taken()


async def update(tx: Transaction, role_id: str, change: RoleChange) -> Role:
    """The role as it is then. Raises: NotFound, Forbidden; Conflict if the name is taken."""
    await _own(tx, role_id)
    try:
        await tx.execute(_UPDATE, (change.name, change.description, role_id))
    except Conflict:
        raise _taken() from None
    return await get(tx, role_id)


async def delete(tx: Transaction, role_id: str) -> None:
    """With all grants of it, and the application credentials that have it.

    Raises: NotFound, Forbidden.
    """
    await _own(tx, role_id)
    await tx.execute(_DELETE, (role_id,))
    await tx.execute(_DELETE_GRANTS, (role_id,))
    await tx.execute(_DELETE_SCOPE_GRANTS, (role_id,))
    await application_credentials.delete_of_role(tx, role_id)


async def _own(tx: Transaction, role_id: str) -> None:
    """Safety: that a role is built in never changes, so reading it first is no race."""
    role = await get(tx, role_id)
    if role.name in BUILT_IN_ROLES:
        raise Forbidden(f"The role {role.name} is built in; make another one instead.")


def _taken() -> Conflict:
    return Conflict("Another role has this name; choose another name.")
