# SPDX-License-Identifier: Apache-2.0
"""Verbs on grants: who has which role on which project, domain, or on the system.

Those on projects have a table of their own, older than the other. A user who loses a role on a
project loses all application credentials for it.
"""

from collections.abc import Sequence

from transom.errors import NotFound
from transom.identity.model import Grant, GrantFilter, Named, Place, Role, ScopeKind
from transom.identity.store import application_credentials
from transom.runtime.db.transaction import Row, Transaction

_OF_PROJECT = """
select roles.id, roles.name, roles.description
from grants join roles on roles.id = grants.role_id
where grants.user_id = ? and grants.project_id = ? order by roles.name
"""
_OF_SCOPE = """
select roles.id, roles.name, roles.description
from scope_grants as grants join roles on roles.id = grants.role_id
where grants.user_id = ? and grants.scope = ? and grants.target_id = ? order by roles.name
"""
_ADD_PROJECT = """
insert into grants (user_id, project_id, role_id)
select users.id, projects.id, roles.id from users, projects, roles
where users.id = ? and projects.id = ? and roles.id = ?
on conflict (user_id, project_id, role_id) do nothing
"""
_ADD_DOMAIN = """
insert into scope_grants (user_id, scope, target_id, role_id)
select users.id, 'domain', domains.id, roles.id from users, domains, roles
where users.id = ? and domains.id = ? and roles.id = ?
on conflict (user_id, scope, target_id, role_id) do nothing
"""
_ADD_SYSTEM = """
insert into scope_grants (user_id, scope, target_id, role_id)
select users.id, 'system', 'all', roles.id from users, roles
where users.id = ? and roles.id = ?
on conflict (user_id, scope, target_id, role_id) do nothing
"""
_REMOVE_PROJECT = "delete from grants where user_id = ? and project_id = ? and role_id = ?"
_REMOVE_SCOPE = """
delete from scope_grants where user_id = ? and scope = ? and target_id = ? and role_id = ?
"""
_ASSIGNED_PROJECTS = """
select users.id, users.name, homes.id, homes.name, roles.id, roles.name, roles.description,
  projects.id, projects.name, domains.id, domains.name
from grants
join users on users.id = grants.user_id
join domains as homes on homes.id = users.domain_id
join roles on roles.id = grants.role_id
join projects on projects.id = grants.project_id
join domains on domains.id = projects.domain_id
where {} order by projects.name, users.name, roles.name
"""
_ASSIGNED_DOMAINS = """
select users.id, users.name, homes.id, homes.name, roles.id, roles.name, roles.description,
  domains.id, domains.name
from scope_grants as grants
join users on users.id = grants.user_id
join domains as homes on homes.id = users.domain_id
join roles on roles.id = grants.role_id
join domains on domains.id = grants.target_id
where grants.scope = 'domain' and {} order by domains.name, users.name, roles.name
"""
_ASSIGNED_SYSTEM = """
select users.id, users.name, homes.id, homes.name, roles.id, roles.name, roles.description
from scope_grants as grants
join users on users.id = grants.user_id
join domains as homes on homes.id = users.domain_id
join roles on roles.id = grants.role_id
where grants.scope = 'system' and {} order by users.name, roles.name
"""
_ASSIGNED = {
    ScopeKind.PROJECT: (_ASSIGNED_PROJECTS, "grants.project_id = ?"),
    ScopeKind.DOMAIN: (_ASSIGNED_DOMAINS, "grants.target_id = ?"),
    ScopeKind.SYSTEM: (_ASSIGNED_SYSTEM, "grants.target_id = ?"),
}
_DELETE_OF_USER = "delete from scope_grants where user_id = ?"


async def of(tx: Transaction, user_id: str, place: Place) -> list[Role]:
    """The roles of the user there, by name."""
    if place.kind is ScopeKind.PROJECT:
        rows = await tx.fetch(_OF_PROJECT, (user_id, place.id))
    else:
        rows = await tx.fetch(_OF_SCOPE, (user_id, str(place.kind), place.id))
    return [Role(*row) for row in rows]


async def add(tx: Transaction, user_id: str, place: Place, role_id: str) -> None:
    """Idempotent. Raises: NotFound if one of the three is not there."""
    if place.kind is ScopeKind.PROJECT:
        touched = await tx.execute(_ADD_PROJECT, (user_id, place.id, role_id))
    elif place.kind is ScopeKind.DOMAIN:
        touched = await tx.execute(_ADD_DOMAIN, (user_id, place.id, role_id))
    else:
        touched = await tx.execute(_ADD_SYSTEM, (user_id, role_id))
    if not touched and not await has(tx, user_id, place, role_id):
        raise NotFound(f"Could not find the user, the {place.kind} or the role.")


async def remove(tx: Transaction, user_id: str, place: Place, role_id: str) -> None:
    """Raises: NotFound."""
    if place.kind is ScopeKind.PROJECT:
        touched = await tx.execute(_REMOVE_PROJECT, (user_id, place.id, role_id))
        await application_credentials.delete_of_user_on_project(tx, user_id, place.id)
    else:
        values = (user_id, str(place.kind), place.id, role_id)
        touched = await tx.execute(_REMOVE_SCOPE, values)
    if not touched:
        raise NotFound(f"The user has no such role on the {place.kind}.")


async def has(tx: Transaction, user_id: str, place: Place, role_id: str) -> bool:
    return any(role.id == role_id for role in await of(tx, user_id, place))


async def assigned(tx: Transaction, only: GrantFilter) -> list[Grant]:
    """By kind, place, user and role."""
    kinds = ScopeKind if only.kind is None else (only.kind,)
    return [grant for kind in kinds for grant in await _assigned(tx, kind, only)]


async def delete_of_user(tx: Transaction, user_id: str) -> None:
    """Those on domains and the system."""
    await tx.execute(_DELETE_OF_USER, (user_id,))


async def _assigned(tx: Transaction, kind: ScopeKind, only: GrantFilter) -> list[Grant]:
    statement, of_place = _ASSIGNED[kind]
    given = (
        ("grants.user_id = ?", only.user_id),
        ("grants.role_id = ?", only.role_id),
        (of_place, only.place_id),
    )
    wanted = [(condition, value) for condition, value in given if value]
    where = " and ".join(condition for condition, _ in wanted) or "1 = 1"
    rows = await tx.fetch(statement.format(where), [value for _, value in wanted])
    return [_grant(kind, row) for row in rows]


def _grant(kind: ScopeKind, row: Row) -> Grant:
    target: Sequence[str] = row[7:]
    return Grant(Named(*row[0:4]), Named(*target) if target else None, kind, Role(*row[4:7]))
