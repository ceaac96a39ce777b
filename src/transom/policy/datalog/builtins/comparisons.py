# SPDX-License-Identifier: Apache-2.0
"""Which of two values comes first: numbers by size, whatever their kind, and texts by code points.

Invariant: values of different kinds are not equal, and have no order; neither have truth values and
null. `1` equals `1.0` here, although they are two values to facts and joins.
"""

from typing import Any, Final

from transom.policy.datalog.builtins.arguments import BuiltinError, shown
from transom.policy.datalog.core import Builtin
from transom.policy.datalog.values import NAN, Real, Value


def equal(x: Value, y: Value) -> bool:
    """equal(x, y): x and y are the same.

    Fails: never; values of different kinds are not the same.
    Example: equal(1, 1.0)
    """
    if x == y:
        return True
    if type(x) is int:
        return type(y) is Real and x == y[0]
    return type(x) is Real and type(y) is int and x[0] == y


def not_equal(x: Value, y: Value) -> bool:
    """not_equal(x, y): x and y are not the same.

    Fails: never.
    Example: not_equal(1, "1")
    """
    return not equal(x, y)


def lt(x: Value, y: Value) -> bool:
    """lt(x, y): x is less than y, of numbers, or before it, of texts.

    Fails: x and y are neither two numbers nor two texts.
    Example: lt(1, 2.5)
    """
    if type(x) is int and type(y) is int:
        return x < y
    if type(x) is str and type(y) is str:
        return x < y
    left, right = ordered("lt", x, y)
    return bool(left < right)


def lteq(x: Value, y: Value) -> bool:
    """lteq(x, y): x is less than y, or the same.

    Fails: x and y are neither two numbers nor two texts.
    Example: lteq("a", "a")
    """
    if type(x) is int and type(y) is int:
        return x <= y
    if type(x) is str and type(y) is str:
        return x <= y
    left, right = ordered("lteq", x, y)
    return bool(left <= right)


def gt(x: Value, y: Value) -> bool:
    """gt(x, y): x is greater than y, of numbers, or behind it, of texts.

    Fails: x and y are neither two numbers nor two texts.
    Example: gt("b", "a")
    """
    if type(x) is int and type(y) is int:
        return x > y
    if type(x) is str and type(y) is str:
        return x > y
    left, right = ordered("gt", x, y)
    return bool(left > right)


def gteq(x: Value, y: Value) -> bool:
    """gteq(x, y): x is greater than y, or the same.

    Fails: x and y are neither two numbers nor two texts.
    Example: gteq(2, 2)
    """
    if type(x) is int and type(y) is int:
        return x >= y
    if type(x) is str and type(y) is str:
        return x >= y
    left, right = ordered("gteq", x, y)
    return bool(left >= right)


def larger(x: Value, y: Value) -> Value:
    """max(x, y, z): z is the greater of x and y; x, if neither is.

    Fails: x and y are neither two numbers nor two texts.
    Example: max(3, 4, 4)
    """
    left, right = ordered("max", x, y)
    return y if right > left else x


def smaller(x: Value, y: Value) -> Value:
    """min(x, y, z): z is the lesser of x and y; x, if neither is.

    Fails: x and y are neither two numbers nor two texts.
    Example: min(3, 4, 3)
    """
    left, right = ordered("min", x, y)
    return y if right < left else x


def ordered(name: str, x: Value, y: Value) -> tuple[Any, Any]:
    """Both as Python orders them. Raises: BuiltinError."""
    left = x if type(x) is int else x[0] if type(x) is Real and x is not NAN else None
    right = y if type(y) is int else y[0] if type(y) is Real and y is not NAN else None
    if left is not None and right is not None:
        return left, right
    if type(x) is str and type(y) is str:
        return x, y
    raise BuiltinError(f"{name}: cannot order {shown(x)} and {shown(y)}")


COMPARISONS: Final = (
    Builtin("equal", 2, 0, equal),
    Builtin("not_equal", 2, 0, not_equal),
    Builtin("lt", 2, 0, lt),
    Builtin("lteq", 2, 0, lteq),
    Builtin("gt", 2, 0, gt),
    Builtin("gteq", 2, 0, gteq),
    Builtin("max", 2, 1, larger),
    Builtin("min", 2, 1, smaller),
)
