# SPDX-License-Identifier: Apache-2.0
"""The library of policies: its cases hold and try every rule, and its headers say what is so."""

import io
import json
import random
import re
import shutil
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from transom.cli import main
from transom.policy.datalog.cases.facts import facts_of
from transom.policy.datalog.cases.loading import Loader
from transom.policy.datalog.cases.yaml_text import yaml_tree
from transom.policy.datalog.core import TableId
from transom.policy.datalog.faults import Source
from transom.policy.datalog.rules.lint import lint
from transom.policy.datalog.rules.names import policy_of
from transom.policy.datalog.values import Row
from transom.policy.datalog.workspace import Workspace

from support.policy_library import CASES, LIBRARY, POLICIES, SCHEMA, loaded, rows_of, told

SOURCES = {"cinder", "glance", "keystone", "neutron", "nova"}
KINDS = {"address", "integer", "network", "number", "text", "time", "truth"}
PARTS = ("Why", "Rows", "Reads", "Settings", "To change it")
TABLE = re.compile(r"[a-z_]+:[a-z_]+(?:\.[a-z_]+)?")


def run(*words: str | Path) -> tuple[int, Any]:
    """A command's status and what it printed."""
    printed = io.StringIO()
    with redirect_stdout(printed):
        status = main(["policy", *map(str, words)])
    return status, json.loads(printed.getvalue() or "null")


def header(policy: str) -> str:
    """The comment at the top, as one text a paragraph, without the licence's line."""
    lines: list[str] = []
    for line in (LIBRARY / policy / "policy.dl").read_text("utf-8").splitlines()[1:]:
        if not line.startswith("//"):
            break
        lines.append(line.removeprefix("//").strip())
    return "\n".join(lines)


def fill(loader: Loader, text: str) -> None:
    for facts in facts_of(yaml_tree(text, "facts.yaml"), "facts.yaml"):
        loader.facts(facts)


def test_there_are_policies_and_each_is_tried_in_several_cases() -> None:
    assert len(POLICIES) >= 12
    for policy in POLICIES:
        cases = {case.name for case in CASES if case.parts[-3] == policy}
        assert {"nothing_wrong", "missing_values"} <= cases
        assert len(cases) >= 4


@pytest.mark.parametrize("policy", POLICIES)
def test_its_cases_hold_and_try_all_of_its_rules(policy: str) -> None:
    status, found = run("test", LIBRARY / policy, "--coverage", "--json")
    assert [case for case in found["cases"] if not case["ok"] or case["warnings"]] == []
    assert status == 0
    rules = found["coverage"]["rules"]
    assert rules
    assert [rule["rule"] for rule in rules if not rule["gave_rows"]] == []
    assert [one for rule in rules for one in rule["idle"]] == []


def test_nothing_in_it_is_doubtful_and_all_of_it_has_its_one_spelling() -> None:
    assert run("lint", LIBRARY, "--json") == (0, [])
    assert main(["policy", "fmt", "--check", str(LIBRARY)]) == 0


@pytest.mark.parametrize(
    ("policy", "right", "wrong"),
    [
        # As two policies of Congress' library had it, where nobody noticed.
        ("unencrypted_volumes", "encrypted=true", "encrypted=True"),
        ("open_security_groups", 'covers(null, "tcp")', ""),
        ("open_security_groups", "port_range_min=null", 'port_range_min="None"'),
        ("open_security_groups", "lt(length, bits)", "equal(length, 0)"),
        ("open_security_groups", "lteq(port, last)", "lt(port, last)"),
        ("nearly_full_quotas", "id=server, tenant_id=project, f", "tenant_id=project, f"),
        ("broken_anti_affinity", "gt(members, most)", "gteq(members, most)"),
        ("stuck_servers", "datetime_lt(since", "datetime_lteq(since"),
        ("missing_backups", 'status="available", ', ""),
        ("foreign_admins", "keystone:group_members(group_id=group, ", "keystone:group_members("),
        ("cost_centres", ",6}$", ",6}"),
        ("pause_offenders", 'status="ACTIVE", ', ""),
    ],
)
def test_a_policy_that_is_wrong_fails_its_cases(
    policy: str, right: str, wrong: str, tmp_path: Path
) -> None:
    shutil.copytree(LIBRARY / policy, tmp_path / policy)
    shutil.copy(SCHEMA, tmp_path)
    path = tmp_path / policy / "policy.dl"
    text = path.read_text("utf-8")
    assert right in text
    path.write_text(text.replace(right, wrong, 1), "utf-8")
    status, found = run("test", tmp_path, "--json")
    assert status == 1
    assert not any(case["faults"] for case in found["cases"]), "wrong, and still a policy"


