# SPDX-License-Identifier: Apache-2.0
"""Rules as the engine takes them: names resolved, columns by place, body in an order that is safe.

`checks` makes them of syntax trees; `plan` and `functions` make functions of them; the proof's
naive evaluator reads the same. Nothing in them says where a text was.

Invariants of a `CoreRule`:
1. Each variable of the head, of a negated literal, and each input of a call is bound by a positive
   match or by an output of a call that stands before it.
2. `None` as an argument is `_`: any value, and nobody asks which.
3. A negated match binds nothing: its variables are bound before it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NewType, TypeAlias

from transom.policy.datalog.language.syntax import Constant, Variable

TableId = NewType("TableId", str)
"""`policy:table`, `policy:table+`, or `policy:execute[nova:servers.pause]`: one table of all."""

CoreTerm: TypeAlias = Constant | Variable


@dataclass(frozen=True, slots=True)
class Builtin:
    """A pure function as a literal: `plus(x, y, z)` has 2 inputs and 1 output.

    `function` takes the inputs as values. It gives: with 0 outputs whether the literal holds; with
    1, a value; with more, a tuple of values. Whatever it raises is the third answer: the row is
    left out whether the literal is negated or not, and the exception's text is the diagnostic.
    """

    name: str
    inputs: int
    outputs: int
    function: Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Match:
    """Rows of a table. `place`: which literal of the text's body this is, from 0."""

    table: TableId
    arguments: tuple[CoreTerm | None, ...]
    negated: bool = False
    place: int = 0


@dataclass(frozen=True, slots=True)
class Call:
    """A builtin. An output that is bound already, or a constant, is compared."""

    builtin: Builtin
    inputs: tuple[CoreTerm, ...]
    outputs: tuple[CoreTerm | None, ...] = ()
    negated: bool = False
    place: int = 0


@dataclass(frozen=True, slots=True)
class Fold:
    """An aggregate of a head: `function` is count, sum, min or max."""

    function: str
    variable: Variable


@dataclass(frozen=True, slots=True)
class CoreRule:
    """`name`: unique among all rules, the same in every replica: policy and canonical text."""

    name: str
    head: TableId
    arguments: tuple[CoreTerm | Fold, ...]
    body: tuple[Match | Call, ...]

    @property
    def matches(self) -> list[Match]:
        return [literal for literal in self.body if isinstance(literal, Match)]
