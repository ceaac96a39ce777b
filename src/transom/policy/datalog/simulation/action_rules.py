# SPDX-License-Identifier: Apache-2.0
"""The rules of an action policy, made over for a trial: in a policy of its own, called `own`.

A name without a policy is there a table of the action policy and of the simulated one, both
together: if both say something of it, rules bring the rows of both; if only the simulated one does,
the name is made one of its tables. `nova:servers+`, an effect elsewhere, is the own table
`nova:servers+`, so that nobody else's effects are met.
"""

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from transom.policy.datalog.core import CoreRule, TableId
from transom.policy.datalog.faults import Fault, Refused, Severity
from transom.policy.datalog.language.syntax import (
    Atom,
    Constant,
    Literal,
    Rule,
    TableName,
    Variable,
)
from transom.policy.datalog.rules.binding import given
from transom.policy.datalog.rules.changes import Change, PolicyIn, RuleIn, RuleOut, SchemaIn
from transom.policy.datalog.rules.checks import builtin_of, checked_query, truth_of
from transom.policy.datalog.rules.columns import arguments
from transom.policy.datalog.rules.names import is_now, policy_of
from transom.policy.datalog.rules.program import Entry, Kind, Program
from transom.policy.datalog.workspace import Workspace

ACTION: Final = "action"
RESULT: Final = "result"
ANSWER: Final = TableName(None, "answer")


@dataclass(frozen=True, slots=True)
class Making:
    """A rule whose head, `table` and `terms`, has something new. `core` gives values of `names`."""

    table: TableId
    terms: tuple[Constant | Variable, ...]
    core: CoreRule
    names: tuple[str, ...]


