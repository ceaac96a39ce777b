# SPDX-License-Identifier: Apache-2.0
"""Which tables are made of which: cycles, what an answer hangs on, what would be left hanging.

Rules that wait count too: one that begins to hold makes no cycle then.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from transom.policy.datalog.core import TableId
from transom.policy.datalog.faults import Fault
from transom.policy.datalog.rules.names import policy_of
from transom.policy.datalog.rules.program import Entry, Program


@dataclass(frozen=True, slots=True)
class Below:
    """`leaves`: tables without rules, or filled besides. `rules`: the names of all in between.

    `waiting`: of these, those that do not hold yet.
    """

    leaves: frozenset[TableId]
    rules: frozenset[str]
    waiting: frozenset[str]


def below(program: Program, tables: Iterable[TableId]) -> Below:
    """What these tables are made of in the end."""
    seen: set[TableId] = set()
    leaves: set[TableId] = set()
    rules: set[str] = set()
    left = list(tables)
    while left:
        table = left.pop()
        if table in seen:
            continue
        seen.add(table)
        makers = program.heads.get(table, ())
        if not makers or table in program.inputs:
            leaves.add(table)
        rules.update(makers)
        for name in makers:
            left += program.entries[name].reads
    waiting = frozenset(name for name in rules if program.entries[name].faults)
    return Below(frozenset(leaves), frozenset(rules), waiting)


def above(program: Program, tables: Iterable[TableId]) -> set[TableId]:
    """These tables, and all that are made of them."""
    seen: set[TableId] = set()
    left = list(tables)
    while left:
        table = left.pop()
        if table not in seen:
            seen.add(table)
            users = (program.entries[name] for name in program.uses.get(table, ()))
            left += (entry.head for entry in users if table in entry.reads)
    return seen


def cycle(program: Program, starts: Iterable[TableId]) -> list[tuple[TableId, Entry]]:
    """A cycle through one of `starts`: each table with a rule that makes it of the next.

    Empty: there is none.
    """
    done: set[TableId] = set()
    for start in starts:
        if start in done or not _is_read(program, start):
            continue
        path = {start: None}
        makers: list[Entry] = []
        steps = [_steps(program, start)]
        while steps:
            for entry, table in steps[-1]:
                if table in path:
                    tables = list(path)
                    first = tables.index(table)
                    return list(zip(tables[first:], [*makers[first:], entry], strict=True))
                if table not in done:
                    path[table] = None
                    makers.append(entry)
                    steps.append(_steps(program, table))
                    break
            else:
                steps.pop()
                done.add(path.popitem()[0])
                del makers[-1:]
    return []


def _is_read(program: Program, table: TableId) -> bool:
    return any(table in program.entries[name].reads for name in program.uses[table])


def _steps(program: Program, table: TableId) -> Iterator[tuple[Entry, TableId]]:
    heads = program.heads
    made = [program.entries[name] for name in heads[table]]
    return iter([(entry, read) for entry in made for read in entry.reads if read in heads])


def cycle_fault(found: list[tuple[TableId, Entry]]) -> Fault:
    chain = " <- ".join([table for table, _ in found] + [found[0][0]])
    following = [table for table, _ in found[1:]] + [found[0][0]]
    related = tuple(
        (f"{table} is made of {read} here", entry.rule.span)
        for (table, entry), read in zip(found, following, strict=True)
    )
    text = f"a table cannot be made of itself: {chain}"
    hint = "leave out one of these rules, or read another table in it"
    return Fault("cycle", text, found[0][1].rule.span, hint=hint, related=related)


def dangling(program: Program, policy: str) -> list[Fault]:
    """Rules of others that name tables of `policy`."""
    names = dict.fromkeys(
        name
        for table, users in program.uses.items()
        if policy_of(table) == policy
        for name in users
    )
    entries = [program.entries[name] for name in names]
    return [_dangling(entry, policy) for entry in entries if entry.policy != policy]


def _dangling(entry: Entry, policy: str) -> Fault:
    atoms = [(table, atom) for table, atom in entry.atoms if policy_of(table) == policy]
    table, atom = atoms[0]
    text = f"a rule of `{entry.policy}` names {table}, which goes away with `{policy}`"
    return Fault("dangling-reference", text, atom.span, hint="delete that rule first")
