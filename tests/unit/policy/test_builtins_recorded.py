# SPDX-License-Identifier: Apache-2.0
"""Single literals and whether they hold, recorded from OpenStack Congress's tests (Apache-2.0).

All of them hold here as there.
"""

import ast

import pytest

from transom.policy.datalog.builtins import BUILTINS, FAMILIES, described
from transom.policy.datalog.values import encoded

HOLD = r"""
int(2, 2)
int(2.3, 2)
float(2, 2.0)
float(2.3, 2.3)
plus(2, 3, 5)
minus(5, 3, 2)
mul(3, 5, 15)
div(10, 2, 5)
div(10, 4, 2)
div(10, 4.0, 2.5)
lt(1, 3)
lteq(1, 3)
lteq(3, 3)
gt(9, 5)
gteq(10, 5)
gteq(10, 10)
equal(5, 5)
max(3, 4, 4)
len("abcde", 5)
concat("abc", "def", "abcdef")
datetime_lt("Jan 1, 2014 10:00:00", "2014-01-02 10:00:00")
datetime_lteq("Jan 1, 2014 10:00:00", "2014-01-02 10:00:00")
datetime_lteq("Jan 1, 2014 10:00:00", "2014-01-01 10:00:00")
datetime_gt("Jan 5, 2014 10:00:00", "2014-01-02 10:00:00")
datetime_gteq("Jan 5, 2014 10:00:00", "2014-01-02 10:00:00")
datetime_gteq("Jan 5, 2014 10:00:00", "2014-01-05 10:00:00")
datetime_equal("Jan 5, 2014 10:00:00", "2014-01-05 10:00:00")
datetime_plus("Jan 5, 2014 10:00:00", 3600, "2014-01-05 11:00:00")
datetime_plus("Jan 5, 2014 10:00:00", "1:00:00", "2014-01-05 11:00:00")
datetime_minus("Jan 5, 2014 10:00:00", "25:00:00", "2014-01-04 09:00:00")
datetime_minus("Jan 5, 2014 10:00:00", 3600, "2014-01-05 09:00:00")
datetime_to_seconds("Jan 1, 1900 1:00:00", 3600)
extract_time("Jan 1, 1900 1:00:00", "01:00:00")
extract_date("Jan 1, 1900 1:00:00", "1900-01-01")
pack_datetime(2000, 1, 1, 10, 5, 6, "2000-1-1 10:5:6")
pack_date(2000, 1, 1, "2000-1-1")
pack_time(5, 6, 7, "5:6:7")
unpack_datetime("2000-1-1 10:5:6", 2000, 1, 1, 10, 5, 6)
unpack_date("2000-1-1 10:5:6", 2000, 1, 1)
unpack_time("2000-1-1 10:5:6", 10, 5, 6)
ips_equal("192.0.2.1", "192.0.2.1")
ips_lt("192.0.2.1", "192.0.2.2")
ips_lteq("192.0.2.1", "192.0.2.1")
ips_lteq("192.0.2.1", "192.0.2.2")
ips_gt("192.0.2.2", "192.0.2.1")
ips_gteq("192.0.2.2", "192.0.2.1")
ips_gteq("192.0.2.2", "192.0.2.2")
networks_equal("192.0.2.0/24", "192.0.2.112/24")
networks_overlap("192.0.2.0/23", "192.0.2.0/24")
ip_in_network("192.168.0.1", "192.168.0.0/24")
ips_equal("::ffff:192.0.2.1", "::ffff:192.0.2.1")
ips_lt("::ffff:192.0.2.1", "::ffff:192.0.2.2")
ips_lteq("::ffff:192.0.2.1", "::ffff:192.0.2.1")
ips_lteq("::ffff:192.0.2.1", "::ffff:192.0.2.2")
ips_gt("::ffff:192.0.2.2", "::ffff:192.0.2.1")
ips_gteq("::ffff:192.0.2.2", "::ffff:192.0.2.1")
ips_gteq("::ffff:192.0.2.2", "::ffff:192.0.2.2")
networks_equal("fe80::ffff:192.0.2.0/24", "fe80::ffff:192.0.2.112/24")
networks_overlap("fe80::ffff:192.0.2.0/23", "fe80::ffff:192.0.2.0/24")
ip_in_network("fe80::ffff:192.168.0.1", "fe80::ffff:192.168.0.0/24")
validate_int(2, 7, 5, "")
validate_float(2.3, 4.5, 3.3, "")
validate_string("a*", 5, 0, 0, "aaa", "")
validate_string("a*", 5, 0, 1, "aAa", "")
""".strip().splitlines()
HOLD_NOT = r"""
int(2, 3.3)
float(2, 3.3)
plus(2, 3, 1)
minus(5, 3, 6)
mul(2, 5, 1)
div(10.0, 3, 3.3)
lt(5, 2)
lteq(4, 3)
gt(5, 9)
gteq(5, 20)
equal(5, 7)
max(3, 7, 3)
len("abcde", 7)
concat("abc", "def", "zxy")
datetime_lt("2014-01-03 10:00:00", "Jan 2, 2014 10:00:00")
datetime_lteq("2014-01-02 10:00:00", "Jan 1, 2014 10:00:00")
datetime_gt("2014-01-03 10:00:00", "Feb 2, 2014 10:00:00")
datetime_gteq("2014-01-02 10:00:00", "Mar 1, 2014 10:00:00")
datetime_equal("Jan 5, 2014 10:00:00", "2014-01-02 10:00:00")
datetime_plus("Jan 5, 2014 10:00:00", 3600, "2014-01-05 12:00:00")
datetime_minus("Jan 5, 2014 10:00:00", "9:00:00", "Jan 4, 2014 10:00:00")
datetime_to_seconds("Jan 1, 1900 1:00:00", 3601)
extract_time("Jan 1, 1900 1:00:00", "02:00:00")
extract_date("Jan 1, 1900 1:00:00", "2000-01-01")
pack_datetime(2000, 1, 1, 10, 5, 6, "2000-1-1 10:5:20")
pack_date(2000, 1, 1, "2000-1-2")
pack_time(5, 6, 7, "10:6:7")
unpack_datetime("2000-1-1 10:5:6", 2000, 1, 1, 12, 5, 6)
unpack_date("2000-1-1 10:5:6", 2000, 1, 5)
unpack_time("2000-1-1 10:5:6", 12, 5, 6)
ips_equal("192.0.2.1", "192.0.2.2")
ips_lt("192.0.2.1", "192.0.2.1")
ips_lt("192.0.2.2", "192.0.2.1")
ips_lteq("192.0.2.2", "192.0.2.1")
ips_gt("192.0.2.1", "192.0.2.1")
ips_gt("192.0.2.1", "192.0.2.2")
ips_gteq("192.0.2.1", "192.0.2.2")
networks_equal("192.0.2.0/24", "192.0.3.0/24")
networks_overlap("192.0.2.0/24", "192.0.3.0/24")
ip_in_network("192.168.10.1", "192.168.0.0/24")
ips_equal("::ffff:192.0.2.1", "::ffff:192.0.2.2")
ips_lt("::ffff:192.0.2.1", "::ffff:192.0.2.1")
ips_lt("::ffff:192.0.2.2", "::ffff:192.0.2.1")
ips_lteq("::ffff:192.0.2.2", "::ffff:192.0.2.1")
ips_gt("::ffff:192.0.2.1", "::ffff:192.0.2.1")
ips_gt("::ffff:192.0.2.1", "::ffff:192.0.2.2")
ips_gteq("::ffff:192.0.2.1", "::ffff:192.0.2.2")
networks_equal("fe80::ffff:192.0.2.0/24", "ae80::ffff:192.0.2.0/24")
networks_overlap("fe80::ffff:192.0.2.0/24", "ae80::ffff:192.0.3.0/24")
ip_in_network("fe80::ffff:192.168.10.1", "ae80::ffff:192.168.10.1/24")
validate_int(2, 7, 9, "")
validate_int(2, 7, "string", "")
validate_float(2.3, 4.5, 7.3, "")
""".strip().splitlines()


