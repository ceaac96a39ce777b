# SPDX-License-Identifier: Apache-2.0
"""Comparisons, numbers, texts and patterns: what they give, and how they fail."""

import math
import subprocess
import sys

import pytest

from transom.policy.datalog.builtins import BUILTINS, BuiltinError, described
from transom.policy.datalog.builtins.patterns import PATTERN_CHARACTERS_MOST, search
from transom.policy.datalog.core import Builtin
from transom.policy.datalog.values import (
    INTEGER_BITS_MOST,
    TEXT_CHARACTERS_MOST,
    Value,
    decoded,
    encoded,
    encoded_row,
)

MOST = 2**INTEGER_BITS_MOST - 1
LONG = "x" * TEXT_CHARACTERS_MOST


def called(name: str, *arguments: object) -> object:
    """The result in Python's values; 1 and 1.0 differ in their type."""
    result = BUILTINS[name].function(*encoded_row(arguments))
    return result if isinstance(result, bool) else decoded(result)


def refused(name: str, *arguments: object) -> str:
    """What the failure says behind the builtin's name."""
    with pytest.raises(BuiltinError) as caught:
        called(name, *arguments)
    assert type(caught.value) is BuiltinError
    message = str(caught.value)
    assert message.startswith(f"{name}: ")
    return message.removeprefix(f"{name}: ")


@pytest.mark.parametrize(
    ("x", "y", "same"),
    [
        (1, 1, True),
        (1, 1.0, True),
        (1.0, 1, True),
        (1.5, 1, False),
        (2**60 + 1, float(2**60), False),
        ("1", 1, False),
        (1, "1", False),
        (True, 1, False),
        (1, True, False),
        (1.0, True, False),
        (None, None, True),
        (None, False, False),
        (True, True, True),
        ("a", "b", False),
        (math.nan, math.nan, True),
        (math.nan, 1, False),
    ],
)
def test_equal_compares_numbers_by_size_and_all_else_by_kind_and_value(
    x: object, y: object, same: bool
) -> None:
    assert called("equal", x, y) is same
    assert called("not_equal", x, y) is not same


@pytest.mark.parametrize(
    ("x", "y", "sign"),
    [
        (1, 2, -1),
        (2, 1.5, 1),
        (1.5, 2.5, -1),
        (1.0, 1, 0),
        (2**60 + 1, float(2**60), 1),
        (-math.inf, 3, -1),
        ("a", "b", -1),
        ("b", "B", 1),
        ("", "", 0),
    ],
)
def test_the_four_orders_agree(x: object, y: object, sign: int) -> None:
    orders = [called(name, x, y) for name in ("lt", "lteq", "gt", "gteq")]
    assert orders == [sign < 0, sign <= 0, sign > 0, sign >= 0]
    assert called("max", x, y) == (y if sign < 0 else x)
    assert called("min", x, y) == (y if sign > 0 else x)


@pytest.mark.parametrize("name", ["lt", "lteq", "gt", "gteq", "max", "min"])
@pytest.mark.parametrize(
    ("x", "y", "shown"),
    [
        ("a", 5, '"a" and 5'),
        (5, "a", '5 and "a"'),
        (True, False, "true and false"),
        (None, None, "null and null"),
        (1, None, "1 and null"),
        (math.nan, 1, "nan and 1"),
        (1.5, math.nan, "1.5 and nan"),
        ('a"\n', 1, '"a\\"\\n" and 1'),
        ("y" * 61, 1, f'"{"y" * 60}"... and 1'),
    ],
)
def test_what_has_no_order_is_said(name: str, x: object, y: object, shown: str) -> None:
    assert refused(name, x, y) == f"cannot order {shown}"


@pytest.mark.parametrize(
    ("name", "x", "y", "z"),
    [
        ("plus", 1, 2, 3),
        ("plus", 1, 2.0, 3.0),
        ("plus", 0.1, 0.2, 0.1 + 0.2),
        ("minus", 1, 3, -2),
        ("minus", 1.5, 1, 0.5),
        ("mul", 4, 5, 20),
        ("mul", 4, 0.5, 2.0),
        ("div", 7, 2, 3),
        ("div", -7, 2, -4),
        ("div", 7, 2.0, 3.5),
        ("div", 7.0, 2, 3.5),
        ("plus", MOST, 0, MOST),
    ],
)
def test_arithmetic_of_integers_is_an_integer_and_else_a_float(
    name: str, x: object, y: object, z: object
) -> None:
    result = called(name, x, y)
    assert (type(result), result) == (type(z), z)


