# SPDX-License-Identifier: Apache-2.0
"""The order in which a body is safe, if there is one.

Each time the first literal of the text comes next whose inputs are bound: so a body that is safe
as it is written stays as it is, and of one that is not only what has to wait moves.
"""

import heapq
from collections.abc import Sequence
from typing import TypeAlias

from transom.policy.datalog.core import Call, CoreTerm, Match
from transom.policy.datalog.language.syntax import Variable

CoreLiteral: TypeAlias = Match | Call


def named(terms: Sequence[CoreTerm | None]) -> list[str]:
    """The names of the variables among `terms`, each once."""
    return list(dict.fromkeys(term.name for term in terms if isinstance(term, Variable)))


def needed(literal: CoreLiteral) -> list[str]:
    """Variables that are bound before it."""
    if isinstance(literal, Match):
        return named(literal.arguments) if literal.negated else []
    return named((*literal.inputs, *literal.outputs) if literal.negated else literal.inputs)


def given(literal: CoreLiteral) -> list[str]:
    """Variables that are bound behind it."""
    if literal.negated:
        return []
    return named(literal.arguments if isinstance(literal, Match) else literal.outputs)


def ordered(
    body: Sequence[CoreLiteral],
) -> tuple[list[CoreLiteral], list[tuple[CoreLiteral, list[str]]]]:
    """The body in a safe order, and what finds no place in it, with the variables it lacks."""
    lacking = [set(needed(literal)) for literal in body]
    waiting: dict[str, list[int]] = {}
    for index, names in enumerate(lacking):
        for name in names:
            waiting.setdefault(name, []).append(index)
    ready = [index for index, names in enumerate(lacking) if not names]
    order: list[CoreLiteral] = []
    while ready:
        literal = body[heapq.heappop(ready)]
        order.append(literal)
        for name in given(literal):
            for index in waiting.pop(name, ()):
                lacking[index].discard(name)
                if not lacking[index]:
                    heapq.heappush(ready, index)
    stuck = [
        (literal, [name for name in needed(literal) if name in names])
        for literal, names in zip(body, lacking, strict=True)
        if names
    ]
    return order, stuck
