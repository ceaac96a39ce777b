# SPDX-License-Identifier: Apache-2.0
"""A workspace of texts: policies with their rules, tables with their columns, and rows.

Rows are loaded before rules, part by part, so that a large file is not in memory twice and a rule
is evaluated once.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from transom.policy.datalog.cases.facts import Facts, Schema, in_order
from transom.policy.datalog.core import TableId
from transom.policy.datalog.faults import Fault, Refused, Source
from transom.policy.datalog.rules.changes import Change, PolicyIn, RuleIn, SchemaIn
from transom.policy.datalog.rules.names import BUILTIN_POLICY, TIME_POLICY, meant, policy_of
from transom.policy.datalog.rules.program import Kind, Program
from transom.policy.datalog.rules.program import Schema as PolicySchema
from transom.policy.datalog.states import LIVE, State
from transom.policy.datalog.workspace import Workspace

PART_ROWS: Final = 20_000


@dataclass(slots=True)
class Loader:
    """Fills a workspace.

    `declared`: columns that a schema's text says; `columns`: all that are known; `places`: where
    a table's facts are from.
    """

    workspace: Workspace
    declared: dict[TableId, tuple[str, ...]] = field(default_factory=dict)
    columns: dict[TableId, tuple[str, ...]] = field(default_factory=dict)
    places: dict[TableId, str] = field(default_factory=dict)

    def policies(self, names: Iterable[str]) -> None:
        """Those that will have rules; to be said before rows of theirs come."""
        known = self.workspace.program.policies
        new = [name for name in dict.fromkeys(names) if name not in known]
        self.workspace.change([PolicyIn(name) for name in new])

    def declare(self, schema: Schema) -> None:
        """These are all tables of their policies, but for those of facts. They are empty so far.

        Raises: Refused.
        """
        self.declared.update(schema)
        self.columns.update(schema)
        for policy in dict.fromkeys(map(policy_of, schema)):
            self.workspace.change([*self._made(policy), self._schema(policy)])
        for table in schema:
            self._is_live(table)

    def facts(self, facts: Facts) -> None:
        """Raises: BadFacts; Refused."""
        table = facts.table
        self.places.setdefault(table, facts.place)
        changes = self._made(policy_of(table))
        if table not in self.columns and facts.columns is not None:
            self.columns[table] = facts.columns
            changes.append(self._schema(policy_of(table)))
        self.workspace.change(changes)
        rows = in_order(facts, self.columns.get(table, ()))
        while part := list(islice(rows, PART_ROWS)):
            self.workspace.update({table: dict.fromkeys(part, 1)})
        self._is_live(table)

    def rules(self, texts: Iterable[tuple[str, Source]]) -> tuple[Fault, ...]:
        """Rules of policies, all at once; answers what is to be noted.

        What they read of a policy that is not there is taken for a source's, of which nobody knows
        more. Raises: Refused, with the faults of all texts.
        """
        faults: list[Fault] = []
        changes: list[Change] = []
        for policy, source in texts:
            try:
                rules = self.workspace.rules_of(source.text, source.name)
            except Refused as refused:
                faults += refused.faults
            else:
                changes += (RuleIn(policy, rule) for rule in rules)
        if faults:
            raise Refused(faults)
        return self.workspace.change([*sources_of(changes, self.workspace.program), *changes]).notes

    def doubts(self) -> Iterator[str]:
        """Tables of facts that no rule reads and no schema names: slips, most likely."""
        uses = self.workspace.program.uses
        known = sorted({*uses, *self.declared})
        for table, place in self.places.items():
            if table not in uses and table not in self.declared:
                hint = meant(table, known)
                yield f"{place}: no rule reads {table}{hint and ': ' + hint}"

    def _is_live(self, table: TableId) -> None:
        if self.workspace.states.of(self.workspace.program, table) != LIVE:
            self.workspace.set_state(table, State.LIVE)

    def _made(self, policy: str) -> list[Change]:
        known = policy in self.workspace.program.policies
        return [] if known else [PolicyIn(policy, Kind.DATASOURCE)]

    def _schema(self, policy: str) -> SchemaIn:
        tables = {
            table.partition(":")[2]: columns
            for table, columns in self.columns.items()
            if policy_of(table) == policy
        }
        filled = self.workspace.program.policies.get(policy, Kind.DATASOURCE) is Kind.DATASOURCE
        complete = filled and any(policy_of(table) == policy for table in self.declared)
        return SchemaIn(policy, PolicySchema(tables, complete))


def sources_of(changes: Iterable[Change], program: Program) -> list[PolicyIn]:
    """Policies that bodies of rules name and that are not there."""
    named = dict.fromkeys(
        literal.atom.name.policy
        for change in changes
        if isinstance(change, RuleIn)
        for literal in change.rule.body
    )
    known = {None, BUILTIN_POLICY, TIME_POLICY, *program.policies}
    return [PolicyIn(name, Kind.DATASOURCE) for name in named if name and name not in known]
