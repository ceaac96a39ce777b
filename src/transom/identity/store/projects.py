# SPDX-License-Identifier: Apache-2.0
"""Verbs on projects. Each writes its pointer in the transaction that changes the row."""

from transom.errors import Conflict, NotFound
from transom.identity.contract import PROJECTS, SOURCE
from transom.identity.model import Filter, Project, ProjectChange, Reference
from transom.identity.store.filters import conditions
from transom.node.feed import point
from transom.runtime.db.transaction import Row, Transaction

_COLUMNS = "id, name, domain_id, enabled, description"
_BY_ID = f"select {_COLUMNS}, epoch from projects where id = ?"
_BY_NAME = f"select {_COLUMNS}, epoch from projects where domain_id = ? and name = ?"
_LIST = f"select {_COLUMNS} from projects where {{}} order by name, id"
_OF_USER = f"""
select {_COLUMNS} from projects
where enabled = 1 and id in (select project_id from grants where user_id = ?)
order by name, id
"""
_INSERT = f"""
insert into projects ({_COLUMNS}, epoch) values (?, ?, ?, ?, ?, 1)
on conflict (domain_id, name) do nothing
"""
_UPDATE = """
update projects set
  name = coalesce(?, name),
  enabled = coalesce(?, enabled),
  description = coalesce(?, description),
  epoch = epoch + ?
where id = ?
"""
_DELETE = "delete from projects where id = ?"
_DELETE_GRANTS = "delete from grants where project_id = ?"


async def find(tx: Transaction, reference: Reference) -> tuple[Project, int] | None:
    """The project and its epoch."""
    if reference.id:
        row = await tx.fetch_one(_BY_ID, (reference.id,))
    else:
        row = await tx.fetch_one(_BY_NAME, (reference.domain_id, reference.name))
    return None if row is None else (_project(row), row[5])


async def get(tx: Transaction, project_id: str) -> Project:
    """Raises: NotFound."""
    found = await find(tx, Reference(id=project_id))
    if found is None:
        raise _absent(project_id)
    return found[0]


async def listed(tx: Transaction, only: Filter) -> list[Project]:
    """By name."""
    where, parameters = conditions(only)
    return [_project(row) for row in await tx.fetch(_LIST.format(where), parameters)]


async def of_user(tx: Transaction, user_id: str) -> list[Project]:
    """The enabled ones on which the user has a role, by name."""
    return [_project(row) for row in await tx.fetch(_OF_USER, (user_id,))]


async def insert(tx: Transaction, project: Project) -> None:
    """Raises: Conflict if the name is taken."""
    values = (
        *(project.id, project.name, project.domain_id),
        *(int(project.enabled), project.description),
    )
    if not await tx.execute(_INSERT, values):
        raise _taken()
    await point(tx, SOURCE, PROJECTS.name, (project.id,))


async def update(tx: Transaction, project_id: str, change: ProjectChange) -> Project:
    """The project as it is then. Raises: NotFound; Conflict if the name is taken."""
    enabled = None if change.enabled is None else int(change.enabled)
    voids = int(change.enabled is False)
    try:
        touched = await tx.execute(
            _UPDATE, (change.name, enabled, change.description, voids, project_id)
        )
    except Conflict:
        raise _taken() from None
    if not touched:
        raise _absent(project_id)
    await point(tx, SOURCE, PROJECTS.name, (project_id,))
    return await get(tx, project_id)


async def delete(tx: Transaction, project_id: str) -> None:
    """With all grants on it. Raises: NotFound."""
    if not await tx.execute(_DELETE, (project_id,)):
        raise _absent(project_id)
    await tx.execute(_DELETE_GRANTS, (project_id,))
    await point(tx, SOURCE, PROJECTS.name, (project_id,))


def _project(row: Row) -> Project:
    return Project(row[0], row[1], row[2], bool(row[3]), row[4])


def _absent(project_id: str) -> NotFound:
    return NotFound(f"Could not find project: {project_id}.")


def _taken() -> Conflict:
    return Conflict("Another project of the domain has this name; choose another name.")
