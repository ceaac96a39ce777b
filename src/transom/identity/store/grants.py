# SPDX-License-Identifier: Apache-2.0
"""Verbs on roles and on grants: who has which role on which project."""

from transom.errors import NotFound
from transom.identity.model import Grant, Project, Role, User
from transom.runtime.db.transaction import Transaction

_ROLES = "select id, name from roles order by name"
_ROLE = "select id, name from roles where id = ?"
_ROLE_NAMED = "select id, name from roles where name = ?"
_INSERT_ROLE = "insert into roles (id, name) values (?, ?) on conflict (name) do nothing"
_OF = """
select roles.id, roles.name from grants join roles on roles.id = grants.role_id
where grants.user_id = ? and grants.project_id = ? order by roles.name
"""
_ADD = """
insert into grants (user_id, project_id, role_id)
select users.id, projects.id, roles.id from users, projects, roles
where users.id = ? and projects.id = ? and roles.id = ?
on conflict (user_id, project_id, role_id) do nothing
"""
_REMOVE = "delete from grants where user_id = ? and project_id = ? and role_id = ?"
_HAS = "select 1 from grants where user_id = ? and project_id = ? and role_id = ?"
_ASSIGNED = """
select users.id, users.name, users.domain_id, projects.id, projects.name, projects.domain_id,
  roles.id, roles.name
from grants
join users on users.id = grants.user_id
join projects on projects.id = grants.project_id
join roles on roles.id = grants.role_id
where {} order by projects.name, users.name, roles.name
"""


async def roles(tx: Transaction) -> list[Role]:
    return [Role(*row) for row in await tx.fetch(_ROLES)]


async def role(tx: Transaction, role_id: str) -> Role:
    """Raises: NotFound."""
    row = await tx.fetch_one(_ROLE, (role_id,))
    if row is None:
        raise NotFound(f"Could not find role: {role_id}.")
    return Role(*row)


async def role_named(tx: Transaction, name: str) -> Role | None:
    row = await tx.fetch_one(_ROLE_NAMED, (name,))
    return None if row is None else Role(*row)


async def ensure_role(tx: Transaction, made: Role) -> None:
    """Leaves a role of this name as it is."""
    await tx.execute(_INSERT_ROLE, (made.id, made.name))


async def of(tx: Transaction, user_id: str, project_id: str) -> list[Role]:
    return [Role(*row) for row in await tx.fetch(_OF, (user_id, project_id))]


async def add(tx: Transaction, user_id: str, project_id: str, role_id: str) -> None:
    """Idempotent. Raises: NotFound if one of the three is not there."""
    place = (user_id, project_id, role_id)
    if not await tx.execute(_ADD, place) and not await has(tx, *place):
        raise NotFound("Could not find the user, the project or the role.")


async def remove(tx: Transaction, user_id: str, project_id: str, role_id: str) -> None:
    """Raises: NotFound."""
    if not await tx.execute(_REMOVE, (user_id, project_id, role_id)):
        raise NotFound("The user has no such role on the project.")


async def has(tx: Transaction, user_id: str, project_id: str, role_id: str) -> bool:
    return await tx.fetch_one(_HAS, (user_id, project_id, role_id)) is not None


async def assigned(
    tx: Transaction, *, user_id: str = "", project_id: str = "", role_id: str = ""
) -> list[Grant]:
    """All grants, or those of one user, on one project, of one role."""
    given = {
        "grants.user_id = ?": user_id,
        "grants.project_id = ?": project_id,
        "grants.role_id = ?": role_id,
    }
    wanted = {condition: value for condition, value in given.items() if value}
    where = " and ".join(wanted) or "1 = 1"
    rows = await tx.fetch(_ASSIGNED.format(where), list(wanted.values()))
    return [Grant(User(*row[0:3]), Project(*row[3:6]), Role(*row[6:8])) for row in rows]
