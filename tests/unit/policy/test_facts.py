# SPDX-License-Identifier: Apache-2.0
"""Facts as JSON and as plain trees: what a cell is, which columns there are, what is refused."""

import pytest

from transom.policy.datalog.cases.facts import (
    BadFacts,
    Facts,
    cell,
    facts_of,
    in_order,
    json_tree,
    schema_of,
)
from transom.policy.datalog.core import TableId
from transom.policy.datalog.values import FALSE, TRUE, BadValue, Row, Value, real

SERVERS = TableId("nova:servers")


def only(tree: object) -> Facts:
    (facts,) = facts_of(tree, "facts.json")
    return facts


def rows(tree: object) -> list[Row]:
    return list(only(tree).rows)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None), ("null", None), ("true", TRUE), ("false", FALSE), ("0", 0), ("7", 7),
        ("-7", -7), ("7.50", real(7.5)), ("-0.5", real(-0.5)),
    ],
)  # fmt: skip
def test_what_looks_like_a_constant_of_a_rule_is_one(text: str, value: Value) -> None:
    assert cell(text) == value
    assert type(cell(text)) is type(value)


@pytest.mark.parametrize(
    "text",
    ["007", "1e5", "1.5e3", "0x1f", "1_000", "+5", ".5", "5.", "-", "--1", "1.2.3", "12345678-9a",
     "2026-01-01", "10:30", "no", "True", "None", "NaN", "1 000", "٣"],
)  # fmt: skip
def test_all_else_is_text(text: str) -> None:
    assert cell(text) == text


def test_a_number_that_no_cell_holds_is_refused() -> None:
    with pytest.raises(BadValue, match="333 bits"):
        cell("9" * 100)
    with pytest.raises(BadValue, match="5000 digits"):
        cell("9" * 5000)


def test_rows_are_objects_whose_names_are_columns_in_the_order_they_are_met() -> None:
    facts = only({"nova:servers": [{"id": "a", "ram": 1}, {"name": "b", "id": "c", "up": True}]})
    assert facts.table == SERVERS
    assert facts.columns == ("id", "ram", "name", "up")
    assert list(facts.rows) == [("a", 1, None, None), ("c", None, "b", TRUE)]


def test_rows_are_lists_with_columns_or_without() -> None:
    named = only({"nova:servers": {"columns": ["id", "ram"], "rows": [["a", 1.0]]}})
    assert (named.columns, list(named.rows)) == (("id", "ram"), [("a", real(1.0))])
    bare = only({"nova:servers": [["a", 1], ["b", 2]]})
    assert (bare.columns, list(bare.rows)) == (None, [("a", 1), ("b", 2)])


@pytest.mark.parametrize("nothing", [None, []])
def test_a_table_may_be_there_and_empty(nothing: object) -> None:
    assert rows({"nova:servers": nothing}) == []


def test_a_file_may_be_empty() -> None:
    assert not list(facts_of(None, "facts.yaml"))


@pytest.mark.parametrize(
    ("tree", "says"),
    [
        ([], "facts.json: expected tables, as in"),
        ({"servers": []}, "facts.json: 'servers' is no table; write its policy"),
        ({7: []}, "facts.json: 7 is no table"),
        ({"x" * 100: []}, "x... is no table"),
        ({"nova:servers": "a"}, "facts.json: nova:servers: expected a list of rows"),
        ({"nova:servers": {"rows": []}}, "expected a list of rows, or `columns` and `rows`"),
        ({"nova:servers": {"columns": ["a"], "rows": 1}}, "expected a list of rows, or"),
        ({"nova:servers": {"columns": [], "rows": []}}, "expected the names of its columns"),
        ({"nova:servers": {"columns": [1], "rows": []}}, "1 is no name of a column"),
        ({"nova:servers": {"columns": ["a", "a"], "rows": []}}, "two columns are called 'a'"),
        (
            {"nova:servers": {"columns": ["a"], "rows": [["b"], ["b", "c"]]}},
            "row 2: 2 cells for 1 column: a",
        ),
        ({"nova:servers": [{"id": "a"}, ["b"]]}, "row 2: rows are all objects"),
        ({"nova:servers": [["a"], {"id": "b"}]}, "row 2: rows are all objects"),
        ({"nova:servers": ["a"]}, "row 1: rows are all objects"),
        ({"nova:servers": [[["a"]]]}, "row 1: a list is no value of a cell"),
        ({"nova:servers": [{"id": "a"}, {"id": {}}]}, "row 2: an object is no value of a cell"),
    ],
)
def test_what_is_no_table_of_rows_is_refused_with_its_place(tree: object, says: str) -> None:
    with pytest.raises(BadFacts) as raised:
        list(facts_of(tree, "facts.json"))
    assert says in raised.value.text


def test_json_that_is_none_is_refused_with_line_and_column() -> None:
    with pytest.raises(BadFacts, match=r"f\.json:2:3: Expecting property name"):
        json_tree("{\n  nova}", "f.json")
    with pytest.raises(BadFacts, match=r"f\.json: 'a' stands twice"):
        json_tree('{"b": 1, "a": 1, "a": 2}', "f.json")
    with pytest.raises(BadFacts, match=r"f\.json: nested too deep"):
        json_tree("[" * 200_000, "f.json")
    with pytest.raises(BadFacts, match=r"f\.json: .*digits"):
        json_tree("9" * 5000, "f.json")
    with pytest.raises(BadFacts, match=r"f\.json: NaN is no value of JSON"):
        json_tree("[NaN]", "f.json")
    assert json_tree('{"a": 1}', "f.json") == {"a": 1}


def test_a_schema_names_the_columns_of_tables() -> None:
    assert schema_of({"nova:servers": ["id", "name"]}, "s") == {SERVERS: ("id", "name")}
    described = {"nova:servers": {"id": "text", "name": None}}
    assert schema_of(described, "s") == {SERVERS: ("id", "name")}
    with pytest.raises(BadFacts, match="s: expected tables and their columns"):
        schema_of(["nova:servers"], "s")
    with pytest.raises(BadFacts, match="s: nova:servers: expected the names of its columns"):
        schema_of({"nova:servers": "id"}, "s")


def test_rows_take_the_order_of_the_schema_and_null_for_what_they_do_not_say() -> None:
    tree = {"nova:servers": [{"name": "b", "id": "a"}]}
    assert list(in_order(only(tree), ("id", "ram", "name"))) == [("a", None, "b")]
    assert list(in_order(only(tree), ("name", "id"))) == [("b", "a")]
    assert list(in_order(only({"nova:servers": [["a"]]}), ("id", "ram"))) == [("a",)]


def test_a_column_that_the_schema_lacks_is_refused_and_the_near_one_named() -> None:
    tree = {"nova:servers": [{"id": "a"}, {"nmae": "b"}]}
    with pytest.raises(BadFacts) as raised:
        list(in_order(only(tree), ("id", "name")))
    assert raised.value.text == (
        "facts.json: nova:servers: row 2: nova:servers has no column `nmae`: did you mean `name`?"
    )
    with pytest.raises(BadFacts, match="no column `zz`: it has id, name"):
        list(in_order(only({"nova:servers": [{"zz": 1}]}), ("id", "name")))


def test_tables_of_the_language_itself_are_of_no_file() -> None:
    with pytest.raises(BadFacts, match=r"facts\.json: `time` is a policy of the language's own"):
        only({"time:now": [["2026-01-01 00:00:00"]]})
