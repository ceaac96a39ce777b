# SPDX-License-Identifier: Apache-2.0
"""Texts: put together, measured, taken apart, looked through. Characters are code points.

Invariant: no result is longer than a cell, and its length is known before it is made.
"""

from typing import Final

from transom.policy.datalog.builtins.arguments import (
    BuiltinError,
    check_length,
    given_text,
    shown,
    text,
    whole,
)
from transom.policy.datalog.builtins.patterns import search
from transom.policy.datalog.core import Builtin
from transom.policy.datalog.values import Value


def concat(x: Value, y: Value) -> Value:
    """concat(x, y, z): z is the text x followed by the text y.

    Fails: x or y is no text; the result is too long.
    Example: concat("abc", "def", "abcdef")
    """
    first, second = text("concat", x), text("concat", y)
    check_length("concat", len(first) + len(second))
    return first + second


def as_text(x: Value) -> Value:
    """text(x, y): y is x as a text: a number, a truth value or null as a rule would write it.

    Fails: never.
    Example: text(80, "80")
    """
    return x if type(x) is str else shown(x)


def length(x: Value) -> Value:
    """len(x, y): y is how many characters the text x has.

    Fails: x is no text.
    Example: len("abcde", 5)
    """
    return len(text("len", x))


def lower(x: Value) -> Value:
    """lower(x, y): y is the text x in lower case.

    Fails: x is no text; the result is too long.
    Example: lower("Web-01", "web-01")
    """
    return given_text("lower", text("lower", x).lower())


def upper(x: Value) -> Value:
    """upper(x, y): y is the text x in upper case.

    Fails: x is no text; the result is too long.
    Example: upper("tcp", "TCP")
    """
    return given_text("upper", text("upper", x).upper())


def replace(x: Value, old: Value, new: Value) -> Value:
    """replace(x, old, new, y): y is the text x with new in place of each old.

    Fails: one of them is no text; old is empty; the result is too long.
    Example: replace("a.b.c", ".", "-", "a-b-c")
    """
    whole_text, before, after = text("replace", x), text("replace", old), text("replace", new)
    if not before:
        raise BuiltinError("replace: there is nothing to replace, the second argument is empty")
    growth = len(after) - len(before)
    if growth > 0:
        check_length("replace", len(whole_text) + whole_text.count(before) * growth)
    return whole_text.replace(before, after)


def split_part(x: Value, separator: Value, place: Value) -> Value:
    """split_part(x, separator, n, y): y is part n of the text x, from 1, or from -1 at its end.

    A text without so many parts gives the empty text, as in SQL.

    Fails: x or the separator is no text; the separator is empty; n is no integer, or 0.
    Example: split_part("prod-web-01", "-", 2, "web")
    """
    found, between = text("split_part", x), text("split_part", separator)
    wanted = whole("split_part", place)
    if not between:
        raise BuiltinError("split_part: the separator is empty")
    if wanted == 0:
        raise BuiltinError("split_part: there is no part 0, parts count from 1 or from -1")
    parts = abs(wanted)
    if parts > found.count(between) + 1:
        return ""
    if wanted > 0:
        return found.split(between, parts)[parts - 1]
    return found.rsplit(between, parts)[-parts]


def starts_with(x: Value, prefix: Value) -> bool:
    """starts_with(x, prefix): the text x begins with the text prefix.

    Fails: x or prefix is no text.
    Example: starts_with("prod-web-01", "prod-")
    """
    if type(x) is str and type(prefix) is str:
        return x.startswith(prefix)
    return text("starts_with", x).startswith(text("starts_with", prefix))


def ends_with(x: Value, suffix: Value) -> bool:
    """ends_with(x, suffix): the text x ends with the text suffix.

    Fails: x or suffix is no text.
    Example: ends_with("disk.qcow2", ".qcow2")
    """
    return text("ends_with", x).endswith(text("ends_with", suffix))


def contains(x: Value, part: Value) -> bool:
    """contains(x, part): the text part stands somewhere in the text x.

    Fails: x or part is no text.
    Example: contains("prod-web-01", "web")
    """
    return text("contains", part) in text("contains", x)


def matches(x: Value, pattern: Value) -> bool:
    """matches(x, pattern): the regular expression pattern is found somewhere in the text x.

    `^` and `$` in the pattern tie it to the whole text, `(?i)` in front makes it blind to case.

    Fails: x or pattern is no text; pattern is no regular expression, or too big; x is too long.
    Example: matches("prod-web-01", "^(prod|test)-")
    """
    return search("matches", text("matches", pattern), text("matches", x))


TEXTS: Final = (
    Builtin("concat", 2, 1, concat),
    Builtin("text", 1, 1, as_text),
    Builtin("len", 1, 1, length),
    Builtin("lower", 1, 1, lower),
    Builtin("upper", 1, 1, upper),
    Builtin("replace", 3, 1, replace),
    Builtin("split_part", 3, 1, split_part),
    Builtin("starts_with", 2, 0, starts_with),
    Builtin("ends_with", 2, 0, ends_with),
    Builtin("contains", 2, 0, contains),
    Builtin("matches", 2, 0, matches),
)
