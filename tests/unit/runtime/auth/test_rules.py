# SPDX-License-Identifier: Apache-2.0
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transom.errors import ConfigError, Forbidden
from transom.runtime.auth.context import Context
from transom.runtime.auth.rules import Rules

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
        ("'two words':%(text)s", MEMBER, {"text": "two words"}, True),
        ('"public":%(visibility)s', MEMBER, {"visibility": "private"}, False),
        ("True:%(protected)s", MEMBER, {"protected": True}, True),
        ("True:%(protected)s", MEMBER, {"protected": False}, False),
        ("True:%(protected)s", MEMBER, {}, False),
        ("7:%(size)s", MEMBER, {"size": 7}, True),
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
    rules = Rules({**OTHERS, "asked": text})
    assert rules.holds("asked", context, target) is expected
    if expected:
        rules.enforce("asked", context, target)
    else:
        with pytest.raises(Forbidden):
            rules.enforce("asked", context, target)


def test_a_missing_rule_denies_everybody():
    with pytest.raises(Forbidden):
        Rules(OTHERS).enforce("no:such:rule", ADMIN, {})
    assert not Rules(OTHERS).holds("no:such:rule", ADMIN)


@pytest.mark.parametrize(
    "text",
    [
        "role:", ":x", "admin", "(role:admin", "role:admin)", "role:admin role:member", "and",
        "not", "role:admin or", "or role:admin", "role:admin and or @", "()", "rule:missing",
        "project_id:%(x", "project_id:%x", "@ !", "role:a not @", "(" * 5000 + "@" + ")" * 5000,
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
    assert Rules({"x": text}).holds("x", MEMBER) is value


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
        assert Rules({"x": text}).holds("x", MEMBER) is value


@given(st.text(max_size=40))
def test_any_text_is_a_rule_or_a_configuration_error(text):
    with contextlib.suppress(ConfigError):
        Rules({"x": text}).holds("x", MEMBER, {})
