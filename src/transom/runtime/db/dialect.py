# SPDX-License-Identifier: Apache-2.0
"""One set of statements for SQLite and PostgreSQL, with a replacement where they must differ.

A statement is written for SQLite, with `?` placeholders. What PostgreSQL needs otherwise stands
beside it: `sql("...", postgres="...")`. SQLite takes the result as the text that it is.

A migration's types are translated. All text is compared by its bytes (`collate "C"`), as SQLite
does, so that both put names in one order and page alike.
"""

import re
from functools import lru_cache

_PIECES = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/|\?", re.DOTALL)
_WORDS = re.compile(
    r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/"
    r"|\)\s*without\s+rowid\b|\b(?:integer|blob|text)\b",
    re.DOTALL | re.IGNORECASE,
)
_TYPES = {"integer": "bigint", "blob": "bytea", "text": 'text collate "C"'}


class Sql(str):
    """A statement of SQLite's; `postgres`: what stands for it there."""

    __slots__ = ("postgres",)
    postgres: str


def sql(text: str, *, postgres: str) -> Sql:
    """Both take the same parameters in the same order."""
    made = Sql(text)
    made.postgres = postgres
    return made


def for_postgres(statement: str) -> str:
    """With numbered placeholders."""
    text = statement.postgres if isinstance(statement, Sql) else statement
    return _numbered(text)


@lru_cache(maxsize=2048)
def _numbered(text: str) -> str:
    count = 0

    def replaced(found: re.Match[str]) -> str:
        nonlocal count
        if found[0] != "?":
            return found[0]
        count += 1
        return f"${count}"

    return _PIECES.sub(replaced, text)


def migration_for_postgres(script: str) -> str:
    """A script of `create`, `alter` and `insert` statements with its types translated."""

    def replaced(found: re.Match[str]) -> str:
        word = found[0].lower()
        return ")" if word.startswith(")") else _TYPES.get(word, found[0])

    return _WORDS.sub(replaced, script)