def holds(literal: str) -> bool:
    """Whether a literal of constants holds; those are written as Python's."""
    name, _, rest = literal.partition("(")
    builtin = BUILTINS[name]
    arguments = [encoded(one) for one in ast.literal_eval(f"[{rest.removesuffix(')')}]")]
    assert len(arguments) == builtin.inputs + builtin.outputs
    result = builtin.function(*arguments[: builtin.inputs])
    if builtin.outputs == 0:
        assert isinstance(result, bool)
        return result
    return list(result if builtin.outputs > 1 else (result,)) == arguments[builtin.inputs :]


@pytest.mark.parametrize("literal", HOLD)
def test_what_held_holds(literal: str) -> None:
    assert holds(literal)


@pytest.mark.parametrize("literal", HOLD_NOT)
def test_what_did_not_hold_does_not_and_does_not_fail(literal: str) -> None:
    assert not holds(literal)


EXAMPLES = [described(builtin).example for builtin in BUILTINS.values()]


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_of_a_docstring_holds(example: str) -> None:
    assert holds(example)


@pytest.mark.parametrize("name", BUILTINS)
def test_a_builtin_says_its_literal_what_it_gives_and_when_it_fails(name: str) -> None:
    builtin = BUILTINS[name]
    found = described(builtin)
    assert found.line == f"{name}({', '.join(found.arguments)}): {found.meaning}"
    assert len(found.arguments) == builtin.inputs + builtin.outputs
    assert found.line.endswith(".")
    assert found.fails.endswith(".")
    assert found.example.startswith(f"{name}(")


def test_no_two_builtins_have_one_name_and_now_is_none() -> None:
    names = [builtin.name for family in FAMILIES.values() for builtin in family]
    assert len(names) == len(set(names)) == len(BUILTINS)
    assert "now" not in BUILTINS
