# SPDX-License-Identifier: Apache-2.0
"""A rule or a fact of a policy: what is wrong with it, or how the engine takes it.

What concerns several rules at once, cycles and references to what goes away, is in
`dependencies`. All faults are found, each with its place and what to do.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from transom.policy.datalog.builtins import BUILTINS
from transom.policy.datalog.core import (
    Builtin,
    Call,
    CoreRule,
    CoreTerm,
    Fold,
    Match,
    TableId,
)
from transom.policy.datalog.faults import Fault, Span
from transom.policy.datalog.language.syntax import (
    Aggregate,
    Atom,
    Constant,
    Literal,
    Modal,
    Mode,
    Rule,
    TableName,
    Term,
    Variable,
)
from transom.policy.datalog.rules.binding import CoreLiteral, named, needed, ordered
from transom.policy.datalog.rules.columns import (
    arguments,
    counted,
    is_anonymous,
    unknown_table,
)
from transom.policy.datalog.rules.names import (
    BUILTIN_POLICY,
    is_now,
    meant,
    table_id,
)
from transom.policy.datalog.rules.program import Kind, Program
from transom.policy.datalog.values import Row

LITERALS_MOST: Final = 64
"""Of one body. What a rule costs to compile grows with the cube of it."""
AGGREGATES: Final = ("count", "sum", "min", "max")
BARE_CONSTANTS: Final = {
    "True": "true",
    "TRUE": "true",
    "False": "false",
    "FALSE": "false",
    "None": "null",
    "NULL": "null",
}
NEVER: Final = Builtin("false", 0, 0, lambda: False)

Terms: TypeAlias = Sequence[Term | None]


@dataclass(frozen=True, slots=True)
class Checked:
    """`core` None and no faults: a rule of an action policy that only a simulation can use, or
    one that declares a table."""

    head: TableId
    reads: tuple[TableId, ...]
    core: CoreRule | None
    faults: tuple[Fault, ...]


def checked_rule(program: Program, policy: str, rule: Rule, name: str) -> Checked:
    """The rule in a program that holds it already."""
    return _Check(program, policy, rule).rule(name)


def checked_fact(program: Program, policy: str, rule: Rule) -> tuple[TableId, Row] | list[Fault]:
    return _Check(program, policy, rule).fact()


def checked_query(program: Program, policy: str, rule: Rule, name: str) -> Checked:
    """A rule that is asked once: its head is no table."""
    return _Check(program, policy, rule).query(name)


def builtin_of(name: TableName) -> Builtin | None:
    if name.policy in (None, BUILTIN_POLICY) and not name.sign:
        return BUILTINS.get(name.table)
    return None


def truth_of(atom: Atom) -> bool | None:
    """What `true` and `false` are as atoms; None: it is another atom."""
    plain = atom.name.policy is None and not atom.name.sign and not atom.terms and not atom.named
    return {"true": True, "false": False}.get(atom.name.table) if plain else None


def declares(rule: Rule) -> bool:
    """Whether it only says that there is such a table: `exempt(id) :- false`."""
    (only, *others) = rule.body or (None,)
    return only is not None and not others and not only.negated and truth_of(only.atom) is False


def reads_of(policy: str, rule: Rule) -> tuple[TableId, ...]:
    """The tables that the body looks at, each once."""
    atoms = (literal.atom for literal in rule.body)
    return tuple(
        dict.fromkeys(
            table_id(policy, atom.name)
            for atom in atoms
            if builtin_of(atom.name) is None and truth_of(atom) is None
        )
    )


class _Check:
    def __init__(self, program: Program, policy: str, rule: Rule) -> None:
        self.program = program
        self.policy = policy
        self.source = rule
        self.kind = program.policies[policy]
        self.faults: list[Fault] = []

    def add(self, code: str, text: str, span: Span, hint: str = "") -> None:
        self.faults.append(Fault(code, text, span, hint=hint))

    def rule(self, name: str) -> Checked:
        source = self.source
        table = table_id(self.policy, source.head.name, source.head.modal)
        if self.kind is Kind.DATABASE:
            text = f"`{self.policy}` is a database: it holds facts, no rules"
            self.add("database-rule", text, source.span)
        self.head_name()
        head = self.terms(arguments(self.program, table, source.head, whole=True))
        return self.whole(name, table, head, relaxed=self.kind is Kind.ACTION)

    def query(self, name: str) -> Checked:
        self.one_head()
        head = self.source.head
        for column in head.named:
            self.add("query", "a query has no columns; say by place what is asked", column.span)
        return self.whole(name, TableId(f"{self.policy}:{name}"), head.terms, relaxed=False)

    def whole(self, name: str, table: TableId, head: Terms, *, relaxed: bool) -> Checked:
        if declares(self.source) and not self.faults:
            return Checked(table, (), None, ())
        body = self.body()
        self.words((*head, *(term for literal in self.source.body for term in _terms(literal))))
        self.aggregates(head)
        core = None
        if body is not None:
            order, stuck = ordered(body)
            if not relaxed:
                self.unbound(head, order, stuck)
            safe = not stuck and not _lacking(head, order)
            if not self.faults and safe:
                core = CoreRule(name, table, _core_head(head), tuple(order))
        elif not relaxed:
            self.unmentioned(head)
        return Checked(table, reads_of(self.policy, self.source), core, tuple(self.faults))

    def fact(self) -> tuple[TableId, Row] | list[Fault]:
        head = self.source.head
        table = table_id(self.policy, head.name, head.modal)
        self.head_name()
        terms = self.terms(arguments(self.program, table, head, whole=True))
        self.words(terms)
        for term in terms:
            if isinstance(term, Variable) and not self.is_refused_word(term):
                text = f"a fact has constants only, and `{term.name}` is a variable"
                hint = f'for a text write "{term.name}"{self.comma("; ")}'
                self.add("fact-variable", text, term.span, hint)
            elif isinstance(term, Aggregate):
                self.add("aggregate", "a fact has constants only, no aggregates", term.span)
        if self.faults:
            return self.faults
        return table, tuple(term.value for term in terms if isinstance(term, Constant))

    # The head

    def one_head(self) -> None:
        first, *others = self.source.heads
        for other in others:
            text = "a rule has one head; several are for steps of a simulation"
            self.add("several-heads", text, other.span, "write a rule for each")
        if first.negated:
            text = "a head cannot be negated: a rule says what is, all else is not"
            self.add("negated-head", text, first.span)

    def head_name(self) -> None:
        self.one_head()
        atom = self.source.head
        name = atom.name
        what = "head" if self.source.body else "fact"
        if atom.modal is Modal.EXECUTE:
            return
        if atom.modal is not None:
            text = f"`{atom.modal}[...]` is no head; only `execute[...]` is"
            self.add("modal-head", text, atom.span)
        elif builtin_of(name) is not None or is_now(name) or truth_of(atom) is not None:
            text = f"`{name}` is a builtin; a {what} needs another name"
            self.add("builtin-head", text, atom.span, self.comma())
        elif name.policy is not None and not self.is_effect():
            text = (
                f"a policy makes tables of its own only, and this {what} is one of `{name.policy}`"
            )
            own = name.policy == self.policy
            hint = f"write `{name.table}{name.sign}`" if own else f"put it into `{name.policy}`"
            if self.program.policies.get(name.policy) is Kind.DATASOURCE:
                hint = f"`{name.policy}` is a source, which no rule fills; use a name of your own"
            self.add("head-prefix", text, atom.span, self.comma() or hint)

    def comma(self, joint: str = "") -> str:
        """Of a fact that begins in a line's middle, what it may be instead."""
        span = self.source.span
        line = span.source.text.rfind("\n", 0, span.start) + 1
        if self.source.body or line == span.start:
            return ""
        return f"{joint}if it belongs to the rule before it, a comma is missing"

    def is_effect(self) -> bool:
        """`nova:servers+(x) :- ...` in an action policy: what an action does elsewhere."""
        named_sign = self.source.head.name.sign != ""
        return self.kind is Kind.ACTION and named_sign and bool(self.source.body)

    def aggregates(self, head: Terms) -> None:
        for term in head:
            if not isinstance(term, Aggregate):
                continue
            if term.function not in AGGREGATES:
                text = f"`{term.function}` is no aggregate: {', '.join(AGGREGATES)} are"
                self.add("aggregate", text, term.span, meant(term.function, AGGREGATES))
            elif is_anonymous(term.variable):
                text = f"`{term.function}(_)` does not say of what"
                self.add("aggregate", text, term.span, "give it a variable of the body")

    # The body

    def body(self) -> list[CoreLiteral] | None:
        """None if any literal cannot be read."""
        if len(self.source.body) > LITERALS_MOST:
            text = f"a body of {len(self.source.body)} literals; {LITERALS_MOST} are the most"
            self.add("body-length", text, self.source.span, "make tables of parts of it")
            return None
        before = len(self.faults)
        found = []
        for place, literal in enumerate(self.source.body):
            core = self.literal(place, literal)
            if core is not None:
                found.append(core)
        return found if len(self.faults) == before else None

    def literal(self, place: int, literal: Literal) -> CoreLiteral | None:
        """None: faulty, or true."""
        atom = literal.atom
        truth = truth_of(atom)
        if atom.modal is not None:
            text = f"`{atom.modal}[...]` is for heads, not for bodies"
            self.add("modal-body", text, atom.span)
            return None
        if truth is not None:
            return None if truth is not literal.negated else Call(NEVER, (), place=place)
        builtin = builtin_of(atom.name)
        if builtin is not None:
            return self.call(place, literal, builtin)
        if atom.name.policy == BUILTIN_POLICY and not is_now(atom.name):
            text = f"there is no builtin `{atom.name.table}{atom.name.sign}`"
            self.add("unknown-builtin", text, atom.span, meant(atom.name.table, BUILTINS))
            return None
        table = table_id(self.policy, atom.name)
        unknown = unknown_table(self.program, table, atom.span)
        if unknown is not None:
            self.faults.append(unknown)
            return None
        terms = self.body_terms(self.terms(arguments(self.program, table, atom)))
        return Match(table, terms, literal.negated, place)

    def call(self, place: int, literal: Literal, builtin: Builtin) -> Call | None:
        atom = literal.atom
        takes = builtin.inputs + builtin.outputs
        if atom.named:
            text = f"`{builtin.name}` has no columns; give its arguments by place"
            self.add("builtin-arguments", text, atom.named[0].span)
            return None
        if len(atom.terms) != takes:
            text = f"`{builtin.name}` takes {counted(takes, 'argument')}"
            parts = f"{counted(builtin.inputs, 'input')}, {counted(builtin.outputs, 'output')}"
            self.add("builtin-arguments", f"{text} ({parts})", atom.span)
            return None
        for term in atom.terms[: builtin.inputs]:
            if is_anonymous(term):
                text = f"`_` is any value, and `{builtin.name}` needs one"
                self.add("unbound-variable", text, atom.span, "name a variable that is bound")
                return None
        terms = self.body_terms(atom.terms)
        inputs = tuple(term for term in terms[: builtin.inputs] if term is not None)
        return Call(builtin, inputs, terms[builtin.inputs :], literal.negated, place)

    def body_terms(self, terms: Terms) -> tuple[CoreTerm | None, ...]:
        found: list[CoreTerm | None] = []
        for term in terms:
            if isinstance(term, Aggregate):
                self.add(
                    "aggregate", "aggregates are for heads", term.span, "make it a rule's head"
                )
            else:
                found.append(None if is_anonymous(term) else term)
        return tuple(found)

    def terms(self, found: Terms | list[Fault]) -> Terms:
        if isinstance(found, list):
            self.faults += [fault for fault in found if isinstance(fault, Fault)]
            return ()
        return found

    # Variables

    def is_refused_word(self, term: Variable) -> bool:
        return self.program.mode is Mode.STRICT and term.name in BARE_CONSTANTS

    def words(self, terms: Iterable[Term | None]) -> None:
        for term in terms:
            if isinstance(term, Variable) and self.is_refused_word(term):
                text = f"`{term.name}` is a variable here, not a constant"
                self.add("bare-constant", text, term.span, f"write `{BARE_CONSTANTS[term.name]}`")

    def unbound(
        self,
        head: Terms,
        order: Sequence[CoreLiteral],
        stuck: Sequence[tuple[CoreLiteral, list[str]]],
    ) -> None:
        for literal, lacking in stuck:
            source = self.source.body[literal.place]
            what = "`not`" if literal.negated else f"`{source.atom.name}`"
            text = f"{what} needs {_list(lacking)}, which no positive literal binds"
            names = ", ".join(lacking)
            hint = f"write a table with {names} in the body, which says what values are meant"
            if isinstance(literal, Match) and all(self.uses(name) == 1 for name in lacking):
                hint = "write `_` if any value will do; else w" + hint[1:]
            self.add("unbound-variable", text, source.span, hint)
        said = {name for literal, _ in stuck for name in needed(literal)}
        for literal, _ in stuck:
            said.update(_outputs(literal))
        self.head_unbound(head, {*said, *_bound(order)})

    def uses(self, name: str) -> int:
        """How often the rule names the variable."""
        literals = (*self.source.heads, *self.source.body)
        found = [term for literal in literals for term in _terms(literal)]
        variables = [term.variable if isinstance(term, Aggregate) else term for term in found]
        return sum(isinstance(term, Variable) and term.name == name for term in variables)

    def unmentioned(self, head: Terms) -> None:
        terms = [term for literal in self.source.body for term in _terms(literal)]
        self.head_unbound(head, set(named([t for t in terms if not isinstance(t, Aggregate)])))

    def head_unbound(self, head: Terms, bound: set[str]) -> None:
        told = set(bound)
        for term in head:
            variable = term.variable if isinstance(term, Aggregate) else term
            if not isinstance(variable, Variable) or variable.name in told:
                continue
            if isinstance(term, Aggregate) and is_anonymous(variable):
                continue
            told.add(variable.name)
            if is_anonymous(variable):
                text, hint = (
                    "`_` is any value, and a head says which",
                    "name a variable of the body",
                )
            else:
                text = f"`{variable.name}` is in the head, and no positive literal binds it"
                hint = f"write a table with {variable.name} in the body"
            self.add("unbound-variable", text, variable.span, hint)


def _terms(literal: Literal) -> Iterator[Term]:
    yield from literal.atom.terms
    for column in literal.atom.named:
        yield column.term


def _outputs(literal: CoreLiteral) -> list[str]:
    return named(literal.outputs) if isinstance(literal, Call) else []


def _bound(order: Sequence[CoreLiteral]) -> set[str]:
    found: set[str] = set()
    for literal in order:
        if isinstance(literal, Match):
            found.update(named(literal.arguments))
        else:
            found.update(named(literal.outputs))
    return found


def _lacking(head: Terms, order: Sequence[CoreLiteral]) -> bool:
    """Whether a variable of the head has no value."""
    bound = _bound(order)
    variables = (term.variable if isinstance(term, Aggregate) else term for term in head)
    return any(isinstance(v, Variable) and v.name not in bound for v in variables)


def _core_head(head: Terms) -> tuple[CoreTerm | Fold, ...]:
    return tuple(
        Fold(term.function, term.variable) if isinstance(term, Aggregate) else term
        for term in head
        if term is not None
    )


def _list(names: Sequence[str]) -> str:
    quoted = [f"`{name}`" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"
