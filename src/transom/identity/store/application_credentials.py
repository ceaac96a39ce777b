# SPDX-License-Identifier: Apache-2.0
"""Verbs on application credentials, and how they go with what they depend on."""

from transom.errors import Conflict, Forbidden, NotFound
from transom.identity.model import ApplicationCredential, Role
from transom.runtime.db.transaction import Row, Transaction

OF_USER_MOST = 100
"""How many one user can have."""

_COLUMNS = "id, name, user_id, project_id, description, unrestricted, expires_us"
_BY_ID = f"select {_COLUMNS}, secret_hash from application_credentials where id = ?"
_BY_NAME = f"""
select {_COLUMNS}, secret_hash from application_credentials where user_id = ? and name = ?
"""
_OF_USER = f"select {_COLUMNS} from application_credentials where user_id = ? order by name, id"
_ROLES = """
select roles.id, roles.name, roles.description
from application_credential_roles as had join roles on roles.id = had.role_id
where had.credential_id = ? order by roles.name
"""
_INSERT = f"""
insert into application_credentials ({_COLUMNS}, secret_hash) values (?, ?, ?, ?, ?, ?, ?, ?)
on conflict (user_id, name) do nothing
"""
_INSERT_ROLE = "insert into application_credential_roles (credential_id, role_id) values (?, ?)"
_COUNT = "select count(*) from application_credentials where user_id = ?"
_DELETE_ROLES = """
delete from application_credential_roles
where credential_id in (select id from application_credentials where {})
"""
_DELETE = "delete from application_credentials where {}"
_ONE_OF_USER = "id = ? and user_id = ?"
_ALL_OF_USER = "user_id = ?"
_OF_PROJECT = "project_id = ?"
_OF_USER_ON_PROJECT = "user_id = ? and project_id = ?"
_WITH_ROLE = """
select id, user_id from application_credentials
where id in (select credential_id from application_credential_roles where role_id = ?)
"""


async def find(
    tx: Transaction, *, credential_id: str = "", user_id: str = "", name: str = ""
) -> tuple[ApplicationCredential, str] | None:
    """The credential and its secret's hash: by id, or by its user and name."""
    if credential_id:
        row = await tx.fetch_one(_BY_ID, (credential_id,))
    else:
        row = await tx.fetch_one(_BY_NAME, (user_id, name))
    if row is None:
        return None
    return await _with_roles(tx, row), row[7]


async def get(tx: Transaction, user_id: str, credential_id: str) -> ApplicationCredential:
    """Raises: NotFound, for another user's too."""
    found = await find(tx, credential_id=credential_id)
    if found is None or found[0].user_id != user_id:
        raise _absent(credential_id)
    return found[0]


async def of_user(tx: Transaction, user_id: str) -> list[ApplicationCredential]:
    """By name."""
    return [await _with_roles(tx, row) for row in await tx.fetch(_OF_USER, (user_id,))]


async def insert(tx: Transaction, made: ApplicationCredential, secret_hash: str) -> None:
    """Raises: Conflict if the user has one of this name; Forbidden if they have too many."""
    values = (
        *(made.id, made.name, made.user_id, made.project_id, made.description),
        *(int(made.unrestricted), made.expires_us, secret_hash),
    )
    if not await tx.execute(_INSERT, values):
        raise Conflict("The user has an application credential of this name; choose another name.")
    counted = await tx.fetch_one(_COUNT, (made.user_id,))
    if counted is not None and counted[0] > OF_USER_MOST:
        raise Forbidden(
            f"A user has at most {OF_USER_MOST} application credentials; delete one first."
        )
    await tx.execute_many(_INSERT_ROLE, [(made.id, role.id) for role in made.roles])


async def delete(tx: Transaction, user_id: str, credential_id: str) -> None:
    """Raises: NotFound, for another user's too."""
    if not await _delete(tx, _ONE_OF_USER, credential_id, user_id):
        raise _absent(credential_id)


async def delete_of_user(tx: Transaction, user_id: str) -> None:
    await _delete(tx, _ALL_OF_USER, user_id)


async def delete_of_project(tx: Transaction, project_id: str) -> None:
    await _delete(tx, _OF_PROJECT, project_id)


async def delete_of_user_on_project(tx: Transaction, user_id: str, project_id: str) -> None:
    await _delete(tx, _OF_USER_ON_PROJECT, user_id, project_id)


async def delete_of_role(tx: Transaction, role_id: str) -> None:
    """Those that have the role."""
    for credential_id, user_id in await tx.fetch(_WITH_ROLE, (role_id,)):
        await _delete(tx, _ONE_OF_USER, credential_id, user_id)


async def _delete(tx: Transaction, condition: str, *values: str) -> int:
    await tx.execute(_DELETE_ROLES.format(condition), values)
    return await tx.execute(_DELETE.format(condition), values)


async def _with_roles(tx: Transaction, row: Row) -> ApplicationCredential:
    roles = tuple(Role(*of) for of in await tx.fetch(_ROLES, (row[0],)))
    return ApplicationCredential(
        row[0], row[1], row[2], row[3], roles, row[4], bool(row[5]), row[6]
    )


def _absent(credential_id: str) -> NotFound:
    return NotFound(f"Could not find application credential: {credential_id}.")
