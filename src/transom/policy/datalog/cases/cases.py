# SPDX-License-Identifier: Apache-2.0
"""Cases of tests: what has to follow from rules and facts, and what does instead.

An expectation is a line: `error("vm1")`, a row that has to be there, or `not error(_)`, no row like
this, where `_` is any value and so is a column that is not mentioned.

Invariants:
1. A table with a row that has to be there has no rows but those that have to be there. So a case
   that names a row cannot pass with too many of them.
2. A case that could not fail is refused: one that expects nothing, or of tables that nothing makes.
3. A builtin that failed, and that the case does not expect, fails the case: a row was left out.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from transom.policy.datalog.cases.facts import BadFacts
from transom.policy.datalog.core import TableId
from transom.policy.datalog.engine.readers import Seen
from transom.policy.datalog.faults import NOWHERE, Fault, Refused, Source, Span
from transom.policy.datalog.language.grammar import parse_query
from transom.policy.datalog.language.printing import text_of, value_text
from transom.policy.datalog.language.syntax import Constant, Literal, Term
from transom.policy.datalog.rules.columns import arguments, is_anonymous
from transom.policy.datalog.rules.names import meant, table_id
from transom.policy.datalog.rules.program import Program
from transom.policy.datalog.values import Row, Value, row_order

SETTINGS: Final = ("time", "policy", "diagnostics")
TIME_FORM: Final = "2026-01-31 12:00:00"
COMMENTS: Final = ("//", "#")


@dataclass(frozen=True, slots=True)
class Settings:
    """Of `case.yaml`. `time`: what `now` is, UTC. `policy`: whose a table without a policy is.

    `diagnostics`: a part each of what builtins that fail are to say.
    """

    time: str = ""
    policy: str = ""
    diagnostics: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Expectation:
    """A row that has to be there, or (`absent`) none like it.

    `bound`: values by the place of the column; the row has `width` columns, where that is known.
    """

    table: TableId
    bound: Mapping[int, Value]
    absent: bool
    span: Span

    @property
    def row(self) -> Row:
        return tuple(self.bound[place] for place in range(len(self.bound)))


@dataclass(slots=True)
class Outcome:
    """What is wrong. `unexpected`: with the line of expectations that says so.

    `failures`: of builtins, that were not expected; `silent`: expected ones that did not come.
    """

    missing: list[Expectation] = field(default_factory=list)
    unexpected: list[tuple[TableId, Row, Span]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        return not (self.missing or self.unexpected or self.failures or self.silent)


Find = Callable[[TableId, Mapping[int, Value]], Iterable[Row]]
"""Rows of a table with these values in these columns."""


def settings_of(tree: Any, name: str) -> Settings:
    """Raises: BadFacts."""
    if tree is None:
        return Settings()
    if not isinstance(tree, dict):
        raise BadFacts(f"{name}: expected settings, as in `time: {TIME_FORM}`")
    for key in tree:
        if key not in SETTINGS:
            hint = meant(str(key), SETTINGS) or f"there are {', '.join(SETTINGS)}"
            raise BadFacts(f"{name}: there is no setting `{key}`: {hint}")
    texts = {key: tree[key] for key in ("time", "policy") if key in tree}
    for key, text in texts.items():
        if not isinstance(text, str):
            raise BadFacts(f"{name}: `{key}` is a text")
    said = tree.get("diagnostics", [])
    if not isinstance(said, list) or not all(isinstance(text, str) and text for text in said):
        raise BadFacts(f"{name}: `diagnostics` is a list of texts, a part each of what is said")
    return Settings(**texts, diagnostics=tuple(said))


def expectations(program: Program, own: str, source: Source) -> list[Expectation]:
    """The lines of a text. `own`: the policy of tables without one; "": they need one.

    Raises: Refused, with all that is wrong.
    """
    found: list[Expectation] = []
    faults: list[Fault] = []
    for line in _lines(source):
        try:
            found.append(_Line(program, own, line).expectation())
        except Refused as refused:
            faults += refused.faults
    if faults:
        raise Refused(faults)
    return found


def compared(expected: Sequence[Expectation], rows: Callable[[TableId], Collection[Row]],
             find: Find) -> Outcome:  # fmt: skip
    """Rows sorted by table and value."""
    outcome = Outcome()
    whole: dict[TableId, dict[Row, Span]] = {}
    for one in expected:
        if not one.absent:
            whole.setdefault(one.table, {})[one.row] = one.span
            if one.row not in rows(one.table):
                outcome.missing.append(one)
    wrong: dict[tuple[TableId, Row], Span] = {}
    for table, wanted in whole.items():
        last = list(wanted.values())[-1]
        wrong.update({(table, row): last for row in rows(table) if row not in wanted})
    for one in expected:
        if one.absent:
            wrong.update({(one.table, row): one.span for row in find(one.table, one.bound)})
    ordered = sorted(wrong, key=lambda key: (key[0], row_order(key[1])))
    outcome.unexpected = [(table, row, wrong[table, row]) for table, row in ordered]
    return outcome


def compare_diagnostics(outcome: Outcome, wanted: Iterable[str], said: Sequence[str]) -> None:
    """What builtins that failed said, and what they were to say."""
    parts = list(wanted)
    outcome.silent = [part for part in parts if not any(part in text for text in said)]
    outcome.failures = [text for text in said if not any(part in text for part in parts)]


def _lines(source: Source) -> Iterator[Source]:
    """Each line that says something, with as many line breaks before it as in the source."""
    for number, line in enumerate(source.text.split("\n")):
        text = line.strip()
        if text and not text.startswith(COMMENTS):
            yield Source(source.name, "\n" * number + line)


class _Line:
    def __init__(self, program: Program, own: str, source: Source) -> None:
        self._program = program
        self._own = own
        self._source = source

    def expectation(self) -> Expectation:
        literal = parse_query(self._source, self._program.mode)
        if not isinstance(literal, Literal):
            text = "expected a row, and this is a rule"
            self._refuse("expected-rule", text, literal.span, "rules stand in files of their own")
        atom = literal.atom
        if not self._own and atom.name.policy is None:
            text = f"there are several policies, and `{atom.name}` may be of any"
            hint = f"write it with its policy: `policy:{atom.name}`"
            self._refuse("whose-table", text, atom.span, hint)
        table = table_id(self._own, atom.name, atom.modal)
        self._known(table, atom.span)
        terms = arguments(self._program, table, atom, whole=not literal.negated)
        if isinstance(terms, list):
            raise Refused(terms)
        bound = dict(self._values(terms, literal))
        return Expectation(table, bound, literal.negated, literal.span)

    def _values(
        self, terms: Sequence[Term | None], literal: Literal
    ) -> Iterator[tuple[int, Value]]:
        for place, term in enumerate(terms):
            if isinstance(term, Constant):
                yield place, term.value
            elif not (literal.negated and is_anonymous(term)):
                span = NOWHERE if term is None else term.span
                text = "a row that is expected has constants only"
                if literal.negated:
                    text = "a row that is not expected has constants and `_` only"
                self._refuse("expected-variable", text, span)

    def _known(self, table: TableId, span: Span) -> None:
        program = self._program
        known = {*program.heads, *program.facts, *program.inputs}
        if table in known or program.columns(table) is not None:
            return
        hint = meant(table, sorted(known)) or "a case that names no table of the rules cannot fail"
        self._refuse("unknown-table", f"nothing makes {table}", span, hint)

    def _refuse(self, code: str, text: str, span: Span, hint: str = "") -> NoReturn:
        raise Refused([Fault(code, text, span, hint=hint)])


def diagnostics(program: Program, faults: Mapping[tuple[str, int], Seen]) -> list[str]:
    """What builtins could not answer, a line each, with place and an example, in the text's order.

    Each has left out rows.
    """
    found = []
    for (name, place), seen in faults.items():
        rule = program.entries[name].rule
        literal = rule.body[place] if place >= 0 else rule.heads[0]
        inputs, text = seen.examples[0]
        shown = ", ".join(map(value_text, inputs))
        times = f", {seen.count} times" if seen.count > 1 else ""
        line = f"{literal.span}: {text_of(literal)} failed for ({shown}){times}: {text}"
        found.append((literal.span.source.name, literal.span.start, line))
    return [line for _, _, line in sorted(found)]
