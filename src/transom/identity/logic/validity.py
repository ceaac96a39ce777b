# SPDX-License-Identifier: Apache-2.0
"""Whether claims hold, given what the database knows now."""

from transom.identity.logic.token import InvalidToken
from transom.identity.model import Claims, Facts, Token


def judged(claims: Claims, facts: Facts, now_ms: int) -> Token:
    """The token. Raises: InvalidToken if any of it holds no more."""
    account = facts.account
    if facts.revoked or now_ms >= claims.expires_ms:
        raise InvalidToken
    if account is None or not account.user.enabled or account.epoch != claims.user_epoch:
        raise InvalidToken
    if not claims.project_id:
        return Token(claims, account.user, None, ())
    project = facts.project
    if project is None or not project.enabled or facts.project_epoch != claims.project_epoch:
        raise InvalidToken
    if not facts.roles:
        raise InvalidToken
    return Token(claims, account.user, project, facts.roles)
