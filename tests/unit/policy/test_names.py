# SPDX-License-Identifier: Apache-2.0
"""Names of policies and tables, and back."""

import pytest

from transom.policy.datalog.core import TableId
from transom.policy.datalog.faults import Source
from transom.policy.datalog.language.grammar import parse_query
from transom.policy.datalog.language.printing import text_of
from transom.policy.datalog.language.syntax import Literal, Modal, TableName
from transom.policy.datalog.rules.names import atom_of, meant, policy_fault, policy_of, table_id

TABLES = {
    "q": "a:q",
    "a:q": "a:q",
    "b:q": "b:q",
    "q+": "a:q+",
    "b:servers.pause-": "b:servers.pause-",
    "execute[q]": "a:execute[q]",
    "execute[a:q]": "a:execute[a:q]",
    "execute[nova:servers.pause]": "a:execute[nova:servers.pause]",
    "now": "time:now",
    "builtin:now": "time:now",
    "now+": "a:now+",
    "b:now": "b:now",
    "b:c:d": "b:c:d",
}


@pytest.mark.parametrize("text", TABLES)
def test_a_name_is_one_table_of_all(text: str) -> None:
    query = parse_query(Source("text", text))
    assert isinstance(query, Literal)
    assert table_id("a", query.atom.name, query.atom.modal) == TABLES[text]


@pytest.mark.parametrize("text", TABLES)
def test_a_table_is_written_so_that_it_reads_back(text: str) -> None:
    table = TableId(TABLES[text])
    atom = atom_of(table, "a")
    assert table_id("a", atom.name, atom.modal) == table
    query = parse_query(Source("text", text_of(atom)))
    assert isinstance(query, Literal)
    assert query.atom == atom


def test_the_rules_own_policy_is_left_out() -> None:
    assert text_of(atom_of(TableId("a:q+"), "a")) == "q+"
    assert atom_of(TableId("a:q+"), "b").name == TableName("a", "q", "+")
    assert atom_of(TableId("a:execute[a:q]"), "a").modal is Modal.EXECUTE
    assert atom_of(TableId("a:execute[a:q]"), "a").name == TableName("a", "q")


def test_a_table_knows_its_policy() -> None:
    assert policy_of(TableId("a:execute[b:c]")) == "a"


@pytest.mark.parametrize("name", ["builtin", "time", "not", "execute", "", "1a", "a-b", "a b", "é"])
def test_such_a_policy_cannot_be(name: str) -> None:
    assert policy_fault(name)


@pytest.mark.parametrize("name", ["a", "A1", "a.b", "_x"])
def test_such_a_policy_can(name: str) -> None:
    assert policy_fault(name) is None


def test_what_was_meant_is_found_if_it_is_near() -> None:
    assert meant("sevrers", ["servers", "ports"]) == "did you mean `servers`?"
    assert meant("x", ["servers"]) == ""


@pytest.mark.parametrize("name", ["]", "x]", "execute[]", "[x]"])
def test_names_of_sources_that_look_like_actions_are_none(name: str) -> None:
    assert atom_of(TableId(f"nova:{name}"), "p").name.table == name
