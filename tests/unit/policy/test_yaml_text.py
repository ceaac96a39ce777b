# SPDX-License-Identifier: Apache-2.0
"""YAML as plain values with their lines: no surprises of YAML, and bounded."""

import pytest

from transom.policy.datalog.cases.facts import BadFacts, facts_of, in_order
from transom.policy.datalog.cases.yaml_text import yaml_tree


def test_cells_without_quotes_are_read_as_in_a_rule() -> None:
    text = "a: [no, 10:30, 007, 1e5, 7, 7.5, true, null, ~, '7', \"true\", , 2026-01-01, x]"
    assert yaml_tree(text.replace(" ,", "", 1), "f") == {
        "a": ["no", "10:30", "007", "1e5", 7, 7.5, True, None, None, "7", "true", "2026-01-01", "x"]
    }
    assert yaml_tree("a:\nb: |\n  7\n", "f") == {"a": None, "b": "7\n"}
    assert yaml_tree("", "f") is None
    assert yaml_tree("7", "f") == 7


def test_names_are_text_whatever_they_look_like() -> None:
    assert yaml_tree("1: a\ntrue: b", "f") == {"1": "a", "true": "b"}


def test_lists_and_objects_know_their_line() -> None:
    tree = yaml_tree("nova:servers:\n  - {id: a}\n  - id: b\n    ram: 1\nb:c: []\n", "f")
    assert (tree.line, tree["nova:servers"].line) == (1, 2)
    assert [row.line for row in tree["nova:servers"]] == [2, 3]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [1", "f:2:1: did not find expected"),
        ("a: b: c", "f:1:5: mapping values are not allowed"),
        ("a:\n\t- b", "f:2:1: a tab; YAML is indented by blanks"),
        ("a: &x [1]\nb: *x", "f:2:4: *x: aliases are not read"),
        ("a: !!python/name:os.system x", "f:1:4: tags"),
        ("a: !!map {}", "f:1:4: tags"),
        ("a\n---\nb", "f:2:1: a second document"),
        ("a: 1\na: 2", "f:2:1: 'a' stands twice"),
        ("{[1]: 2}", "f:1:2: a name is text"),
        ("a: " + "9" * 100, "f:1:4: an integer of 333 bits"),
        ("[" * 100_000, "f:1:9: nested too deep"),
        ("a: \x00", "f: "),
    ],
)
def test_what_is_not_read_is_refused_with_its_place(text: str, says: str) -> None:
    with pytest.raises(BadFacts) as raised:
        yaml_tree(text, "f")
    assert raised.value.text.startswith(says)


@pytest.mark.parametrize("text", ["a: \x01", "a: \ud800"])
def test_characters_that_no_yaml_has_are_refused(text: str) -> None:
    with pytest.raises(BadFacts, match=r"^f: "):
        yaml_tree(text, "f")


def test_a_bad_row_is_told_by_its_line() -> None:
    text = "nova:servers:\n  - {id: a}\n  - {id: b, nmae: c}\n"
    (facts,) = facts_of(yaml_tree(text, "f.yaml"), "f.yaml")
    with pytest.raises(BadFacts, match=r"^f\.yaml:3: nova:servers has no column `nmae`"):
        list(in_order(facts, ("id", "name")))
    with pytest.raises(BadFacts, match=r"^f\.yaml:3: rows are all objects"):
        list(facts_of(yaml_tree("nova:servers:\n  - {id: a}\n  - [b]\n", "f.yaml"), "f.yaml"))
