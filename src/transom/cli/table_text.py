# SPDX-License-Identifier: Apache-2.0
"""Rows of tables as lines, for people and for programs."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from transom.messaging.proto.feed import ChangeSet, Live, Row, Stale
from transom.messaging.schema import Table

Item = ChangeSet | Live | Stale
Show = Callable[[Table | None, Item], Iterator[str]]
"""(its schema, where that is told; what the replica says) -> lines"""

WIDE = 60


def as_json(table: Table | None, item: Item) -> Iterator[str]:
    if isinstance(item, ChangeSet):
        place = {"epoch": item.epoch, "n": item.n}
        for change in item.changes:
            row = None if change.row is None else dict(_cells(table, change.row))
            yield json.dumps({"table": change.table, "key": change.key, "row": row, **place})
    else:
        yield json.dumps({"state": _state(item)})


def as_text(table: Table | None, item: Item) -> Iterator[str]:
    if isinstance(item, ChangeSet):
        for change in item.changes:
            if change.row is None:
                yield f"- {' '.join(change.key)}"
            else:
                cells = _cells(table, change.row)
                yield f"+ {'  '.join(f'{name}={value}' for name, value in cells)}"
    else:
        yield f"({_state(item)})"


def columns_of(table: Table | None, rows: Iterable[Row]) -> list[str]:
    """In the order of the schema; last what some row has besides."""
    told = [column.name for column in table.columns] if table is not None else []
    return list(dict.fromkeys([*told, *(name for row in rows for name in row)]))


def in_columns(lines: Sequence[Sequence[Any]]) -> Iterator[str]:
    """The first line is the heading. What is too wide is cut."""
    texts = [[_text(value) for value in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for line in texts:
        padded = (text.ljust(width) for text, width in zip(line, widths, strict=True))
        yield "  ".join(padded).rstrip()


def _text(value: Any) -> str:
    if value is None:
        return "-"
    text = value if isinstance(value, str) else json.dumps(value)
    line = "".join(sign if sign.isprintable() else "?" for sign in text)
    return line if len(line) <= WIDE else f"{line[: WIDE - 3]}..."


def _cells(table: Table | None, row: Row) -> Iterator[tuple[str, Any]]:
    for name in columns_of(table, [row]):
        yield name, row.get(name)


def _state(item: Live | Stale) -> str:
    return "live" if isinstance(item, Live) else "stale"
