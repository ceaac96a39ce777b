# SPDX-License-Identifier: Apache-2.0
"""What is wrong with the value of an option in a configuration: a text, empty if nothing is.

A value is what a file held, so often a text: `" 5 "` is the integer 5. An empty bound is none. That
the value is wrong is the answer; the literal fails only where the rule is wrong.
"""

import re
from typing import Final

from transom.policy.datalog.builtins.arguments import BuiltinError, number, shown, text, whole
from transom.policy.datalog.builtins.numbers import DECIMAL, INTEGER, digits
from transom.policy.datalog.builtins.patterns import search
from transom.policy.datalog.builtins.texts import as_text
from transom.policy.datalog.core import Builtin
from transom.policy.datalog.values import FALSE, NAN, TRUE, Real, Value

FLAGS: Final[dict[Value, bool]] = {0: False, 1: True, FALSE: False, TRUE: True, "": False}


def validate_int(least: Value, most: Value, value: Value) -> Value:
    """validate_int(min, max, value, error): error is "", or why value is no integer within.

    Fails: a bound is neither a number nor the empty text; min is greater than max.
    Example: validate_int(2, 7, 5, "")
    """
    bounds = _bounds("validate_int", least, most)
    if type(value) is Real and value is not NAN and value[0].is_integer():
        return _outside(bounds, int(value[0]))
    return _read(bounds, value, INTEGER, "integer")


def validate_float(least: Value, most: Value, value: Value) -> Value:
    """validate_float(min, max, value, error): error is "", or why value is no number within.

    Fails: a bound is neither a number nor the empty text; min is greater than max.
    Example: validate_float(2.3, 4.5, "3.3", "")
    """
    bounds = _bounds("validate_float", least, most)
    if type(value) is Real and value is not NAN:
        return _outside(bounds, value[0])
    return _read(bounds, value, DECIMAL, "number")


def validate_string(
    pattern: Value, most: Value, quotes: Value, ignore_case: Value, value: Value
) -> Value:
    """validate_string(regex, max_length, quotes, nocase, value, error): error is "" or a reason.

    The pattern is searched for, as `matches` does; an empty one fits all, and so does a length of 0
    or "". With quotes, a pair around the value is not part of it. A flag is 0, 1, true or false.

    Fails: regex is no regular expression; max_length is no integer; quotes or nocase is no flag.
    Example: validate_string("^a*$", 5, 0, 1, "aAa", "")
    """
    name = "validate_string"
    form = text(name, pattern)
    length = 0 if most == "" else whole(name, most)
    unquote, blind = _flag(name, quotes), _flag(name, ignore_case)
    if value is None:
        return "null is no text"
    found = str(as_text(value))
    if unquote and found[:1] in ("'", '"'):
        if len(found) == 1 or found[-1] != found[0]:
            return f"the quote before {shown(found[1:])} is not closed"
        found = found[1:-1]
    if 0 < length < len(found):
        return f"{shown(found)} has {len(found)} characters, more than {length}"
    if form and not search(name, form, found, ignore_case=blind):
        return f"{shown(found)} does not match {shown(form)}"
    return ""


Bounds = tuple[int | float | None, int | float | None]


def _bounds(name: str, least: Value, most: Value) -> Bounds:
    low = None if least == "" else number(name, least)
    high = None if most == "" else number(name, most)
    if low is not None and high is not None and low > high:
        raise BuiltinError(f"{name}: no value is from {shown(least)} to {shown(most)}")
    return low, high


def _read(bounds: Bounds, value: Value, form: re.Pattern[str], noun: str) -> str:
    """The fault of a value that is an integer, a text, or neither."""
    if type(value) is int:
        return _outside(bounds, value)
    if type(value) is str:
        if not value.strip(" "):
            return ""
        found = digits(value, form)
        if found is not None:
            return _outside(bounds, int(found) if form is INTEGER else float(found))
    return f"{shown(value)} is no {noun}"


def _outside(bounds: Bounds, value: int | float) -> str:
    low, high = bounds
    if low is not None and value < low:
        return f"{value} is less than {low}"
    if high is not None and value > high:
        return f"{value} is greater than {high}"
    return ""


def _flag(name: str, value: Value) -> bool:
    if value in FLAGS:
        return FLAGS[value]
    raise BuiltinError(f"{name}: {shown(value)} is no flag; those are 0, 1, true and false")


VALIDATION: Final = (
    Builtin("validate_int", 3, 1, validate_int),
    Builtin("validate_float", 3, 1, validate_float),
    Builtin("validate_string", 5, 1, validate_string),
)
