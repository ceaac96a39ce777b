# SPDX-License-Identifier: Apache-2.0
"""Rows of a CSV text, line by line, so that a file may be larger than what is kept of it.

The first line names the columns. A cell in quotes is text, whatever is in it (`""` is a quote, and
lines may end inside); one without is read by `facts.cell`, and spaces around it do not count. A
column whose header ends with `:text` is text throughout. Empty lines are skipped.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Final

from transom.policy.datalog.cases.facts import BadFacts, Facts, cell, table_called
from transom.policy.datalog.rules.columns import counted
from transom.policy.datalog.values import BadValue, Real, Row, Value, encoded

CELL: Final = re.compile(r' *(?:"((?:[^"]|"")*)" *|([^", ][^,]*)?)(,|\Z)')
TEXT: Final = ":text"
PART_ROWS: Final = 4096
RECORD_CHARACTERS_MOST: Final = 4_000_000
"""A quote that nobody closes would else read the rest of the file."""

Warn = Callable[[str], None]


def csv_facts(lines: Iterable[str], table: str, name: str, warn: Warn) -> Facts:
    """A table's facts. Raises: BadFacts, while its rows are read, too.

    `warn` is told of a column of which some cells are numbers and some are text.
    """
    found = table_called(table, name)
    records = _records(lines, name)
    _, header = next(records, (1, []))
    texts = [column.strip().endswith(TEXT) for column in header]
    columns = [column.strip().removesuffix(TEXT) for column in header]
    _check(columns, f"{name}:1")
    rows = _rows(records, columns, texts, name)
    return Facts(
        found, tuple(columns), _watched(rows, columns, name, warn), name,
        dict.fromkeys(columns, f"{name}:1"),
    )  # fmt: skip


def _check(columns: list[str], place: str) -> None:
    if not columns:
        raise BadFacts(f"{place}: expected the names of the columns, as in `id,name`")
    if len(columns) == 1 and any(sign in columns[0] for sign in ";\t|"):
        raise BadFacts(f"{place}: one column {columns[0]!r}; cells are separated by commas")
    for column in columns:
        if not column:
            raise BadFacts(f"{place}: a column without a name")
        if columns.count(column) > 1:
            raise BadFacts(f"{place}: two columns are called {column!r}")


class Quoted(str):
    """A cell that stood in quotes."""

    __slots__ = ()


def _records(lines: Iterable[str], name: str) -> Iterator[tuple[int, list[str]]]:
    """(the line it begins in, cells), `Quoted` where they were."""
    numbered = enumerate(lines, 1)
    for number, line in numbered:
        text = line.removeprefix("\ufeff") if number == 1 else line
        if '"' in text:
            yield number, _split(_whole(text, numbered, f"{name}:{number}"), f"{name}:{number}")
        elif not text.isspace():
            yield number, text.rstrip("\r\n").split(",")


def _whole(first: str, more: Iterator[tuple[int, str]], place: str) -> str:
    """The record that begins with this line: on to where as many quotes close as open."""
    pieces = [first]
    characters, quotes = len(first), first.count('"')
    while quotes % 2:
        _, line = next(more, (0, ""))
        characters += len(line)
        if not line or characters > RECORD_CHARACTERS_MOST:
            raise BadFacts(f"{place}: a quote is not closed")
        pieces.append(line)
        quotes += line.count('"')
    return "".join(pieces).rstrip("\r\n")


def _split(text: str, place: str) -> list[str]:
    """Cells of a record with quotes in it."""
    cells: list[str] = []
    at = 0
    while True:
        found = CELL.match(text, at)
        if found is None:
            raise BadFacts(
                f"{place}: cell {len(cells) + 1}: quotes stand around a whole cell, and are "
                'doubled ("") inside'
            )
        quoted, plain, end = found.groups()
        cells.append(plain or "" if quoted is None else Quoted(quoted.replace('""', '"')))
        at = found.end()
        if not end:
            return cells


def _rows(
    records: Iterator[tuple[int, list[str]]], columns: list[str], texts: list[bool], name: str
) -> Iterator[Row]:
    width = len(columns)
    some_texts = any(texts)
    for number, cells in records:
        if len(cells) != width:
            raise BadFacts(
                f"{name}:{number}: {counted(len(cells), 'cell')} for "
                f"{counted(width, 'column')}: {', '.join(columns)}"
            )
        try:
            if some_texts:
                yield tuple(map(_typed, cells, texts))
            else:
                yield tuple([_value(text) for text in cells])
        except BadValue as error:
            raise BadFacts(f"{name}:{number}: {error}") from error


def _value(text: str) -> Value:
    if type(text) is Quoted:
        return encoded(str(text))
    return cell(text.strip(" "))


def _typed(text: str, is_text: bool) -> Value:
    if is_text and type(text) is not Quoted:
        return encoded(text.strip(" "))
    return _value(text)


def _watched(rows: Iterator[Row], columns: list[str], name: str, warn: Warn) -> Iterator[Row]:
    """The same rows, and a warning at their end."""
    kinds: list[set[type]] = [set() for _ in columns]
    while part := list(islice(rows, PART_ROWS)):
        for seen, values in zip(kinds, zip(*part, strict=True), strict=True):
            seen.update(map(type, values))
        yield from part
    for column, seen in zip(columns, kinds, strict=True):
        if str in seen and seen & {int, Real}:
            warn(
                f"{name}: column {column}: some cells are text and some are numbers; quote them, "
                f"or call the column {column}{TEXT} in the first line, to have text throughout"
            )
