# SPDX-License-Identifier: Apache-2.0
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transom.errors import ConfigError, Forbidden
from transom.runtime.auth.context import Context
from transom.runtime.auth.rules import Rules, compiled

MEMBER = Context(
    "r", user_id="u1", project_id="p1", domain_id="", roles=frozenset(["member", "reader"])
)
ADMIN = Context("r", user_id="a1", project_id="p9", system=True, roles=frozenset(["admin"]))
UNSCOPED = Context("r", user_id="u2")
OTHERS = {
    "admin": "role:admin",
    "owner": "project_id:%(project_id)s",
    "admin_or_owner": "rule:admin or rule:owner",
}


def holds(texts, name, context, target=None):
    try:
        Rules(texts).enforce(name, context, target or {})
    except Forbidden:
        return False
    return True


@pytest.mark.parametrize(
    ("text", "context", "target", "expected"),
    [
        ("", UNSCOPED, {}, True),
        ("@", UNSCOPED, {}, True),
        ("!", ADMIN, {}, False),
        ("role:admin", ADMIN, {}, True),
        ("role:Admin", ADMIN, {}, True),
        ("role:admin", MEMBER, {}, False),
        ("role:%(needed)s", MEMBER, {"needed": "Member"}, True),
        ("role:%(needed)s", MEMBER, {}, False),
        ("rule:admin_or_owner", MEMBER, {"project_id": "p1"}, True),
        ("rule:admin_or_owner", MEMBER, {"project_id": "p2"}, False),
        ("rule:admin_or_owner", ADMIN, {"project_id": "p2"}, True),
        ("project_id:%(project_id)s", MEMBER, {}, False),
        ("project_id:%(project_id)s", UNSCOPED, {"project_id": ""}, False),
        ("project_id:%(project_id)s", UNSCOPED, {"project_id": None}, False),
        ("project_id:%(project_id)s", UNSCOPED, {}, False),
        ("tenant_id:%(tenant)s", MEMBER, {"tenant": "p1"}, True),
        ("project_id:p1", MEMBER, {}, True),
        ("project_id:p2", MEMBER, {}, False),
        ("user_id:u%(number)s", MEMBER, {"number": 1}, True),
        ("user_id:u%(number)s", MEMBER, {}, False),
        ("domain_id:%(empty)s", MEMBER, {"empty": ""}, False),
        ("system_scope:all", ADMIN, {}, True),
        ("system_scope:all", MEMBER, {}, False),
        ("'public':%(visibility)s", MEMBER, {"visibility": "public"}, True),
        ('"public":%(visibility)s', MEMBER, {"visibility": "private"}, False),
        ("True:%(protected)s", MEMBER, {"protected": True}, True),
        ("True:%(protected)s", MEMBER, {"protected": False}, False),
        ("True:%(protected)s", MEMBER, {}, False),
        ("7:%(size)s", MEMBER, {"size": 7}, True),
        ("-7.50:%(size)s", MEMBER, {"size": -7.5}, True),
        ("None:%(domain)s", MEMBER, {"domain": None}, True),
        ("None:%(domain)s", MEMBER, {"domain": ""}, False),
        ("None:%(domain)s", MEMBER, {}, False),
        ("'50%':50%%", MEMBER, {}, True),
        ("user_id:%(target.user.id)s", MEMBER, {"target.user.id": "u1"}, True),
        ("token.user.id:%(target.user.id)s", MEMBER, {"target.user.id": "u1"}, True),
        ("roles:Member", MEMBER, {}, True),
        ("roles:%(needed)s", MEMBER, {"needed": "reader"}, True),
        ("roles:%(needed)s", MEMBER, {}, False),
        ("service_roles:service", MEMBER, {}, False),
        ("is_admin:True", ADMIN, {}, True),
        ("is_admin:True", MEMBER, {}, False),
        ("is_admin:False", MEMBER, {}, True),
        ("is_admin:1", ADMIN, {}, False),
        ("is_admin_project:True", MEMBER, {}, True),
        ("is_admin_project:False", MEMBER, {}, False),
        ("system:all", ADMIN, {}, True),
        ([], UNSCOPED, {}, True),
        ([[]], ADMIN, {}, False),
        ([["role:admin"], ["role:member", "project_id:%(p)s"]], MEMBER, {"p": "p1"}, True),
        ([["role:admin"], ["role:member", "project_id:%(p)s"]], MEMBER, {"p": "p2"}, False),
        (["role:admin", "role:member"], MEMBER, {}, True),
        ([["rule:admin"], []], MEMBER, {}, False),
        ([["!"], ["@"]], MEMBER, {}, True),
        ("no_such_attribute:%(project_id)s", MEMBER, {"project_id": "p1"}, False),
        ("not role:admin", MEMBER, {}, True),
        ("NOT role:admin AND role:member", MEMBER, {}, True),
        ("not not role:member", MEMBER, {}, True),
        ("not (role:admin or role:member)", MEMBER, {}, False),
        ("role:admin and role:member or role:reader", MEMBER, {}, True),
        ("role:reader or role:member and role:admin", MEMBER, {}, True),
        ("(role:reader or role:member) and role:admin", MEMBER, {}, False),
        ("((role:member))", MEMBER, {}, True),
        ("( role:member )", MEMBER, {}, True),
        ("@ and @ and @ and !", MEMBER, {}, False),
        ("! or ! or ! or @", MEMBER, {}, True),
    ],
)
def test_a_rule_holds_or_not(text, context, target, expected):
    assert holds({**OTHERS, "asked": text}, "asked", context, target) is expected


