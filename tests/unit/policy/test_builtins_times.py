# SPDX-License-Identifier: Apache-2.0
"""Dates and times: which texts are read, what they give, and what is refused."""

import pytest

from transom.policy.datalog.builtins import BUILTINS, BuiltinError
from transom.policy.datalog.values import encoded_row

NOON = "2014-03-05 10:00:00"


def called(name: str, *arguments: object) -> object:
    return BUILTINS[name].function(*encoded_row(arguments))


def refused(name: str, *arguments: object) -> str:
    with pytest.raises(BuiltinError, match=f"^{name}: ") as caught:
        called(name, *arguments)
    return str(caught.value)


def canonical(text: str) -> object:
    return called("datetime_plus", text, 0)


@pytest.mark.parametrize(
    "text",
    [
        "2014-03-05 10:00:00",
        "2014-03-05T10:00:00",
        "2014-03-05T10:00:00Z",
        "2014-03-05t10:00:00z",
        "2014-03-05T10:00:00.000000",
        "2014-03-05T10:00:00,0Z",
        "2014-03-05T10:00",
        "2014-3-5 10:0:0",
        "2014-03-05 10:00:00+00:00",
        "2014-03-05T12:30:00+02:30",
        "2014-03-05T05:00:00-0500",
        "2014-03-05T11:00:00+01",
        "2014-03-05 10:00:00 UTC",
        "2014-03-05 05:00:00 EST",
        "20140305T100000Z",
        "20140305T1000",
        "20140305T100000.0-0000",
        "Mar 5, 2014 10:00:00",
        "March 5, 2014 10:00:00",
        "mar 5 2014, 10:00",
        "Wed Mar 5, 2014 10:00:00 GMT",
        "5 Mar 2014 10:00:00",
        "05 March 2014 10:00 +0000",
        "Wed, 05 Mar 2014 10:00:00 +0000",
        "Wed, 5 Mar 2014 11:00:00 +0100 (CET)",
        "Wed, 05 Mar 2014 10:00:00 GMT",
        "Wed, 05 Mar 2014 03:00:00 PDT",
        "  Mar  5,  2014  10:00:00 ",
    ],
)
def test_forms_of_one_time_are_one_time(text: str) -> None:
    assert canonical(text) == NOON
    assert called("datetime_equal", text, NOON) is True


@pytest.mark.parametrize("text", ["2014-03-05", "20140305", "Mar 5, 2014", "5 March 2014"])
def test_a_date_alone_is_its_midnight(text: str) -> None:
    assert canonical(text) == "2014-03-05 00:00:00"


def test_a_fraction_counts_to_the_millionth_and_is_written_where_there_is_one() -> None:
    assert canonical("2014-03-05T10:00:00.5") == "2014-03-05 10:00:00.500000"
    assert canonical("2014-03-05T10:00:00.1234569Z") == "2014-03-05 10:00:00.123456"
    assert called("extract_time", "2014-03-05T10:00:00.5") == "10:00:00.500000"
    assert called("unpack_time", "2014-03-05T10:00:00.5") == (10, 0, 0)
    assert called("datetime_to_seconds", "1900-01-01T00:00:01.9") == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "10:00:00",
        "2014-13-05",
        "2014-02-29",
        "2014-03-05 24:00:00",
        "2014-03-05 10:60:00",
        "2014-03-05 10:00:60",
        "0000-01-01",
        "0001-01-01T00:00:00+01:00",
        "14-03-05",
        "2014-03-05 10:00:00+24:00",
        "2014-03-05 10:00:00+01:60",
        "2014-03-05 10:00:00 CET",
        "2014-03-05 10:00:00 PM",
        "2014-03-05 tomorrow",
        "Foo 5, 2014",
        "Marches 5, 2014",
        "Thu, 05 Mar 2014 10:00:00 +0000",
        "Xyz, 05 Mar 2014 10:00:00 +0000",
        "٢٠١٤-03-05",
        "2014-03-05\n",
        "2014-03-05" + " " * 60,
        5,
        None,
    ],
)
def test_other_texts_are_refused_and_nothing_is_filled_in(text: object) -> None:
    assert " is no date and time; one is written 2014-01-01 10:00:00" in refused(
        "extract_date", text
    )
    assert refused("datetime_lt", NOON, text).startswith("datetime_lt: ")