@pytest.mark.parametrize("policy", POLICIES)
def test_its_header_says_what_it_reads_and_what_can_be_set(policy: str) -> None:
    text = header(policy)
    first, *others = text.split("\n\n")
    assert first.endswith(".")
    positions = [text.index(f"\n{part}: ") for part in PARTS]
    assert positions == sorted(positions)
    program = loaded(policy).workspace.program
    reads = {table for entry in program.entries.values() for table in entry.reads}
    said = next(line for one in others for line in one.split("\nSettings:") if "Reads:" in line)
    named = TABLE.findall(said.partition("Reads:")[2])
    assert named == sorted(table for table in reads if policy_of(table) != policy)
    for table in program.facts:
        assert f"{table.partition(':')[2]}(" in text, f"{table} is a setting nobody hears of"


@pytest.mark.parametrize("policy", POLICIES)
def test_errors_and_warnings_have_an_id_a_name_an_owner_a_reason_and_a_detail(policy: str) -> None:
    program = loaded(policy).workspace.program
    kinds = {table.partition(":")[2] for table in program.heads}
    assert kinds & {"error", "warning", "execute[nova:servers.pause]"}
    for kind in ("error", "warning"):
        for name in program.heads.get(TableId(f"{policy}:{kind}"), ()):
            assert len(program.entries[name].rule.head.terms) == 5


@pytest.mark.parametrize("case", CASES, ids=lambda path: "-".join(path.parts[-3::2]))
def test_what_is_mended_is_told_no_more_and_what_breaks_again_is_told_again(case: Path) -> None:
    draw = random.Random(str(case.relative_to(LIBRARY)))
    policy = case.parts[-3]
    workspace = loaded(policy).workspace
    if (case / "case.yaml").exists():
        settings = yaml_tree((case / "case.yaml").read_text("utf-8"), "case.yaml")
        if "time" in settings:
            workspace.tick(settings["time"])
    before = told(workspace)
    rows = [(table, row) for table, row in rows_of(case) if policy_of(table) != policy]
    settings_rows = [one for one in rows_of(case) if policy_of(one[0]) == policy]
    change(workspace, settings_rows, 1)
    whole: dict[TableId, set[Row]] = {}
    for _ in range(3):
        draw.shuffle(rows)
        change(workspace, rows, 1)
        whole = whole or told(workspace)
        assert told(workspace) == whole
        draw.shuffle(rows)
        change(workspace, rows, -1)
        for table in before:
            if table.partition(":")[2] in ("error", "warning"):
                assert not workspace.rows(table)
    change(workspace, settings_rows, -1)
    assert told(workspace) == before


def change(workspace: Workspace, rows: list[tuple[TableId, Row]], weight: int) -> None:
    """Row by row, as a cloud changes."""
    for table, row in rows:
        workspace.update({table: {row: weight}})


def test_all_policies_stand_side_by_side_and_one_acts_on_what_others_say() -> None:
    loader = loaded(*POLICIES)
    fill(
        loader,
        """
        nova:servers: [{id: s1, name: web, status: ACTIVE, tenant_id: shop}]
        neutron:networks: [{id: lab, tenant_id: research, shared: false}]
        neutron:ports: [{id: p1, network_id: lab, device_id: s1, device_owner: "compute:nova"}]
        pause_offenders:agreed: [[shop]]
        """,
    )
    workspace = loader.workspace
    paused = TableId("pause_offenders:execute[nova:servers.pause]")
    assert set(workspace.rows(paused)) == {("s1",)}
    workspace.update({TableId("networks_not_allowed:allowed"): {("shop", "lab"): 1}})
    assert not workspace.rows(paused)


def test_the_schema_says_of_each_column_its_kind_and_nobody_reads_what_it_does_not_have() -> None:
    said_tables = yaml_tree(SCHEMA.read_text("utf-8"), "schema.yaml")
    assert {table.partition(":")[0] for table in said_tables} == SOURCES
    for table, columns in said_tables.items():
        for column, said in columns.items():
            assert said.partition(",")[0] in KINDS, f"{table} {column}: {said}"
    program = loaded(*POLICIES).workspace.program
    read = {table for entry in program.entries.values() for table in entry.reads}
    others = {table for table in read if policy_of(table) not in (*POLICIES, "time")}
    assert others <= said_tables.keys()


def test_the_rules_that_the_guide_shows_are_rules_of_which_nothing_is_doubtful() -> None:
    page = (LIBRARY.parents[3] / "docs" / "howto" / "write-a-policy.md").read_text("utf-8")
    shown = "\n".join(re.findall(r"^```dl\n(.*?)^```$", page, re.S | re.M))
    loader = loaded()
    loader.policies(["guide"])
    assert loader.rules([("guide", Source("guide", shown))]) == ()
    assert lint(loader.workspace.program) == []
