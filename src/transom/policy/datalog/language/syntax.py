# SPDX-License-Identifier: Apache-2.0
"""The syntax tree: what a text says, and where it says it.

Nothing here is checked beyond the grammar. Trees compare by what they say: places and comments are
left out, so a rule is the same rule wherever it stands.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from transom.policy.datalog.faults import NOWHERE, Span
from transom.policy.datalog.values import Value


class Mode(StrEnum):
    """How a text is read.

    `COMPATIBLE`: as Congress reads it: a backslash in a string is a backslash. `STRICT`: it begins
    an escape, and what is almost surely a slip is refused (see `checks`).
    """

    COMPATIBLE = "compatible"
    STRICT = "strict"


class Modal(StrEnum):
    EXECUTE = "execute"
    INSERT = "insert"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Constant:
    value: Value
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Variable:
    """`_` is a variable of its own at each place: two of them may differ."""

    name: str
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Aggregate:
    """In a head: `count(vm)`, `sum(size)`, `min(x)`, `max(x)`."""

    function: str
    variable: Variable
    span: Span = field(default=NOWHERE, compare=False, repr=False)


Term: TypeAlias = Constant | Variable | Aggregate


@dataclass(frozen=True, slots=True)
class Named:
    """`name=term`, or `2=term`: a column by its number from 0."""

    column: str | int
    term: Term
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class TableName:
    """`nova:servers.pause`: policy `nova`, table `servers.pause`. `policy` None: that of the rule.

    `sign`: "+" or "-" behind the name, in simulations and policies of actions; else "".
    """

    policy: str | None
    table: str
    sign: str = ""
    span: Span = field(default=NOWHERE, compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.policy}:{self.table}{self.sign}" if self.policy else self.table + self.sign


@dataclass(frozen=True, slots=True)
class Atom:
    """`execute[nova:servers.pause(id)]`. `terms` by place come first, then `named`."""

    name: TableName
    terms: tuple[Term, ...] = ()
    named: tuple[Named, ...] = ()
    modal: Modal | None = None
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Literal:
    atom: Atom
    negated: bool = False
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Rule:
    """`head :- body`. A fact is a rule without a body.

    Several heads are of the grammar, but only in a step of a simulation do they mean something.
    `comments`: lines before it, as written; `remark`: the comment behind it on its last line.
    """

    heads: tuple[Literal, ...]
    body: tuple[Literal, ...] = ()
    span: Span = field(default=NOWHERE, compare=False, repr=False)
    comments: tuple[str, ...] = field(default=(), compare=False)
    remark: str = field(default="", compare=False)

    @property
    def head(self) -> Atom:
        return self.heads[0].atom


@dataclass(frozen=True, slots=True)
class Event:
    """`insert[p(x) :- q(x); "policy"]`: a change of rules, as a step of a simulation.

    `policy` None: that of the simulation.
    """

    modal: Modal
    rule: Rule
    policy: str | None = None
    span: Span = field(default=NOWHERE, compare=False, repr=False)
    comments: tuple[str, ...] = field(default=(), compare=False)
    remark: str = field(default="", compare=False)


Statement: TypeAlias = Rule | Event


@dataclass(frozen=True, slots=True)
class Program:
    """A whole text. `trailing`: comment lines behind the last statement."""

    statements: tuple[Statement, ...]
    trailing: tuple[str, ...] = field(default=(), compare=False)