def test_a_missing_rule_denies_everybody():
    assert not holds(OTHERS, "no:such:rule", ADMIN)


@pytest.mark.parametrize(
    "text",
    [
        "role:", ":x", "admin", "(role:admin", "role:admin)", "role:admin role:member", "and",
        "not", "role:admin or", "or role:admin", "role:admin and or @", "()", "rule:missing",
        "project_id:%(x", "project_id:%x", "@ !", "role:a not @", "(" * 5000 + "@" + ")" * 5000,
        "not " * 5000 + "@", "   ", "'two words':%(x)s", "'role:admin'", "b'x':%(y)s", "[1]:%(y)s",
        "007:%(y)s", "(role:a)and(role:b)", "http://other/check", "https://other/check", "role:5%",
        None, 7, True, {}, [7], [["role:a", 7]], [[["role:a"]]], ["admin"], ["not role:admin"],
    ],
)  # fmt: skip
def test_bad_syntax_is_a_configuration_error_that_names_the_rule(text):
    with pytest.raises(ConfigError, match="'wanted'"):
        Rules({"wanted": text})


def test_a_cycle_is_a_configuration_error_that_shows_it():
    with pytest.raises(ConfigError, match="a -> b -> c -> a"):
        Rules({"a": "role:x or rule:b", "b": "not rule:c", "c": "rule:a"})
    with pytest.raises(ConfigError, match="a -> a"):
        Rules({"a": "rule:a"})


def test_rules_that_are_too_deep_together_are_refused():
    chain = {f"r{number}": f"not rule:r{number + 1}" for number in range(150)}
    with pytest.raises(ConfigError, match="nested too deeply"):
        Rules({**chain, "r150": "@"})


def test_what_a_rule_named_default_says_holds_for_names_that_are_not_there():
    texts = {"default": "role:admin", "asked": "rule:absent or role:other"}
    for name in ("asked", "nowhere"):
        assert holds(texts, name, ADMIN)
        assert not holds(texts, name, MEMBER)
    with pytest.raises(ConfigError, match="'absent', which is not there"):
        Rules({"default": "rule:absent"})


def test_is_admin_is_what_the_rule_for_it_says():
    texts = {"context_is_admin": "role:member", "asked": "is_admin:True"}
    assert holds(texts, "asked", MEMBER)
    assert not holds(texts, "asked", ADMIN)
    with pytest.raises(ConfigError, match="refers to itself"):
        Rules({"context_is_admin": "is_admin:True"})


def test_a_project_that_keystone_calls_no_admin_project_is_none():
    elsewhere = Context("r", roles=frozenset(["admin"]), is_admin_project=False)
    assert not holds({"asked": "is_admin_project:True"}, "asked", elsewhere)


def test_a_replacement_holds_at_once_and_a_broken_one_never():
    rules = Rules({"asked": "!"})
    with pytest.raises(ConfigError):
        rules.replace(compiled({"asked": "rule:"}))
    with pytest.raises(Forbidden):
        rules.enforce("asked", ADMIN)
    rules.replace(compiled({"asked": "@"}))
    rules.enforce("asked", ADMIN)


ATOMS = {"@": True, "!": False, "role:member": True, "role:admin": False}


@st.composite
def expressions(draw, depth=4):
    """(text, value): text with just the parentheses that it needs, or more."""
    kind = draw(st.sampled_from(["atom", "not", "and", "or"])) if depth else "atom"
    if kind == "atom":
        text = draw(st.sampled_from(sorted(ATOMS)))
        return text, ATOMS[text]
    first, holds = draw(expressions(depth=depth - 1))
    if kind == "not":
        return f"not ({first})", not holds
    second, also = draw(expressions(depth=depth - 1))
    return f"({first}) {kind} ({second})", (holds and also) if kind == "and" else (holds or also)


@given(expressions())
def test_a_rule_means_what_its_logic_says(expression):
    text, value = expression
    assert holds({"x": text}, "x", MEMBER) is value


@given(st.lists(st.sampled_from(["@", "!", "and", "or", "not"]), min_size=1, max_size=12))
def test_precedence_is_python_s(words):
    text = " ".join(words)
    python = text.replace("@", "True").replace("!", "False")
    try:
        value = eval(python)
    except SyntaxError:
        with pytest.raises(ConfigError):
            Rules({"x": text})
    else:
        assert holds({"x": text}, "x", MEMBER) is value


@given(st.text(max_size=40))
def test_any_text_is_a_rule_or_a_configuration_error(text):
    with contextlib.suppress(ConfigError):
        holds({"x": text}, "x", MEMBER)
