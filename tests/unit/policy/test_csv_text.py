# SPDX-License-Identifier: Apache-2.0
"""CSV: what a cell is with quotes and without, and what is refused with its line."""

import itertools

import pytest

from transom.policy.datalog.cases.csv_text import RECORD_CHARACTERS_MOST, csv_facts
from transom.policy.datalog.cases.facts import BadFacts
from transom.policy.datalog.values import FALSE, TRUE, Row, real


def read(text: str, warned: list[str] | None = None) -> tuple[tuple[str, ...] | None, list[Row]]:
    warned = [] if warned is None else warned
    facts = csv_facts(text.splitlines(keepends=True), "nova:servers", "s.csv", warned.append)
    return facts.columns, list(facts.rows)


def test_the_first_line_names_columns_and_each_other_is_a_row() -> None:
    columns, rows = read("id, name\na,true\nb, 1\n\n  \nc,\n")
    assert columns == ("id", "name")
    assert rows == [("a", TRUE), ("b", 1), ("c", None)]


def test_a_quoted_cell_is_text() -> None:
    _, rows = read('"a","b","c"\n"1","true",""\n "x ""y"" z" ,1.5,"a,b"\n')
    assert rows == [("1", "true", ""), ('x "y" z', real(1.5), "a,b")]


def test_a_quoted_cell_may_go_over_lines() -> None:
    _, rows = read('a,b\n"one\r\ntwo ""\n""",2\n3,4')
    assert rows == [('one\r\ntwo "\n"', 2), (3, 4)]


def test_a_byte_order_mark_and_other_line_ends_do_not_count() -> None:
    assert read('\ufeff"id",b\r\na,"c"\r\n') == (("id", "b"), [("a", "c")])
    assert read("\ufeffid,b\r\na,c\r\n") == (("id", "b"), [("a", "c")])


def test_a_column_may_be_text_throughout() -> None:
    columns, rows = read('id:text,"n:text",up\n7, 1,false\n,"",\n')
    assert columns == ("id", "n", "up")
    assert rows == [("7", "1", FALSE), ("", "", None)]


def test_a_column_of_numbers_and_of_text_is_warned_about() -> None:
    warned: list[str] = []
    read("id,ram,up\n12345678,1,true\n1234567a,2.5,\n", warned)
    (warning,) = warned
    assert warning.startswith("s.csv: column id: some cells are text and some are numbers; quote")
    assert "call the column id:text in the first line" in warning


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "s.csv:1: expected the names of the columns"),
        ("id,,b\n", "s.csv:1: a column without a name"),
        ("id,id:text\n", "s.csv:1: two columns are called 'id'"),
        ("id;name\n", "s.csv:1: one column 'id;name'; cells are separated by commas"),
        ("id,b\na,1\na\n", "s.csv:3: 1 cell for 2 columns: id, b"),
        ('id,b\n\n"a\nb",1\n"a" b,c\n', "s.csv:5: cell 1: quotes stand around a whole cell"),
        ('id,b\na,   "b"c\n', "s.csv:2: cell 2: quotes"),
        ('id,b\na,b"c"\n', "s.csv:2: 2 cells"),
        ('id\na\n"b\nc\n', "s.csv:3: a quote is not closed"),
        (f"id\n{'9' * 500}\n", "s.csv:2: a number of 500 digits"),
    ],
)
def test_a_bad_line_is_refused_with_its_number(text: str, says: str) -> None:
    if says.endswith("2 cells"):
        assert read(text)[1] == [("a", 'b"c"')]
        return
    with pytest.raises(BadFacts) as raised:
        read(text)
    assert raised.value.text.startswith(says)


def test_a_quote_that_is_never_closed_does_not_read_on_for_ever() -> None:
    lines = itertools.chain(["id\n", '"'], itertools.repeat("x" * (RECORD_CHARACTERS_MOST // 8)))
    with pytest.raises(BadFacts, match=r"s\.csv:2: a quote is not closed"):
        list(csv_facts(lines, "nova:servers", "s.csv", print).rows)


def test_a_file_for_no_table_is_refused() -> None:
    with pytest.raises(BadFacts, match=r"s\.csv: 'servers' is no table"):
        csv_facts([], "servers", "s.csv", print)
