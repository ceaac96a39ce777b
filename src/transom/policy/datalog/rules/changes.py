# SPDX-License-Identifier: Apache-2.0
"""Changes of a program: many at once, in order, and what comes out at the end is validated.

`changed` is a pure function, so whoever applies the same changes in the same order has the same
program, whether they were taken or refused.

What people write is refused if it is wrong. What a source says of its columns is not: rules that
no longer fit wait, and hold again when they fit.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from transom.policy.datalog.core import CoreRule, TableId
from transom.policy.datalog.faults import NOWHERE, Fault, Refused, Severity, Span
from transom.policy.datalog.language.printing import text_of
from transom.policy.datalog.language.syntax import Rule
from transom.policy.datalog.rules.checks import checked_fact, checked_rule, reads_of
from transom.policy.datalog.rules.columns import WAITS, counted, moved
from transom.policy.datalog.rules.dependencies import cycle, cycle_fault, dangling
from transom.policy.datalog.rules.names import meant, policy_fault, policy_of, table_fault, table_id
from transom.policy.datalog.rules.program import IN_DOUBT, Entry, Kind, Program, Schema
from transom.policy.datalog.values import Row

FAULTS_MOST: Final = 200
OTHER_KINDS: Final = {
    "z3": "z3 policies (recursive, over typed columns) are not offered",
    "delta": "`delta` was never a kind that could be made",
}


@dataclass(frozen=True, slots=True)
class PolicyIn:
    name: str
    kind: str = Kind.NONRECURSIVE
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class PolicyOut:
    """With its rules, facts and schema. `dangling`: rules of others may name its tables still."""

    name: str
    dangling: bool = True
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class SchemaIn:
    """Takes the place of the policy's schema."""

    policy: str
    schema: Schema
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class RuleIn:
    """A rule, or a fact. One that is there is no change."""

    policy: str
    rule: Rule


@dataclass(frozen=True, slots=True)
class RuleOut:
    """A rule, or a fact. One that is not there is no change."""

    policy: str
    rule: Rule


@dataclass(frozen=True, slots=True)
class RowsIn:
    """Rows that come (1) and go (-1): facts, or of an input table those of its source."""

    table: TableId
    delta: Mapping[Row, int]


Change: TypeAlias = PolicyIn | PolicyOut | SchemaIn | RuleIn | RuleOut | RowsIn


@dataclass(frozen=True, slots=True)
class Changed:
    """What the engine has to do. `dropped`: input tables of which all rows go.

    `notes`: what was no change, and which rules wait.
    """

    program: Program
    added: tuple[CoreRule, ...]
    removed: tuple[str, ...]
    rows: Mapping[TableId, Mapping[Row, int]]
    dropped: tuple[TableId, ...]
    notes: tuple[Fault, ...]


def changed(program: Program, changes: Sequence[Change]) -> Changed:
    """The program with all changes. Raises: Refused, with all that is wrong with its end."""
    draft = _Draft(program)
    for change in changes:
        draft.take(change)
    return draft.finished()


def rule_name(policy: str, rule: Rule) -> str:
    return f"{policy}: {text_of(rule)}"


