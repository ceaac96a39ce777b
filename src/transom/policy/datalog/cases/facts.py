# SPDX-License-Identifier: Apache-2.0
"""Facts as text: rows of tables from CSV, JSON and YAML, and what tables and columns there are.

A cell of text is read as a rule would read it: `true`, `false`, `null`, `7`, `-7`, `7.5` are what
they look like, and all else is text, so `007`, `1e5`, `0x1f` and `2026-01-01` are. Quotes make text
of anything.

Invariants:
1. A row has a cell for each column; what a file does not say is null.
2. Whoever reads a fault knows the file, and the line or the row.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeAlias

from transom.errors import BadRequest
from transom.policy.datalog.core import TableId
from transom.policy.datalog.rules.columns import counted
from transom.policy.datalog.rules.names import meant, policy_fault
from transom.policy.datalog.values import FALSE, TRUE, BadValue, Row, Value, encoded, encoded_row

Schema: TypeAlias = Mapping[TableId, tuple[str, ...]]
"""The columns of tables, in their order."""

NAME: Final = re.compile(r"[A-Za-z_.][A-Za-z0-9_.]*:[A-Za-z_.][A-Za-z0-9_.]*")
NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?")
NUMBER_CHARACTERS_MOST: Final = 300
"""So that a float is never too large to be one."""
WORDS: Final[Mapping[str, Value]] = {"": None, "null": None, "true": TRUE, "false": FALSE}
NUMERIC: Final = frozenset("-0123456789")


class BadFacts(BadRequest):
    """Facts, a schema or a case's settings that cannot be read; the text begins with the place."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Rows of one table. `columns` None: the file names none. `rows` may be read once only.

    `places`: where each column was first named.
    """

    table: TableId
    columns: tuple[str, ...] | None
    rows: Iterable[Row]
    place: str
    places: Mapping[str, str]


def cell(text: str) -> Value:
    """What stands without quotes. Raises: BadValue."""
    if text in WORDS:
        return WORDS[text]
    if text[0] in NUMERIC and (found := NUMBER.fullmatch(text)):
        if len(text) > NUMBER_CHARACTERS_MOST:
            raise BadValue(f"a number of {len(text)} digits")
        return encoded(float(text) if found[1] else int(text))
    return encoded(text)


def table_called(name: object, place: str) -> TableId:
    """Raises: BadFacts."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise BadFacts(
            f"{place}: {_shown(name)} is no table; write its policy and name: nova:servers"
        )
    if fault := policy_fault(name.partition(":")[0]):
        raise BadFacts(f"{place}: {fault}; no file holds its tables")
    return TableId(name)


