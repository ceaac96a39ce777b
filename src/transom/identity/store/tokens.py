# SPDX-License-Identifier: Apache-2.0
"""Verbs on what a token depends on: its user, its project, its roles, its revocation."""

from transom.identity.model import Claims, Facts, Reference
from transom.identity.store import grants, projects, users
from transom.runtime.db.transaction import Transaction

_REVOKED = "select 1 from revocations where audit_id in (?, ?)"
_REVOKE = """
insert into revocations (audit_id, expires_ms) values (?, ?) on conflict (audit_id) do nothing
"""
_FORGET = "delete from revocations where expires_ms <= ?"


async def facts(tx: Transaction, claims: Claims) -> Facts:
    """What is known of the token's user, project and revocation now."""
    row = await tx.fetch_one(_REVOKED, (claims.audit_id, claims.chain_id))
    scope = Reference(id=claims.project_id) if claims.project_id else None
    known = await facts_of(tx, claims.user_id, scope)
    return Facts(
        known.account, known.project, known.project_epoch, known.roles, revoked=row is not None
    )


async def facts_of(tx: Transaction, user_id: str, scope: Reference | None) -> Facts:
    """The same for a token that is still to be made. `scope` None: for no project."""
    account = await users.find(tx, Reference(id=user_id))
    found = await projects.find(tx, scope) if scope is not None else None
    if found is None:
        return Facts(account, None, 0, ())
    project, epoch = found
    return Facts(account, project, epoch, tuple(await grants.of(tx, user_id, project.id)))


async def revoke(tx: Transaction, claims: Claims, now_ms: int) -> None:
    """Voids the token and, if it began a chain, all of the chain; forgets those of ended tokens."""
    await tx.execute(_FORGET, (now_ms,))
    await tx.execute(_REVOKE, (claims.audit_id, claims.expires_ms))
