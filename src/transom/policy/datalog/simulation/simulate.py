# SPDX-License-Identifier: Apache-2.0
"""What would be if: changes and calls of actions in order, then a question, and nothing has been.

All of it happens inside one trial of the workspace: closed before its end, refused or failed, it
leaves nothing behind, as when it ends. Until then others who ask or change are told `Busy`.

Invariants:
1. The steps (`steps`) take effect in their order; those without calls between them are one
   transaction, unless a trace is wanted.
2. What is told of rows is net: what came and went again on the way is not in it.
3. Whether tables are live is as it was: rows of a trial make nothing complete.
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import TypeVar

from transom.policy.datalog.core import TableId
from transom.policy.datalog.engine.engine import TooMuch, finished
from transom.policy.datalog.engine.tables import Delta
from transom.policy.datalog.faults import NOWHERE, Fault, Refused
from transom.policy.datalog.language.printing import text_of
from transom.policy.datalog.language.syntax import Rule
from transom.policy.datalog.questions import Answer, Diagnostic, fact_text
from transom.policy.datalog.rules.changes import Change, PolicyIn, RowsIn
from transom.policy.datalog.rules.dependencies import above
from transom.policy.datalog.rules.names import atom_of, meant, policy_of, table_id
from transom.policy.datalog.rules.program import Kind
from transom.policy.datalog.simulation.action_theory import ActionTheory
from transom.policy.datalog.simulation.steps import Step, steps
from transom.policy.datalog.states import Completeness
from transom.policy.datalog.values import Row, row_order
from transom.policy.datalog.workspace import Workspace

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Bounds:
    """`steps`: of the sequence. `touched`: rows looked at. `rows`: that change or are answered."""

    steps: int = 10_000
    touched: int = 50_000_000
    rows: int = 100_000


@dataclass(frozen=True, slots=True)
class Question:
    """What is simulated: `changes`, then the `sequence`, then the `query` in `policy`.

    `delta`: it is asked before too, and what differs is told. `watched`: tables whose rows are
    violations, beside the query's own. `trace`: each step's changes are told.
    """

    query: str
    policy: str
    sequence: str = ""
    action_policy: str | None = None
    delta: bool = False
    trace: bool = False
    changes: Sequence[Change] = ()
    watched: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Simulation:
    """`texts`: what is answered, `p(1)`, or with `delta` `p+(1)` and `p-(2)`, sorted.

    `net`: what comes and goes, by table; `violations`: of these the query's table and those that
    are watched; `actions`: what would be executed. `completeness`: of the query's table, those that
    are watched, and the actions that hang on what changed. `notes`: steps that do nothing, rules
    that wait.
    """

    texts: tuple[str, ...]
    answer: Answer
    net: Mapping[TableId, Delta]
    violations: Mapping[TableId, Delta]
    actions: tuple[tuple[TableId, Row], ...]
    completeness: Completeness
    diagnostics: tuple[Diagnostic, ...]
    notes: tuple[Fault, ...]
    trace: str = ""


def simulate(
    workspace: Workspace,
    query: str,
    policy: str,
    sequence: str = "",
    action_policy: str | None = None,
    *,
    delta: bool = False,
    trace: bool = False,
    changes: Sequence[Change] = (),
    watched: Sequence[str] = (),
    bounds: Bounds = Bounds(),
) -> Simulation:
    """Raises: Refused, with places in the texts; TooMuch; Busy."""
    question = Question(
        query, policy, sequence, action_policy, delta, trace, tuple(changes), tuple(watched)
    )
    return finished(simulating(workspace, question, bounds))


def simulating(
    workspace: Workspace, question: Question, bounds: Bounds = Bounds()
) -> Generator[None, None, Simulation]:
    """The same in slices. Closing it undoes all."""
    sequence = steps(question.sequence, workspace.program.mode, question.policy)
    if len(sequence) > bounds.steps:
        raise TooMuch(f"a sequence of {len(sequence)} steps; it may have {bounds.steps}")
    with workspace.trial():
        run = _Run(workspace, question, bounds)
        return (yield from run.bounded(run.all(sequence)))


class _Run:
    """`net`: what was changed so far. `waiting`: steps that are not taken yet."""

    def __init__(self, workspace: Workspace, question: Question, bounds: Bounds) -> None:
        self.workspace, self.question, self.bounds = workspace, question, bounds
        self.engine, self.mode = workspace.engine, workspace.program.mode
        self.touched_most = self.engine.touched + bounds.touched
        self.states = dict(workspace.states.known)
        self.faults = dict(self.engine.faults)
        self.rules = workspace.program.entries
        self.net: dict[TableId, dict[Row, int]] = {}
        self.notes: list[Fault] = []
        self.lines: list[str] = []
        self.waiting: list[Step] = []
        self.theory: ActionTheory | None = None

    def bounded(self, run: Generator[None, None, Result]) -> Generator[None, None, Result]:
        """Raises: TooMuch."""
        try:
            while True:
                try:
                    next(run)
                except StopIteration as end:
                    result: Result = end.value
                    return result
                if self.engine.touched > self.touched_most:
                    text = f"more than {self.bounds.touched} rows would have to be looked at"
                    raise TooMuch(text)
                yield
        finally:
            run.close()

    def all(self, sequence: list[Step]) -> Generator[None, None, Simulation]:
        question = self.question
        before = None
        if question.delta:
            before = yield from self.workspace.selecting(question.query, question.policy, "query")
        yield from self.change([*question.changes, *self.sources(sequence)])
        self.theory = self.action_theory(sequence)
        for number, step in enumerate(sequence, 1):
            if step.call is not None:
                yield from self.wait_no_more()
            if question.trace:
                self.tell(f"{number}. {text_of(step.statement, self.mode)}")
            if step.call is not None:
                yield from self.call(step, step.call)
            else:
                self.waiting.append(step)
                if question.trace:
                    yield from self.wait_no_more()
        yield from self.wait_no_more()
        self.workspace.states.restore(dict(self.states))
        after = yield from self.workspace.selecting(question.query, question.policy, "query")
        return self.simulation(before, after)

    # Steps

    def sources(self, sequence: list[Step]) -> list[Change]:
        """Policies of sources that nobody has spoken of, though they have rows."""
        program = self.workspace.program
        filled = set(map(policy_of, program.inputs))
        steps = [change for step in sequence for change in step.changes]
        named = dict.fromkeys(step.policy for step in steps)
        return [
            PolicyIn(policy, Kind.DATASOURCE)
            for policy in named
            if policy in filled and policy not in program.policies
        ]

    def action_theory(self, sequence: list[Step]) -> ActionTheory | None:
        """Raises: Refused."""
        calls = [step.call for step in sequence if step.call is not None]
        name, program = self.question.action_policy, self.workspace.program
        if name is not None and name not in program.policies:
            text = f"there is no policy `{name}` of actions"
            raise Refused([Fault("unknown-policy", text, hint=meant(name, program.policies))])
        if not calls:
            return None
        if name is None:
            text = f"`{calls[0].head.name}` has no sign, and no policy of actions is given"
            hint = f"a row that comes is {calls[0].head.name}+(...)"
            raise Refused([Fault("not-an-action", text, calls[0].span, hint=hint)])
        return ActionTheory(self.workspace, name, self.question.policy, calls)

    def wait_no_more(self) -> Generator[None, None, None]:
        changes = [change for step in self.waiting for change in step.changes]
        self.waiting.clear()
        yield from self.change(changes)

    def call(self, step: Step, rule: Rule) -> Generator[None, None, None]:
        assert self.theory is not None, "a sequence with calls has one"
        try:
            effects = yield from self.theory.calling(rule)
            self.notes += effects.notes
            yield from self.change([RowsIn(table, rows) for table, rows in effects.rows.items()])
        except Refused as refused:
            raise Refused([
                replace(fault, span=step.span) if fault.span is NOWHERE else fault
                for fault in refused.faults
            ]) from None  # fmt: skip

    def change(self, changes: Sequence[Change]) -> Generator[None, None, None]:
        if not changes:
            return
        outcome = yield from self.workspace.changing(changes)
        self.notes += outcome.notes
        own = None if self.theory is None else self.theory.rules.own
        for table, delta in sorted(outcome.net.items()):
            if policy_of(table) != own:
                self.count(table, delta)

    def count(self, table: TableId, delta: Delta) -> None:
        net = self.net.setdefault(table, {})
        for row, weight in delta.items():
            if net.get(row, 0) == -weight:
                del net[row]
            else:
                net[row] = weight
        if not net:
            del self.net[table]
        if self.question.trace:
            head = atom_of(table, self.question.policy)
            for row in sorted(delta, key=row_order):
                self.tell(f"   {'+' if delta[row] > 0 else '-'} {fact_text(head, row, self.mode)}")

    def tell(self, line: str) -> None:
        if len(self.lines) >= self.bounds.rows:
            raise TooMuch(f"a trace of more than {self.bounds.rows} lines")
        self.lines.append(line)

    # The end

    def simulation(self, before: Answer | None, after: Answer) -> Simulation:
        """Raises: TooMuch."""
        policy = self.question.policy
        watched = [table_id(policy, after.head.name, after.head.modal)]
        watched += (
            TableId(name if ":" in name else f"{policy}:{name}") for name in self.question.watched
        )
        count = len(after.rows) + sum(map(len, self.net.values()))
        if count > self.bounds.rows:
            text = f"{count} rows are answered or change; {self.bounds.rows} may"
            raise TooMuch(f"{text}; ask for fewer, or change less")
        return Simulation(
            tuple(self.difference(before, after) if before else after.texts(self.mode)),
            after,
            self.net,
            {table: self.net[table] for table in watched if table in self.net},
            tuple(self.actions()),
            self.completeness(after, watched),
            (*after.diagnostics, *self.failures(after)),
            tuple(dict.fromkeys(self.notes)),
            "".join(f"{line}\n" for line in self.lines),
        )

    def difference(self, before: Answer, after: Answer) -> Iterator[str]:
        for sign, these, others in (("+", after, before), ("-", before, after)):
            name = replace(after.head.name, sign=after.head.name.sign + sign)
            head = replace(after.head, name=name)
            both = set(others.rows)
            rows = (row for row in these.rows if row not in both)
            yield from sorted(fact_text(head, row, self.mode) for row in rows)

    def actions(self) -> Iterator[tuple[TableId, Row]]:
        for table in sorted(self.net):
            if _is_action(table):
                came = [row for row, weight in self.net[table].items() if weight > 0]
                yield from ((table, row) for row in sorted(came, key=row_order))

    def completeness(self, after: Answer, watched: list[TableId]) -> Completeness:
        tables = [*watched[1:], *self.actions_in_reach()]
        found = self.workspace.states.completeness_of(self.workspace.program, tables)
        both = after.completeness
        return Completeness(
            found.complete and both.complete,
            tuple(sorted({*found.of, *both.of}, key=itemgetter(0))),
            tuple(sorted({*found.waiting, *both.waiting})),
        )

    def actions_in_reach(self) -> Iterator[TableId]:
        """Tables of actions that hang on what changed, also those of which no row came."""
        program = self.workspace.program
        own = None if self.theory is None else self.theory.rules.own
        entries = program.entries.items()
        tables = [*self.net, *(one.head for name, one in entries if name not in self.rules)]
        for table in sorted(above(program, tables)):
            if policy_of(table) != own and _is_action(table):
                yield table

    def failures(self, after: Answer) -> Iterator[Diagnostic]:
        """Of builtins, on the way."""
        for (rule, place), seen in self.engine.faults.items():
            found = Diagnostic(rule, place, seen)
            if self.faults.get((rule, place)) != seen and found not in after.diagnostics:
                yield found


def _is_action(table: TableId) -> bool:
    return table.partition(":")[2].startswith("execute[")
