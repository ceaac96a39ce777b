# SPDX-License-Identifier: Apache-2.0
"""What builtins take and give: values checked on the way in and on the way out.

Invariants:
1. A builtin fails with a `BuiltinError` whose text begins with its name; with nothing else.
2. What it gives is a value within the bounds of `values`, a bool, or a tuple of such values.
"""

import json
from typing import Final

from transom.policy.datalog.values import (
    INTEGER_BITS_MOST,
    NAN,
    TEXT_CHARACTERS_MOST,
    Real,
    Truth,
    Value,
    real,
)

SHOWN_CHARACTERS: Final = 60


class BuiltinError(ValueError):
    """A builtin has no answer for these arguments. The text is for who wrote the rule."""


def shown(value: Value) -> str:
    """The value as a rule would write it, long texts cut."""
    if isinstance(value, str):
        cut = value[:SHOWN_CHARACTERS]
        return json.dumps(cut, ensure_ascii=False) + ("..." if cut != value else "")
    if value is None:
        return "null"
    if isinstance(value, Truth):
        return "true" if value.value else "false"
    return str(value.value if isinstance(value, Real) else value)


def number(name: str, value: Value) -> int | float:
    """An integer or a float that has a size."""
    if type(value) is int:
        return value
    if type(value) is Real and value is not NAN:
        return value[0]
    raise BuiltinError(f"{name}: {shown(value)} is no number")


def whole(name: str, value: Value) -> int:
    if type(value) is int:
        return value
    raise BuiltinError(f"{name}: {shown(value)} is no integer")


def text(name: str, value: Value) -> str:
    if type(value) is str:
        return value
    raise BuiltinError(f"{name}: {shown(value)} is no text")


def given_number(name: str, result: int | float) -> Value:
    """The result as a value. Raises: BuiltinError if it is none: too big, infinite."""
    if type(result) is int:
        if result.bit_length() > INTEGER_BITS_MOST:
            raise BuiltinError(f"{name}: the result has more than {INTEGER_BITS_MOST} bits")
        return result
    if result - result != 0.0:
        raise BuiltinError(f"{name}: the result is too big for a float")
    return real(result)


def given_text(name: str, result: str) -> str:
    check_length(name, len(result))
    return result


def check_length(name: str, characters: int) -> None:
    if characters > TEXT_CHARACTERS_MOST:
        raise BuiltinError(f"{name}: the result has more than {TEXT_CHARACTERS_MOST} characters")