def test_no_number_grows_beyond_a_cell() -> None:
    bits = f"the result has more than {INTEGER_BITS_MOST} bits"
    assert refused("plus", MOST, 1) == bits
    assert refused("minus", -MOST, 1) == bits
    assert refused("mul", MOST, MOST) == bits
    assert refused("int", 1e300) == bits
    assert refused("int", "9" * 100) == bits
    too_big = "the result is too big for a float"
    assert refused("mul", 1e300, 1e300) == too_big
    assert refused("plus", math.inf, 1) == too_big
    assert refused("minus", math.inf, math.inf) == too_big
    assert refused("div", 1e300, 1e-300) == too_big
    assert refused("float", "1e999") == too_big
    assert refused("float", math.inf) == too_big


@pytest.mark.parametrize("name", ["plus", "minus", "mul", "div"])
def test_arithmetic_takes_numbers_alone(name: str) -> None:
    assert refused(name, "a", 1) == '"a" is no number'
    assert refused(name, 1, None) == "null is no number"
    assert refused(name, True, 1) == "true is no number"
    assert refused(name, 1, math.nan) == "nan is no number"


@pytest.mark.parametrize("zero", [0, 0.0, -0.0])
def test_division_by_zero_fails(zero: float) -> None:
    assert refused("div", 5, zero) == "5 is divided by zero"
    assert refused("div", 5.0, zero) == "5.0 is divided by zero"


@pytest.mark.parametrize(
    ("given", "whole"),
    [(5, 5), (5.9, 5), (-5.9, -5), ("7", 7), (" -7 ", -7), ("+7", 7), (True, 1), (False, 0)],
)
def test_int_cuts_floats_off_and_reads_digits(given: object, whole: int) -> None:
    assert called("int", given) == whole
    assert type(called("int", given)) is int


@pytest.mark.parametrize(
    ("given", "number"),
    [(5, 5.0), (5.9, 5.9), ("7", 7.0), (" .5 ", 0.5), ("-1e3", -1000.0), ("2.", 2.0), (True, 1.0)],
)
def test_float_reads_numbers_as_they_are_written(given: object, number: float) -> None:
    assert called("float", given) == number
    assert type(called("float", given)) is float


@pytest.mark.parametrize("given", ["", "a", "1_000", "٣", "0x10", "1 2", "1\n", "9" * 401, None])
def test_a_text_that_is_no_number_is_not_guessed(given: object) -> None:
    assert refused("int", given).endswith(" is no integer")
    assert refused("float", given).endswith(" is no number")


@pytest.mark.parametrize("given", [math.nan, math.inf, "1.5"])
def test_int_takes_no_text_with_a_fraction_and_no_float_without_end(given: object) -> None:
    assert refused("int", given).endswith(" is no integer")
    assert refused("float", math.nan) == "nan is no number"


def test_texts_are_joined_measured_and_changed_in_case() -> None:
    assert called("concat", "ab", "c") == "abc"
    assert called("len", "äöü") == 3
    assert called("lower", "ÄB") == "äb"
    assert called("upper", "straße") == "STRASSE"


@pytest.mark.parametrize(
    ("given", "written"),
    [("a", "a"), (5, "5"), (-1, "-1"), (2.0, "2.0"), (True, "true"), (False, "false"),
     (None, "null")],
)  # fmt: skip
def test_text_writes_any_value(given: object, written: str) -> None:
    assert called("text", given) == written


def test_replace_replaces_each() -> None:
    assert called("replace", "a.b.c", ".", "") == "abc"
    assert called("replace", "aaa", "aa", "b") == "ba"
    assert called("replace", "abc", "x", "y" * 100) == "abc"


@pytest.mark.parametrize(
    ("place", "part"),
    [(1, "a"), (2, ""), (3, "b"), (4, "c-"), (5, ""), (-1, "c-"), (-4, "a"), (-5, ""), (MOST, "")],
)
def test_split_part_counts_from_either_end(place: int, part: str) -> None:
    assert called("split_part", "a----b--c-", "--", place) == part


