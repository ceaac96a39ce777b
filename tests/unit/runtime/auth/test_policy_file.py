# SPDX-License-Identifier: Apache-2.0
import logging
import os

import pytest

from transom.errors import ConfigError, Forbidden
from transom.runtime.auth.context import Context
from transom.runtime.auth.declared import AccessRule, defaults
from transom.runtime.auth.policy_file import WARNING, PolicyFile, loaded, read_rules

DECLARED = (
    AccessRule("writer", "role:member", "Who may write."),
    AccessRule("things:create", "rule:writer", "Make.", ("POST /things",), ("project_id",)),
    AccessRule("things:list", "", "List.", ("GET /things",), ("project_id",)),
)
MEMBER = Context("r", user_id="u", project_id="p", roles=frozenset(["member"]))
ADMIN = Context("r", user_id="a", project_id="q", roles=frozenset(["admin"]))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "policy.yaml"


def allows(rules, name, context):
    try:
        rules.enforce(name, context, {"project_id": "p"})
    except Forbidden:
        return False
    return True


def write(path, text):
    """As a careful editor would: the old file is never half the new one."""
    path.with_suffix(".new").write_text(text)
    path.with_suffix(".new").rename(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("# only words\n", {}),
        ('"a": "role:x"\nb: role:y or role:z\n', {"a": "role:x", "b": "role:y or role:z"}),
        ("a: ''\nb: \"!\"\nc: '@'\n", {"a": "", "b": "!", "c": "@"}),
        ("a:\n- [role:x, role:y]\n- role:z\n", {"a": [["role:x", "role:y"], "role:z"]}),
        ('{"a": "@", "b": [["role:y"]], "c": []}', {"a": "@", "b": [["role:y"]], "c": []}),
        ('{\n\t"a": "role:x"\n}\n', {"a": "role:x"}),
        ("{a: role:x, b: '@'}", {"a": "role:x", "b": "@"}),
        ("a: &same role:x\nb: *same\n", {"a": "role:x", "b": "role:x"}),
        ("a: |\n  role:x or\n  role:y\n", {"a": "role:x or\nrole:y\n"}),
    ],
)  # fmt: skip
def test_rules_are_read_from_yaml_and_json(text, expected):
    assert read_rules(text) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: !", "in quotes: '' allows everybody, '!' nobody"),
        ("a: ! role:x", "put the rule in quotes"),
        ("a:", "in line 1"),
        ("a: b\nc: true", "'true' in line 2"),
        ("a: 7", "'7'"),
        ("a: null", "'null'"),
        ("a: [role:x, ]\nb: [7]", "'7' in line 2"),
        ("a: {role: x}", "neither a text nor a list"),
        ("? [a]\n: b", "something else than a rule's name"),
        ("a: '@'\na: '!'", "rule 'a' twice"),
        ('{"a": "@", "a": "!"}', "rule 'a' twice"),
        ("- a\n- b\n", "is no list of rules"),
        ("role:admin", "is no list of rules"),
        ("a: @", "neither YAML nor JSON"),
        ("a: 'role:x", "neither YAML nor JSON"),
        ("a: " + "[" * 3000, "neither YAML nor JSON|nested too deeply"),
        ("a: !!python/name:os.system x", "no text"),
    ],
)
def test_what_yaml_would_take_for_something_else_is_refused_with_its_place(text, says):
    with pytest.raises(ValueError, match=says):
        read_rules(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("things:create: 'role:'", "rule 'things:create' has 'role:'"),
        ('{"things:create": {}}', "neither a text nor a list"),
        ('{"things:create": null}', "neither a text nor a list"),
        ("things:create: rule:absent", "refers to rule 'absent', which is not there"),
        ("things:create: http://there/x", "another service's health"),
        ("writer: rule:things:create", "refers to itself: writer -> things:create -> writer"),
        ("x: '" + "a" * (1 << 20) + "'", "larger than"),
    ],
)
def test_a_file_with_a_fault_is_refused_and_named(path, text, says):
    path.write_text(text)
    with pytest.raises(ConfigError, match=says) as raised:
        loaded(path, DECLARED)
    assert raised.value.text.startswith(f"{path}: ")


def test_a_file_that_cannot_be_read_is_refused_and_named(path):
    with pytest.raises(ConfigError, match="no such file"):
        loaded(path, DECLARED)
    path.write_bytes(b"a: \xff")
    with pytest.raises(ConfigError, match="not UTF-8"):
        loaded(path, DECLARED)
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        loaded(path.parent, DECLARED)


