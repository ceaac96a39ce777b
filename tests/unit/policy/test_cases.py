# SPDX-License-Identifier: Apache-2.0
"""Cases: what an expectation says, what is missing and too much, and cases that cannot fail."""

from collections.abc import Mapping

import pytest

from transom.policy.datalog.cases.cases import (
    Outcome,
    Settings,
    compare_diagnostics,
    compared,
    diagnostics,
    expectations,
    settings_of,
)
from transom.policy.datalog.cases.facts import BadFacts
from transom.policy.datalog.faults import Refused, Source
from transom.policy.datalog.language.syntax import Mode
from transom.policy.datalog.workspace import Workspace

RULES = """
error(x, n) :- nova:servers(id=x, status="ERROR", name=n), not calm(x)
calm(x) :- nova:servers(id=x, name="calm")
execute[nova:servers.stop(x)] :- error(x, _)
named("a")
"""
SERVERS = [("a", "one", "ERROR"), ("b", "calm", "ERROR"), ("c", "three", "ACTIVE")]


def made(rules: str = RULES, mode: Mode = Mode.COMPATIBLE) -> Workspace:
    workspace = Workspace(mode)
    workspace.set_schema("nova", {"servers": ["id", "name", "status"]}, complete=True)
    workspace.load({"nova:servers": SERVERS})
    workspace.create_policy("vms")
    workspace.insert(rules, "vms", "vms.dl")
    return workspace


def outcome(text: str, workspace: Workspace | None = None, own: str = "vms") -> Outcome:
    workspace = workspace or made()
    expected = expectations(workspace.program, own, Source("expected.dl", text))
    return compared(expected, workspace.engine.rows, workspace.engine.find)


def faults(text: str, own: str = "vms") -> dict[str, str]:
    """Code -> place."""
    with pytest.raises(Refused) as raised:
        expectations(made().program, own, Source("expected.dl", text))
    return {fault.code: str(fault.span) for fault in raised.value.faults}


@pytest.mark.parametrize(
    "text",
    [
        'error("a", "one")',
        '// a comment\n\n  # another\nerror("a", "one")  // why\n',
        'vms:error("a", "one").',
        'execute[nova:servers.stop("a")]',
        'calm("b")\nerror("a", "one")\nnamed("a")',
        'not error("b", _)\nnot calm("a")\nnot vms:calm("c")',
        """
        nova:servers("a", "one", "ERROR")
        nova:servers("b", "calm", "ERROR")
        nova:servers(status="ACTIVE", id="c", name="three")
        """,
        'not nova:servers(status="DELETED")\nnot nova:servers(id="c", status="ERROR")',
    ],
)
def test_what_holds_passes(text: str) -> None:
    assert outcome(text).is_good


def test_a_table_that_is_named_has_no_other_rows() -> None:
    found = outcome('error("z", "one")\ncalm("a")')
    assert [(one.table, one.row, str(one.span)) for one in found.missing] == [
        ("vms:error", ("z", "one"), "expected.dl:1:1"),
        ("vms:calm", ("a",), "expected.dl:2:1"),
    ]
    assert [(table, row, str(span)) for table, row, span in found.unexpected] == [
        ("vms:calm", ("b",), "expected.dl:2:1"),
        ("vms:error", ("a", "one"), "expected.dl:1:1"),
    ]
    assert not found.is_good


def test_a_row_that_is_not_to_be_there_is_unexpected() -> None:
    found = outcome('not error(_, _)\nnot nova:servers(status="ERROR")')
    assert not found.missing
    assert [(table, row[0], span.text) for table, row, span in found.unexpected] == [
        ("nova:servers", "a", 'not nova:servers(status="ERROR")'),
        ("nova:servers", "b", 'not nova:servers(status="ERROR")'),
        ("vms:error", "a", "not error(_, _)"),
    ]


def test_values_are_of_their_type() -> None:
    workspace = made("n(1)\nf(1.0)\nt(true)\nz(null)")
    assert outcome("n(1)\nf(1.0)\nt(true)\nz(null)", workspace).is_good
    assert len(outcome('n(1.0)\nf(1)\nt("true")\nz("null")', workspace).missing) == 4


def test_strings_are_read_in_the_mode_of_the_rules() -> None:
    text = r's("\\")'
    assert outcome(text, made(text)).is_good
    assert outcome(text, made(text, Mode.STRICT)).missing == []


