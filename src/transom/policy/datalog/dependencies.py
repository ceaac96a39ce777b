# SPDX-License-Identifier: Apache-2.0
"""Which tables are made of which: cycles, what an answer hangs on, what would be left hanging.

Rules that wait count too: one that begins to hold makes no cycle then.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from transom.policy.datalog.core import TableId
from transom.policy.datalog.faults import Fault
from transom.policy.datalog.names import policy_of
from transom.policy.datalog.program import Entry, Program


@dataclass(frozen=True, slots=True)
class Below:
    """`leaves`: tables without rules; `waiting`: names of rules that do not hold yet."""

    leaves: frozenset[TableId]
    waiting: frozenset[str]


def below(program: Program, tables: Iterable[TableId]) -> Below:
    """What these tables are made of in the end."""
    seen: set[TableId] = set()
    leaves, waiting = set(), set()
    left = list(tables)
    while left:
        table = left.pop()
        if table in seen:
            continue
        seen.add(table)
        makers = program.heads.get(table, ())
        if not makers or table in program.inputs or table in program.facts:
            leaves.add(table)
        for name in makers:
            entry = program.entries[name]
            left += entry.reads
            if entry.faults:
                waiting.add(name)
    return Below(frozenset(leaves), frozenset(waiting))


def _steps(program: Program, table: TableId) -> Iterator[tuple[Entry, TableId]]:
    for name in program.heads.get(table, ()):
        entry = program.entries[name]
        for read in entry.reads:
            yield entry, read


def cycle(program: Program, starts: Iterable[TableId]) -> list[tuple[TableId, Entry]]:
    """A cycle that can be reached from `starts`: each table with a rule that makes it of the next.

    Empty: there is none.
    """
    done: set[TableId] = set()
    for start in starts:
        if start in done:
            continue
        path = [start]
        on_path = {start}
        makers: list[Entry] = []
        steps = [_steps(program, start)]
        while steps:
            found = next(((e, t) for e, t in steps[-1] if t not in done), None)
            if found is None:
                steps.pop()
                table = path.pop()
                on_path.discard(table)
                done.add(table)
                del makers[-1:]
                continue
            entry, table = found
            makers.append(entry)
            if table in on_path:
                first = path.index(table)
                return list(zip(path[first:], makers[first:], strict=True))
            path.append(table)
            on_path.add(table)
            steps.append(_steps(program, table))
    return []


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
