# SPDX-License-Identifier: Apache-2.0
"""Access rules: the language of oslo.policy, compiled to closures.

    rule   := "" | check | "not" rule | rule "and" rule | rule "or" rule | "(" rule ")"
    check  := "@" | "!" | "role:" NAME | "rule:" NAME | KIND ":" MATCH
    KIND   := an attribute of the caller (`project_id`) | a literal ('member', True, 7)
    MATCH  := text with `%(key)s` for the target's attributes

`not` binds closest, then `and`, then `or`; the empty rule and `@` always hold, `!` never does.

Invariants:
1. What is not there denies: a rule without a name, an attribute that the caller or the target
   lacks, and an empty attribute, which equals nothing (an unscoped token owns no target whose
   owner is unset).
2. All rules are compiled when `Rules` is made; a fault in any of them is a ConfigError then.

Source: https://docs.openstack.org/oslo.policy/latest/admin/policy-yaml-file.html
Measured: 0.9 microseconds for `role:admin or project_id:%(project_id)s` (bench/http/pieces.py).
"""

import ast
import re
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any

from transom.errors import ConfigError, Forbidden
from transom.runtime.auth.context import Context

Target = Mapping[str, Any]
Check = Callable[[Context, Target], bool]

NOTHING: Target = {}

_ATTRIBUTES: dict[str, Callable[[Context], str]] = {
    "user_id": attrgetter("user_id"),
    "user_name": attrgetter("user_name"),
    "user_domain_id": attrgetter("user_domain_id"),
    "project_id": attrgetter("project_id"),
    "tenant_id": attrgetter("project_id"),
    "project_name": attrgetter("project_name"),
    "project_domain_id": attrgetter("project_domain_id"),
    "domain_id": attrgetter("domain_id"),
    "system_scope": lambda context: "all" if context.system else "",
}

_TOKEN = re.compile(r"\(|\)|(?:'[^']*'|\"[^\"]*\"|%\([^)]*\)s|[^\s()])+")
_FIELD = re.compile(r"%\(([^)]*)\)s")


class Rules:
    """A set of named rules. `defaults`: name -> text.

    Raises: ConfigError naming the rule that is malformed, or that refers to none or to itself.
    """

    def __init__(self, defaults: Mapping[str, str]) -> None:
        self._texts = defaults
        self._checks: dict[str, Check] = {}
        for name in defaults:
            self._compiled(name, ())

    def enforce(self, name: str, context: Context, target: Target = NOTHING) -> None:
        """Raises: Forbidden unless the rule holds."""
        check = self._checks.get(name)
        if check is None or not check(context, target):
            raise Forbidden(detail=f"rule {name} denies")

    def holds(self, name: str, context: Context, target: Target = NOTHING) -> bool:
        """For what is shown only to some; a missing rule does not hold."""
        check = self._checks.get(name)
        return check is not None and check(context, target)

    def _compiled(self, name: str, path: tuple[str, ...]) -> Check:
        if name in path:
            cycle = " -> ".join([*path[path.index(name) :], name])
            raise ConfigError(f"rule {name!r} refers to itself: {cycle}")
        if name not in self._checks:
            if name not in self._texts:
                raise ConfigError(f"rule {path[-1]!r} refers to rule {name!r}, which is not there")
            inner = (*path, name)
            parser = _Parser(name, self._texts[name], lambda other: self._compiled(other, inner))
            self._checks[name] = parser.parsed()
        return self._checks[name]


