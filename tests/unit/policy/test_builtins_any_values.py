# SPDX-License-Identifier: Apache-2.0
"""Any values into any builtin: a bool, values within bounds, or a `BuiltinError`; and soon."""

import random
from collections.abc import Sequence
from time import process_time

import pytest

from transom.policy.datalog.builtins import BUILTINS, BuiltinError
from transom.policy.datalog.core import Builtin
from transom.policy.datalog.values import INTEGER_BITS_MOST, NAN, Value, encoded, real

ODD: list[Value] = [
    *map(encoded, (None, True, False, 0, 1, -1, 2, 7, 1900, 2014, 2**255, -(2**256) + 1, 10**18)),
    *map(real, (0.0, 1.0, -1.5, 1e308, -1e308, 5e-324, float("inf"), float("-inf"), 2.0**53)),
    NAN,
    "", " ", "a", "0", "-7", "1e999", "٣", "\0", "\ud800", "é", "ß" * 1000, "x" * 100_000,
    "x" * 100_000, "9" * 5000, "-" * 1000, "(", "(a+)+$", "(a|b?){50}c", ".*" * 500, r"\pN{900}",
    "a{1000}", "[^x]*" * 100, "2014-01-01T10:00:00Z", "Jan 1, 2014 10:00:00", "9999-12-31",
    "0001-01-01T00:00:00+23:59", "12:00:00", "1:2:3:4:5", "999999999999:0:0:0:0", "10.0.0.1",
    "10.0.0.0/8", "10.0.0.0/8, fd00::/8", "::", "::/0", "::ffff:1.2.3.4", "fe80::1%1", "1.2.3.4/0",
    "," * 9000, "10.0.0.0/8," * 800 + "::/0", "'a'", "'",
]  # fmt: skip
SLOWEST_S = 0.25
"""A million characters in upper case, on a busy machine."""


def said(builtin: Builtin, arguments: Sequence[Value]) -> str:
    """What a failure says; what the builtin begins such a text with, if it gives values."""
    try:
        check(builtin.function(*arguments), builtin.outputs)
    except BuiltinError as error:
        return str(error)
    return f"{builtin.name}: "


def check(result: object, outputs: int) -> None:
    if outputs == 0:
        assert type(result) is bool
        return
    values = result if outputs > 1 else (result,)
    assert isinstance(values, tuple)
    assert len(values) == outputs
    for value in values:
        assert encoded(value) is value
        if isinstance(value, int):
            assert value.bit_length() <= INTEGER_BITS_MOST


@pytest.mark.parametrize("name", BUILTINS)
def test_any_values_give_values_or_fail_as_builtins_fail(name: str) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    builtin = BUILTINS[name]
    for _ in range(400):
        arguments = [chance.choice(ODD) for _ in range(builtin.inputs)]
        began = process_time()
        text = said(builtin, arguments)
        assert process_time() - began < SLOWEST_S, [str(one)[:80] for one in arguments]
        assert text.startswith(f"{name}: ")
        assert len(text) < 1000


@pytest.mark.parametrize("name", [name for name in BUILTINS if BUILTINS[name].inputs <= 2])
def test_every_pair_of_odd_values_gives_values_or_fails(name: str) -> None:
    builtin = BUILTINS[name]
    pairs = [(x, y) for x in ODD for y in ODD] if builtin.inputs == 2 else [(x,) for x in ODD]
    for arguments in pairs:
        assert said(builtin, arguments).startswith(f"{name}: ")


def test_a_chain_of_growing_results_ends() -> None:
    number: Value = 3
    text: Value = "ab"
    with pytest.raises(BuiltinError, match="bits"):
        for _ in range(100):
            number = BUILTINS["mul"].function(number, number)
    with pytest.raises(BuiltinError, match="characters"):
        for _ in range(100):
            text = BUILTINS["concat"].function(text, text)
