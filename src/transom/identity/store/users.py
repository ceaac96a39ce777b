# SPDX-License-Identifier: Apache-2.0
"""Verbs on users. Each writes its pointer in the transaction that changes the row."""

from collections.abc import Sequence

from transom.errors import Conflict, NotFound
from transom.identity.contract import SOURCE, USERS
from transom.identity.model import Account, Filter, Reference, User, UserChange
from transom.identity.store.filters import conditions
from transom.node.feed import point
from transom.runtime.db.transaction import Row, Transaction

_COLUMNS = "id, name, domain_id, enabled, description, email, default_project_id"
_BY_ID = f"select {_COLUMNS}, password_hash, epoch from users where id = ?"
_BY_NAME = f"select {_COLUMNS}, password_hash, epoch from users where domain_id = ? and name = ?"
_LIST = f"select {_COLUMNS} from users where {{}} order by name, id"
_INSERT = f"""
insert into users ({_COLUMNS}, password_hash, epoch) values (?, ?, ?, ?, ?, ?, ?, ?, 1)
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
where id = ? and (? is null or epoch = ?)
"""
_DELETE = "delete from users where id = ?"
_DELETE_GRANTS = "delete from grants where user_id = ?"


async def find(tx: Transaction, reference: Reference) -> Account | None:
    if reference.id:
        row = await tx.fetch_one(_BY_ID, (reference.id,))
    else:
        row = await tx.fetch_one(_BY_NAME, (reference.domain_id, reference.name))
    return None if row is None else account_of(row)


async def get(tx: Transaction, user_id: str) -> User:
    """Raises: NotFound."""
    account = await find(tx, Reference(id=user_id))
    if account is None:
        raise _absent(user_id)
    return account.user


async def listed(tx: Transaction, only: Filter) -> list[User]:
    """By name."""
    where, parameters = conditions(only)
    return [_user(row) for row in await tx.fetch(_LIST.format(where), parameters)]


async def insert(tx: Transaction, user: User, password_hash: str) -> None:
    """Raises: Conflict if the name is taken."""
    values = (
        *(user.id, user.name, user.domain_id, int(user.enabled), user.description, user.email),
        *(user.default_project_id, password_hash),
    )
    if not await tx.execute(_INSERT, values):
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
    await point(tx, SOURCE, USERS.name, (user_id,))
    return await get(tx, user_id)


async def delete(tx: Transaction, user_id: str) -> None:
    """With all their grants. Raises: NotFound."""
    if not await tx.execute(_DELETE, (user_id,)):
        raise _absent(user_id)
    await tx.execute(_DELETE_GRANTS, (user_id,))
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