@pytest.mark.parametrize(
    ("name", "part", "found"),
    [
        ("starts_with", "ab", True),
        ("starts_with", "bc", False),
        ("ends_with", "bc", True),
        ("ends_with", "ab", False),
        ("contains", "b", True),
        ("contains", "B", False),
        ("matches", "b", True),
        ("matches", "^b", False),
        ("matches", "(?i)^ABC$", True),
    ],
)
def test_texts_are_looked_through(name: str, part: str, found: bool) -> None:
    assert called(name, "abc", part) is found


def test_no_text_grows_beyond_a_cell() -> None:
    too_long = f"the result has more than {TEXT_CHARACTERS_MOST} characters"
    assert refused("concat", LONG, "y") == too_long
    assert refused("upper", "ß" * TEXT_CHARACTERS_MOST) == too_long
    assert refused("lower", "İ" * TEXT_CHARACTERS_MOST) == too_long
    assert refused("replace", LONG, "x", LONG) == too_long
    assert called("replace", LONG, "x", "y") == "y" * TEXT_CHARACTERS_MOST


@pytest.mark.parametrize(
    ("name", "count"),
    [("concat", 2), ("len", 1), ("lower", 1), ("upper", 1), ("replace", 3), ("starts_with", 2),
     ("ends_with", 2), ("contains", 2), ("matches", 2)],
)  # fmt: skip
def test_texts_alone_are_texts(name: str, count: int) -> None:
    for place in range(count):
        arguments: list[object] = ["a"] * count
        arguments[place] = 5
        assert refused(name, *arguments) == "5 is no text"


def test_what_texts_cannot_do_is_said() -> None:
    assert "second argument is empty" in refused("replace", "abc", "", "x")
    assert refused("split_part", "abc", "", 1) == "the separator is empty"
    assert "no part 0" in refused("split_part", "abc", "b", 0)
    assert refused("split_part", "abc", "b", "1") == '"1" is no integer'
    assert refused("split_part", "abc", 1, 1) == "1 is no text"


def test_a_pattern_that_is_none_is_said_each_time() -> None:
    for _ in range(2):
        assert refused("matches", "a", "(") == '"(" is no regular expression: missing ): ('
    assert "no regular expression" in refused("matches", "a", "(?=a)")
    assert "no regular expression" in refused("matches", "a", r"(a)\1")
    assert "lone surrogate" in refused("matches", "a", "\ud800")
    assert "lone surrogate" in refused("matches", "\ud800", "a")


def test_a_pattern_has_bounds() -> None:
    long = "a" * (PATTERN_CHARACTERS_MOST + 1)
    assert "the most are 1000" in refused("matches", "a", long)
    assert called("matches", "a" * 1000, long[1:]) is True
    assert "pattern too large" in refused("matches", "a", r"\pL{100,900}[a-z]")
    assert "too long for so big a pattern" in refused("matches", LONG, "(ab?){100}c")
    assert called("matches", LONG, "x$") is True


def test_a_pattern_that_hangs_others_does_not() -> None:
    assert called("matches", "a" * 50_000 + "b", "(a+)+$") is False
    assert called("matches", "x" * 50_000, "(x+x+)+y") is False


def test_a_pattern_sees_zero_characters_and_others_beyond_ascii() -> None:
    assert called("matches", "a\0b", "a\0b$") is True
    assert called("matches", "größe", "^gr.ß.$") is True
    assert search("matches", "ÄB", "äb", ignore_case=True)
    assert not search("matches", "ÄB", "äb")


def test_the_library_of_patterns_is_loaded_with_the_first_pattern() -> None:
    script = (
        "import sys; from transom.policy.datalog.builtins import BUILTINS\n"
        "assert 're2' not in sys.modules\n"
        "BUILTINS['matches'].function('a', 'a')\n"
        "assert 're2' in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_builtin_without_a_docstring_is_described_by_its_name() -> None:
    def silent(x: Value) -> Value:
        return x

    found = described(Builtin("silent", 1, 1, silent))
    assert (found.line, found.arguments, found.example) == ("silent()", (), "")


def test_constants_of_the_tests_are_values() -> None:
    assert encoded(MOST) == MOST
    assert encoded(LONG) is LONG
