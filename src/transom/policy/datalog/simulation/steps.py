# SPDX-License-Identifier: Apache-2.0
"""The steps of a simulation, as its text says them.

    p+(1)  nova:servers-("x")       a row comes, a row goes
    p+(x) :- q(x)                   a rule comes; with `-` it goes
    insert[p(x) :- q(x); "other"]   the same, of any policy; delete[...]
    create(0)                       an action is called
    update(x, 1) :- result(x)       an action is called with what the one before it gave

What is an event, or has signs alone in its head, changes rows and rules; all else calls actions.
"""

from dataclasses import dataclass, replace

from transom.policy.datalog.faults import Source, Span
from transom.policy.datalog.language.grammar import parse
from transom.policy.datalog.language.syntax import Event, Literal, Modal, Mode, Rule, Statement
from transom.policy.datalog.rules.changes import RuleIn, RuleOut


@dataclass(frozen=True, slots=True)
class Step:
    """`call` None: the step is `changes`. `statement`: as it is written."""

    statement: Statement
    changes: tuple[RuleIn | RuleOut, ...] = ()
    call: Rule | None = None

    @property
    def span(self) -> Span:
        return self.statement.span


def steps(text: str, mode: Mode, policy: str) -> list[Step]:
    """`policy`: of names that have none. Raises: Refused."""
    return [_step(one, policy) for one in parse(Source("sequence", text), mode).statements]


def _step(statement: Statement, policy: str) -> Step:
    if isinstance(statement, Event):
        owner = policy if statement.policy is None else statement.policy
        inserts = statement.modal is Modal.INSERT
        change = RuleIn(owner, statement.rule) if inserts else RuleOut(owner, statement.rule)
        return Step(statement, (change,))
    if not all(head.atom.name.sign and head.atom.modal is None for head in statement.heads):
        return Step(statement, call=statement)
    return Step(statement, tuple(_change(head, statement, policy) for head in statement.heads))


def _change(head: Literal, statement: Rule, policy: str) -> RuleIn | RuleOut:
    """The rule without the sign, in the policy that its head names."""
    name = head.atom.name
    plain = replace(head, atom=replace(head.atom, name=replace(name, policy=None, sign="")))
    rule = Rule((plain,), statement.body, statement.span)
    kind = RuleIn if name.sign == "+" else RuleOut
    return kind(name.policy or policy, rule)
