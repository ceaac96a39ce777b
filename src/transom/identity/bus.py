# SPDX-License-Identifier: Apache-2.0
"""Identity on its node: the rows of its live tables, for the feed that publishes them."""

from transom.identity.contract import PROJECTS, USERS
from transom.identity.model import Project, Reference, User
from transom.identity.store import projects, users
from transom.messaging.proto.feed import Key, Row
from transom.messaging.schema import Table
from transom.runtime.db.transaction import Transaction


async def read_row(tx: Transaction, table: str, key: Key) -> Row | None:
    """The row as it is now; None if there is none any more."""
    reference = Reference(id=key[0])
    if table == PROJECTS.name:
        found = await projects.find(tx, reference)
        return None if found is None else _row(PROJECTS, found[0])
    if table == USERS.name:
        account = await users.find(tx, reference)
        return None if account is None else _row(USERS, account.user)
    raise LookupError(f"identity has no table {table!r}")


def _row(table: Table, noun: Project | User) -> Row:
    return {column.name: getattr(noun, column.name) for column in table.columns}
