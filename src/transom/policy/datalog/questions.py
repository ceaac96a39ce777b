# SPDX-License-Identifier: Apache-2.0
"""Questions: a query's text to an answer, which says what it is made of.

An atom asks for the rows of its table that are like it: with these constants, and the same value
wherever it has the same variable. Columns that it does not mention may hold anything. A rule asks
for its head.
"""

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, replace

from transom.policy.datalog.core import TableId
from transom.policy.datalog.engine.engine import QUERY, Engine
from transom.policy.datalog.engine.readers import Seen
from transom.policy.datalog.faults import Fault, Refused, Source
from transom.policy.datalog.language.grammar import parse_query
from transom.policy.datalog.language.printing import text_of
from transom.policy.datalog.language.syntax import (
    Atom,
    Constant,
    Literal,
    Modal,
    Mode,
    Rule,
    Term,
    Variable,
)
from transom.policy.datalog.rules.checks import builtin_of, checked_query, truth_of
from transom.policy.datalog.rules.columns import arguments, is_anonymous
from transom.policy.datalog.rules.dependencies import below
from transom.policy.datalog.rules.names import meant, table_id
from transom.policy.datalog.rules.program import Program
from transom.policy.datalog.states import Completeness, States
from transom.policy.datalog.values import Row


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """What a builtin could not answer, so that rows were left out.

    `rule`: its name, or `QUERY`; `place`: of the literal in the body, -1 of an aggregate.
    """

    rule: str
    place: int
    seen: Seen


@dataclass(frozen=True, slots=True)
class Answer:
    """`head`: what the rows are rows of, without arguments. `rows`: in no order."""

    head: Atom
    rows: tuple[Row, ...]
    completeness: Completeness
    diagnostics: tuple[Diagnostic, ...] = ()

    @property
    def complete(self) -> bool:
        return self.completeness.complete

    def texts(self, mode: Mode = Mode.COMPATIBLE) -> list[str]:
        """The rows as atoms, sorted."""
        return sorted(fact_text(self.head, row, mode) for row in self.rows)


def fact_text(head: Atom, row: Row, mode: Mode = Mode.COMPATIBLE) -> str:
    return text_of(replace(head, terms=tuple(map(Constant, row))), mode)


def asking(
    program: Program, engine: Engine, states: States, source: Source, policy: str
) -> Generator[None, None, Answer]:
    """Raises: Refused; TooMuch; Busy."""
    engine.refuse_busy()
    query = parse_query(source, program.mode)
    if policy not in program.policies:
        text = f"there is no policy `{policy}` to ask"
        raise Refused([Fault("unknown-policy", text, hint=meant(policy, program.policies))])
    if isinstance(query, Literal):
        atom = _atom(query)
        if builtin_of(atom.name) is None and truth_of(atom) is None:
            return (yield from _rows_like(program, engine, states, atom, policy))
        query = _rule_of(query)
    return (yield from _heads(program, engine, states, query, policy))


def _atom(query: Literal) -> Atom:
    atom = query.atom
    if query.negated:
        text = "what is not there cannot be listed"
        hint = "ask with a rule: `answer(x) :- all(x), not some(x)`"
        raise Refused([Fault("query", text, query.span, hint=hint)])
    if atom.modal not in (None, Modal.EXECUTE):
        raise Refused([Fault("query", f"`{atom.modal}[...]` cannot be asked for", query.span)])
    return atom


def _rule_of(query: Literal) -> Rule:
    """Of a builtin: `plus(1, 2, x)` as a rule with its variables and constants as head."""
    head = replace(query, atom=replace(query.atom, named=()))
    return Rule((head,), (query,), query.span)


def _rows_like(
    program: Program, engine: Engine, states: States, atom: Atom, policy: str
) -> Generator[None, None, Answer]:
    table = table_id(policy, atom.name, atom.modal)
    terms = _terms(program, table, atom)
    bound = {column: term.value for column, term in enumerate(terms) if isinstance(term, Constant)}
    same = list(_repeated(terms))
    found = yield from engine.finding(table, bound)
    rows = (row for row in found if all(row[one] == row[other] for one, other in same))
    return Answer(
        replace(atom, terms=(), named=()),
        tuple(rows),
        states.completeness(program, table),
        tuple(_diagnostics(program, engine, (table,))),
    )


def _terms(program: Program, table: TableId, atom: Atom) -> tuple[Term | None, ...]:
    """Raises: Refused. Fewer arguments than columns are no fault here."""
    width = program.width(table)
    if width is not None and not atom.named and len(atom.terms) < width.columns:
        return atom.terms
    found = arguments(program, table, atom)
    if isinstance(found, list):
        raise Refused(found)
    return found


def _repeated(terms: Iterable[Term | None]) -> Iterator[tuple[int, int]]:
    """Columns that hold the same."""
    first: dict[str, int] = {}
    for column, term in enumerate(terms):
        if isinstance(term, Variable) and not is_anonymous(term):
            before = first.setdefault(term.name, column)
            if before != column:
                yield before, column


def _heads(
    program: Program, engine: Engine, states: States, rule: Rule, policy: str
) -> Generator[None, None, Answer]:
    checked = checked_query(program, policy, rule, QUERY)
    if checked.core is None:
        raise Refused(checked.faults)
    rows = yield from engine.asking(checked.core)
    return Answer(
        replace(rule.head, terms=(), named=()),
        tuple(rows),
        states.completeness_of(program, checked.reads),
        (
            *(Diagnostic(QUERY, place, seen) for place, seen in engine.asked.items()),
            *_diagnostics(program, engine, checked.reads),
        ),
    )


def _diagnostics(
    program: Program, engine: Engine, tables: Iterable[TableId]
) -> Iterator[Diagnostic]:
    if engine.faults:
        rules = below(program, tables).rules
        for (rule, place), seen in engine.faults.items():
            if rule in rules:
                yield Diagnostic(rule, place, seen)