class _Parser:
    """Recursive descent over one rule's text."""

    def __init__(self, name: str, text: str, rule: Callable[[str], Check]) -> None:
        self._name = name
        self._text = text
        self._rule = rule
        self._tokens: list[str] = _TOKEN.findall(text)
        self._at = 0

    def parsed(self) -> Check:
        if not self._tokens:
            return _always
        try:
            check = self._alternatives()
        except RecursionError:
            raise self._fault("is nested too deeply") from None
        if self._at < len(self._tokens):
            raise self._fault(f"has {self._tokens[self._at]!r} where 'and' or 'or' belongs")
        return check

    def _alternatives(self) -> Check:
        checks = [self._conjunction()]
        while self._took("or"):
            checks.append(self._conjunction())
        return checks[0] if len(checks) == 1 else _any_of(checks)

    def _conjunction(self) -> Check:
        checks = [self._factor()]
        while self._took("and"):
            checks.append(self._factor())
        return checks[0] if len(checks) == 1 else _all_of(checks)

    def _factor(self) -> Check:
        if self._took("not"):
            denied = self._factor()
            return lambda context, target: not denied(context, target)
        if self._took("("):
            check = self._alternatives()
            if not self._took(")"):
                raise self._fault("lacks a ')'")
            return check
        if self._at == len(self._tokens):
            raise self._fault("ends where a check belongs")
        word = self._tokens[self._at]
        self._at += 1
        if word == ")" or word.lower() in ("and", "or"):
            raise self._fault(f"has {word!r} where a check belongs")
        return self._check(word)

    def _check(self, word: str) -> Check:
        if word == "@":
            return _always
        if word == "!":
            return _never
        kind, colon, match = word.partition(":")
        if not colon or not kind or not match:
            raise self._fault(f"has {word!r}, which is no check")
        if kind == "rule":
            return self._rule(match)
        if "%" in _FIELD.sub("", match):
            raise self._fault(f"has {word!r}; write the target's attributes as %(name)s")
        if kind == "role":
            return _role(match)
        return _compared(kind, match)

    def _took(self, word: str) -> bool:
        if self._at < len(self._tokens) and self._tokens[self._at].lower() == word:
            self._at += 1
            return True
        return False

    def _fault(self, what: str) -> ConfigError:
        return ConfigError(f"rule {self._name!r} {what}: {self._text}")


def _always(context: Context, target: Target) -> bool:
    return True


def _never(context: Context, target: Target) -> bool:
    return False


def _any_of(checks: list[Check]) -> Check:
    if len(checks) == 2:
        first, second = checks
        return lambda context, target: first(context, target) or second(context, target)
    return lambda context, target: any(check(context, target) for check in checks)


def _all_of(checks: list[Check]) -> Check:
    if len(checks) == 2:
        first, second = checks
        return lambda context, target: first(context, target) and second(context, target)
    return lambda context, target: all(check(context, target) for check in checks)


def _role(match: str) -> Check:
    if "%(" not in match:
        role = match.lower()
        return lambda context, target: role in context.roles
    expected = _filled(match)

    def check(context: Context, target: Target) -> bool:
        wanted = expected(target)
        return wanted is not None and wanted.lower() in context.roles

    return check


def _compared(kind: str, match: str) -> Check:
    """`KIND:MATCH`: the caller's attribute, or a literal, equals the filled text."""
    attribute = _ATTRIBUTES.get(kind)
    whole = _FIELD.fullmatch(match)
    if attribute is not None and whole is not None:
        return _owned(attribute, whole[1])
    expected = _filled(match)
    if attribute is None:
        try:
            literal = str(ast.literal_eval(kind))
        except (ValueError, SyntaxError):
            return _never  # an attribute that our callers do not have
        return lambda context, target: expected(target) == literal
    return lambda context, target: (attribute(context) or None) == (expected(target) or "")


def _owned(attribute: Callable[[Context], str], key: str) -> Check:
    """`KIND:%(key)s`, by far the most frequent form, in one closure."""

    def check(context: Context, target: Target) -> bool:
        value = attribute(context)
        found = target.get(key)
        return value != "" and value == (found if found is None else str(found))

    return check


def _filled(match: str) -> Callable[[Target], str | None]:
    """The text with the target's attributes in it; None where the target lacks one."""
    keys = _FIELD.findall(match)
    if not keys:
        return lambda target: match

    def filled(target: Target) -> str | None:
        if any(target.get(key) is None for key in keys):
            return None
        return _FIELD.sub(lambda found: str(target[found[1]]), match)

    return filled
