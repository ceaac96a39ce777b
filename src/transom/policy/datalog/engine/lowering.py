# SPDX-License-Identifier: Apache-2.0
"""Rules made of simpler ones, over hidden tables that nobody else sees.

`not ports(_, vm)` asks a hidden table of the vms that have ports. A rule with aggregates fills a
hidden table of its bindings, and a `Fold` goes from there to its head.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from transom.policy.datalog.core import Call, CoreRule, Fold, Match, TableId
from transom.policy.datalog.language.syntax import Variable


@dataclass(frozen=True, slots=True)
class Lowered:
    """`projections`: rules for hidden tables, shared by all rules that need the same.

    `rule`: what is evaluated. `folds`: its head is a hidden table, from which aggregates are made.
    """

    projections: tuple[CoreRule, ...]
    rule: CoreRule
    folds: bool


def lowered(rule: CoreRule) -> Lowered:
    projections: list[CoreRule] = []
    body: list[Match | Call] = []
    for literal in rule.body:
        if isinstance(literal, Match) and literal.negated and None in literal.arguments:
            projection = _projection(literal)
            projections.append(projection)
            known = tuple(term for term in literal.arguments if term is not None)
            body.append(replace(literal, table=projection.head, arguments=known))
        else:
            body.append(literal)
    folds = [term for term in rule.arguments if isinstance(term, Fold)]
    changed = replace(rule, body=tuple(body))
    if folds:
        arguments = tuple(map(Variable, _bindings(rule, folds)))
        # Of the body too: a rule that takes the place of one of its name has a table of its own.
        head = TableId(f"#{rule.name} {hash(rule):x}")
        changed = replace(changed, head=head, arguments=arguments)
    return Lowered(tuple(projections), changed, bool(folds))


def _projection(literal: Match) -> CoreRule:
    kept = [column for column, term in enumerate(literal.arguments) if term is not None]
    head = TableId(f"{literal.table}#{len(literal.arguments)}:{','.join(map(str, kept))}")
    columns = tuple(Variable(str(column)) for column in kept)
    arguments = tuple(
        Variable(str(column)) if column in kept else None
        for column in range(len(literal.arguments))
    )
    return CoreRule(head, head, columns, (Match(literal.table, arguments),))


def _bindings(rule: CoreRule, folds: list[Fold]) -> list[str]:
    """Variables whose bindings are folded: of a sum all, so that equal sizes are all added."""
    if any(fold.function == "sum" for fold in folds):
        return list(dict.fromkeys(_bound(rule)))
    kept = [term for term in rule.arguments if isinstance(term, Variable)]
    return list(dict.fromkeys(term.name for term in (*kept, *(fold.variable for fold in folds))))


def _bound(rule: CoreRule) -> Iterator[str]:
    """Names that the body binds."""
    for literal in rule.body:
        terms = literal.outputs if isinstance(literal, Call) else literal.arguments
        if not literal.negated:
            yield from (term.name for term in terms if isinstance(term, Variable))
