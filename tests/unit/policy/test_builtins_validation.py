# SPDX-License-Identifier: Apache-2.0
"""Options of configurations: the fault of a value is the answer, the fault of a rule a failure."""

import math

import pytest

from transom.policy.datalog.builtins import BUILTINS, BuiltinError
from transom.policy.datalog.values import encoded_row


def called(name: str, *arguments: object) -> object:
    return BUILTINS[name].function(*encoded_row(arguments))


def refused(name: str, *arguments: object) -> str:
    with pytest.raises(BuiltinError, match=f"^{name}: ") as caught:
        called(name, *arguments)
    return str(caught.value).removeprefix(f"{name}: ")


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (2, ""),
        (7, ""),
        ("5", ""),
        (" 5 ", ""),
        ("", ""),
        ("  ", ""),
        (5.0, ""),
        (1, "1 is less than 2"),
        ("9", "9 is greater than 7"),
        (9.0, "9 is greater than 7"),
        (5.5, "5.5 is no integer"),
        ("5.5", '"5.5" is no integer'),
        ("five", '"five" is no integer'),
        ("9" * 401, f'"{"9" * 60}"... is no integer'),
        (math.nan, "nan is no integer"),
        (math.inf, "inf is no integer"),
        (True, "true is no integer"),
        (None, "null is no integer"),
    ],
)
def test_an_integer_is_within_its_bounds(value: object, fault: str) -> None:
    assert called("validate_int", 2, 7, value) == fault


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (2.5, ""),
        (3, ""),
        ("3.5", ""),
        ("", ""),
        (2, "2 is less than 2.5"),
        (9.5, "9.5 is greater than 4.5"),
        ("1e999", "inf is greater than 4.5"),
        ("five", '"five" is no number'),
        ("nan", '"nan" is no number'),
        (math.nan, "nan is no number"),
        (False, "false is no number"),
        (None, "null is no number"),
    ],
)
def test_a_number_is_within_its_bounds(value: object, fault: str) -> None:
    assert called("validate_float", 2.5, 4.5, value) == fault


@pytest.mark.parametrize("name", ["validate_int", "validate_float"])
def test_an_empty_bound_is_none_and_a_wrong_one_is_the_rules_fault(name: str) -> None:
    assert called(name, "", "", -(10**30)) == ""
    assert called(name, "", 5, -7) == ""
    assert called(name, 5, "", 10**30) == ""
    assert refused(name, "a", 5, 1) == '"a" is no number'
    assert refused(name, 1, None, 1) == "null is no number"
    assert refused(name, 5, 1, 3) == "no value is from 5 to 1"


@pytest.mark.parametrize(
    ("pattern", "length", "quotes", "ignore_case", "value", "fault"),
    [
        ("", "", "", "", "anything", ""),
        ("", 0, 0, 0, "", ""),
        ("b", 0, 0, 0, "abc", ""),
        ("^b", 0, 0, 0, "abc", '"abc" does not match "^b"'),
        ("^ABC$", 0, 0, 1, "abc", ""),
        ("^ABC$", 0, False, True, "abc", ""),
        ("", 3, 0, 0, "abc", ""),
        ("", 3, 0, 0, "abcd", '"abcd" has 4 characters, more than 3'),
        ("", 3, 1, 0, "'abc'", ""),
        ("^abc$", 3, 1, 0, '"abc"', ""),
        ("", 0, 1, 0, "'abc", 'the quote before "abc" is not closed'),
        ("", 0, 1, 0, "'abc\"", 'the quote before "abc\\"" is not closed'),
        ("", 0, 1, 0, "'", 'the quote before "" is not closed'),
        ("", 0, 1, 0, "", ""),
        ("", 0, 1, 0, "abc'", ""),
        ("^[0-9]+$", 0, 0, 0, 55, ""),
        ("^true$", 0, 0, 0, True, ""),
        ("", 0, 0, 0, None, "null is no text"),
        ("", -1, 0, 0, "abc", ""),
    ],
)
def test_a_text_fits_its_pattern_and_its_length(
    pattern: str, length: object, quotes: object, ignore_case: object, value: object, fault: str
) -> None:
    assert called("validate_string", pattern, length, quotes, ignore_case, value) == fault


def test_what_is_wrong_with_a_rule_that_validates_a_text_is_said() -> None:
    assert "is no regular expression" in refused("validate_string", "(", 0, 0, 0, "a")
    assert refused("validate_string", 5, 0, 0, 0, "a") == "5 is no text"
    assert refused("validate_string", "", "5", 0, 0, "a") == '"5" is no integer'
    for wrong in (2, "yes", None, 1.0):
        assert refused("validate_string", "", 0, wrong, 0, "a").endswith(
            " is no flag; those are 0, 1, true and false"
        )
        assert refused("validate_string", "", 0, 0, wrong, "a").endswith(
            " is no flag; those are 0, 1, true and false"
        )
