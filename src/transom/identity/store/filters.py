# SPDX-License-Identifier: Apache-2.0
"""From a filter of a list to its rows.

What is filtered has the columns id and name, and comes in the order of name and id.
"""

from collections.abc import Sequence

from transom.errors import BadRequest
from transom.identity.model import Filter
from transom.runtime.db.transaction import Row, Transaction

_TAGGED = "id in (select project_id from project_tags where tag in ({}) {})"
_WITH_ALL = "group by project_id having count(*) = {:d}"


def _conditions(only: Filter, table: str) -> tuple[str, list[object]]:
    """The condition, and the limit after it, for `table`; every row fits if nothing is asked."""
    wanted: list[tuple[str, Sequence[object]]] = []
    if only.name is not None:
        wanted.append(("name = ?", (only.name,)))
    if only.enabled is not None:
        wanted.append(("enabled = ?", (int(only.enabled),)))
    if only.domain_id is not None:
        wanted.append(("domain_id = ?", (only.domain_id,)))
    wanted += _tags(only)
    if only.marker is not None:
        after = f"(name, id) > (select name, id from {table} where id = ?)"
        wanted.append((after, (only.marker,)))
    text = " and ".join(condition for condition, _ in wanted) or "1 = 1"
    return text, [value for _, values in wanted for value in values]


async def fetched(tx: Transaction, statement: str, only: Filter, table: str) -> list[Row]:
    """The rows of a statement with places for the condition and the ending.

    Raises: BadRequest for a marker that is not there.
    """
    where, parameters = _conditions(only, table)
    rows = await tx.fetch(statement.format(where, _ending(only)), parameters)
    if not rows and only.marker is not None:
        there = f"select 1 from {table} where id = ?"
        if await tx.fetch_one(there, (only.marker,)) is None:
            raise BadRequest(f"marker: there is no {only.marker!r}; begin without a marker.")
    return rows


def _ending(only: Filter) -> str:
    """The order, and the limit if there is one."""
    limit = "" if only.limit is None else f" limit {only.limit:d}"
    return f"order by name, id{limit}"


def _tags(only: Filter) -> list[tuple[str, Sequence[object]]]:
    """One subquery each: PostgreSQL takes seconds to plan one for each of many tags."""
    wanted: list[tuple[str, Sequence[object]]] = []
    for negated, of_all, tags in (
        ("", True, only.tags),
        ("", False, only.tags_any),
        ("not ", True, only.not_tags),
        ("not ", False, only.not_tags_any),
    ):
        if tags:
            named = sorted(set(tags))
            holes = ", ".join("?" * len(named))
            ending = _WITH_ALL.format(len(named)) if of_all else ""
            wanted.append((negated + _TAGGED.format(holes, ending), named))
    return wanted
