# SPDX-License-Identifier: Apache-2.0
"""Parameters of a query, read as Zaqar reads them: a blank value is an absent one."""

from collections.abc import Mapping

from transom.errors import BadRequest


class InvalidParameter(BadRequest):
    """A value of the query cannot be read."""


_TRUE = frozenset({"true", "True", "t", "yes", "y", "1", "on"})
_FALSE = frozenset({"false", "False", "f", "no", "n", "0", "off"})
_MOST_DIGITS = 18

Query = Mapping[str, str]


def number(query: Query, name: str) -> int | None:
    """Raises: InvalidParameter."""
    text = query.get(name, "").strip()
    if not text:
        return None
    digits = text[1:] if text[0] in "+-" else text
    if not (digits.isascii() and digits.isdigit() and len(digits) <= _MOST_DIGITS):
        raise InvalidParameter(f"The parameter {name} is a whole number.")
    return int(text)


def flag(query: Query, name: str) -> bool:
    """False if absent. Raises: InvalidParameter."""
    text = query.get(name, "")
    if text in _TRUE:
        return True
    if text in _FALSE or not text:
        return False
    raise InvalidParameter(f"The parameter {name} is true or false.")


def parts(query: Query, name: str) -> list[str]:
    """The values between commas; none if absent."""
    return [part for part in query.get(name, "").split(",") if part]
