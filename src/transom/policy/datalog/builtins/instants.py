# SPDX-License-Identifier: Apache-2.0
"""Dates and times as texts: a closed set of forms is read, one is written.

Read are ISO 8601 (`2014-01-01T10:00:00.5+01:00`, a blank for the T, one-digit fields, the form
without separators), `Jan 1, 2014 10:00:00` and what e-mail has (`Wed, 1 Jan 2014 10:00:00 +0000`).

Invariants:
1. Reading depends on the text alone: not on today, the place or the language of the machine.
2. An offset or zone is applied; without one the text is in UTC.
"""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from transom.policy.datalog.builtins.arguments import BuiltinError, shown
from transom.policy.datalog.values import Value

INSTANTS_KEPT: Final = 16_384
CHARACTERS_MOST: Final = 64
ZONES: Final = {
    "Z": 0, "UT": 0, "UTC": 0, "GMT": 0, "EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7,
    "MDT": -6, "PST": -8, "PDT": -7,
}  # fmt: skip
"""Hours; those that e-mail knows (RFC 5322, 4.3), and UTC."""
MONTHS: Final = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september",
    "october", "november", "december",
)  # fmt: skip
WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

YEAR: Final = "(?P<year>[0-9]{4})"
DAY: Final = "(?P<day>[0-9]{1,2})"
FRACTION: Final = "(?:[.,](?P<fraction>[0-9]{1,9}))?"
CLOCK: Final = (
    "(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{1,2})"
    rf"(?::(?P<second>[0-9]{{1,2}}){FRACTION})?"
)
DIGITS: Final = rf"(?P<hour>[0-9]{{2}})(?P<minute>[0-9]{{2}})(?:(?P<second>[0-9]{{2}}){FRACTION})?"
ZONE: Final = r"(?: ?(?P<zone>[A-Za-z]{1,3}|[+-][0-9]{2}(?::?[0-9]{2})?)(?: \([A-Za-z]+\))?)?"
WEEKDAY: Final = r"(?:(?P<weekday>[A-Za-z]{3}),? )?"
MONTH: Final = r"(?P<name>[A-Za-z]{3,9})"
FORMS: Final = tuple(
    re.compile(form)
    for form in (
        rf"{YEAR}-(?P<month>[0-9]{{1,2}})-{DAY}(?:[Tt ]{CLOCK}{ZONE})?",
        rf"{YEAR}(?P<month>[0-9]{{2}})(?P<day>[0-9]{{2}})(?:[Tt]{DIGITS}{ZONE})?",
        rf"{WEEKDAY}{MONTH} {DAY},? {YEAR}(?:,? {CLOCK}{ZONE})?",
        rf"{WEEKDAY}{DAY} {MONTH} {YEAR}(?:,? {CLOCK}{ZONE})?",
    )
)
USUAL: Final = re.compile(
    "([0-9]{4})-([0-9]{2})-([0-9]{2})[T ]([0-9]{2}):([0-9]{2}):([0-9]{2})"
    r"(?:\.([0-9]{6}))?Z?"
)
"""What clouds write, read by the shortest way."""
CLOCK_ALONE: Final = re.compile(CLOCK)


def instant(name: str, value: Value) -> datetime:
    """A text as a moment in UTC. Raises: BuiltinError."""
    if type(value) is str and len(value) <= CHARACTERS_MOST:
        found = _read(value)
        if found is not None:
            return found
    raise BuiltinError(
        f"{name}: {shown(value)} is no date and time; one is written 2014-01-01 10:00:00, "
        "2014-01-01T10:00:00Z or Jan 1, 2014 10:00:00"
    )


def clock(name: str, value: Value) -> datetime:
    """As `instant`; a time without a date is one too, of a day of no meaning."""
    if type(value) is str and len(value) <= CHARACTERS_MOST and CLOCK_ALONE.fullmatch(value):
        return instant(name, f"1900-01-01 {value}")
    return instant(name, value)


def written(moment: datetime) -> str:
    """`2014-01-01 10:00:00`, and six digits of a fraction where there is one."""
    return moment.replace(tzinfo=None).isoformat(" ")


@lru_cache(INSTANTS_KEPT)
def _read(text: str) -> datetime | None:
    try:
        usual = USUAL.fullmatch(text)
        if usual:
            year, month, day, hour, minute, second, micro = map(int, usual.groups("0"))
            return datetime(year, month, day, hour, minute, second, micro, tzinfo=UTC)
        plain = re.sub(" +", " ", text.strip(" "))
        matches = (form.fullmatch(plain) for form in FORMS)
        return next((_moment(match) for match in matches if match), None)
    except (ValueError, OverflowError):
        return None


def _moment(match: re.Match[str]) -> datetime:
    """Raises: ValueError, OverflowError."""
    fields = match.groupdict()
    month = _month(fields["name"]) if fields.get("name") else int(fields["month"])
    moment = datetime(
        int(fields["year"]),
        month,
        int(fields["day"]),
        int(fields["hour"] or 0),
        int(fields["minute"] or 0),
        int(fields["second"] or 0),
        int((fields["fraction"] or "").ljust(6, "0")[:6]),
        tzinfo=UTC,
    )
    weekday = fields.get("weekday")
    if weekday and WEEKDAYS.index(weekday.lower()) != moment.weekday():
        raise ValueError(weekday)
    return moment - _offset(fields["zone"] or "Z")


def _month(name: str) -> int:
    """`Jan`, `january`, `Sept`: three letters of it or more. Raises: ValueError."""
    for place, month in enumerate(MONTHS, 1):
        if month.startswith(name.lower()):
            return place
    raise ValueError(name)


def _offset(zone: str) -> timedelta:
    """East of UTC. Raises: ValueError."""
    if zone[0] in "+-":
        digits = zone[1:].replace(":", "").ljust(4, "0")
        hours, minutes = int(digits[:2]), int(digits[2:])
        if hours > 23 or minutes > 59:
            raise ValueError(zone)
        east = timedelta(hours=hours, minutes=minutes)
        return east if zone[0] == "+" else -east
    if zone.upper() not in ZONES:
        raise ValueError(zone)
    return timedelta(hours=ZONES[zone.upper()])
