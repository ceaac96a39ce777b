# SPDX-License-Identifier: Apache-2.0
"""The library of policies, loaded, and what its cases have as facts."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import transom.policy
from transom.policy.datalog.cases.facts import Schema, facts_of, in_order, schema_of
from transom.policy.datalog.cases.loading import Loader
from transom.policy.datalog.cases.yaml_text import yaml_tree
from transom.policy.datalog.core import TableId
from transom.policy.datalog.faults import Source
from transom.policy.datalog.values import Row
from transom.policy.datalog.workspace import Workspace

LIBRARY = Path(transom.policy.__file__).parent / "library"
SCHEMA = LIBRARY / "schema.yaml"
POLICIES = sorted(path.parent.name for path in LIBRARY.glob("*/policy.dl"))
CASES = sorted(path.parent for path in LIBRARY.glob("*/cases/*/expected.dl"))


@cache
def schema() -> Schema:
    return schema_of(yaml_tree(SCHEMA.read_text("utf-8"), SCHEMA.name), SCHEMA.name)


def loaded(*policies: str) -> Loader:
    loader = Loader(Workspace())
    loader.policies(policies)
    loader.declare(schema())
    loader.rules(
        (policy, Source(policy, (LIBRARY / policy / "policy.dl").read_text("utf-8")))
        for policy in policies
    )
    return loader


def rows_of(case: Path) -> Iterator[tuple[TableId, Row]]:
    """A case's facts: of clouds, of settings, of other policies."""
    text = (case / "facts.yaml").read_text("utf-8")
    for facts in facts_of(yaml_tree(text, "facts.yaml"), "facts.yaml"):
        for row in in_order(facts, schema().get(facts.table, facts.columns or ())):
            yield facts.table, row


def told(workspace: Workspace) -> dict[TableId, set[Row]]:
    """The rows of all tables that rules make."""
    return {table: set(workspace.rows(table)) for table in workspace.program.heads}
