# SPDX-License-Identifier: Apache-2.0
"""Dates and times: compared, moved, taken apart and put together. All are texts.

Results have one form, `2014-01-01 10:00:00`, but for the three `pack_` builtins, which write the
numbers as they are: `2014-1-1 10:0:0`.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from transom.policy.datalog.builtins.arguments import BuiltinError, number, shown, whole
from transom.policy.datalog.builtins.instants import clock, instant, written
from transom.policy.datalog.core import Builtin
from transom.policy.datalog.values import Value

DURATION: Final = re.compile(r"[0-9]{1,12}(?::[0-9]{1,12}){0,4}")
UNITS_S: Final = (1, 60, 3600, 86_400, 604_800)
EPOCH: Final = datetime(1900, 1, 1, tzinfo=UTC)


def datetime_lt(x: Value, y: Value) -> bool:
    """datetime_lt(x, y): the time x is before y.

    Fails: x or y is no date and time.
    Example: datetime_lt("Jan 1, 2014 10:00:00", "2014-01-02 10:00:00")
    """
    return instant("datetime_lt", x) < instant("datetime_lt", y)


def datetime_lteq(x: Value, y: Value) -> bool:
    """datetime_lteq(x, y): the time x is before y, or the same.

    Fails: x or y is no date and time.
    Example: datetime_lteq("Jan 1, 2014 10:00:00", "2014-01-01T10:00:00Z")
    """
    return instant("datetime_lteq", x) <= instant("datetime_lteq", y)


def datetime_gt(x: Value, y: Value) -> bool:
    """datetime_gt(x, y): the time x is after y.

    Fails: x or y is no date and time.
    Example: datetime_gt("2014-01-01T10:00:00.5", "2014-01-01T10:00:00Z")
    """
    return instant("datetime_gt", x) > instant("datetime_gt", y)


def datetime_gteq(x: Value, y: Value) -> bool:
    """datetime_gteq(x, y): the time x is after y, or the same.

    Fails: x or y is no date and time.
    Example: datetime_gteq("Jan 5, 2014 10:00:00", "2014-01-05 10:00:00")
    """
    return instant("datetime_gteq", x) >= instant("datetime_gteq", y)


def datetime_equal(x: Value, y: Value) -> bool:
    """datetime_equal(x, y): the times x and y are the same.

    Fails: x or y is no date and time.
    Example: datetime_equal("2014-01-05 11:00:00+01:00", "2014-01-05 10:00:00")
    """
    return instant("datetime_equal", x) == instant("datetime_equal", y)


def datetime_plus(x: Value, y: Value) -> Value:
    """datetime_plus(x, y, z): z is the time x and y later: seconds, or a text as `25:00:00`.

    The text has up to five fields: weeks, days, hours, minutes and, last, seconds.

    Fails: x is no date and time; y is no duration; the result is not in the years 1 to 9999.
    Example: datetime_plus("Jan 5, 2014 10:00:00", 3600, "2014-01-05 11:00:00")
    """
    return _moved("datetime_plus", x, y, 1)


def datetime_minus(x: Value, y: Value) -> Value:
    """datetime_minus(x, y, z): z is the time x and y earlier: seconds, or a text as `25:00:00`.

    Fails: x is no date and time; y is no duration; the result is not in the years 1 to 9999.
    Example: datetime_minus("Jan 5, 2014 10:00:00", "25:00:00", "2014-01-04 09:00:00")
    """
    return _moved("datetime_minus", x, y, -1)


def datetime_to_seconds(x: Value) -> Value:
    """datetime_to_seconds(x, y): y is how many whole seconds the time x is after 1900 began.

    Fails: x is no date and time.
    Example: datetime_to_seconds("Jan 1, 1900 1:00:00", 3600)
    """
    return int((instant("datetime_to_seconds", x) - EPOCH).total_seconds())


def extract_date(x: Value) -> Value:
    """extract_date(x, y): y is the date of the time x.

    Fails: x is no date and time.
    Example: extract_date("Jan 1, 1900 1:00:00", "1900-01-01")
    """
    return instant("extract_date", x).date().isoformat()


def extract_time(x: Value) -> Value:
    """extract_time(x, y): y is the time of day of x, which may lack a date.

    Fails: x is no time.
    Example: extract_time("Jan 1, 1900 1:00:00", "01:00:00")
    """
    return clock("extract_time", x).time().isoformat()


def unpack_date(x: Value) -> tuple[Value, ...]:
    """unpack_date(x, year, month, day): the numbers of the date of x.

    Fails: x is no date and time.
    Example: unpack_date("2000-1-1 10:5:6", 2000, 1, 1)
    """
    moment = instant("unpack_date", x)
    return moment.year, moment.month, moment.day


def unpack_time(x: Value) -> tuple[Value, ...]:
    """unpack_time(x, hour, minute, second): the numbers of the time of day of x.

    Fails: x is no time.
    Example: unpack_time("2000-1-1 10:5:6", 10, 5, 6)
    """
    moment = clock("unpack_time", x)
    return moment.hour, moment.minute, moment.second


def unpack_datetime(x: Value) -> tuple[Value, ...]:
    """unpack_datetime(x, year, month, day, hour, minute, second): the numbers of the time x.

    Fails: x is no date and time.
    Example: unpack_datetime("2000-1-1 10:5:6", 2000, 1, 1, 10, 5, 6)
    """
    moment = instant("unpack_datetime", x)
    return (moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second)


def pack_date(year: Value, month: Value, day: Value) -> Value:
    """pack_date(year, month, day, x): x is the date of these numbers.

    Fails: they are no integers, or no date.
    Example: pack_date(2000, 1, 1, "2000-1-1")
    """
    return "{}-{}-{}".format(*_checked("pack_date", year, month, day))


def pack_time(hour: Value, minute: Value, second: Value) -> Value:
    """pack_time(hour, minute, second, x): x is the time of day of these numbers.

    Fails: they are no integers, or no time.
    Example: pack_time(5, 6, 7, "5:6:7")
    """
    return "{}:{}:{}".format(*_checked("pack_time", 1900, 1, 1, hour, minute, second)[3:])


def pack_datetime(
    year: Value, month: Value, day: Value, hour: Value, minute: Value, second: Value
) -> Value:
    """pack_datetime(year, month, day, hour, minute, second, x): x is the time of these numbers.

    Fails: they are no integers, or no date and time.
    Example: pack_datetime(2000, 1, 1, 10, 5, 6, "2000-1-1 10:5:6")
    """
    fields = _checked("pack_datetime", year, month, day, hour, minute, second)
    return "{}-{}-{} {}:{}:{}".format(*fields)


def _checked(name: str, *fields: Value) -> tuple[int, ...]:
    """The numbers, which are a date. Raises: BuiltinError."""
    numbers = tuple(whole(name, field) for field in fields)
    try:
        year, month, day, hour, minute, second = (*numbers, 0, 0, 0)[:6]
        datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except (ValueError, OverflowError):
        given = ", ".join(map(str, numbers))
        raise BuiltinError(f"{name}: {given} are no date and time") from None
    return numbers


def _moved(name: str, x: Value, y: Value, direction: int) -> str:
    moment, seconds = instant(name, x), _seconds(name, y)
    try:
        return written(moment + timedelta(seconds=seconds) * direction)
    except OverflowError:
        raise BuiltinError(f"{name}: the result is not in the years 1 to 9999") from None


def _seconds(name: str, value: Value) -> int | float:
    if type(value) is not str:
        return number(name, value)
    if len(value) <= 64 and DURATION.fullmatch(value):
        fields = reversed(value.split(":"))
        return sum(int(field) * unit for field, unit in zip(fields, UNITS_S, strict=False))
    raise BuiltinError(
        f"{name}: {shown(value)} is no duration; one is written 3600 (seconds) or 1:00:00"
    )


TIMES: Final = (
    Builtin("datetime_lt", 2, 0, datetime_lt),
    Builtin("datetime_lteq", 2, 0, datetime_lteq),
    Builtin("datetime_gt", 2, 0, datetime_gt),
    Builtin("datetime_gteq", 2, 0, datetime_gteq),
    Builtin("datetime_equal", 2, 0, datetime_equal),
    Builtin("datetime_plus", 2, 1, datetime_plus),
    Builtin("datetime_minus", 2, 1, datetime_minus),
    Builtin("datetime_to_seconds", 1, 1, datetime_to_seconds),
    Builtin("extract_date", 1, 1, extract_date),
    Builtin("extract_time", 1, 1, extract_time),
    Builtin("unpack_date", 1, 3, unpack_date),
    Builtin("unpack_time", 1, 3, unpack_time),
    Builtin("unpack_datetime", 1, 6, unpack_datetime),
    Builtin("pack_date", 3, 1, pack_date),
    Builtin("pack_time", 3, 1, pack_time),
    Builtin("pack_datetime", 6, 1, pack_datetime),
)
