# SPDX-License-Identifier: Apache-2.0
"""Rules mean what they mean to oslo.policy, but for the differences that the how-to lists."""

import random
from itertools import product

import pytest

from transom.errors import ConfigError, Forbidden
from transom.runtime.auth.context import Context
from transom.runtime.auth.rules import Rules

from support.oslo_rules import Oslo

CONTEXTS = [
    Context("r"),
    Context("r", user_id="u1", user_domain_id="d1", project_id="p1", project_domain_id="d1",
            roles=frozenset(["member", "reader"])),
    Context("r", user_id="u2", user_domain_id="d2", project_id="p2", project_domain_id="d1",
            roles=frozenset(["admin", "member"]), is_admin_project=False),
    Context("r", user_id="u1", user_domain_id="d1", domain_id="d1", roles=frozenset(["manager"])),
    Context("r", user_id="u3", user_domain_id="d1", system=True, roles=frozenset(["admin"])),
]  # fmt: skip
TARGETS = [
    {},
    {"project_id": "p1", "user_id": "u1", "size": 7, "public": True, "role": "Member"},
    {"project_id": "p2", "target.user.id": "u1", "target.domain.id": "d1", "domain": None},
    {"project_id": "", "size": 7.5, "public": False, "role": "", "target.project.id": "p2"},
]
KINDS = ["user_id", "project_id", "domain_id", "user_domain_id", "project_domain_id", "absent",
         "system_scope", "is_admin", "is_admin_project", "token.user.id", "token.project.domain.id",
         "'p1'", '"Member"', "True", "False", "None", "7", "7.5", "-1", "'7'"]  # fmt: skip
MATCHES = ["%(project_id)s", "%(user_id)s", "%(target.user.id)s", "%(target.domain.id)s",
           "%(size)s", "%(public)s", "%(domain)s", "%(absent)s", "%(role)s", "p1", "u1", "all",
           "True", "7", "p%(size)s", "%(user_id)s%(size)s", "100%%", "a:b"]  # fmt: skip
ROLES = ["admin", "Member", "READER", "%(role)s", "%(absent)s", "x", "m%(absent)s"]


def answer(rules, name, context, target):
    try:
        rules.enforce(name, context, target)
    except Forbidden:
        return False
    return True


def check(chance):
    kind = chance.randrange(8)
    if kind == 0:
        return chance.choice(["@", "!"])
    if kind <= 2:
        return f"role:{chance.choice(ROLES)}"
    if kind == 3:
        return f"roles:{chance.choice(['member', 'admin', 'x'])}"
    if kind == 4:
        return chance.choice(["rule:first", "rule:second", "rule:nowhere"])
    return f"{chance.choice(KINDS)}:{chance.choice(MATCHES)}"


def expression(chance, depth):
    kind = chance.randrange(6) if depth else 0
    if kind <= 1:
        return check(chance)
    if kind == 2:
        return f"{chance.choice(['not', 'NOT'])} {check(chance)}"
    if kind == 3:
        space = chance.choice(["", " ", "\t"])
        return f"{chance.choice(['', 'not '])}({space}{expression(chance, depth - 1)}{space})"
    word = chance.choice(["and", "or", "AND", "Or"])
    space = chance.choice([" ", "  ", "\n"])
    parts = [expression(chance, depth - 1) for _ in range(chance.randrange(2, 4))]
    return f"{space}{word}{space}".join(parts)


def listed(chance):
    items = [[check(chance) for _ in range(chance.randrange(3))] for _ in range(3)]
    return [*items[: chance.randrange(4)], *[check(chance)] * chance.randrange(2)]


def spoiled(chance, text):
    """With a word left out, doubled or put in."""
    words = text.split(" ")
    at = chance.randrange(len(words))
    words[at : at + 1] = chance.choice(
        [[], [words[at]] * 2, [words[at], chance.choice(["and", "or", "not", "(", ")", "@"])]]
    )
    return " ".join(words)


