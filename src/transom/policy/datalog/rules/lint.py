# SPDX-License-Identifier: Apache-2.0
"""What is allowed and most likely not meant: warnings about a program.

Only what is certain from the rules, the facts and the schemas is said; each with a code that stays
(`CODES`), its place, and what to write instead.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final, TypeAlias

from transom.policy.datalog.builtins import BUILTINS
from transom.policy.datalog.core import Call, CoreRule, Fold, Match
from transom.policy.datalog.faults import Fault, Severity, Span
from transom.policy.datalog.language.syntax import Aggregate, Constant, Literal, Modal, Variable
from transom.policy.datalog.rules.binding import CoreLiteral, named
from transom.policy.datalog.rules.checks import BARE_CONSTANTS, declares
from transom.policy.datalog.rules.contradictions import contradictions
from transom.policy.datalog.rules.names import TIME_POLICY, meant
from transom.policy.datalog.rules.program import Entry, Kind, Program

CODES: Final[Mapping[str, str]] = {
    "single-use": "a variable is used once",
    "bare-constant": "`True`, `False`, `None` or `NULL` as an argument is a variable",
    "dangling-table": "a rule reads a table that nothing makes or fills",
    "never-matches": "a body that no rows can pass",
    "duplicate-rule": "a rule says what another says, with other variables",
    "subsumed-rule": "a rule asks for more than another with the same head",
    "cross-product": "parts of a body share no variable",
    "sum-hidden-rows": "a sum does not tell rows apart that differ only where `_` is",
    "execute-without-source": "an action that is of no source",
    "unmentioned-columns": "an atom by place has fewer arguments than columns",
    "rule-waits": "a rule is not in force",
}
SAME_HEAD_MOST: Final = 200
"""Rules of one head that are compared with each other."""


_Known: TypeAlias = Mapping[str, Mapping[str, None]]


def lint(program: Program) -> list[Fault]:
    """All warnings, in the order of the text."""
    known = _known_tables(program)
    found: list[Fault] = []
    for entry in program.entries.values():
        found += _entry_faults(program, entry, known)
    found += _duplicates(program)
    found += _subsumed(program)
    return sorted(found, key=lambda fault: (fault.span.source.name, fault.span.start, fault.code))


def _entry_faults(program: Program, entry: Entry, known: _Known) -> Iterator[Fault]:
    yield from _variables(entry)
    yield from _execute(program, entry)
    yield from _dangling(program, entry, known)
    yield from _unmentioned(program, entry)
    for fault in entry.faults:
        yield _warning("rule-waits", f"not in force: {fault.message}", fault.span, fault.hint)
    core = entry.core
    if core is not None:
        body = entry.rule.body
        for one in contradictions(program, core):
            text = f"the rule never holds: {one.text}"
            related = () if one.other is None else (("the other is here", body[one.other].span),)
            yield _warning("never-matches", text, body[one.place].span, one.hint, related)
        yield from _cross_product(entry, core)
        yield from _sums(entry, core)


def _warning(
    code: str,
    text: str,
    span: Span,
    hint: str = "",
    related: Sequence[tuple[str, Span]] = (),
) -> Fault:
    return Fault(code, text, span, Severity.WARNING, hint, tuple(related))


# Variables


def _all_variables(literals: Iterable[Literal]) -> Iterator[Variable]:
    for literal in literals:
        atom = literal.atom
        for term in (*atom.terms, *(column.term for column in atom.named)):
            if isinstance(term, Variable):
                yield term
            elif isinstance(term, Aggregate):
                yield term.variable


def _variables(entry: Entry) -> Iterator[Fault]:
    if declares(entry.rule):
        return
    everywhere = list(_all_variables((*entry.rule.heads, *entry.rule.body)))
    uses = Counter(variable.name for variable in everywhere)
    # Of a sum, a variable that nobody asks for tells rows apart.
    sums = any(
        isinstance(term, Aggregate) and term.function == "sum" for term in entry.rule.head.terms
    )
    told = set()
    for variable in everywhere:
        name = variable.name
        if name in BARE_CONSTANTS and name not in told:
            told.add(name)
            text = f"`{name}` is a variable, which takes any value"
            yield _warning("bare-constant", text, variable.span, f"write `{BARE_CONSTANTS[name]}`")
        elif uses[name] == 1 and not (sums or name.startswith("_") or name in BARE_CONSTANTS):
            text = f"`{name}` is used once"
            hint = "write `_` if any value will do"
            if name[0].isupper():
                hint += f', and "{name}" if it is a text'
            yield _warning("single-use", text, variable.span, hint)


# Tables


def _execute(program: Program, entry: Entry) -> Iterator[Fault]:
    atom = entry.rule.head
    if atom.modal is not Modal.EXECUTE:
        return
    source = atom.name.policy
    if source is None:
        text = f"`{atom.name}` does not say whose action it is"
        hint = f"name its source: execute[nova:{atom.name}(...)]"
        yield _warning("execute-without-source", text, atom.span, hint)
    elif program.policies.get(source, Kind.DATASOURCE) is not Kind.DATASOURCE:
        text = f"`{source}` is a policy, not a source, and has no actions"
        yield _warning("execute-without-source", text, atom.span)


def _dangling(program: Program, entry: Entry, known: _Known) -> Iterator[Fault]:
    """Bodies of action policies read actions, which nothing makes."""
    if program.policies[entry.policy] is Kind.ACTION:
        return
    for table, atom in entry.atoms:
        policy, _, name = table.partition(":")
        if table not in entry.reads or policy == TIME_POLICY:
            continue
        if policy not in program.policies:
            near = meant(policy, program.policies)
            if near and table not in program.inputs:
                yield _warning("dangling-table", f"there is no policy `{policy}`", atom.span, near)
            continue
        unsaid = program.policies[policy] is Kind.DATASOURCE and policy not in program.schemas
        if not unsaid and name not in known.get(policy, ()):
            hint = meant(name, known.get(policy, ()))
            if policy == entry.policy:
                hint = hint or meant(name, BUILTINS)
            yield _warning("dangling-table", f"nothing makes or fills {table}", atom.span, hint)


def _known_tables(program: Program) -> dict[str, dict[str, None]]:
    """The tables of each policy that anything makes, fills or describes."""
    known = {policy: dict.fromkeys(schema.tables) for policy, schema in program.schemas.items()}
    for table in (*program.heads, *program.facts, *program.inputs):
        policy, _, name = table.partition(":")
        known.setdefault(policy, {})[name] = None
    return known


def _unmentioned(program: Program, entry: Entry) -> Iterator[Fault]:
    for table, atom in entry.atoms:
        columns = program.columns(table)
        if columns is not None and table in entry.reads and not atom.named:
            left = columns[len(atom.terms) :]
            if left:
                text = f"{table} has {', '.join(left)} too"
                hint = "name the columns that matter, or write `_` for each"
                yield _warning("unmentioned-columns", text, atom.span, hint)


# Bodies


def _cross_product(entry: Entry, core: CoreRule) -> Iterator[Fault]:
    parts = _parts(core)
    for one, other in pairwise(parts):
        text = f"{one.table} and {other.table} share no variable: all their rows are combined"
        span = entry.rule.body[other.place].span
        related = (("the other part is here", entry.rule.body[one.place].span),)
        yield _warning("cross-product", text, span, "join them, or make two rules", related)


def _parts(core: CoreRule) -> list[Match]:
    """The first literal of each part of the body; calls join what they name."""
    groups: list[tuple[set[str], Match | None]] = []
    for literal in sorted(core.body, key=lambda literal: literal.place):
        names = set(_names(literal))
        if not names:
            continue
        first = literal if isinstance(literal, Match) and not literal.negated else None
        rest = []
        for known, match in groups:
            if known & names:
                names |= known
                first = match or first
            else:
                rest.append((known, match))
        groups = [*rest, (names, first)]
    found = [match for _, match in groups if match is not None]
    return sorted(found, key=lambda match: match.place)


def _names(literal: CoreLiteral) -> list[str]:
    if isinstance(literal, Match):
        return named(literal.arguments)
    return named((*literal.inputs, *literal.outputs))


def _sums(entry: Entry, core: CoreRule) -> Iterator[Fault]:
    """Where the body names anything that the head does not, that tells rows apart."""
    asked = {term.variable.name for term in core.arguments if isinstance(term, Fold)}
    asked.update(term.name for term in core.arguments if isinstance(term, Variable))
    if any(name not in asked for match in core.matches for name in named(match.arguments)):
        return
    for term in core.arguments:
        if not isinstance(term, Fold) or term.function != "sum":
            continue
        for literal in core.body:
            if isinstance(literal, Call) or literal.negated or None not in literal.arguments:
                continue
            if term.variable in literal.arguments:
                name = term.variable.name
                text = f"rows that differ only in `_` add `{name}` once"
                hint = "name the column that tells the rows apart"
                yield _warning("sum-hidden-rows", text, entry.rule.body[literal.place].span, hint)


# Rules beside each other


def _duplicates(program: Program) -> Iterator[Fault]:
    seen: dict[object, Entry] = {}
    for entry in program.entries.values():
        if entry.core is None:
            continue
        first = seen.setdefault(_shape(entry.core), entry)
        if first is not entry:
            related = (("the other is here", first.rule.span),)
            text = "this says what another rule says"
            yield _warning("duplicate-rule", text, entry.rule.span, "leave one out", related)


def _shape(core: CoreRule) -> object:
    """The same for rules that differ in the names of variables and the order of literals."""
    names: dict[str, int] = {}
    literals = sorted(core.body, key=lambda literal: repr(_renamed(literal, None)))
    head = tuple(_term(term, names) for term in core.arguments)
    return core.head, head, tuple(_renamed(literal, names) for literal in literals)


def _renamed(literal: CoreLiteral, names: dict[str, int] | None) -> tuple[object, ...]:
    """`names` None: all variables are one."""
    if isinstance(literal, Match):
        what: object = literal.table
        terms: Sequence[object] = literal.arguments
    else:
        what, terms = literal.builtin.name, (*literal.inputs, *literal.outputs)
    return (what, literal.negated, *(_term(term, names) for term in terms))


def _term(term: object, names: dict[str, int] | None) -> object:
    if isinstance(term, Variable):
        return ("variable", 0 if names is None else names.setdefault(term.name, len(names)))
    if isinstance(term, Fold):
        return (term.function, _term(term.variable, names))
    return ("constant", term.value) if isinstance(term, Constant) else ("any",)


def _subsumed(program: Program) -> Iterator[Fault]:
    for names in program.heads.values():
        entries = [program.entries[name] for name in names]
        plain = [(entry, _literals(entry.core)) for entry in entries if entry.core is not None]
        if len(plain) > SAME_HEAD_MOST:
            continue
        for entry, asked in plain:
            for other, less in plain:
                if asked is not None and less is not None and less < asked:
                    text = "another rule says this, and asks for less"
                    related = (("it is here", other.rule.span),)
                    yield _warning(
                        "subsumed-rule", text, entry.rule.span, "leave this one out", related
                    )
                    break


def _literals(core: CoreRule) -> frozenset[tuple[object, ...]] | None:
    """With the head's variables named by their place. None: its head is more than variables."""
    names: dict[str, int] = {}
    for term in core.arguments:
        if not isinstance(term, Variable) or term.name in names:
            return None
        names[term.name] = len(names)
    return frozenset(
        (
            literal.table if isinstance(literal, Match) else literal.builtin.name,
            literal.negated,
            *(_placed(term, names) for term in _arguments(literal)),
        )
        for literal in core.body
    )


def _arguments(literal: CoreLiteral) -> Sequence[object]:
    if isinstance(literal, Match):
        return literal.arguments
    return (*literal.inputs, *literal.outputs)


def _placed(term: object, names: Mapping[str, int]) -> object:
    if isinstance(term, Variable):
        return ("head", names[term.name]) if term.name in names else ("body", term.name)
    return ("constant", term.value) if isinstance(term, Constant) else ("any",)
