# SPDX-License-Identifier: Apache-2.0
"""Verbs on projects. Each writes its pointer in the transaction that changes the row."""

from collections.abc import Iterable
from dataclasses import replace

from transom.errors import Conflict, NotFound
from transom.identity.contract import PROJECTS, SOURCE
from transom.identity.model import Filter, PlaceChange, Project, Reference
from transom.identity.store import application_credentials
from transom.identity.store.filters import fetched
from transom.node.feed import point
from transom.runtime.db.transaction import Row, Transaction

_COLUMNS = "id, name, domain_id, enabled, description"
_BY_ID = f"select {_COLUMNS}, epoch from projects where id = ?"
_BY_NAME = f"select {_COLUMNS}, epoch from projects where domain_id = ? and name = ?"
_BY_NAMES = f"""
select {_COLUMNS}, epoch from projects
where domain_id = (select id from domains where name = ?) and name = ?
"""
_LIST = f"select {_COLUMNS} from projects where {{}} {{}}"
_OF_USER = f"""
select {_COLUMNS} from projects
where enabled = 1 and id in (select project_id from grants where user_id = ?)
order by name, id
"""
_INSERT = f"""
insert into projects ({_COLUMNS}, epoch)
select ?, ?, id, ?, ?, 1 from domains where id = ?
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
_DOMAIN = "select 1 from domains where id = ?"
_TAGS = "select tag from project_tags where project_id = ? order by tag"
_INSERT_TAG = """
insert into project_tags (project_id, tag) values (?, ?) on conflict (project_id, tag) do nothing
"""
_DELETE_TAGS = "delete from project_tags where project_id = ?"


async def find(tx: Transaction, reference: Reference) -> tuple[Project, int] | None:
    """The project, without its tags, and its epoch."""
    if reference.id:
        row = await tx.fetch_one(_BY_ID, (reference.id,))
    elif reference.domain_id:
        row = await tx.fetch_one(_BY_NAME, (reference.domain_id, reference.name))
    else:
        row = await tx.fetch_one(_BY_NAMES, (reference.domain_name, reference.name))
    return None if row is None else (_project(row), row[5])


async def get(tx: Transaction, project_id: str) -> Project:
    """Raises: NotFound."""
    found = await find(tx, Reference(id=project_id))
    if found is None:
        raise _absent(project_id)
    return await _tagged(tx, found[0])


async def listed(tx: Transaction, only: Filter) -> list[Project]:
    """By name."""
    rows = await fetched(tx, _LIST, only, "projects")
    return [await _tagged(tx, _project(row)) for row in rows]


async def of_user(tx: Transaction, user_id: str) -> list[Project]:
    """The enabled ones on which the user has a role, by name."""
    rows = await tx.fetch(_OF_USER, (user_id,))
    return [await _tagged(tx, _project(row)) for row in rows]


async def insert(tx: Transaction, project: Project) -> None:
    """Raises: NotFound if the domain is not there; Conflict if the name is taken."""
    values = (
        *(project.id, project.name, int(project.enabled), project.description),
        project.domain_id,
    )
    if not await tx.execute(_INSERT, values):
        if await tx.fetch_one(_DOMAIN, (project.domain_id,)) is None:
            raise NotFound(f"Could not find domain: {project.domain_id}.")
        raise _taken()
    await _tag(tx, project.id, project.tags)
    await point(tx, SOURCE, PROJECTS.name, (project.id,))


async def update(tx: Transaction, project_id: str, change: PlaceChange) -> Project:
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
    if change.tags is not None:
        await tx.execute(_DELETE_TAGS, (project_id,))
        await _tag(tx, project_id, change.tags)
    await point(tx, SOURCE, PROJECTS.name, (project_id,))
    return await get(tx, project_id)


async def delete(tx: Transaction, project_id: str) -> None:
    """With all grants on it, its tags, and application credentials for it. Raises: NotFound."""
    if not await tx.execute(_DELETE, (project_id,)):
        raise _absent(project_id)
    await tx.execute(_DELETE_GRANTS, (project_id,))
    await tx.execute(_DELETE_TAGS, (project_id,))
    await application_credentials.delete_of_project(tx, project_id)
    await point(tx, SOURCE, PROJECTS.name, (project_id,))


async def _tag(tx: Transaction, project_id: str, tags: Iterable[str]) -> None:
    await tx.execute_many(_INSERT_TAG, [(project_id, tag) for tag in tags])


async def _tagged(tx: Transaction, project: Project) -> Project:
    tags = tuple(tag for (tag,) in await tx.fetch(_TAGS, (project.id,)))
    return replace(project, tags=tags)


def _project(row: Row) -> Project:
    return Project(row[0], row[1], row[2], bool(row[3]), row[4])


def _absent(project_id: str) -> NotFound:
    return NotFound(f"Could not find project: {project_id}.")


def _taken() -> Conflict:
    return Conflict("Another project of the domain has this name; choose another name.")
