from dataclasses import replace
from typing import Any

import pytest

from transom.identity.logic.token import InvalidToken
from transom.identity.logic.validity import EXPIRED_WINDOW_S, judged
from transom.identity.model import (
    SYSTEM,
    Account,
    ApplicationCredential,
    Claims,
    Domain,
    Facts,
    Method,
    Place,
    Project,
    Role,
    ScopeKind,
    Target,
    User,
)

PLACE = Place(ScopeKind.PROJECT, "p")
CLAIMS = Claims("u", PLACE, (Method.PASSWORD,), "a", "a", 1000, 2000, 3, 4)
USER = User("u", "alice", "default")
HOME = Domain("default", "Default")
PROJECT = Project("p", "place", "default")
TARGET = Target(PLACE, 4, PROJECT, HOME)
MEMBER, READER = Role("r", "member"), Role("s", "reader")
ROLES = (MEMBER, READER)
FACTS = Facts(Account(USER, "", 3), HOME, TARGET, ROLES)
OFF = replace(HOME, enabled=False)
CREDENTIAL = ApplicationCredential("c", "deploy", "u", "p", (READER,))
DELEGATED = replace(CLAIMS, credential_id="c")


def test_a_token_is_worth_what_the_database_says_now() -> None:
    token = judged(CLAIMS, FACTS, 1500)
    assert (token.user, token.target, token.roles) == (USER, TARGET, ROLES)


@pytest.mark.parametrize(
    ("what", "changed", "now_ms"),
    [
        ("its end is reached", {}, 2000),
        ("it is revoked", {"revoked": True}, 1500),
        ("the user is gone", {"account": None}, 1500),
        ("the user is disabled", {"account": Account(replace(USER, enabled=False), "", 3)}, 1500),
        ("the user's tokens were voided", {"account": Account(USER, "", 4)}, 1500),
        ("the user's domain is gone", {"user_domain": None}, 1500),
        ("the user's domain is disabled", {"user_domain": OFF}, 1500),
        ("the project is gone", {"target": None}, 1500),
        ("the project is disabled", {"target": replace(TARGET, project=replace(PROJECT, enabled=False))}, 1500),  # noqa: E501
        ("the project's domain is gone", {"target": replace(TARGET, domain=None)}, 1500),
        ("the project's domain is disabled", {"target": replace(TARGET, domain=OFF)}, 1500),
        ("the project's tokens were voided", {"target": replace(TARGET, epoch=5)}, 1500),
        ("no role is left", {"roles": ()}, 1500),
    ],
)  # fmt: skip
def test_a_token_is_invalid_when(what: str, changed: dict[str, Any], now_ms: int) -> None:
    with pytest.raises(InvalidToken):
        judged(CLAIMS, replace(FACTS, **changed), now_ms)


def test_an_unscoped_token_needs_no_place_and_has_no_roles() -> None:
    claims = replace(CLAIMS, place=None, place_epoch=0)
    token = judged(claims, Facts(Account(USER, "", 3), HOME, None, ()), 1999)
    assert token.target is None
    assert token.roles == ()


def test_a_token_for_a_domain_holds_while_the_domain_is_enabled() -> None:
    place = Place(ScopeKind.DOMAIN, "default")
    claims = replace(CLAIMS, place=place)
    facts = replace(FACTS, target=Target(place, 4, domain=HOME))
    assert judged(claims, facts, 1500).target == Target(place, 4, domain=HOME)
    with pytest.raises(InvalidToken):
        judged(claims, replace(facts, target=Target(place, 4, domain=OFF)), 1500)


def test_a_token_for_the_system_needs_a_role_there() -> None:
    claims = replace(CLAIMS, place=SYSTEM, place_epoch=0)
    facts = replace(FACTS, target=Target(SYSTEM))
    assert judged(claims, facts, 1500).roles == ROLES
    with pytest.raises(InvalidToken):
        judged(claims, replace(facts, roles=()), 1500)


def test_a_token_that_ended_is_shown_within_the_window_to_who_asks_for_that() -> None:
    for now_ms in (2000, 1999 + EXPIRED_WINDOW_S * 1000):
        assert judged(CLAIMS, FACTS, now_ms, grace_s=EXPIRED_WINDOW_S).user == USER
    with pytest.raises(InvalidToken):
        judged(CLAIMS, FACTS, 2000 + EXPIRED_WINDOW_S * 1000, grace_s=EXPIRED_WINDOW_S)
    with pytest.raises(InvalidToken):
        judged(CLAIMS, replace(FACTS, revoked=True), 2000, grace_s=EXPIRED_WINDOW_S)


def test_a_credentials_token_has_the_credentials_roles() -> None:
    token = judged(DELEGATED, replace(FACTS, credential=CREDENTIAL), 1500)
    assert token.roles == (READER,)
    assert token.credential == CREDENTIAL


@pytest.mark.parametrize(
    ("what", "facts"),
    [
        ("it is gone", FACTS),
        ("it is another user's", replace(FACTS, credential=replace(CREDENTIAL, user_id="v"))),
        ("it is for another project", replace(FACTS, credential=replace(CREDENTIAL, project_id="q"))),  # noqa: E501
        ("it has ended", replace(FACTS, credential=replace(CREDENTIAL, expires_us=1_500_000))),
        ("the user lost a role of it", replace(FACTS, credential=CREDENTIAL, roles=(MEMBER,))),
        ("it has no role", replace(FACTS, credential=replace(CREDENTIAL, roles=()))),
    ],
)  # fmt: skip
def test_a_credentials_token_is_invalid_when(what: str, facts: Facts) -> None:
    with pytest.raises(InvalidToken):
        judged(DELEGATED, facts, 1500)


def test_a_credential_that_ends_later_holds_until_then() -> None:
    facts = replace(FACTS, credential=replace(CREDENTIAL, expires_us=1_500_001))
    assert judged(DELEGATED, facts, 1500).roles == (READER,)
