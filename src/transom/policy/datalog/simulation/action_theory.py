# SPDX-License-Identifier: Apache-2.0
"""What an action does, as the rules of an action policy say it.

    action("create")
    p+(id, val) :- create(val)          a new row, and `id` is something new
    p-(id, old) :- update(id, val), p(id, old)
    result(id) :- create(val), p+(id, val)

A call is a row of the table `create` for as long as its effects are asked for. Effects are the rows
of all tables with a sign; of a row that comes and goes, that it comes.

A variable of a head that nothing binds stands for something new: one value for its name and for
the calls that its rule reads, `new-id-1`, `new-id-2`.

Invariants:
1. All of it happens in a policy of its own (`action_rules`), within a trial: nothing that anybody
   else reads changes by a call, before its effects are applied.
2. Behind a call that policy has no facts.
"""

from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from transom.policy.datalog.core import Match, TableId
from transom.policy.datalog.faults import Fault, Refused, Severity
from transom.policy.datalog.language.syntax import Atom, Constant, Literal, Rule, Variable
from transom.policy.datalog.rules.changes import RowsIn
from transom.policy.datalog.rules.checks import checked_fact
from transom.policy.datalog.simulation.action_rules import ACTION, RESULT, ActionRules, Making
from transom.policy.datalog.values import Row, Value, row_order
from transom.policy.datalog.workspace import Workspace

Facts: TypeAlias = dict[TableId, dict[Row, None]]


@dataclass(slots=True)
class Effects:
    """What a call changes. `notes`: why that is less than one may think."""

    rows: dict[TableId, dict[Row, int]] = field(default_factory=dict)
    notes: list[Fault] = field(default_factory=list)


