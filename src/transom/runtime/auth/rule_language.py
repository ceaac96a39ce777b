# SPDX-License-Identifier: Apache-2.0
"""The language of access rules, which is oslo.policy's: from a rule's text to its tree.

    rule   := "" | check | "not" rule | rule "and" rule | rule "or" rule | "(" rule ")"
    check  := "@" | "!" | "role:" NAME | "rule:" NAME | KIND ":" MATCH
    KIND   := an attribute of the caller (`project_id`) | a literal ('member', True, 7, None)
    MATCH  := text with `%(key)s` for the target's attributes

`not` binds closest, then `and`, then `or`; the empty rule and `@` always hold, `!` never does.
Words are set apart by white space and may be written in any case; parentheses stand at the ends of
words. A rule may also be a list, one of whose items has to hold: a check, or a list of checks that
all have to (`[["role:admin"], ["role:member", "project_id:%(project_id)s"]]`).

Invariant: what oslo.policy would understand in part only, and deny or allow by accident, is refused
here with what to write instead (`docs/howto/change-who-may-do-what.md` lists these differences).

Source: https://docs.openstack.org/oslo.policy/latest/admin/policy-yaml-file.html
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

DEPTH_MAX = 100
_REMOTE = ("http", "https")
_ESCAPE = re.compile(r"%(?:%|\(([^()%]+)\)s)")
"""`%%`, or a field."""
_LITERAL = re.compile(r"'[^'\\]*'|\"[^\"\\]*\"|[+-]?(0|[1-9][0-9]*)(\.[0-9]+)?|True|False|None")
_ATTRIBUTE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


class Malformed(Exception):
    """The rule cannot be understood; the text says where and what to do."""


@dataclass(frozen=True, slots=True)
class Constant:
    """`@`, `!`, and nothing at all."""

    holds: bool


@dataclass(frozen=True, slots=True)
class Reference:
    """`rule:NAME`."""

    name: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """`KIND:MATCH`, also `role:NAME`. `literal`: what a literal KIND shows as, else None."""

    kind: str
    match: str
    literal: str | None

    @property
    def fields(self) -> list[str]:
        """The target's attributes that stand in the match."""
        return [key for key in _ESCAPE.findall(self.match) if key]


@dataclass(frozen=True, slots=True)
class Not:
    inner: "Expression"


@dataclass(frozen=True, slots=True)
class And:
    parts: "tuple[Expression, ...]"


@dataclass(frozen=True, slots=True)
class Or:
    parts: "tuple[Expression, ...]"


Expression = Constant | Reference | Comparison | Not | And | Or


def parsed(rule: Any) -> Expression:
    """The tree of a rule's text, or of its list. Raises: Malformed."""
    if isinstance(rule, list):
        return _parsed_list(rule)
    if not isinstance(rule, str):
        raise Malformed(
            "is neither a text nor a list; write '' to allow everybody, '!' (in quotes) to deny"
        )
    if not rule:
        return Constant(True)
    return _Parser(list(_words(rule))).parsed()


def walked(expression: Expression) -> Iterator[Expression]:
    """The expression and all within it."""
    yield expression
    if isinstance(expression, Not):
        yield from walked(expression.inner)
    elif isinstance(expression, And | Or):
        for part in expression.parts:
            yield from walked(part)


def filled(match: str, values: dict[str, str]) -> str:
    """The match with these values for its fields, which are all there."""
    return _ESCAPE.sub(lambda found: values[found[1]] if found[1] else "%", match)


def whole_field(match: str) -> str | None:
    """The key, if the match is one field and nothing else."""
    found = _ESCAPE.fullmatch(match)
    return found[1] if found else None


def _words(text: str) -> Iterator[str]:
    for piece in text.split():
        word = piece.lstrip("(")
        yield from "(" * (len(piece) - len(word))
        bare = word.rstrip(")")
        if bare:
            yield bare
        yield from ")" * (len(word) - len(bare))


class _Parser:
    """Recursive descent over one rule's words."""

    def __init__(self, words: list[str]) -> None:
        self._words = words
        self._at = 0
        self._depth = 0

    def parsed(self) -> Expression:
        if not self._words:
            raise Malformed("has only spaces; write '' to allow everybody, '!' to deny")
        expression = self._alternatives()
        if self._at < len(self._words):
            raise Malformed(f"has {self._words[self._at]!r} where 'and' or 'or' belongs")
        return expression

    def _alternatives(self) -> Expression:
        parts = [self._conjunction()]
        while self._took("or"):
            parts.append(self._conjunction())
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _conjunction(self) -> Expression:
        parts = [self._factor()]
        while self._took("and"):
            parts.append(self._factor())
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _factor(self) -> Expression:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise Malformed("is nested too deeply")
        expression = self._unwrapped()
        self._depth -= 1
        return expression

    def _unwrapped(self) -> Expression:
        if self._took("not"):
            return Not(self._factor())
        if self._took("("):
            expression = self._alternatives()
            if not self._took(")"):
                raise Malformed("lacks a ')'")
            return expression
        if self._at == len(self._words):
            raise Malformed("ends where a check belongs")
        word = self._words[self._at]
        self._at += 1
        if word == ")" or word.lower() in ("and", "or"):
            raise Malformed(f"has {word!r} where a check belongs")
        return _check(word)

    def _took(self, word: str) -> bool:
        if self._at < len(self._words) and self._words[self._at].lower() == word:
            self._at += 1
            return True
        return False


def _parsed_list(rule: list[Any]) -> Expression:
    if not rule:
        return Constant(True)
    parts: list[Expression] = []
    for item in rule:
        checks = item if isinstance(item, list) else [item]
        if not all(isinstance(check, str) for check in checks):
            raise Malformed("holds more than checks and lists of checks")
        if checks:
            parts.append(_joined(And, [_check(check) for check in checks]))
    return _joined(Or, parts) if parts else Constant(False)


def _joined(kind: type[And] | type[Or], parts: list[Expression]) -> Expression:
    return parts[0] if len(parts) == 1 else kind(tuple(parts))


def _check(word: str) -> Expression:
    if word in ("@", "!"):
        return Constant(word == "@")
    kind, colon, match = word.partition(":")
    if not colon or not kind or not match:
        raise Malformed(f"has {word!r}, which is no check; write KIND:MATCH, as in role:admin")
    if kind == "rule":
        return Reference(match)
    if kind in _REMOTE:
        raise Malformed(
            f"asks {word!r} at each request, which is not done here: who may do what would hang on "
            "another service's health; write the condition itself"
        )
    _check_match(word, match)
    if _LITERAL.fullmatch(kind):
        return Comparison(kind, match, str(ast.literal_eval(kind)))
    if not _ATTRIBUTE.fullmatch(kind):
        _not_understood(word, kind)
    return Comparison(kind, match, None)


def _check_match(word: str, match: str) -> None:
    plain = _ESCAPE.sub("", match)
    if "%" in plain:
        raise Malformed(f"has {word!r}; write the target's attributes as %(name)s, and % as %%")
    if "(" in plain or ")" in plain:
        raise Malformed(f"has {word!r}; put spaces around 'and' and 'or'")


def _not_understood(word: str, kind: str) -> NoReturn:
    quoted = "; a text in quotes has no spaces" if kind[0] in "'\"" else ""
    raise Malformed(f"has {word!r}, and {kind!r} is neither an attribute nor a literal{quoted}")
