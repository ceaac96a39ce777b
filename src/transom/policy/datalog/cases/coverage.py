# SPDX-License-Identifier: Apache-2.0
"""What cases try of rules: which rules never gave a row, and which literals never mattered.

A literal *mattered* if, in some case, the rule would give other rows without it, or a builtin would
fail. Of a table that binds variables which others need, what is left out are its constants:
`s(x, "ERROR")` matters if some case has a row of `s` with something else than `"ERROR"`. What can't
be left out is not judged.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from transom.policy.datalog.core import CoreRule, Fold, Match
from transom.policy.datalog.engine.engine import Engine
from transom.policy.datalog.faults import Span
from transom.policy.datalog.language.syntax import Constant, Variable
from transom.policy.datalog.rules.binding import CoreLiteral, given, ordered
from transom.policy.datalog.rules.program import Entry
from transom.policy.datalog.values import Row


@dataclass(slots=True)
class RuleCoverage:
    """`literals`: those that can be left out, by their place in the text, and if each mattered."""

    entry: Entry
    fired: bool = False
    literals: dict[int, bool] = field(default_factory=dict)

    @property
    def idle(self) -> list[Span]:
        """The literals that never mattered, though the rule gave rows."""
        body = self.entry.rule.body
        return [body[place].span for place, mattered in sorted(self.literals.items())
                if not mattered and self.fired]  # fmt: skip


@dataclass(slots=True)
class Coverage:
    """Of the rules of all cases, by file, place and text."""

    rules: dict[tuple[str, str], RuleCoverage] = field(default_factory=dict)

    def take(self, entry: Entry, engine: Engine) -> None:
        """Adds what one case tries of a rule."""
        core = entry.core
        if core is None:
            return
        found = self.rules.setdefault((str(entry.rule.span), entry.name), RuleCoverage(entry))
        whole = _answer(engine, core)
        found.fired |= bool(whole[0])
        for place, without in variants(core):
            mattered = found.literals.get(place, False)
            found.literals[place] = mattered or _answer(engine, without) != whole

    @property
    def silent(self) -> list[RuleCoverage]:
        """Rules that never gave a row."""
        return [rule for rule in self.rules.values() if not rule.fired]


def _answer(engine: Engine, rule: CoreRule) -> tuple[set[Row], set[int]]:
    """The rows it gives, and the places of builtins that fail."""
    rows = set(engine.ask(rule))
    return rows, set(engine.asked)


def variants(rule: CoreRule) -> Iterator[tuple[int, CoreRule]]:
    """The rule with one literal left out, or with its constants, and that literal's place."""
    for index, literal in enumerate(rule.body):
        body = _safe(rule, [*rule.body[:index], *rule.body[index + 1 :]])
        if body:
            yield literal.place, replace(rule, body=body)
        elif isinstance(literal, Match) and any(isinstance(a, Constant) for a in literal.arguments):
            loose = [None if isinstance(a, Constant) else a for a in literal.arguments]
            wider = replace(literal, arguments=tuple(loose))
            yield (
                literal.place,
                replace(rule, body=(*rule.body[:index], wider, *rule.body[index + 1 :])),
            )


def _safe(rule: CoreRule, body: list[CoreLiteral]) -> tuple[CoreLiteral, ...]:
    """The body in an order in which all has a value; empty: there is none."""
    order, stuck = ordered(body)
    bound = {name for literal in order for name in given(literal)}
    terms = (term.variable if isinstance(term, Fold) else term for term in rule.arguments)
    lacking = any(term.name not in bound for term in terms if isinstance(term, Variable))
    return () if stuck or lacking else tuple(order)
