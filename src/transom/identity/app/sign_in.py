# SPDX-License-Identifier: Apache-2.0
"""From a proof to a token.

Invariants:
1. A token got by a token carries its end, its chain and its epochs on.
2. The epoch in a token is the one that was read together with the password's hash: what was
   changed while the password was checked voids the token before it is given out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from transom.errors import Unauthorized
from transom.identity.app.credentials import REFUSED, Credentials
from transom.identity.app.tokens import Tokens
from transom.identity.logic.token import InvalidToken
from transom.identity.logic.validity import judged
from transom.identity.model import Claims, Method, Proof, Reference, Token, Unscoped
from transom.identity.store import tokens as token_store
from transom.runtime.ids import new_hex


@dataclass(frozen=True, slots=True)
class SignIn:
    """`ttl_s`: how long a token lives that was got by password."""

    tokens: Tokens
    credentials: Credentials
    ttl_s: int

    async def sign_in(self, proof: Proof) -> tuple[str, Token]:
        """The token's text, and the token. Raises: Unauthorized, TooManyGuesses, Unavailable."""
        claims = await self._proved(proof, _methods(proof.methods))
        if isinstance(proof.scope, Reference):
            token = await self._scoped(claims, proof.scope)
        elif isinstance(proof.scope, Unscoped):
            token = await self._scoped(claims, None)
        else:
            token = await self._for_default(claims)
        return self.tokens.sealed(token.claims), token

    async def _proved(self, proof: Proof, methods: Sequence[Method]) -> Claims:
        """What every listed method proves, for no project yet."""
        proved: Claims | None = None
        if Method.TOKEN in methods:
            proved = await self._by_token(proof.token)
        if Method.PASSWORD in methods:
            account = await self.credentials.proved(proof.user, proof.password)
            if proved is None:
                proved = self._begun(account.user.id, account.epoch)
            elif proved.user_id != account.user.id:
                raise Unauthorized(REFUSED)
            else:
                proved = replace(proved, methods=_with(proved.methods, Method.PASSWORD))
        if proved is None:
            raise Unauthorized(REFUSED)
        return proved

    def _begun(self, user_id: str, epoch: int) -> Claims:
        audit_id = new_hex(self.tokens.random)
        now_ms = self.tokens.clock.now_ms()
        return Claims(
            user_id=user_id,
            project_id="",
            methods=(Method.PASSWORD,),
            audit_id=audit_id,
            chain_id=audit_id,
            issued_ms=now_ms,
            expires_ms=now_ms + self.ttl_s * 1000,
            user_epoch=epoch,
            project_epoch=0,
        )

    async def _by_token(self, text: str) -> Claims:
        try:
            first = (await self.tokens.valid(text)).claims
        except InvalidToken:
            raise Unauthorized("The token is not valid, or no longer.") from None
        return replace(
            first,
            project_id="",
            methods=_with(first.methods, Method.TOKEN),
            audit_id=new_hex(self.tokens.random),
            issued_ms=self.tokens.clock.now_ms(),
            project_epoch=0,
        )

    async def _for_default(self, claims: Claims) -> Token:
        """For the user's default project if there is one and it will do, else for none."""
        facts = await self.tokens.database.read(
            lambda tx: token_store.facts_of(tx, claims.user_id, None)
        )
        wanted = facts.account.user.default_project_id if facts.account is not None else ""
        if wanted:
            try:
                return await self._scoped(claims, Reference(id=wanted))
            except Unauthorized:
                pass  # gone, disabled, or no role on it any more
        return await self._scoped(claims, None)

    async def _scoped(self, claims: Claims, scope: Reference | None) -> Token:
        """Raises: Unauthorized if there is no such token for the user now."""
        facts = await self.tokens.database.read(
            lambda tx: token_store.facts_of(tx, claims.user_id, scope)
        )
        if scope is not None:
            if facts.project is None:
                raise Unauthorized(REFUSED)
            claims = replace(claims, project_id=facts.project.id, project_epoch=facts.project_epoch)
        try:
            return judged(claims, facts, self.tokens.clock.now_ms())
        except InvalidToken:
            raise Unauthorized(REFUSED) from None


def _methods(names: Sequence[str]) -> list[Method]:
    """Raises: Unauthorized unless all of them are offered."""
    try:
        return [Method(name) for name in names]
    except ValueError:
        offered = ", ".join(Method)
        raise Unauthorized(f"Methods offered here are: {offered}.") from None


def _with(methods: tuple[Method, ...], added: Method) -> tuple[Method, ...]:
    return methods if added in methods else (*methods, added)
