# SPDX-License-Identifier: Apache-2.0
"""Verbs on domains."""

from transom.errors import Conflict, Forbidden, NotFound
from transom.identity.model import DEFAULT_DOMAIN, Domain, Filter, PlaceChange, Reference
from transom.identity.store import projects, users
from transom.identity.store.filters import fetched
from transom.runtime.db.transaction import Row, Transaction

_COLUMNS = "id, name, enabled, description"
_BY_ID = f"select {_COLUMNS}, epoch from domains where id = ?"
_BY_NAME = f"select {_COLUMNS}, epoch from domains where name = ?"
_LIST = f"select {_COLUMNS} from domains where {{}} {{}}"
_OF_USER = f"""
select {_COLUMNS} from domains
where enabled = 1
  and id in (select target_id from scope_grants where user_id = ? and scope = 'domain')
order by name, id
"""
_INSERT = f"""
insert into domains ({_COLUMNS}, epoch) values (?, ?, ?, ?, 1) on conflict (name) do nothing
"""
_UPDATE = """
update domains set
  name = coalesce(?, name),
  enabled = coalesce(?, enabled),
  description = coalesce(?, description),
  epoch = epoch + ?
where id = ?
"""
_VOID_USERS = "update users set epoch = epoch + 1 where domain_id = ?"
_VOID_PROJECTS = "update projects set epoch = epoch + 1 where domain_id = ?"
_DELETE = "delete from domains where id = ? and enabled = 0"
_DELETE_GRANTS = "delete from scope_grants where scope = 'domain' and target_id = ?"


async def find(tx: Transaction, reference: Reference) -> tuple[Domain, int] | None:
    """The domain and its epoch."""
    if reference.id:
        row = await tx.fetch_one(_BY_ID, (reference.id,))
    else:
        row = await tx.fetch_one(_BY_NAME, (reference.name,))
    return None if row is None else (_domain(row), row[4])


async def get(tx: Transaction, domain_id: str) -> Domain:
    """Raises: NotFound."""
    found = await find(tx, Reference(id=domain_id))
    if found is None:
        raise _absent(domain_id)
    return found[0]


async def listed(tx: Transaction, only: Filter) -> list[Domain]:
    """By name."""
    return [_domain(row) for row in await fetched(tx, _LIST, only, "domains")]


async def of_user(tx: Transaction, user_id: str) -> list[Domain]:
    """The enabled ones on which the user has a role, by name."""
    return [_domain(row) for row in await tx.fetch(_OF_USER, (user_id,))]


async def insert(tx: Transaction, domain: Domain) -> None:
    """Raises: Conflict if the name is taken."""
    values = (domain.id, domain.name, int(domain.enabled), domain.description)
    if not await tx.execute(_INSERT, values):
        raise _taken()


async def update(tx: Transaction, domain_id: str, change: PlaceChange) -> Domain:
    """The domain as it is then. Raises: NotFound; Conflict if the name is taken; Forbidden."""
    voids = change.enabled is False
    if voids and domain_id == DEFAULT_DOMAIN.id:
        raise Forbidden("The default domain cannot be disabled: its admin could not sign in.")
    enabled = None if change.enabled is None else int(change.enabled)
    values = (change.name, enabled, change.description, int(voids), domain_id)
    try:
        touched = await tx.execute(_UPDATE, values)
    except Conflict:
        raise _taken() from None
    if not touched:
        raise _absent(domain_id)
    if voids:
        await tx.execute(_VOID_USERS, (domain_id,))
        await tx.execute(_VOID_PROJECTS, (domain_id,))
    return await get(tx, domain_id)


async def delete(tx: Transaction, domain_id: str) -> None:
    """With all its users and projects. Raises: NotFound; Forbidden while it is enabled."""
    if not await tx.execute(_DELETE, (domain_id,)):
        await get(tx, domain_id)
        raise Forbidden("A domain that is enabled cannot be deleted; disable it first.")
    inside = Filter(domain_id=domain_id)
    for user in await users.listed(tx, inside):
        await users.delete(tx, user.id)
    for project in await projects.listed(tx, inside):
        await projects.delete(tx, project.id)
    await tx.execute(_DELETE_GRANTS, (domain_id,))


def _domain(row: Row) -> Domain:
    return Domain(row[0], row[1], bool(row[2]), row[3])


def _absent(domain_id: str) -> NotFound:
    return NotFound(f"Could not find domain: {domain_id}.")


def _taken() -> Conflict:
    return Conflict("Another domain has this name; choose another name.")