@pytest.mark.parametrize(
    ("x", "y", "sign"),
    [
        ("2014-01-01", "Jan 2, 2014", -1),
        ("2014-01-01T10:00:00Z", "2014-01-01T11:00:00+01:00", 0),
        ("2014-01-01T10:00:00.000001", "2014-01-01T10:00:00", 1),
    ],
)
def test_times_are_ordered_by_the_moment(x: str, y: str, sign: int) -> None:
    names = ("datetime_lt", "datetime_lteq", "datetime_equal", "datetime_gteq", "datetime_gt")
    found = [called(name, x, y) for name in names]
    assert found == [sign < 0, sign <= 0, sign == 0, sign >= 0, sign > 0]


@pytest.mark.parametrize(
    ("duration", "later"),
    [
        (0, NOON),
        (90, "2014-03-05 10:01:30"),
        (-90, "2014-03-05 09:58:30"),
        (0.25, "2014-03-05 10:00:00.250000"),
        ("90", "2014-03-05 10:01:30"),
        ("1:30", "2014-03-05 10:01:30"),
        ("1:00:00", "2014-03-05 11:00:00"),
        ("1:00:00:00", "2014-03-06 10:00:00"),
        ("1:0:0:0:0", "2014-03-12 10:00:00"),
    ],
)
def test_a_duration_is_seconds_or_fields_of_them(duration: object, later: str) -> None:
    assert called("datetime_plus", NOON, duration) == later
    assert called("datetime_minus", later, duration) == NOON


@pytest.mark.parametrize("duration", ["", "-1:00", "1:0:0:0:0:0", "1h", ":", "1:" * 40, "٣"])
def test_what_is_no_duration_is_said(duration: str) -> None:
    assert "is no duration; one is written 3600 (seconds) or 1:00:00" in refused(
        "datetime_plus", NOON, duration
    )


def test_no_time_is_beyond_the_calendar() -> None:
    for duration in (10**12, 2**255, 1e300, float("inf"), "999999999999:0:0:0:0"):
        for name in ("datetime_plus", "datetime_minus"):
            assert refused(name, NOON, duration).endswith("is not in the years 1 to 9999")
    assert refused("datetime_plus", NOON, None) == "datetime_plus: null is no number"


def test_times_are_taken_apart() -> None:
    assert called("unpack_date", "2014-03-05T23:00:00-02:00") == (2014, 3, 6)
    assert called("unpack_datetime", NOON) == (2014, 3, 5, 10, 0, 0)
    assert called("extract_date", "5 Mar 2014 10:00:00") == "2014-03-05"
    assert called("datetime_to_seconds", "1899-12-31 23:59:00") == -60
    assert called("datetime_to_seconds", "1970-01-01") == 2_208_988_800


def test_a_time_of_day_needs_no_date() -> None:
    assert called("unpack_time", "5:6:7") == (5, 6, 7)
    assert called("extract_time", "05:06") == "05:06:00"
    assert " is no date and time" in refused("unpack_time", "25:00:00")
    assert " is no date and time" in refused("extract_time", 5)


def test_times_are_put_together_as_the_numbers_are() -> None:
    assert called("pack_date", 2014, 3, 5) == "2014-3-5"
    assert called("pack_time", 1, 2, 3) == "1:2:3"
    assert called("pack_datetime", 2014, 3, 5, 1, 2, 3) == "2014-3-5 1:2:3"
    assert canonical("2014-3-5 1:2:3") == "2014-03-05 01:02:03"


def test_numbers_that_are_no_time_are_not_put_together() -> None:
    said = "pack_date: 2014, 2, 30 are no date and time"
    assert refused("pack_date", 2014, 2, 30) == said
    assert " are no date and time" in refused("pack_date", 2**200, 1, 1)
    assert " are no date and time" in refused("pack_time", 24, 0, 0)
    assert refused("pack_time", 1.0, 0, 0) == "pack_time: 1.0 is no integer"
    assert refused("pack_datetime", 1, 1, 1, 1, 1, True) == "pack_datetime: true is no integer"
