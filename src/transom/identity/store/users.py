# SPDX-License-Identifier: Apache-2.0
"""Verbs on users. Each writes its pointer in the transaction that changes the row."""

from collections.abc import Sequence

from transom.errors import Conflict, NotFound
from transom.identity.contract import SOURCE, USERS
from transom.identity.model import Account, Filter, Reference, User, UserChange
from transom.identity.store import application_credentials, grants
from transom.identity.store.filters import fetched
from transom.node.feed import point
from transom.runtime.db.transaction import Row, Transaction

_COLUMNS = "id, name, domain_id, enabled, description, email, default_project_id"
_BY_ID = f"select {_COLUMNS}, password_hash, epoch from users where id = ?"
_BY_NAME = f"select {_COLUMNS}, password_hash, epoch from users where domain_id = ? and name = ?"
_BY_NAMES = f"""
select {_COLUMNS}, password_hash, epoch from users
where domain_id = (select id from domains where name = ?) and name = ?
"""
_LIST = f"select {_COLUMNS} from users where {{}} {{}}"
_INSERT = f"""
insert into users ({_COLUMNS}, password_hash, epoch)
select ?, ?, id, ?, ?, ?, ?, ?, 1 from domains where id = ?
on conflict (domain_id, name) do nothing
"""
_UPDATE = """
update users set
  name = coalesce(?, name),
  enabled = coalesce(?, enabled),
  description = coalesce(?, description),
  email = coalesce(?, email),
  default_project_id = coalesce(?, default_project_id),
  password_hash = coalesce(?, password_hash),
  epoch = epoch + ?
where id = ? and (cast(? as bigint) is null or epoch = ?)
"""
_DOMAIN = "select 1 from domains where id = ?"
_DELETE = "delete from users where id = ?"
_DELETE_GRANTS = "delete from grants where user_id = ?"


async def find(tx: Transaction, reference: Reference) -> Account | None:
    if reference.id:
        row = await tx.fetch_one(_BY_ID, (reference.id,))
    elif reference.domain_id:
        row = await tx.fetch_one(_BY_NAME, (reference.domain_id, reference.name))
    else:
        row = await tx.fetch_one(_BY_NAMES, (reference.domain_name, reference.name))
    return None if row is None else account_of(row)


async def get(tx: Transaction, user_id: str) -> User:
    """Raises: NotFound."""
    account = await find(tx, Reference(id=user_id))
    if account is None:
        raise _absent(user_id)
    return account.user


async def listed(tx: Transaction, only: Filter) -> list[User]:
    """By name."""
    return [_user(row) for row in await fetched(tx, _LIST, only, "users")]


async def insert(tx: Transaction, user: User, password_hash: str) -> None:
    """Raises: NotFound if the domain is not there; Conflict if the name is taken."""
    values = (
        *(user.id, user.name, int(user.enabled), user.description, user.email),
        *(user.default_project_id, password_hash, user.domain_id),
    )
    if not await tx.execute(_INSERT, values):
        if await tx.fetch_one(_DOMAIN, (user.domain_id,)) is None:
            raise NotFound(f"Could not find domain: {user.domain_id}.")
        raise _taken()
    await point(tx, SOURCE, USERS.name, (user.id,))


async def update(
    tx: Transaction, user_id: str, change: UserChange, *, if_epoch: int | None = None
) -> User:
    """The user as they are then. `if_epoch`: only while no one has voided their tokens since.

    Raises: NotFound; Conflict if the name is taken, or the epoch is another.
    """
    voids = change.password_hash is not None or change.enabled is False
    enabled = None if change.enabled is None else int(change.enabled)
    values = (
        *(change.name, enabled, change.description, change.email, change.default_project_id),
        *(change.password_hash, int(voids), user_id, if_epoch, if_epoch),
    )
    if not await _update(tx, values):
        await get(tx, user_id)
        raise Conflict("The user has changed meanwhile; try again.")
    if change.enabled is False:
        await application_credentials.delete_of_user(tx, user_id)
    await point(tx, SOURCE, USERS.name, (user_id,))
    return await get(tx, user_id)


async def delete(tx: Transaction, user_id: str) -> None:
    """With all their grants and application credentials. Raises: NotFound."""
    if not await tx.execute(_DELETE, (user_id,)):
        raise _absent(user_id)
    await tx.execute(_DELETE_GRANTS, (user_id,))
    await grants.delete_of_user(tx, user_id)
    await application_credentials.delete_of_user(tx, user_id)
    await point(tx, SOURCE, USERS.name, (user_id,))


async def _update(tx: Transaction, values: Sequence[object]) -> int:
    try:
        return await tx.execute(_UPDATE, values)
    except Conflict:
        raise _taken() from None


def account_of(row: Row) -> Account:
    """From the columns of a user, the password's hash and the epoch, in this order."""
    return Account(_user(row), row[7], row[8])


def _user(row: Row) -> User:
    return User(row[0], row[1], row[2], bool(row[3]), row[4], row[5], row[6])


def _absent(user_id: str) -> NotFound:
    return NotFound(f"Could not find user: {user_id}.")


def _taken() -> Conflict:
    return Conflict("Another user of the domain has this name; choose another name.")
