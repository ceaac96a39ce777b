# SPDX-License-Identifier: Apache-2.0
"""A program: policies with their rules and facts, and what is known of tables' columns. A value.

`changes` makes the next one of it; nothing changes one that is made. Rows of input tables are not
in it, only how many columns they have.

Invariants:
1. `uses` and `heads` say of each table which rules name it and which make it, by the rules' names,
   in the order in which the rules came.
2. A rule that is in force has a core rule and no faults. One with faults waits, until a schema
   makes it whole; one of an action policy with neither is for simulations alone.
3. Rules in force that name a table without a schema agree how many columns it has.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from transom.policy.datalog.core import CoreRule, TableId
from transom.policy.datalog.faults import NOWHERE, Fault, Span
from transom.policy.datalog.language.syntax import Atom, Mode, Rule
from transom.policy.datalog.rules.names import TIME_POLICY, TIME_TABLES, policy_of, table_id
from transom.policy.datalog.values import Row


class Kind(StrEnum):
    """`NONRECURSIVE` and `MATERIALIZED` are one here. `DATASOURCE`: tables filled from outside."""

    NONRECURSIVE = "nonrecursive"
    ACTION = "action"
    DATABASE = "database"
    MATERIALIZED = "materialized"
    DATASOURCE = "datasource"


@dataclass(frozen=True, slots=True)
class Schema:
    """`complete`: the policy has no tables but these and those its rules make."""

    tables: Mapping[str, tuple[str, ...]]
    complete: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """A rule of a policy, as it is written and as the engine takes it.

    `faults`: why it waits; `reads`: the tables of its body.
    """

    name: str
    policy: str
    rule: Rule
    head: TableId
    reads: tuple[TableId, ...]
    core: CoreRule | None = None
    faults: tuple[Fault, ...] = ()

    @property
    def atoms(self) -> Iterator[tuple[TableId, Atom]]:
        return atoms(self.policy, self.rule)


IN_DOUBT: Final = (Fault("in-doubt", "this rule is being looked at"),)


@dataclass(frozen=True, slots=True)
class Width:
    """How many columns a table has, and who says so, where."""

    columns: int
    said: str
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class Program:
    """`facts`: rows that texts say, each with its place. `inputs`: columns of tables that were
    filled from outside."""

    mode: Mode = Mode.COMPATIBLE
    policies: Mapping[str, Kind] = field(default_factory=dict)
    schemas: Mapping[str, Schema] = field(default_factory=dict)
    entries: Mapping[str, Entry] = field(default_factory=dict)
    facts: Mapping[TableId, Mapping[Row, Span]] = field(default_factory=dict)
    inputs: Mapping[TableId, int] = field(default_factory=dict)
    uses: Mapping[TableId, Mapping[str, None]] = field(default_factory=dict)
    heads: Mapping[TableId, Mapping[str, None]] = field(default_factory=dict)

    def rules(self, policy: str) -> list[Entry]:
        return [entry for entry in self.entries.values() if entry.policy == policy]

    def columns(self, table: TableId) -> tuple[str, ...] | None:
        """Their names, if a schema says them."""
        policy, _, name = table.partition(":")
        if policy == TIME_POLICY:
            return TIME_TABLES.get(name)
        schema = self.schemas.get(policy)
        return None if schema is None else schema.tables.get(name)

    def width(self, table: TableId) -> Width | None:
        """None: nobody says."""
        columns = self.columns(table)
        if columns is not None:
            return Width(len(columns), f"its schema has {', '.join(columns) or 'none'}")
        for row, span in self.facts.get(table, {}).items():
            said = "as its facts of a file have" if span is NOWHERE else "as this fact has"
            return Width(len(row), said, span)
        if table in self.inputs:
            return Width(self.inputs[table], "as its rows have")
        for atom in self._atoms_in_force(table):
            return Width(len(atom.terms), "as it is used here", atom.span)
        return None

    def _atoms_in_force(self, table: TableId) -> Iterator[Atom]:
        """All of the table that say how many columns it has; those of a rule in doubt last."""
        for faults in ((), IN_DOUBT):
            for name in self.uses.get(table, ()):
                entry = self.entries.get(name)
                if entry is not None and entry.faults == faults:
                    yield from (
                        atom for used, atom in entry.atoms if used == table and not atom.named
                    )

    def is_filled(self, table: TableId) -> bool:
        """Its rows come from outside: of a source, of a policy nobody made, or the time."""
        return self.policies.get(policy_of(table), Kind.DATASOURCE) is Kind.DATASOURCE

    def tables(self, policy: str) -> set[TableId]:
        """All tables of the policy that anything makes, names or fills."""
        known = {*self.uses, *self.facts, *self.inputs}
        schema = self.schemas.get(policy)
        named = schema.tables if schema is not None else ()
        if policy == TIME_POLICY:
            named = TIME_TABLES
        return {table for table in known if policy_of(table) == policy} | {
            TableId(f"{policy}:{name}") for name in named
        }


def atoms(policy: str, rule: Rule) -> Iterator[tuple[TableId, Atom]]:
    """The atoms of a rule, heads first, and which tables they are; builtins look like tables."""
    for literal in (*rule.heads, *rule.body):
        atom = literal.atom
        yield table_id(policy, atom.name, atom.modal), atom
