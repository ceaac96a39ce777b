# SPDX-License-Identifier: Apache-2.0
"""Usual slips: what a person meant who wrote what is not of the grammar, and how to write it."""

from collections.abc import Sequence
from typing import Final

from transom.policy.datalog.language.lexer import END, NAME, NUMBER, STRING, Token, visible
from transom.policy.datalog.language.syntax import Modal

NEGATIONS: Final = frozenset({"not", "NOT"})
AGGREGATES: Final = ("count", "sum", "min", "max")
_AVERAGES: Final = frozenset({"avg", "average", "mean"})
_MODALS: Final = frozenset(Modal)
STOPS: Final = frozenset({".", ";"})
_OPERANDS: Final = frozenset({NAME, NUMBER, STRING})
_OPERAND_CHARACTERS_MOST: Final = 40
_COMPARISONS: Final = {
    "=": "equal({}, {})",
    "==": "equal({}, {})",
    "!=": "not equal({}, {})",
    "<>": "not equal({}, {})",
    "<": "lt({}, {})",
    "<=": "lteq({}, {})",
    "=<": "lteq({}, {})",
    ">": "gt({}, {})",
    ">=": "gteq({}, {})",
}
_JOINED: Final = "literals are joined by `,`"
_ALTERNATIVES: Final = "alternatives are several rules with the same head"
_RULE: Final = "a rule is written `head :- body`"
_ADVICE: Final = {
    ":=": _RULE,
    "<-": _RULE,
    "->": f"{_RULE}: what follows stands first",
    ":": f"{_RULE}, a table of another policy `policy:table`",
    "&": _JOINED,
    "&&": _JOINED,
    "and": _JOINED,
    "|": _ALTERNATIVES,
    "||": _ALTERNATIVES,
    "or": _ALTERNATIVES,
    "*": "arithmetic is done by literals: `mul(x, y, z)` is z = x * y",
    "/": "arithmetic is done by literals: `div(x, y, z)` is z = x / y",
    "+": "arithmetic is done by literals: `plus(x, y, z)` is z = x + y",
    "-": "arithmetic is done by literals: `minus(x, y, z)` is z = x - y",
    "%": "comments begin with `//` or `#`",
    "*/": "no comment is open here: the first `*/` closes one, whatever it holds",
    "`": "strings stand between two `\"` or two `'`",
    "?": "a query is written without it",
    "~": "negation is written `not`",
    "[": "there are no lists: several values are several rules, or a table of them",
}
_NO_FACT: Final = "a fact has no `:-`; a rule that always holds has the body `true`"
_NO_DASH: Final = "names have no `-` inside, but `_`; `minus(x, y, z)` is z = x - y"
_HEADLESS: Final = "a rule has its head before `:-`"
_ONE_RULE: Final = "a rule has one `:-`; if a new rule begins before it, a comma is one too many"


def advice(tokens: Sequence[Token], at: int) -> str:
    """What to do about the token at a place where the grammar has none like it; "" if unknown."""
    token = tokens[at]
    before = tokens[at - 1] if at else None
    if before and before.end == token.start and before.kind == NAME and token.text[:1] == "-":
        return _NO_DASH
    if token.kind in _COMPARISONS:
        return _comparison(tokens, at)
    if before and token.kind in (END, NAME, *STOPS):
        if before.kind == ",":
            return "leave out the comma before it"
        if before.kind == ":-":
            return _NO_FACT
    if token.kind == ":-":
        return _ONE_RULE if before and before.kind not in STOPS else _HEADLESS
    if token.kind == NUMBER and token.text.startswith("-"):
        return _ADVICE["-"]
    return _ADVICE.get(token.text.lower() if token.kind == NAME else token.kind, "")


def _comparison(tokens: Sequence[Token], at: int) -> str:
    sides = [tokens[at - 1], tokens[at + 1]] if at else []
    words = ["x", "y"]
    if sides and all(side.kind in _OPERANDS for side in sides):
        texts = [visible(side.text) for side in sides]
        if max(map(len, texts)) <= _OPERAND_CHARACTERS_MOST:
            words = texts
    return f"write `{_COMPARISONS[tokens[at].kind].format(*words)}`, as a literal of its own"


def call_advice(name: str) -> str:
    """What to do about `name(...)` as an argument."""
    if name in _MODALS:
        return f"square brackets hold a whole atom: `{name}[p(x)]`"
    if name in NEGATIONS:
        return f"`{name}` stands before a whole literal"
    if name in AGGREGATES:
        return f"aggregates stand in heads: `n({name}(x)) :- p(x)`, and then `n(y)`"
    if name in _AVERAGES:
        return "the aggregates are count, sum, min and max; `div(sum, count, y)` divides"
    return f"give it a literal of its own, `{name}(x, y)`, and use `y` here"


def is_conjunction(text: str, tokens: Sequence[Token], at: int) -> bool:
    """Whether what follows a literal on its line is an `and` or `or`, and no fact of that name."""
    token = tokens[at]
    if token.text.lower() not in ("and", "or") or tokens[at + 1].kind not in (NAME, "!"):
        return False
    return "\n" not in text[tokens[at - 1].end : token.start]