def test_all_that_is_wrong_is_told_with_its_place() -> None:
    text = (
        "error(x, n) :- calm(x)\n"
        'eror("a")\n'
        'error("a")\n'
        'error("a", n)\n'
        'not error(x, "b")\n'
        'error("a"\n'
        'calm(id="a")\n'
    )
    found = faults(text)
    assert found["expected-rule"] == "expected.dl:1:1"
    assert found["unknown-table"] == "expected.dl:2:1"
    assert found["arity"] == "expected.dl:3:1"
    assert found["expected-variable"] == "expected.dl:5:11"
    assert found["no-schema"] == "expected.dl:7:6"
    assert found["syntax"].startswith("expected.dl:6:")


def test_a_row_has_a_value_in_each_column() -> None:
    assert "arity" in faults('nova:servers(id="a")')
    assert "expected-variable" in faults("calm(_)")


def test_of_several_policies_a_table_says_which() -> None:
    with pytest.raises(Refused, match="there are several policies") as raised:
        outcome('error("a", "one")', own="")
    assert raised.value.faults[0].hint == "write it with its policy: `policy:error`"
    assert outcome('vms:error("a", "one")', own="").is_good


def test_a_table_that_nothing_makes_is_no_expectation() -> None:
    with pytest.raises(Refused, match="nothing makes vms:eror") as raised:
        outcome("not eror(_)")
    assert raised.value.faults[0].hint == "did you mean `vms:error`?"
    with pytest.raises(Refused, match="nothing makes vms:xyz") as raised:
        outcome("not xyz(_)")
    assert "cannot fail" in raised.value.faults[0].hint


FAILING = """
n(1)
n(0)
big(x) :- n(x), div(1, x, y), gt(y, 5)
same(x) :- n(x), div(x, 0, y)
"""


def test_a_builtin_that_fails_is_told_with_its_place_and_inputs() -> None:
    workspace = made(FAILING)
    first, second = diagnostics(workspace.program, workspace.engine.faults)
    assert first.startswith("vms.dl:4:17: div(1, x, y) failed for (1, 0): ")
    assert second.startswith("vms.dl:5:18: div(x, 0, y) failed for (")
    assert ", 2 times: " in second


def test_an_aggregate_that_fails_is_told_by_its_head() -> None:
    workspace = made('s(1)\ns("a")\ntotal(sum(x)) :- s(x)')
    (said,) = diagnostics(workspace.program, workspace.engine.faults)
    assert said.startswith("vms.dl:3:1: total(sum(x)) failed for (")


def test_a_failure_that_is_not_expected_fails_a_case_and_so_does_one_that_does_not_come() -> None:
    said = ["a.dl:1:1: division by zero", "a.dl:2:1: not a number"]
    found = Outcome()
    compare_diagnostics(found, ["division", "a.dl:2:1"], said)
    assert found.is_good
    compare_diagnostics(found, ["division", "no address"], said)
    assert (found.failures, found.silent) == (["a.dl:2:1: not a number"], ["no address"])
    assert not found.is_good


@pytest.mark.parametrize(
    ("tree", "settings"),
    [
        (None, Settings()),
        ({"time": "2026-01-01 10:00:00"}, Settings("2026-01-01 10:00:00")),
        ({"policy": "vms", "diagnostics": ["x"]}, Settings("", "vms", ("x",))),
    ],
)  # fmt: skip
def test_settings_of_a_case(tree: object, settings: Settings) -> None:
    assert settings_of(tree, "case.yaml") == settings


@pytest.mark.parametrize(
    ("tree", "says"),
    [
        ([], "expected settings, as in `time: 2026-01-31 12:00:00`"),
        ({"tme": "x"}, "there is no setting `tme`: did you mean `time`?"),
        ({"zz": "x"}, "there is no setting `zz`: there are time, policy, diagnostics"),
        ({"time": 7}, "`time` is a text"),
        ({"policy": None}, "`policy` is a text"),
        ({"diagnostics": "x"}, "`diagnostics` is a list of texts"),
        ({"diagnostics": [7]}, "`diagnostics` is a list of texts"),
        ({"diagnostics": [""]}, "`diagnostics` is a list of texts"),
    ],
)
def test_settings_that_mean_nothing_are_refused(tree: Mapping[str, object], says: str) -> None:
    with pytest.raises(BadFacts) as raised:
        settings_of(tree, "case.yaml")
    assert raised.value.text.startswith(f"case.yaml: {says}")