class _Draft:
    """A program in the making. Maps within maps are copied when they are first changed."""

    def __init__(self, old: Program) -> None:
        self.old = old
        self.policies = dict(old.policies)
        self.schemas = dict(old.schemas)
        self.entries = dict(old.entries)
        self.facts = dict(old.facts)
        self.inputs = dict(old.inputs)
        self.uses = dict(old.uses)
        self.heads = dict(old.heads)
        self.program = replace(
            old,
            policies=self.policies,
            schemas=self.schemas,
            entries=self.entries,
            facts=self.facts,
            inputs=self.inputs,
            uses=self.uses,
            heads=self.heads,
        )
        self.faults: list[Fault] = []
        self.notes: list[Fault] = []
        self.fresh: dict[str, Entry] = {}
        self.fresh_facts: dict[tuple[str, Rule], None] = {}
        self.rows: list[RowsIn] = []
        self.touched: dict[str, None] = {}
        self.filled: dict[TableId, Mapping[Row, int]] = {}
        self.dropped: dict[TableId, None] = {}
        self.affected: dict[str, None] = {}
        self.own_schema = False
        self.loosened = False
        self.closed: list[PolicyOut] = []

    # Taking, in order

    def take(self, change: Change) -> None:
        match change:
            case PolicyIn():
                self.policy_in(change)
            case PolicyOut():
                self.policy_out(change)
            case SchemaIn():
                self.schema_in(change)
            case RuleIn():
                self.rule_in(change.policy, change.rule)
            case RuleOut():
                self.rule_out(change.policy, change.rule)
            case _:
                self.rows.append(change)

    def policy_in(self, change: PolicyIn) -> None:
        name = change.name
        reason = policy_fault(name)
        if reason is not None:
            self.fault("policy-name", f"a policy cannot be called so: {reason}", change.span)
        elif name in self.policies:
            self.fault("policy-there", f"there is a policy `{name}` already", change.span)
        elif change.kind not in list(Kind):
            text = OTHER_KINDS.get(change.kind, f"there is no kind of policies `{change.kind}`")
            self.fault("policy-kind", text, change.span, f"kinds are {', '.join(Kind)}")
        else:
            self.policies[name] = Kind(change.kind)
            self.affected[name] = None
            if change.kind != Kind.DATASOURCE:
                self.drop(name)

    def policy_out(self, change: PolicyOut) -> None:
        name = change.name
        if not self.known(name, change.span):
            return
        del self.policies[name]
        self.schemas.pop(name, None)
        self.affected[name] = None
        self.drop(name)
        for entry in [*self.entries.values(), *self.fresh.values()]:
            if entry.policy == name:
                self.forget(entry)
        for table in [table for table in self.facts if policy_of(table) == name]:
            del self.facts[table]
        for key in [key for key in self.fresh_facts if key[0] == name]:
            del self.fresh_facts[key]
        self.closed.append(change)

    def drop(self, policy: str) -> None:
        for table in [table for table in self.inputs if policy_of(table) == policy]:
            del self.inputs[table]
            self.dropped[table] = None

    def schema_in(self, change: SchemaIn) -> None:
        if not self.known(change.policy, change.span):
            return
        before = self.schemas.get(change.policy, Schema({})).tables
        self.schemas[change.policy] = change.schema
        self.affected[change.policy] = None
        self.own_schema |= self.policies[change.policy] is not Kind.DATASOURCE
        for name in before:
            table = TableId(f"{change.policy}:{name}")
            if name not in change.schema.tables and self.inputs.pop(table, None) is not None:
                self.dropped[table] = None
        for name, columns in change.schema.tables.items():
            table = TableId(f"{change.policy}:{name}")
            reason = table_fault(name)
            if reason is not None:
                self.fault("table-name", reason, change.span, "letters, digits, `_` and `.`")
            twice = [column for column, times in Counter(columns).items() if times > 1]
            if twice:
                self.fault("schema", f"{table} has two columns `{twice[0]}`", change.span)
            loaded = self.inputs.get(table, len(columns))
            if loaded != len(columns) or before.get(name, columns) != columns:
                self.inputs.pop(table, None)
                self.dropped[table] = None
            for row, span in self.facts.get(table, {}).items():
                if len(row) != len(columns):
                    text = (
                        f"{table} has {counted(len(columns), 'column')} now, this fact {len(row)}"
                    )
                    self.fault("arity", text, span)
                    break

    def rule_in(self, policy: str, rule: Rule) -> None:
        if not self.known(policy, rule.span):
            return
        if not rule.body:
            self.fresh_facts[policy, rule] = None
            return
        name = rule_name(policy, rule)
        if name in self.entries or name in self.fresh:
            self.note("rule-there", f"`{policy}` has this rule already", rule.span)
            return
        head = table_id(policy, rule.head.name, rule.head.modal)
        self.fresh[name] = Entry(name, policy, rule, head, reads_of(policy, rule))

    def rule_out(self, policy: str, rule: Rule) -> None:
        if not self.known(policy, rule.span):
            return
        if not rule.body:
            self.fact_out(policy, rule)
            return
        name = rule_name(policy, rule)
        entry = self.fresh.get(name) or self.entries.get(name)
        if entry is None:
            self.note("rule-not-there", f"`{policy}` has no such rule", rule.span)
        else:
            self.forget(entry)

    def fact_out(self, policy: str, rule: Rule) -> None:
        waited = self.fresh_facts.pop((policy, rule), rule) is None
        found = checked_fact(self.program, policy, rule)
        if isinstance(found, tuple):
            table, row = found
            if self.program.is_filled(table):
                self.fill(table, {row: -1})
                return
            if row in self.facts.get(table, {}):
                self.fact_delta_in(table, {row: -1})
                return
        if not waited:
            self.note("rule-not-there", f"`{policy}` has no such fact", rule.span)

    def fill(self, table: TableId, delta: Mapping[Row, int]) -> None:
        others = self.filled.get(table)
        self.filled[table] = delta if others is None else {**others, **delta}

    def forget(self, entry: Entry) -> None:
        if self.fresh.pop(entry.name, None) is None:
            del self.entries[entry.name]
            self.touched[entry.name] = None
            self.loosened = True
            self.index(entry, there=False)

    def index(self, entry: Entry, *, there: bool) -> None:
        named = {entry.head: None, **dict.fromkeys(entry.reads)}
        for index, old in ((self.uses, self.old.uses), (self.heads, self.old.heads)):
            for table in named if index is self.uses else (entry.head,):
                names = _own(index, old, table)
                if there:
                    names[entry.name] = None
                else:
                    del names[entry.name]
                    _without_empty(index, table)

    # The end

    def finished(self) -> Changed:
        if not self.faults:
            self.fact_changes()
            self.row_changes()
            self.rules()
        if not self.faults:
            self.references()
        if self.faults:
            more = f"there may be more than these {len(self.faults)} faults"
            last = [Fault("too-many-faults", more)] if self.too_many() else []
            raise Refused([*sorted(self.faults, key=_place), *last])
        added, removed = self.core_changes()
        rows = {**self.filled, **self.fact_delta()}
        return Changed(
            self.program_with_old_parts(), added, removed, rows, tuple(self.dropped),
            tuple(self.notes),
        )  # fmt: skip

    def program_with_old_parts(self) -> Program:
        """What was not changed is the old program's: who keeps answers by it sees that."""
        parts: dict[str, Any] = {}
        if not self.touched:
            parts |= {name: getattr(self.old, name) for name in ("entries", "uses", "heads")}
        if not self.affected:
            parts |= {name: getattr(self.old, name) for name in ("policies", "schemas")}
        if self.inputs == self.old.inputs:
            parts["inputs"] = self.old.inputs
        return replace(self.program, **parts)

    def rules(self) -> None:
        for entry in self.fresh.values():
            self.index(entry, there=True)
        self.come_and_gone()
        affected = self.affected_entries()
        for entry in affected:
            self.entries[entry.name] = replace(entry, faults=_UNCHECKED)
        for entry in affected:
            self.check(entry, refuses=self.own_schema)
        for entry in affected:
            self.note_moved_columns(entry)
        for entry in self.fresh.values():
            if self.too_many():
                break
            self.check(entry, refuses=True)

    def note_moved_columns(self, entry: Entry) -> None:
        """Of a rule that was there: what it gives by place may mean something else now."""
        for table, atom in entry.atoms:
            text = moved(self.old, self.program, table, atom)
            if text:
                self.note("columns-moved", text, atom.span)

    def come_and_gone(self) -> None:
        """Tables that anything makes now, or no longer, of policies whose schema is complete."""
        old = self.old
        pairs: tuple[tuple[Mapping[TableId, Any], Mapping[TableId, Any]], ...] = (
            (self.heads, old.heads), (self.facts, old.facts), (self.inputs, old.inputs),
        )  # fmt: skip
        for new, before in pairs:
            for table in new.keys() ^ before.keys():
                schema = self.schemas.get(policy_of(table))
                if schema is not None and schema.complete:
                    self.affected[policy_of(table)] = None

    def affected_entries(self) -> list[Entry]:
        """Whose tables may have other columns now; those that wait, if anything went."""
        if not self.affected and not self.loosened:
            return []
        names = {
            name
            for table, users in self.uses.items()
            if policy_of(table) in self.affected
            for name in users
        }
        return [one for name, one in self.entries.items() if one.faults or name in names]

    def check(self, entry: Entry, *, refuses: bool) -> None:
        # It counts while it is looked at, behind all others, so that it agrees with itself too.
        self.entries[entry.name] = replace(entry, faults=IN_DOUBT)
        self.touched[entry.name] = None
        found = checked_rule(self.program, entry.policy, entry.rule, entry.name)
        self.entries[entry.name] = replace(entry, core=found.core, faults=found.faults)
        for fault in found.faults:
            if refuses and fault.code != WAITS:
                self.faults.append(fault)
            elif fault not in entry.faults:
                text = f"the rule waits: {fault.message}"
                self.notes.append(replace(fault, message=text, severity=Severity.WARNING))

    def fact_changes(self) -> None:
        for policy, rule in self.fresh_facts:
            if self.too_many():
                break
            found = checked_fact(self.program, policy, rule)
            if isinstance(found, list):
                self.faults += found
                continue
            table, row = found
            if self.program.is_filled(table):
                self.inputs.setdefault(table, len(row))
                self.fill(table, {row: 1})
            elif row in self.facts.get(table, {}):
                self.note("rule-there", f"`{policy}` has this fact already", rule.span)
            else:
                _own(self.facts, self.old.facts, table)[row] = rule.span

    def row_changes(self) -> None:
        for change in self.rows:
            table, delta = change.table, change.delta
            width = self.program.width(table)
            columns = len(next(iter(delta), ())) if width is None else width.columns
            wrong = next((row for row in delta if len(row) != columns), None)
            if wrong is not None:
                text = f"{table} has {counted(columns, 'column')}, and a row of it {len(wrong)}"
                said = (width.said, width.span) if width is not None else ("", NOWHERE)
                hint, related = (said[0], ()) if said[1] is NOWHERE else ("", (said,))
                self.faults.append(Fault("arity", text, hint=hint, related=related))
            elif self.program.is_filled(table):
                if delta:
                    self.inputs.setdefault(table, columns)
                self.fill(table, delta)
            elif reason := table_fault(table.partition(":")[2], facts=True):
                self.fault("table-name", reason, NOWHERE)
            else:
                self.fact_delta_in(table, delta)

    def fact_delta_in(self, table: TableId, delta: Mapping[Row, int]) -> None:
        rows = _own(self.facts, self.old.facts, table)
        for row, weight in delta.items():
            if weight > 0:
                rows.setdefault(row, NOWHERE)
            else:
                rows.pop(row, None)
        _without_empty(self.facts, table)
        self.loosened |= table not in self.facts

    def references(self) -> None:
        found = cycle(self.program, dict.fromkeys(entry.head for entry in self.fresh.values()))
        if found:
            self.faults.append(cycle_fault(found))
        for change in self.closed:
            if not change.dangling and change.name not in self.policies:
                self.faults += dangling(self.program, change.name)

    def core_changes(self) -> tuple[tuple[CoreRule, ...], tuple[str, ...]]:
        added, removed = [], []
        for name in self.touched:
            before, after = self.old.entries.get(name), self.entries.get(name)
            old = before.core if before is not None else None
            new = after.core if after is not None else None
            if old != new:
                if old is not None:
                    removed.append(name)
                if new is not None:
                    added.append(new)
        return tuple(added), tuple(removed)

    def fact_delta(self) -> dict[TableId, dict[Row, int]]:
        found = {}
        for table in {**self.old.facts, **self.facts}:
            before, after = self.old.facts.get(table, {}), self.facts.get(table, {})
            if before is not after:
                delta = {row: -1 for row in before if row not in after}
                delta |= {row: 1 for row in after if row not in before}
                if delta:
                    found[table] = delta
        return found

    def known(self, policy: str, span: Span) -> bool:
        if policy in self.policies:
            return True
        self.fault(
            "unknown-policy", f"there is no policy `{policy}`", span, meant(policy, self.policies)
        )
        return False

    def too_many(self) -> bool:
        """Others are not looked for then: a text of thousands is refused soon."""
        return len(self.faults) >= FAULTS_MOST

    def fault(self, code: str, text: str, span: Span, hint: str = "") -> None:
        self.faults.append(Fault(code, text, span, hint=hint))

    def note(self, code: str, text: str, span: Span) -> None:
        self.notes.append(Fault(code, text, span, Severity.WARNING))


_UNCHECKED: Final = (Fault("unchecked", "not looked at yet"),)


def _place(fault: Fault) -> tuple[str, int]:
    return fault.span.source.name, fault.span.start


def _own(index: dict[TableId, Any], old: Mapping[TableId, Any], table: TableId) -> dict[Any, Any]:
    """What `index` has of the table, to be changed: copied if it is the old program's."""
    inner = index.get(table)
    if inner is None or inner is old.get(table):
        inner = index[table] = dict(inner or ())
    return inner


def _without_empty(index: dict[TableId, Any], table: TableId) -> None:
    if not index[table]:
        del index[table]
