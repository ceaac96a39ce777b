# SPDX-License-Identifier: Apache-2.0
"""Typed constants: what a cell of a table may hold, so that `1`, `1.0`, `true`, `"1"` stay four.

Python takes `1`, `1.0` and `True` for one key of a dictionary. Inside the engine a value is
therefore a `str`, an `int`, a `Real` (of a float), `TRUE`, `FALSE` or `None`, and rows are tuples
of them; `encoded` and `decoded` are the doors. All of them hash and compare in C.

Invariants:
1. Two values are one key exactly if they are of one type and equal. NaN equals itself, `-0.0` is
   `0.0`.
2. Every value has a place in one order (`order`): null, false, true, numbers by size (an integer
   before the real of the same size), strings by code points.
"""

import math
from collections.abc import Iterable
from typing import Any, Final, TypeAlias, Union

INTEGER_BITS_MOST: Final = 256
TEXT_CHARACTERS_MOST: Final = 100_000
SHORT_CHARACTERS: Final = 1000
"""Most rows are short texts, which are as they should be."""


class Real(tuple[float]):
    """A float. A tuple, so that it is another key than the integer of its size."""

    __slots__ = ()

    @property
    def value(self) -> float:
        return self[0]

    def __repr__(self) -> str:
        return f"Real({self[0]!r})"


class Truth:
    """`TRUE` or `FALSE`; there are no others, so identity is equality."""

    __slots__ = ("value",)

    def __init__(self, value: bool) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "TRUE" if self.value else "FALSE"


Value: TypeAlias = Union[str, int, Real, Truth, None]  # noqa: UP007
Row: TypeAlias = tuple[Value, ...]

TRUE: Final = Truth(True)
FALSE: Final = Truth(False)
NAN: Final = Real((math.nan,))


class BadValue(ValueError):
    """What cannot be a cell, and why."""


def real(value: float) -> Real:
    """A float as a value."""
    if value != value:
        return NAN
    return Real((value + 0.0,))


def truth(value: bool) -> Truth:
    return TRUE if value else FALSE


def encoded(plain: Any) -> Value:
    """A value of JSON, CSV or Python as a cell. Raises: BadValue."""
    kind = type(plain)
    if kind is str:
        if len(plain) > TEXT_CHARACTERS_MOST:
            raise BadValue(
                f"a string of {len(plain)} characters; a cell holds {TEXT_CHARACTERS_MOST}"
            )
        return plain  # type: ignore[no-any-return]
    if kind is int:
        if plain.bit_length() > INTEGER_BITS_MOST:
            raise BadValue(
                f"an integer of {plain.bit_length()} bits; a cell holds {INTEGER_BITS_MOST}"
            )
        return plain  # type: ignore[no-any-return]
    if plain is None or kind is Real or kind is Truth:
        return plain  # type: ignore[no-any-return]
    if kind is bool:
        return truth(plain)
    if kind is float:
        return real(plain)
    what = "a list" if isinstance(plain, list) else kind.__name__
    what = "an object" if isinstance(plain, dict) else what
    raise BadValue(
        f"{what} is no value of a cell; those are strings, numbers, true, false and null"
    )


def decoded(value: Value) -> str | int | float | bool | None:
    """A cell as JSON knows it."""
    if isinstance(value, Real | Truth):
        return value.value
    return value


def encoded_row(plain: Iterable[Any]) -> Row:
    """Raises: BadValue."""
    row = tuple(plain)
    for value in row:
        if type(value) is not str or len(value) > SHORT_CHARACTERS:
            return tuple(map(encoded, row))
    return row


def decoded_row(row: Row) -> tuple[str | int | float | bool | None, ...]:
    return tuple(map(decoded, row))


def order(value: Value) -> tuple[int, Any, int]:
    """The value's place among all values, for `sorted(..., key=order)`."""
    if value is None:
        return (0, 0, 0)
    if isinstance(value, Truth):
        return (1, value.value, 0)
    if isinstance(value, Real):
        # NaN compares with nothing: it comes after all numbers.
        return (3, 0, 0) if value is NAN else (2, value[0], 1)
    if isinstance(value, int):
        return (2, value, 0)
    return (4, value, 0)


def row_order(row: Row) -> tuple[tuple[int, Any, int], ...]:
    return tuple(map(order, row))
