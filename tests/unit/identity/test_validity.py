from dataclasses import replace
from typing import Any

import pytest

from transom.identity.logic.token import InvalidToken
from transom.identity.logic.validity import judged
from transom.identity.model import Account, Claims, Facts, Method, Project, Role, User

CLAIMS = Claims("u", "p", (Method.PASSWORD,), "a", "a", 1000, 2000, 3, 4)
USER = User("u", "alice", "default")
PROJECT = Project("p", "place", "default")
ROLES = (Role("r", "member"),)
FACTS = Facts(Account(USER, "", 3), PROJECT, 4, ROLES)


def test_a_token_is_worth_what_the_database_says_now() -> None:
    token = judged(CLAIMS, FACTS, 1500)
    assert (token.user, token.project, token.roles) == (USER, PROJECT, ROLES)


@pytest.mark.parametrize(
    ("what", "changed", "now_ms"),
    [
        ("its end is reached", {}, 2000),
        ("it is revoked", {"revoked": True}, 1500),
        ("the user is gone", {"account": None}, 1500),
        ("the user is disabled", {"account": Account(replace(USER, enabled=False), "", 3)}, 1500),
        ("the user's tokens were voided", {"account": Account(USER, "", 4)}, 1500),
        ("the project is gone", {"project": None, "project_epoch": 0}, 1500),
        ("the project is disabled", {"project": replace(PROJECT, enabled=False)}, 1500),
        ("the project's tokens were voided", {"project_epoch": 5}, 1500),
        ("no role is left", {"roles": ()}, 1500),
    ],
)
def test_a_token_is_invalid_when(what: str, changed: dict[str, Any], now_ms: int) -> None:
    with pytest.raises(InvalidToken):
        judged(CLAIMS, replace(FACTS, **changed), now_ms)


def test_an_unscoped_token_needs_no_project_and_has_no_roles() -> None:
    claims = replace(CLAIMS, project_id="", project_epoch=0)
    token = judged(claims, Facts(Account(USER, "", 3), None, 0, ()), 1999)
    assert token.project is None
    assert token.roles == ()
