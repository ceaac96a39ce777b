# SPDX-License-Identifier: Apache-2.0
"""Values as JSON, and JSON as values, whatever numbers somebody has posted.

JSON bounds no number; a float is bounded, and so are the digits that Python counts out. A body that
one of them stands in is read all the same: otherwise one such message would end every worker that
is handed it, and keep what was claimed together with it.
"""

import json
from typing import TypeVar

import msgspec

T = TypeVar("T")

DIGITS_MOST = 4000
"""Of a whole number that is read as one; Python's own bound is a little above."""


def value_of(content: bytes, kind: type[T]) -> T:
    """What the JSON says, as this type; numbers that are too large are infinite floats.

    Raises: MsgspecError for what is no JSON, or not of this type.
    """
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.ValidationError:
        pass
    try:
        found = json.loads(content, parse_int=_whole)
    except ValueError as error:  # it ends, as JSON, after what did not fit
        raise msgspec.DecodeError(str(error)) from error
    return msgspec.convert(found, kind)


def content_of(value: object) -> bytes:
    """The value as JSON. Raises: ValueError for a number that JSON does not have: NaN, infinity."""
    content = msgspec.json.encode(value)
    if b"null" in content:  # as which they were written
        json.dumps(msgspec.to_builtins(value, str_keys=True), allow_nan=False)
    return content


def _whole(digits: str) -> int | float:
    return int(digits) if len(digits) <= DIGITS_MOST else float(digits)
