# SPDX-License-Identifier: Apache-2.0
"""What a live table is: its columns, its key, whose its rows are and who may see them.

Invariants:
1. Schemas change by addition, and `version` rises with each change: a reader skips columns that it
   does not know, and takes a missing one, unless it is of the key, as null.
2. A row is seen by admins; and by a project only if the audience is PUBLIC, or is PROJECT and the
   row's owner column names that project.
3. The key of a row is the texts of its key columns; none is empty.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from math import isfinite
from typing import Any

import msgspec

from transom.errors import InternalError, InvalidEnvelope, MessagingError
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


class SchemaRefused(MessagingError):
    """A table is published in a form that its reader cannot read; the text says what differs."""


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


def check_readable(read: Table, published: Table) -> None:
    """Whether who knows the table as `read` can read it as it is `published`.

    What a newer version adds is skipped, what an older one lacks is null; nothing else may differ.

    Raises: SchemaRefused.
    """
    theirs = {column.name: column.kind for column in published.columns}
    ours = {column.name: column.kind for column in read.columns}
    wrong = [
        f"column {name} is {theirs[name]} there and {kind} here"
        for name, kind in ours.items()
        if theirs.get(name, kind) is not kind
    ]
    if published.key != read.key:
        wrong.append(f"the key is {', '.join(published.key)} there and {', '.join(read.key)} here")
    if published.version >= read.version:
        wrong += [f"column {name} is gone" for name in ours if name not in theirs]
    if published.version <= read.version:
        wrong += [f"column {name} is unknown here" for name in theirs if name not in ours]
    if wrong:
        raise SchemaRefused(
            f"{read.name} is published in version {published.version}, "
            f"which version {read.version} cannot read: {'; '.join(sorted(wrong))}"
        )


def fingerprint(tables: Iterable[Table]) -> str:
    """16 hexadecimal digits that tell one form of the tables from another."""
    forms = sorted(
        (table.name, table.version, table.key, sorted((c.name, c.kind) for c in table.columns))
        for table in tables
    )
    return blake2b(msgspec.json.encode(forms), digest_size=8).hexdigest()


def encode_tables(tables: Iterable[Table]) -> list[dict[str, Any]]:
    return [msgspec.to_builtins(table) for table in tables]


def decode_tables(value: object) -> tuple[Table, ...]:
    """A kind of column that is not known here is read as JSON, an audience as admins only.

    Raises: InvalidEnvelope.
    """
    try:
        return tuple(_table(found) for found in msgspec.convert(value, list[_Table]))
    except (msgspec.ValidationError, ValueError) as error:
        raise InvalidEnvelope("a table's schema has another form", detail=str(error)) from error


class _Column(msgspec.Struct):
    name: str
    kind: str
    meaning: str = ""


class _Table(msgspec.Struct):
    name: str
    columns: list[_Column]
    key: tuple[str, ...]
    version: int
    owner: str | None = None
    audience: str = Audience.ADMIN.value


def _table(found: _Table) -> Table:
    columns = tuple(
        Column(
            column.name,
            ColumnKind(column.kind) if column.kind in _KINDS else ColumnKind.JSON,
            column.meaning,
        )
        for column in found.columns
    )
    audience = Audience(found.audience) if found.audience in _AUDIENCES else Audience.ADMIN
    return Table(found.name, columns, found.key, found.owner, audience, found.version)


_KINDS: Sequence[str] = tuple(ColumnKind)
_AUDIENCES: Sequence[str] = tuple(Audience)
