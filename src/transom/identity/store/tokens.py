# SPDX-License-Identifier: Apache-2.0
"""Verbs on what a token depends on: its user, its place, its roles, its revocation."""

from dataclasses import replace

from transom.identity.logic.validity import EXPIRED_WINDOW_S
from transom.identity.model import (
    SYSTEM,
    Claims,
    Facts,
    Place,
    Reference,
    ScopeKind,
    Target,
    Wanted,
)
from transom.identity.store import application_credentials, domains, grants, projects, users
from transom.runtime.db.transaction import Transaction

_REVOKED = "select 1 from revocations where audit_id in (?, ?)"
_REVOKE = """
insert into revocations (audit_id, expires_ms) values (?, ?) on conflict (audit_id) do nothing
"""
_FORGET = "delete from revocations where expires_ms <= ?"


async def facts(tx: Transaction, claims: Claims) -> Facts:
    """What is known of the token's user, place and revocation now."""
    row = await tx.fetch_one(_REVOKED, (claims.audit_id, claims.chain_id))
    place = claims.place
    wanted = None if place is None else Wanted(place.kind, Reference(id=place.id))
    known = await facts_of(tx, claims.user_id, wanted, claims.credential_id)
    return replace(known, revoked=row is not None)


async def facts_of(
    tx: Transaction, user_id: str, wanted: Wanted | None, credential_id: str = ""
) -> Facts:
    """The same for a token that is still to be made. `wanted` None: for nothing."""
    account = await users.find(tx, Reference(id=user_id))
    home = None
    if account is not None:
        home = await domains.find(tx, Reference(id=account.user.domain_id))
    user_domain = None if home is None else home[0]
    target = None if wanted is None else await _target(tx, wanted)
    if target is None:
        return Facts(account, user_domain, None, ())
    roles = tuple(await grants.of(tx, user_id, target.place))
    found = None
    if credential_id:
        found = await application_credentials.find(tx, credential_id=credential_id)
    credential = None if found is None else found[0]
    return Facts(account, user_domain, target, roles, credential)


async def _target(tx: Transaction, wanted: Wanted) -> Target | None:
    if wanted.kind is ScopeKind.SYSTEM:
        return Target(SYSTEM) if wanted.reference.id == SYSTEM.id else None
    if wanted.kind is ScopeKind.DOMAIN:
        found = await domains.find(tx, wanted.reference)
        if found is None:
            return None
        return Target(Place(wanted.kind, found[0].id), found[1], domain=found[0])
    known = await projects.find(tx, wanted.reference)
    if known is None:
        return None
    project, epoch = known
    home = await domains.find(tx, Reference(id=project.domain_id))
    return Target(Place(wanted.kind, project.id), epoch, project, None if home is None else home[0])


async def revoke(tx: Transaction, claims: Claims, now_ms: int) -> None:
    """Voids the token and, if it began a chain, all of the chain.

    Forgets those of tokens that nobody can ask for any more, however late.
    """
    await tx.execute(_FORGET, (now_ms - EXPIRED_WINDOW_S * 1000,))
    await tx.execute(_REVOKE, (claims.audit_id, claims.expires_ms))
