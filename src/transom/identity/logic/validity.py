# SPDX-License-Identifier: Apache-2.0
"""Whether claims hold, given what the database knows now.

Invariants:
1. A token is worth nothing unless its user, the user's domain, and its place with the place's
   domain are there and enabled, and nobody has voided what they carry since.
2. A token for a place has at least one role there. Got by an application credential it has that
   one's roles, and nothing at all once the user lacks any of them.
"""

from transom.identity.logic.token import InvalidToken
from transom.identity.model import (
    ApplicationCredential,
    Claims,
    Domain,
    Facts,
    Role,
    ScopeKind,
    Target,
    Token,
)

EXPIRED_WINDOW_S = 172_800
"""How long after its end a service may still ask for a token that a long job began with."""


def judged(claims: Claims, facts: Facts, now_ms: int, *, grace_s: int = 0) -> Token:
    """The token. `grace_s`: as if it ended so much later.

    Raises: InvalidToken if any of it holds no more.
    """
    judged_at_ms = now_ms - grace_s * 1000
    account = facts.account
    if facts.revoked or judged_at_ms >= claims.expires_ms:
        raise InvalidToken
    if account is None or not account.user.enabled or account.epoch != claims.user_epoch:
        raise InvalidToken
    user_domain = _enabled(facts.user_domain)
    if claims.place is None:
        return Token(claims, account.user, user_domain)
    target = facts.target
    if target is None or target.epoch != claims.place_epoch:
        raise InvalidToken
    _check(target)
    roles = facts.roles
    if claims.credential_id:
        roles = _delegated(claims, facts.credential, roles, judged_at_ms)
    if not roles:
        raise InvalidToken
    return Token(claims, account.user, user_domain, target, roles, facts.credential)


def _enabled(domain: Domain | None) -> Domain:
    if domain is None or not domain.enabled:
        raise InvalidToken
    return domain


def _check(target: Target) -> None:
    if target.place.kind is not ScopeKind.SYSTEM:
        _enabled(target.domain)
    if target.project is not None and not target.project.enabled:
        raise InvalidToken


def _delegated(
    claims: Claims, credential: ApplicationCredential | None, held: tuple[Role, ...], now_ms: int
) -> tuple[Role, ...]:
    """The credential's roles, if the user `held` has all of them."""
    if credential is None or claims.place is None or credential.user_id != claims.user_id:
        raise InvalidToken
    if credential.project_id != claims.place.id or 0 < credential.expires_us <= now_ms * 1000:
        raise InvalidToken
    known = {role.id for role in held}
    if not all(role.id in known for role in credential.roles):
        raise InvalidToken
    return credential.roles
