# SPDX-License-Identifier: Apache-2.0
"""A workspace of texts: columns from a schema and from facts, rows before rules, doubts."""

import pytest

from transom.policy.datalog.cases.facts import BadFacts, Facts, facts_of
from transom.policy.datalog.cases.loading import PART_ROWS, Loader
from transom.policy.datalog.core import TableId
from transom.policy.datalog.faults import Refused, Source
from transom.policy.datalog.rules.program import Kind
from transom.policy.datalog.states import ABSENT, LIVE
from transom.policy.datalog.values import TRUE
from transom.policy.datalog.workspace import Workspace

SERVERS = TableId("nova:servers")
RULE = "p(x) :- nova:servers(id=x, up=true)"


def only(tree: dict[str, object]) -> Facts:
    (facts,) = facts_of(tree, "facts.json")
    return facts


def rows(loader: Loader, table: str) -> set[tuple[object, ...]]:
    return set(loader.workspace.rows(table))


def texts(*pairs: str) -> list[tuple[str, Source]]:
    return [("own", Source(f"{number}.dl", text)) for number, text in enumerate(pairs, 1)]


def test_facts_say_the_columns_of_their_table() -> None:
    loader = Loader(Workspace())
    loader.policies(["own", "own"])
    loader.facts(only({"nova:servers": [{"id": "a", "up": True}, {"id": "b", "up": False}]}))
    assert loader.rules(texts(RULE)) == ()
    assert rows(loader, "own:p") == {("a",)}
    assert loader.workspace.program.policies == {"own": Kind.NONRECURSIVE, "nova": Kind.DATASOURCE}


def test_a_schema_orders_the_columns_of_all_files() -> None:
    loader = Loader(Workspace())
    loader.declare({SERVERS: ("id", "name", "up"), TableId("nova:flavors"): ("id",)})
    loader.facts(only({"nova:servers": [{"up": True, "id": "a"}]}))
    loader.facts(only({"nova:servers": [["b", "n", True]]}))
    loader.policies(["own"])
    loader.rules(texts(RULE))
    assert rows(loader, "nova:servers") == {("a", None, TRUE), ("b", "n", TRUE)}
    assert rows(loader, "own:p") == {("a",), ("b",)}
    with pytest.raises(BadFacts, match="has no column `nmae`"):
        loader.facts(only({"nova:servers": [{"nmae": "x"}]}))


def test_rows_without_columns_are_by_place() -> None:
    loader = Loader(Workspace())
    loader.facts(only({"nova:servers": [["a", 1]]}))
    loader.policies(["own"])
    loader.rules(texts("p(x) :- nova:servers(x, 1)"))
    assert rows(loader, "own:p") == {("a",)}
    with pytest.raises(Refused, match="2 columns"):
        loader.facts(only({"nova:servers": [["a"]]}))


def test_a_table_is_live_once_it_is_declared_or_has_facts() -> None:
    loader = Loader(Workspace())
    loader.declare({SERVERS: ("id",)})
    loader.facts(only({"nova:ports": []}))
    states, program = loader.workspace.states, loader.workspace.program
    assert states.of(program, SERVERS) == LIVE
    assert states.of(program, TableId("nova:ports")) == LIVE
    assert states.of(program, TableId("cinder:volumes")) == ABSENT


def test_more_rows_than_a_part_are_all_loaded() -> None:
    loader = Loader(Workspace())
    count = PART_ROWS + 1
    made = Facts(SERVERS, ("id",), ((number,) for number in range(count)), "f", {})
    loader.facts(made)
    assert len(loader.workspace.rows("nova:servers")) == count


def test_a_policy_with_rules_may_have_facts_from_a_file() -> None:
    loader = Loader(Workspace())
    loader.policies(["own"])
    loader.declare({TableId("own:known"): ("id",)})
    loader.facts(only({"own:known": [{"id": "a"}]}))
    loader.rules(texts("p(x) :- known(id=x)", 'known("b")'))
    assert rows(loader, "own:p") == {("a",), ("b",)}


def test_a_declared_policy_has_no_other_tables_but_those_of_facts() -> None:
    loader = Loader(Workspace())
    loader.policies(["own"])
    loader.declare({SERVERS: ("id",)})
    loader.facts(only({"nova:extra": [{"id": "a"}]}))
    loader.rules(texts("p(x) :- nova:extra(x)"))
    with pytest.raises(Refused, match="nova has no table `sevrers`"):
        loader.rules(texts("q(x) :- nova:sevrers(x)"))


def test_a_policy_that_is_not_there_is_taken_for_a_source() -> None:
    loader = Loader(Workspace())
    loader.policies(["own"])
    text = "p(x) :- nova:servers(x), builtin:lt(x, 5), time:day(t), own:q(x), not q(t)"
    assert loader.rules(texts(text, "q(1)")) == ()
    assert loader.workspace.program.policies == {"own": Kind.NONRECURSIVE, "nova": Kind.DATASOURCE}
    (note,) = loader.rules(texts("r(x) :- nova:servers(id=x)"))
    assert note.message.startswith("the rule waits: ")


def test_the_faults_of_all_texts_are_told() -> None:
    loader = Loader(Workspace())
    loader.policies(["own"])
    with pytest.raises(Refused) as raised:
        loader.rules(texts("p(", "p(1)", "q("))
    assert {fault.span.source.name for fault in raised.value.faults} == {"1.dl", "3.dl"}
    assert not rows(loader, "own:p")


def test_facts_that_nobody_reads_are_doubted() -> None:
    loader = Loader(Workspace())
    loader.policies(["own"])
    loader.declare({SERVERS: ("id", "up")})
    tree = {"nova:servers": [], "nova:sevrers": [{"id": "a"}], "x:yz": [], "read:by": [["a"]]}
    for facts in facts_of(tree, "f"):
        loader.facts(facts)
    loader.rules(texts(RULE, "q(x) :- read:by(x)"))
    assert list(loader.doubts()) == [
        "f: nova:sevrers: no rule reads nova:sevrers: did you mean `nova:servers`?",
        "f: x:yz: no rule reads x:yz",
    ]