@pytest.mark.parametrize(
    ("text", "warned"),
    [
        ("things:create: role:x", []),
        ("mine: role:x\nthings:create: rule:mine and project_id:%(project_id)s", []),
        ("default: role:x\ncontext_is_admin: role:y\n", []),
        ("thing:create: role:x", ["nothing here; did you mean 'things:create'?"]),
        ("mine: role:x", ["'mine' is asked for by nothing here"]),
        ("things:list: projectid:%(project_id)s",
         ["callers have no 'projectid'; did you mean 'project_id'?"]),
        ("writer: user_id:%(user_id)s",
         ["never holds in 'things:create', whose target has no user_id; it has project_id"]),
    ],
)  # fmt: skip
def test_what_would_be_without_effect_is_warned_about(path, text, warned):
    path.write_text(text)
    found = loaded(path, DECLARED).warnings
    assert len(found) == len(warned)
    for warning, says in zip(found, warned, strict=True):
        assert says in warning


def test_a_name_declared_twice_is_a_mistake_of_the_part():
    with pytest.raises(ValueError, match="declared twice"):
        defaults([*DECLARED, DECLARED[0]])


async def test_a_named_file_has_to_be_there_and_the_usual_one_has_not(path):
    with pytest.raises(ConfigError, match="no such file"):
        await PolicyFile("things", path, DECLARED, needed=True).start()
    usual = PolicyFile("things", path, DECLARED)
    await usual.start()
    assert allows(usual.rules, "things:create", MEMBER)
    await usual.stop()
    assert not usual.read().warnings


async def test_without_a_path_the_defaults_hold():
    policy = PolicyFile("things", None, DECLARED)
    await policy.start()
    assert allows(policy.rules, "things:create", MEMBER)
    assert not policy.read().warnings
    await policy.stop()


async def test_a_changed_file_holds_once_it_has_stayed_the_same(path, caplog):
    policy = PolicyFile("things", path, DECLARED)
    await policy.start()
    try:
        with caplog.at_level(logging.WARNING):
            write(path, "writer: role:admin\ntypo: '@'")
            await policy.look(path)
            assert allows(policy.rules, "things:create", MEMBER)
            write(path, "writer: role:admin\ntypo: '!'")
            await policy.look(path)
            assert allows(policy.rules, "things:create", MEMBER)
            await policy.look(path)
        assert allows(policy.rules, "things:create", ADMIN)
        assert not allows(policy.rules, "things:create", MEMBER)
        assert allows(policy.rules, "things:list", MEMBER)
        assert "'typo' is asked for by nothing" in caplog.records[0].warning
    finally:
        await policy.stop()


async def test_a_broken_file_leaves_the_last_good_rules_and_is_told_once(path, caplog):
    path.write_text("writer: role:admin")
    policy = PolicyFile("things", path, DECLARED)
    await policy.start()
    try:
        with caplog.at_level(logging.WARNING):
            write(path, "writer: 'role:'")
            for _ in range(5):
                await policy.look(path)
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert "rule 'writer' has 'role:'" in policy.problem
        assert policy.warning() == WARNING
        assert "writer" not in WARNING
        assert allows(policy.rules, "things:create", ADMIN)
        assert not allows(policy.rules, "things:create", MEMBER)
        with pytest.raises(ConfigError):
            policy.read()
        write(path, "writer: role:member")
        for _ in range(2):
            await policy.look(path)
        assert policy.problem == ""
        assert allows(policy.rules, "things:create", MEMBER)
    finally:
        await policy.stop()


async def test_a_file_that_is_gone_changes_nothing_until_it_is_back(path, caplog):
    path.write_text("writer: role:admin")
    policy = PolicyFile("things", path, DECLARED)
    await policy.start()
    try:
        aside = path.with_suffix(".aside")
        path.rename(aside)
        with caplog.at_level(logging.ERROR):
            for _ in range(3):
                await policy.look(path)
        assert len(caplog.records) == 1
        assert "is gone" in policy.problem
        assert not allows(policy.rules, "things:create", MEMBER)
        aside.rename(path)
        for _ in range(2):
            await policy.look(path)
        assert policy.problem == ""
        os.truncate(path, 0)
        for _ in range(2):
            await policy.look(path)
        assert allows(policy.rules, "things:create", MEMBER)
    finally:
        await policy.stop()