def json_tree(text: str, name: str) -> Any:
    """Raises: BadFacts."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [key for key, _ in pairs]
            twice = next(key for key in found if names.count(key) > 1)
            raise BadFacts(f"{name}: {twice!r} stands twice in one object")
        return found

    def refuse(word: str) -> NoReturn:
        raise BadFacts(f"{name}: {word} is no value of JSON")

    try:
        return json.loads(text, object_pairs_hook=once, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise BadFacts(f"{name}:{error.lineno}:{error.colno}: {error.msg}") from error
    except RecursionError as error:
        raise BadFacts(f"{name}: nested too deep") from error
    except ValueError as error:
        raise BadFacts(f"{name}: {error}") from error


def facts_of(tree: Any, name: str) -> Iterator[Facts]:
    """The tables of a facts file. Raises: BadFacts.

    Each is a list of rows, all as objects (`{id: a}`) or all as lists (`[a]`), or an object of
    `columns` and `rows`.
    """
    if tree is None:
        return
    if not isinstance(tree, dict):
        raise BadFacts(f"{name}: expected tables, as in `nova:servers: [...]`")
    for key, content in tree.items():
        table = table_called(key, _place(content, name))
        where = _place(content, name) + f": {table}"
        if isinstance(content, dict):
            yield _in_columns(table, content, name, where)
            continue
        if not isinstance(content, list | None):
            raise BadFacts(f"{where}: expected a list of rows")
        if content and isinstance(content[0], dict):
            yield _of_objects(table, content, name, where)
        else:
            rows = [
                _row(cells, None, name, f"{where}: row {number}")
                for number, cells in enumerate(content or (), 1)
            ]
            yield Facts(table, None, rows, where, {})


def schema_of(tree: Any, name: str) -> dict[TableId, tuple[str, ...]]:
    """The tables of a schema file. Raises: BadFacts.

    Each is a list of its columns (`nova:servers: [id, name]`), or an object that says beside each
    what it is.
    """
    if not isinstance(tree, dict):
        raise BadFacts(f"{name}: expected tables and their columns, as in `nova:servers: [id]`")
    found = {}
    for key, columns in tree.items():
        where = _place(columns, name)
        listed = list(columns) if isinstance(columns, dict) else columns
        found[table_called(key, where)] = _columns(listed, f"{where}: {key}")
    return found


def in_order(facts: Facts, columns: Sequence[str]) -> Iterator[Row]:
    """The rows with the columns in this order. Raises: BadFacts."""
    if facts.columns is None or tuple(columns) == facts.columns:
        yield from facts.rows
        return
    for column in facts.columns:
        if column not in columns:
            raise BadFacts(
                f"{facts.places[column]}: {facts.table} has no column `{column}`: "
                f"{meant(column, columns) or 'it has ' + ', '.join(columns)}"
            )
    at = {column: index for index, column in enumerate(facts.columns)}
    width = len(facts.columns)
    order = [at.get(column, width) for column in columns]
    for row in facts.rows:
        with_null = (*row, None)
        yield tuple([with_null[index] for index in order])


def _in_columns(table: TableId, content: dict[str, Any], name: str, where: str) -> Facts:
    if content.keys() != {"columns", "rows"} or not isinstance(content["rows"], list):
        raise BadFacts(f"{where}: expected a list of rows, or `columns` and `rows`")
    columns = _columns(content["columns"], where)
    rows = [
        _row(cells, columns, name, f"{where}: row {number}")
        for number, cells in enumerate(content["rows"], 1)
    ]
    return Facts(table, columns, rows, where, dict.fromkeys(columns, where))


def _of_objects(table: TableId, content: list[Any], name: str, where: str) -> Facts:
    """Columns in the order in which they are first met."""
    places: dict[str, str] = {}
    for number, cells in enumerate(content, 1):
        if not isinstance(cells, dict):
            _unlike(_place(cells, name, f"{where}: row {number}"))
        for column in cells:
            if column not in places:
                places[column] = _place(cells, name, f"{where}: row {number}")
    columns = _columns(list(places), where)
    rows = [
        _row(
            [cells.get(column) for column in columns],
            columns,
            name,
            _place(cells, name, f"{where}: row {number}"),
        )
        for number, cells in enumerate(content, 1)
    ]
    return Facts(table, columns, rows, where, places)


def _row(cells: Any, columns: Sequence[str] | None, name: str, where: str) -> Row:
    place = _place(cells, name, where)
    if not isinstance(cells, list):
        _unlike(place)
    if columns is not None and len(cells) != len(columns):
        raise BadFacts(
            f"{place}: {counted(len(cells), 'cell')} for {counted(len(columns), 'column')}: "
            f"{', '.join(columns)}"
        )
    try:
        return encoded_row(cells)
    except BadValue as error:
        raise BadFacts(f"{place}: {error}") from error


def _unlike(place: str) -> NoReturn:
    raise BadFacts(f"{place}: rows are all objects ({{id: a}}) or all lists ([a])")


def _columns(columns: Any, where: str) -> tuple[str, ...]:
    if not isinstance(columns, list) or not columns:
        raise BadFacts(f"{where}: expected the names of its columns, as in `[id, name]`")
    for column in columns:
        if not isinstance(column, str) or not column:
            raise BadFacts(f"{where}: {_shown(column)} is no name of a column")
        if columns.count(column) > 1:
            raise BadFacts(f"{where}: two columns are called {column!r}")
    return tuple(columns)


def _place(content: Any, name: str, otherwise: str | None = None) -> str:
    """`file:line` where the tree knows it."""
    line = getattr(content, "line", None)
    return f"{name}:{line}" if line else otherwise or name


def _shown(thing: object) -> str:
    text = repr(thing)
    return text if len(text) <= 60 else f"{text[:57]}..."
