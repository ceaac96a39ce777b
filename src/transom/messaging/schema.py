# SPDX-License-Identifier: Apache-2.0
"""What a live table is: its columns, its key, whose its rows are and who may see them.

Invariants:
1. Schemas change by addition: a reader skips columns that it does not know, and takes a missing
   one, unless it is of the key, as null.
2. A row is seen by admins; and by a project only if the audience is PUBLIC, or is PROJECT and the
   row's owner column names that project.
3. The key of a row is the texts of its key columns; none is empty.
"""

from dataclasses import dataclass
from enum import StrEnum
from math import isfinite
from typing import Any

from transom.errors import InternalError
from transom.messaging.proto.feed import Key, Row


class Audience(StrEnum):
    """Who may see rows of a table."""

    ADMIN = "admin"
    PROJECT = "project"
    PUBLIC = "public"


class ColumnKind(StrEnum):
    """What JSON value a column holds; any but a key column may be null."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    TIME_MS = "time_ms"  # an integer: milliseconds since 1970-01-01 UTC
    JSON = "json"  # an object, a list or any of the above


_HOLDS: dict[ColumnKind, tuple[type, ...]] = {
    ColumnKind.TEXT: (str,),
    ColumnKind.INTEGER: (int,),
    ColumnKind.NUMBER: (int, float),
    ColumnKind.BOOLEAN: (bool,),
    ColumnKind.TIME_MS: (int,),
    ColumnKind.JSON: (str, int, float, bool, dict, list),
}


class RowRefused(InternalError):
    """A part handed out a row that its own contract refuses."""


@dataclass(frozen=True, slots=True)
class Column:
    """`meaning`: one sentence for the reference."""

    name: str
    kind: ColumnKind
    meaning: str


@dataclass(frozen=True, slots=True)
class Table:
    """`name` is "part:noun"; `owner` the column with a project's id; `version` only rises."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    owner: str | None
    audience: Audience
    version: int = 1

    def __post_init__(self) -> None:
        """Raises: ValueError for a contract that contradicts itself."""
        kinds = {column.name: column.kind for column in self.columns}
        if len(kinds) != len(self.columns):
            raise ValueError(f"{self.name}: two columns of one name")
        if not self.key or any(kinds.get(name) is not ColumnKind.TEXT for name in self.key):
            raise ValueError(f"{self.name}: the key is made of one or more text columns")
        if self.owner is not None and kinds.get(self.owner) is not ColumnKind.TEXT:
            raise ValueError(f"{self.name}: the owner is a text column")
        if self.audience is Audience.PROJECT and self.owner is None:
            raise ValueError(f"{self.name}: rows for projects need an owner column")

    def key_of(self, row: Row) -> Key:
        """Raises: RowRefused if a key column is missing or empty."""
        key = tuple(row.get(name) for name in self.key)
        if any(not isinstance(part, str) or not part for part in key):
            raise RowRefused(detail=f"{self.name}: {self.key} must be texts, not empty, in {key}")
        return key  # type: ignore[return-value]  # all texts, as checked

    def check(self, row: Row) -> None:
        """Whether the row fits; columns that the table does not have are let through.

        Raises: RowRefused, whose detail names every column that does not fit.
        """
        self.key_of(row)
        wrong = [
            f"{column.name} is {type(row[column.name]).__name__}, not {column.kind}"
            for column in self.columns
            if not _fits(column.kind, row.get(column.name))
        ]
        if wrong:
            raise RowRefused(detail=f"{self.name}: {'; '.join(wrong)}")

    def visible(self, row: Row, *, project_id: str, admin: bool) -> bool:
        """Whether who acts for `project_id` (empty: for none), or as admin, may see the row."""
        if admin or self.audience is Audience.PUBLIC:
            return True
        if self.audience is Audience.ADMIN or self.owner is None or not project_id:
            return False
        return bool(row.get(self.owner) == project_id)


def _fits(kind: ColumnKind, value: Any) -> bool:
    if value is None:
        return True
    if isinstance(value, float) and not isfinite(value):
        return False
    if isinstance(value, bool):
        return kind in (ColumnKind.BOOLEAN, ColumnKind.JSON)
    return isinstance(value, _HOLDS[kind])
