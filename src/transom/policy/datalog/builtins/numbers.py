# SPDX-License-Identifier: Apache-2.0
"""Arithmetic: of two integers an integer, else a float; and what makes numbers of other values.

Invariant: no result is beyond the bounds of a value, so that no chain of rules makes numbers grow.
"""

import re
from math import isfinite
from typing import Final

from transom.policy.datalog.builtins.arguments import (
    BuiltinError,
    given_number,
    number,
    shown,
)
from transom.policy.datalog.core import Builtin
from transom.policy.datalog.values import FALSE, NAN, TRUE, Real, Value, real

DIGITS_MOST: Final = 400
"""A longer text is no number: reading one takes time that grows with the square of its length."""
INTEGER: Final = re.compile(r"[+-]?[0-9]+")
DECIMAL: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def plus(x: Value, y: Value) -> Value:
    """plus(x, y, z): z is x + y.

    Fails: x or y is no number; the result is too big.
    Example: plus(2, 3, 5)
    """
    if type(x) is int and type(y) is int:
        return given_number("plus", x + y)
    return given_number("plus", number("plus", x) + number("plus", y))


def minus(x: Value, y: Value) -> Value:
    """minus(x, y, z): z is x - y.

    Fails: x or y is no number; the result is too big.
    Example: minus(5, 3, 2)
    """
    if type(x) is int and type(y) is int:
        return given_number("minus", x - y)
    return given_number("minus", number("minus", x) - number("minus", y))


def mul(x: Value, y: Value) -> Value:
    """mul(x, y, z): z is x times y.

    Fails: x or y is no number; the result is too big.
    Example: mul(3, 5, 15)
    """
    return given_number("mul", number("mul", x) * number("mul", y))


def div(x: Value, y: Value) -> Value:
    """div(x, y, z): z is x divided by y; of two integers rounded down to an integer.

    Fails: x or y is no number; y is 0; the result is too big.
    Example: div(10, 4, 2)
    """
    dividend, divisor = number("div", x), number("div", y)
    if divisor == 0:
        raise BuiltinError(f"div: {shown(x)} is divided by zero")
    if isinstance(dividend, int) and isinstance(divisor, int):
        return dividend // divisor
    return given_number("div", dividend / divisor)


def as_float(x: Value) -> Value:
    """float(x, y): y is the number x, the text x or the truth value x as a float.

    Fails: x is null, or a text that is no number; the result is too big.
    Example: float("2.5", 2.5)
    """
    if type(x) is int:
        return real(float(x))
    if type(x) is Real and x is not NAN:
        return given_number("float", x[0])
    if x is TRUE or x is FALSE:
        return real(float(x is TRUE))
    return given_number("float", float(_from_text("float", x, DECIMAL, "number")))


def as_integer(x: Value) -> Value:
    """int(x, y): y is x as an integer: a float cut off, a text of digits, a truth value.

    Fails: x is null, or a text that is no integer; the result is too big.
    Example: int(2.3, 2)
    """
    if type(x) is int:
        return x
    if type(x) is Real and isfinite(x[0]):
        return given_number("int", int(x[0]))
    if x is TRUE or x is FALSE:
        return int(x is TRUE)
    return given_number("int", int(_from_text("int", x, INTEGER, "integer")))


def digits(value: str, form: re.Pattern[str]) -> str | None:
    """The text without the blanks around it, if it is short and has the form."""
    if len(value) > DIGITS_MOST:
        return None
    found = value.strip(" ")
    return found if form.fullmatch(found) else None


def _from_text(name: str, value: Value, form: re.Pattern[str], noun: str) -> str:
    found = digits(value, form) if type(value) is str else None
    if found is None:
        raise BuiltinError(f"{name}: {shown(value)} is no {noun}")
    return found


NUMBERS: Final = (
    Builtin("plus", 2, 1, plus),
    Builtin("minus", 2, 1, minus),
    Builtin("mul", 2, 1, mul),
    Builtin("div", 2, 1, div),
    Builtin("float", 1, 1, as_float),
    Builtin("int", 1, 1, as_integer),
)