def compare(texts):
    """Counts what was compared: 0 for a set that is refused here."""
    try:
        rules = Rules(texts)
    except ConfigError:
        return 0
    oslo = Oslo(texts)
    for context, target in product(CONTEXTS, TARGETS):
        expected = oslo.holds("asked", context, target)
        assert answer(rules, "asked", context, target) is expected, (texts, context, target)
    return 1


@pytest.mark.parametrize("seed", range(4))
def test_random_rules_mean_the_same_to_oslo_policy(seed):
    chance = random.Random(seed)
    compared = 0
    for _ in range(250):
        texts = {
            "first": expression(chance, 1),
            "second": expression(chance, 2),
            "default": expression(chance, 1),
            "asked": expression(chance, 4) if chance.random() < 0.8 else listed(chance),
        }
        for name in ("first", "second", "default"):
            texts[name] = texts[name].replace("rule:", "role:")
        compared += compare(texts)
    assert compared == 250, "all of them are well formed"


@pytest.mark.parametrize("seed", range(2))
def test_spoiled_rules_are_refused_or_mean_the_same(seed):
    chance = random.Random(seed)
    helpers = {"first": "role:admin", "second": "@", "default": "!"}
    compared = [compare({**helpers, "asked": spoiled(chance, expression(chance, 3))})
                for _ in range(80)]  # fmt: skip
    assert 10 < sum(compared) < 80, "some are still well formed, some are not"


@pytest.mark.parametrize(
    "rule",
    [
        "", "@", "!", "not @", "not not !", "((@))", "( role:admin )", "role:ADMIN", "role:a:b",
        "not role:admin and role:member or role:reader", "@ or ! and !", "! and ! or @",
        "not (role:admin or role:member) and @", "role:admin or not role:member and @",
        "project_id:%(project_id)s and not user_id:%(user_id)s", "user_id:%(absent)s",
        "not user_id:%(absent)s", "None:%(domain)s", "'None':%(domain)s", "None:%(absent)s",
        "True:%(public)s", "'True':%(public)s", "7:%(size)s", "'7':%(size)s", "7.0:%(size)s",
        "is_admin:True", "is_admin:False", "is_admin:1", "is_admin_project:True", "system:all",
        "system_scope:all", "role:%(role)s", "roles:member", "token.project.domain.id:d1",
        "token.domain.id:%(target.domain.id)s", "rule:nowhere", "not rule:nowhere",
        [], [[]], [[], ["@"]], ["@"], ["!", "@"], [["@", "!"]], [["role:admin"], "role:member"],
        ["role:two words"], ["'two words':%(role)s"], ["rule:nowhere"], [["rule:default"]],
    ],
)  # fmt: skip
def test_rules_picked_by_hand_mean_the_same_to_oslo_policy(rule):
    assert compare({"asked": rule, "default": "role:manager"})


NULL = Context("r", user_id="u1", roles=frozenset(["member"]))


@pytest.mark.parametrize(
    ("rule", "target"),
    [
        ("role:admin or membr", {}),
        ("role:member or rule:typo", {}),
        ("not rule:typo", {}),
        ("  ", {}),
        ("'two words':%(x)s", {"x": "two words"}),
        ("b'x':%(x)s", {"x": b"x"}),
        ("[1]:%(x)s", {"x": [1]}),
        ("http://elsewhere/check", {}),
        (None, {}),
    ],
)
def test_what_oslo_policy_understands_in_part_is_refused_here(rule, target):
    with pytest.raises(ConfigError):
        Rules({"asked": rule})


@pytest.mark.parametrize(
    ("rule", "target", "here", "there"),
    [
        ("domain_id:%(domain)s", {"domain": None}, False, True),
        ("domain_id:None", {}, False, True),
        ("roles:Member", {}, True, False),
    ],
)
def test_where_the_answers_differ_on_purpose(rule, target, here, there):
    oslo = Oslo({"asked": rule})
    known = {"user_id": "u1", "domain_id": None, "roles": ["member"]}
    assert oslo._enforcer.enforce("asked", target, known) is there
    assert answer(Rules({"asked": rule}), "asked", NULL, target) is here