class ActionRules:
    """`calls`: all that will be called. `notes`: rules that cannot be used."""

    def __init__(
        self, workspace: Workspace, policy: str, state: str, calls: Iterable[Rule]
    ) -> None:
        self.workspace = workspace
        self.policy = policy
        self.state = state
        self.own = f"{policy}.simulated"
        while self.own in workspace.program.policies:
            self.own += "."
        self.calls = list(calls)
        self.called = {head.atom.name.table for rule in self.calls for head in rule.heads}
        self.makings: dict[str, Making] = {}
        self.notes: list[Fault] = []
        self._made: dict[Rule, None] = {}
        self._names: set[str] = set()
        self._seen: tuple[object, ...] = ()

    def table(self, name: str) -> TableId:
        return TableId(f"{self.own}:{name}")

    def effects(self) -> Iterator[tuple[TableId, TableId, int]]:
        """Own tables with a sign: which table each changes, and how."""
        program = self.workspace.program
        for table in {**program.heads, **program.facts}:
            if policy_of(table) == self.own and table[-1] in "+-":
                name = table[len(self.own) + 1 : -1]
                target = name if ":" in name else f"{self.state}:{name}"
                yield table, TableId(target), 1 if table[-1] == "+" else -1

    def following(self) -> Generator[None, None, None]:
        """Makes the own rules what the action policy's are now."""
        if self._is_seen():
            return
        rules = self._rules()
        changes: list[Change] = []
        program = self.workspace.program
        if self.own not in program.policies:
            changes.append(PolicyIn(self.own, Kind.ACTION))
        schema = program.schemas.get(self.policy)
        if schema is not program.schemas.get(self.own):
            assert schema is not None, "a schema is never taken away"
            changes.append(SchemaIn(self.own, schema))
        changes += (RuleOut(self.own, rule) for rule in self._made if rule not in rules)
        changes += (RuleIn(self.own, rule) for rule in rules if rule not in self._made)
        yield from self.workspace.changing(changes)
        self._made = rules
        makings = dict(self._makings())
        removed = [name for name in self.makings if name not in makings]
        added = [making.core for name, making in makings.items() if name not in self.makings]
        yield from self.workspace.engine.transacting(
            added=added, removed=[self.makings[name].core.name for name in removed]
        )
        self.makings = makings
        self._seen = self._parts()

    def bindings(
        self, body: tuple[Literal, ...], rule: Rule, name: str
    ) -> tuple[CoreRule, tuple[str, ...]]:
        """A rule that gives the values of all variables that the body binds. Raises: Refused."""
        query = Rule((Literal(Atom(ANSWER)),), body, rule.span)
        checked = checked_query(self.workspace.program, self.own, query, name)
        if checked.core is None:
            raise Refused(checked.faults)
        names = tuple(dict.fromkeys(one for part in checked.core.body for one in given(part)))
        return replace(checked.core, arguments=tuple(map(Variable, names))), names

    def moved(self, literal: Literal, *, is_head: bool = False) -> Literal:
        """A literal of the action policy, as the own policy writes it."""
        atom = literal.atom
        name = atom.name
        if not is_head and _is_of_the_language(atom):
            return literal
        if name.policy in (None, self.policy):
            reads_state = not is_head and self._is_state_alone(f"{name.table}{name.sign}")
            name = replace(name, policy=self.state if reads_state else None)
        elif name.sign:
            name = replace(name, policy=None, table=f"{name.policy}:{name.table}")
        return replace(literal, atom=replace(atom, name=name))

    # What they are

    def _parts(self) -> tuple[object, ...]:
        """What the own rules hang on, besides entries."""
        program = self.workspace.program
        names = sorted(self._names)
        owners = (self.policy, self.state)
        said = [_says(program, owner, name) for owner in owners for name in names]
        return program.entries, program.schemas.get(self.policy), said

    def _is_seen(self) -> bool:
        parts = self._parts()
        return bool(self._seen) and self._seen[0] is parts[0] and self._seen[1:] == parts[1:]

    def _is_state_alone(self, name: str) -> bool:
        """Whether the action policy has nothing to say of it."""
        return (
            name[-1] not in "+-"
            and name not in self.called
            and name not in (ACTION, RESULT)
            and not _says(self.workspace.program, self.policy, name)
        )

    def _rules(self) -> dict[Rule, None]:
        program = self.workspace.program
        rules: dict[Rule, None] = {}
        read = [literal for rule in self.calls for literal in rule.body]
        for entry in program.rules(self.policy):
            if not entry.faults and entry.rule.head.modal is None:
                head = self.moved(entry.rule.heads[0], is_head=True)
                rules[Rule((head,), tuple(map(self.moved, entry.rule.body)), entry.rule.span)] = (
                    None
                )
                read += entry.rule.body
        self._names = {ACTION, RESULT, *self._names_of(read), *self._said_effects()}
        for name in sorted(self._names):
            for owner in dict.fromkeys((self.policy, self.state)):
                if _says(program, owner, name) and not self._is_state_alone(name):
                    rules[_bridge(program, owner, name)] = None
        return rules

    def _names_of(self, read: Iterable[Literal]) -> Iterator[str]:
        for atom in (literal.atom for literal in read):
            if atom.name.policy in (None, self.policy) and not _is_of_the_language(atom):
                yield f"{atom.name.table}{atom.name.sign}"

    def _said_effects(self) -> Iterator[str]:
        for table in self.workspace.program.facts:
            if policy_of(table) == self.policy and table[-1] in "+-":
                yield table.partition(":")[2]

    def _makings(self) -> Iterator[tuple[str, Making]]:
        program = self.workspace.program
        self.notes.clear()
        for entry in program.rules(self.own):
            if entry.core is not None:
                continue
            name = f"{entry.name}#new"
            if name in self.makings:
                yield name, self.makings[name]
                continue
            try:
                yield name, self._making(entry, name)
            except Refused as refused:
                for fault in refused.faults:
                    text = f"the rule is not used: {fault.message}"
                    self.notes.append(replace(fault, message=text, severity=Severity.WARNING))

    def _making(self, entry: Entry, name: str) -> Making:
        terms = arguments(self.workspace.program, entry.head, entry.rule.head, whole=True)
        plain = [term for term in terms if isinstance(term, Constant | Variable)]
        core, names = self.bindings(entry.rule.body, entry.rule, name)
        if len(plain) < len(terms):
            text = "an aggregate beside something new"
            raise Refused([Fault("aggregate", text, entry.rule.span)])
        return Making(entry.head, tuple(plain), core, names)


def _is_of_the_language(atom: Atom) -> bool:
    return builtin_of(atom.name) is not None or truth_of(atom) is not None or is_now(atom.name)


def _says(program: Program, policy: str, name: str) -> bool:
    table = TableId(f"{policy}:{name}")
    return table in program.heads or table in program.facts or table in program.inputs


def _bridge(program: Program, owner: str, name: str) -> Rule:
    """The own table holds all rows of the owner's."""
    width = program.width(TableId(f"{owner}:{name}"))
    assert width is not None, "it has rows or rules"
    terms = tuple(Variable(f"column{place}") for place in range(width.columns))
    sign = name[-1] if name[-1] in "+-" else ""
    table = name.removesuffix(sign)
    head = Atom(TableName(None, table, sign), terms)
    return Rule((Literal(head),), (Literal(replace(head, name=TableName(owner, table, sign))),))
