# SPDX-License-Identifier: Apache-2.0
"""The arguments of an atom, by place: named columns find theirs, and the number is right.

What an atom of a body does not mention, of a table with a schema, is `_`: any value. A head and a
fact mention everything.
"""

from collections.abc import Sequence
from typing import Final, TypeAlias

from transom.policy.datalog.core import TableId
from transom.policy.datalog.faults import NOWHERE, Fault, Span
from transom.policy.datalog.language.syntax import Atom, Named, Term, Variable
from transom.policy.datalog.rules.names import TIME_POLICY, TIME_TABLES, meant, policy_of
from transom.policy.datalog.rules.program import Kind, Program, Schema, Width

WAITS: Final = "waits-for-schema"
COLUMNS_MOST: Final = 256

Found: TypeAlias = tuple[Term | None, ...] | list[Fault]


def arguments(program: Program, table: TableId, atom: Atom, *, whole: bool = False) -> Found:
    """By place, or what is wrong. `whole`: all columns have to be there."""
    if len(atom.terms) + len(atom.named) > COLUMNS_MOST:
        return [_fault("columns-most", atom, f"an atom has at most {COLUMNS_MOST} arguments")]
    columns = program.columns(table)
    if columns is None:
        return _without_schema(program, table, atom)
    if len(atom.terms) > len(columns):
        return [_count(table, atom, Width(len(columns), _listed(columns)))]
    found: list[Term | None] = [*atom.terms, *[None] * (len(columns) - len(atom.terms))]
    faults = []
    for named in atom.named:
        place = _place(table, columns, named)
        if isinstance(place, Fault):
            faults.append(place)
        elif found[place] is not None:
            text = f"column {columns[place]!r} of {table} is given twice"
            faults.append(Fault("duplicate-column", text, named.span, hint="leave one out"))
        else:
            found[place] = named.term
    lacking = [name for name, term in zip(columns, found, strict=True) if term is None]
    if whole and lacking and not faults:
        text = f"a row of {table} has a value for {', '.join(lacking)} too"
        return [_fault("arity", atom, text, hint=f"{table} has the columns {', '.join(columns)}")]
    return faults or tuple(found)


def _without_schema(program: Program, table: TableId, atom: Atom) -> Found:
    if atom.named:
        return [_unknown_columns(program, table, atom)]
    width = program.width(table)
    if width is not None and width.columns != len(atom.terms):
        return [_count(table, atom, width)]
    return atom.terms


def _unknown_columns(program: Program, table: TableId, atom: Atom) -> Fault:
    policy = policy_of(table)
    span = atom.named[0].span
    if policy not in program.policies:
        text = f"there is no policy `{policy}` whose columns could be named"
        return Fault(
            "unknown-policy", text, span, hint=meant(policy, program.policies) or "make it first"
        )
    if program.policies[policy] is Kind.DATASOURCE:
        text = f"the source of {table} has not said its columns yet"
        return Fault(WAITS, text, span)
    text = f"nobody has said the names of the columns of {table}"
    hint = _owner(program, table) or "give arguments by place, or the policy a schema"
    return Fault("no-schema", text, span, hint=hint)


def _owner(program: Program, table: TableId) -> str:
    """Of `servers` and `nova.servers`, where a source has such a table."""
    name = table.partition(":")[2]
    if program.width(table) is not None:
        return ""
    for policy, schema in program.schemas.items():
        inside = name.removeprefix(f"{policy}.")
        if inside in schema.tables:
            return f"did you mean `{policy}:{inside}`?"
    return ""


def _place(table: TableId, columns: Sequence[str], named: Named) -> int | Fault:
    column = named.column
    if isinstance(column, int):
        if column < len(columns):
            return column
        text = f"{table} has no column {column}: they are 0 to {len(columns) - 1}"
        return Fault("unknown-column", text, named.span, hint=_listed(columns))
    if column in columns:
        return columns.index(column)
    text = f"{table} has no column `{column}`"
    return Fault(
        "unknown-column", text, named.span, hint=meant(column, columns) or _listed(columns)
    )


def _listed(columns: Sequence[str]) -> str:
    return f"it has {', '.join(columns)}" if columns else "it has none"


def _count(table: TableId, atom: Atom, width: Width) -> Fault:
    here = len(atom.terms)
    text = f"{table} has {counted(width.columns, 'column')}, here {counted(here, 'argument')}"
    related = ((width.said, width.span),) if width.span is not NOWHERE else ()
    return Fault("arity", text, atom.span, hint="" if related else width.said, related=related)


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def unknown_table(program: Program, table: TableId, span: Span) -> Fault | None:
    """Of a policy whose schema is complete, or of the language's own."""
    policy, _, name = table.partition(":")
    schema = program.schemas.get(policy)
    if policy == TIME_POLICY:
        schema = Schema(TIME_TABLES, complete=True)
    if schema is None or not schema.complete or name in schema.tables:
        return None
    if any(table in made for made in (program.heads, program.facts, program.inputs)):
        return None
    text = f"{policy} has no table `{name}`"
    return Fault("unknown-table", text, span, hint=meant(name, schema.tables))


def is_anonymous(term: Term | None) -> bool:
    return term is None or (isinstance(term, Variable) and term.name == "_")


def moved(old: Program, new: Program, table: TableId, atom: Atom) -> str:
    """Which column that the atom gives by place is another one now; "" if none is."""
    before, after = old.columns(table), new.columns(table)
    if before is None or after is None or before == after:
        return ""
    for place in _places(atom):
        if before[place : place + 1] != after[place : place + 1]:
            was, now = (_column(columns, place) for columns in (before, after))
            return f"column {place} of {table}, which was {was}, is {now} now"
    return ""


def _places(atom: Atom) -> list[int]:
    """Columns that are given by place, and do not hold just anything."""
    found = [place for place, term in enumerate(atom.terms) if not is_anonymous(term)]
    return found + [named.column for named in atom.named if isinstance(named.column, int)]


def _column(columns: Sequence[str], place: int) -> str:
    return f"`{columns[place]}`" if place < len(columns) else "none"


def _fault(code: str, atom: Atom, text: str, *, hint: str = "") -> Fault:
    return Fault(code, text, atom.span, hint=hint)