class ActionTheory:
    """Actions of `policy`, called where `state` is simulated. `calls`: all that will be called."""

    def __init__(
        self, workspace: Workspace, policy: str, state: str, calls: Iterable[Rule]
    ) -> None:
        self.workspace = workspace
        self.rules = ActionRules(workspace, policy, state, calls)
        self._results: frozenset[Row] = frozenset()
        self._new: dict[tuple[object, ...], str] = {}
        self._counts: dict[str, int] = {}

    def calling(self, rule: Rule) -> Generator[None, None, Effects]:
        """The effects of a step that calls actions. Raises: Refused, and what the engine raises."""
        try:
            return (yield from self._calling(rule))
        except Refused as refused:
            raise Refused([self._told(fault) for fault in refused.faults]) from None

    def _told(self, fault: Fault) -> Fault:
        """As one about the action policy."""
        own, policy = self.rules.own, self.rules.policy
        message, hint = (text.replace(own, policy) for text in (fault.message, fault.hint))
        return replace(fault, message=message, hint=hint)

    def _calling(self, rule: Rule) -> Generator[None, None, Effects]:
        effects = Effects()
        yield from self.rules.following()
        effects.notes += self.rules.notes
        self._check(rule)
        atoms = yield from self._atoms(rule, effects)
        if not atoms:
            return effects
        called = self._facts(atoms)
        yield from self._change(called, 1)
        made = yield from self._making(called)
        self._collect(effects)
        self._results = frozenset(self._rows(RESULT))
        yield from self._change(called, -1)
        yield from self._change(made, -1)
        return effects

    def _rows(self, name: str) -> Iterable[Row]:
        return self.workspace.engine.rows(self.rules.table(name))

    def _change(self, facts: Facts, weight: int) -> Generator[None, None, None]:
        rows = [RowsIn(table, dict.fromkeys(found, weight)) for table, found in facts.items()]
        yield from self.workspace.changing(rows)

    def _collect(self, effects: Effects) -> None:
        found = list(self.rules.effects())
        for wanted in (-1, 1):
            for table, target, weight in found:
                rows = self.workspace.engine.rows(table)
                if weight == wanted and rows:
                    effects.rows.setdefault(target, {}).update(dict.fromkeys(rows, weight))

    # The call

    def _check(self, rule: Rule) -> None:
        actions = {row[0] for row in self._rows(ACTION) if row}
        for head in rule.heads:
            if head.negated or head.atom.modal is not None:
                text = "what is called is an action, neither negated nor in brackets"
                raise Refused([Fault("not-an-action", text, head.span)])
        names = [head.atom.name for head in rule.heads if not head.atom.name.sign]
        own = (None, self.rules.policy)
        if not any(name.table in actions and name.policy in own for name in names):
            text = f"`{names[0]}` is no action of `{self.rules.policy}`, and has no sign"
            hint = f'a row that comes is {names[0]}+(...); actions are said by action("...")'
            raise Refused([Fault("not-an-action", text, rule.span, hint=hint)])

    def _atoms(self, rule: Rule, effects: Effects) -> Generator[None, None, list[Atom]]:
        """What is called; nothing, if the step's condition is not met."""
        heads = [self.rules.moved(head, is_head=True).atom for head in rule.heads]
        if not rule.body:
            return heads
        body = tuple(map(self.rules.moved, rule.body))
        core, names = self.rules.bindings(body, rule, "#call")
        before = {self.rules.table(RESULT): dict.fromkeys(self._results)}
        yield from self._change(before, 1)
        rows = yield from self.workspace.engine.asking(core)
        yield from self._change(before, -1)
        if not rows:
            effects.notes.append(_note("nothing meets the condition, so nothing is called", rule))
            return []
        if len(rows) > 1:
            text = f"{len(rows)} bindings meet the condition; it is called with the least one"
            effects.notes.append(_note(text, rule))
        values = dict(zip(names, sorted(rows, key=row_order)[0], strict=True))
        plugged = [_plugged(head, values) for head in heads]
        atoms = [atom for atom in plugged if not any(map(_is_variable, atom.terms))]
        if len(atoms) < len(plugged):
            effects.notes.append(_note("what has a variable without a value is not called", rule))
        return atoms

    def _facts(self, atoms: Iterable[Atom]) -> Facts:
        found: Facts = {}
        for atom in atoms:
            fact = Rule((Literal(atom, span=atom.span),), span=atom.span)
            checked = checked_fact(self.workspace.program, self.rules.own, fact)
            if isinstance(checked, list):
                raise Refused(checked)
            table, row = checked
            found.setdefault(table, {})[row] = None
        return found

    # Something new

    def _making(self, called: Facts) -> Generator[None, None, Facts]:
        """Adds heads with new values, and gives them, until there are no more."""
        made: Facts = {}
        done: set[tuple[str, Row]] = set()
        self._new.clear()
        while True:
            fresh: Facts = {}
            for name, making in self.rules.makings.items():
                rows = self.workspace.engine.rows(making.core.head)
                for row in sorted((row for row in rows if (name, row) not in done), key=row_order):
                    done.add((name, row))
                    values = dict(zip(making.names, row, strict=True))
                    head = self._head(making, values, called)
                    fresh.setdefault(making.table, {})[head] = None
            if not fresh:
                return made
            for table, heads in fresh.items():
                made.setdefault(table, {}).update(heads)
            yield from self._change(fresh, 1)

    def _head(self, making: Making, values: Mapping[str, Value], called: Facts) -> Row:
        calls = tuple(
            (part.table, tuple(_known(term, values) for term in part.arguments))
            for part in making.core.body
            if isinstance(part, Match) and not part.negated and part.table in called
        )
        return tuple(
            self._new_value(term.name, calls)
            if isinstance(term, Variable) and term.name not in values
            else _known(term, values)
            for term in making.terms
        )

    def _new_value(self, name: str, calls: tuple[object, ...]) -> str:
        key = (name, calls)
        if key not in self._new:
            self._counts[name] = self._counts.get(name, 0) + 1
            self._new[key] = f"new-{name}-{self._counts[name]}"
        return self._new[key]


def _known(term: Constant | Variable | None, values: Mapping[str, Value]) -> Value:
    if isinstance(term, Variable):
        return values[term.name]
    return None if term is None else term.value


def _is_variable(term: object) -> bool:
    return isinstance(term, Variable)


def _plugged(atom: Atom, values: Mapping[str, Value]) -> Atom:
    terms = tuple(
        Constant(values[term.name]) if isinstance(term, Variable) and term.name in values else term
        for term in atom.terms
    )
    return replace(atom, terms=terms)


def _note(text: str, rule: Rule) -> Fault:
    return Fault("call", text, rule.span, Severity.WARNING)
