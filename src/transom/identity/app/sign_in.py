# SPDX-License-Identifier: Apache-2.0
"""From a proof to a token.

Invariants:
1. A token got by a token carries its end, its chain and its epochs on.
2. The epoch in a token is the one that was read together with the password's hash: what was
   changed while the password was checked voids the token before it is given out.
3. A token got by an application credential is for that one's project, ends no later than it, and
   gets nobody another token. One for the system gets none for a project or a domain.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from transom.errors import Forbidden, NotFound, Unauthorized
from transom.identity.app.credentials import REFUSED, Credentials
from transom.identity.app.tokens import Tokens
from transom.identity.logic.token import InvalidToken
from transom.identity.logic.validity import judged
from transom.identity.model import (
    SYSTEM,
    Claims,
    Method,
    Proof,
    Reference,
    ScopeKind,
    Token,
    Unscoped,
    Wanted,
)
from transom.identity.store import tokens as token_store
from transom.runtime.ids import new_hex


@dataclass(frozen=True, slots=True)
class SignIn:
    """`ttl_s`: how long a token lives that was not got by a token."""

    tokens: Tokens
    credentials: Credentials
    ttl_s: int

    async def sign_in(self, proof: Proof) -> tuple[str, Token]:
        """The token's text, and the token.

        Raises: Unauthorized, Forbidden, TooManyGuesses, Unavailable; NotFound for a token that is
        not valid, as Keystone says it.
        """
        methods = _methods(proof.methods)
        if Method.APPLICATION_CREDENTIAL in methods:
            token = await self._by_credential(proof, methods)
        else:
            claims = await self._proved(proof, methods)
            if isinstance(proof.scope, Wanted):
                token = await self._scoped(claims, proof.scope)
            elif isinstance(proof.scope, Unscoped):
                token = await self._scoped(claims, None)
            else:
                token = await self._for_default(claims)
        return self.tokens.keys.seal(token.claims), token

    async def _by_credential(self, proof: Proof, methods: Sequence[Method]) -> Token:
        if len(methods) > 1 or proof.scope is not None:
            raise Unauthorized(
                "An application credential goes alone: it has its project, so ask for no scope."
            )
        account, found = await self.credentials.proved_credential(
            proof.credential, proof.secret, proof.client
        )
        claims = self._begun(account.user.id, account.epoch, Method.APPLICATION_CREDENTIAL)
        end_ms = found.expires_us // 1000 or claims.expires_ms
        claims = replace(claims, credential_id=found.id, expires_ms=min(end_ms, claims.expires_ms))
        return await self._scoped(claims, Wanted(ScopeKind.PROJECT, Reference(id=found.project_id)))

    async def _proved(self, proof: Proof, methods: Sequence[Method]) -> Claims:
        """What every listed method proves, for nothing yet."""
        proved: Claims | None = None
        if Method.TOKEN in methods:
            proved = await self._by_token(proof)
        if Method.PASSWORD in methods:
            account = await self.credentials.proved(proof.user, proof.password, proof.client)
            if proved is None:
                proved = self._begun(account.user.id, account.epoch, Method.PASSWORD)
            elif proved.user_id != account.user.id:
                raise Unauthorized(REFUSED)
            else:
                proved = replace(proved, methods=_with(proved.methods, Method.PASSWORD))
        if proved is None:
            raise Unauthorized(REFUSED)
        return proved

    def _begun(self, user_id: str, epoch: int, method: Method) -> Claims:
        audit_id = new_hex(self.tokens.random)
        now_ms = self.tokens.clock.now_ms()
        return Claims(
            user_id=user_id,
            place=None,
            methods=(method,),
            audit_id=audit_id,
            chain_id=audit_id,
            issued_ms=now_ms,
            expires_ms=now_ms + self.ttl_s * 1000,
            user_epoch=epoch,
            place_epoch=0,
        )

    async def _by_token(self, proof: Proof) -> Claims:
        try:
            first = (await self.tokens.valid(proof.token)).claims
        except InvalidToken:
            raise NotFound("Could not find the token; sign in with the password.") from None
        if first.credential_id:
            raise Forbidden("A token got by an application credential gets no other token.")
        narrows = isinstance(proof.scope, Wanted) and proof.scope.kind is not ScopeKind.SYSTEM
        if first.place == SYSTEM and narrows:
            raise Forbidden("A token for the system gets none for a project or a domain.")
        return replace(
            first,
            place=None,
            methods=_with(first.methods, Method.TOKEN),
            audit_id=new_hex(self.tokens.random),
            issued_ms=self.tokens.clock.now_ms(),
            place_epoch=0,
        )

    async def _for_default(self, claims: Claims) -> Token:
        """For the user's default project if there is one and it will do, else for nothing."""
        facts = await self.tokens.database.read(
            lambda tx: token_store.facts_of(tx, claims.user_id, None)
        )
        wanted = facts.account.user.default_project_id if facts.account is not None else ""
        if wanted:
            try:
                return await self._scoped(claims, Wanted(ScopeKind.PROJECT, Reference(id=wanted)))
            except Unauthorized:
                pass  # gone, disabled, or no role on it any more
        return await self._scoped(claims, None)

    async def _scoped(self, claims: Claims, wanted: Wanted | None) -> Token:
        """Raises: Unauthorized if there is no such token for the user now."""
        facts = await self.tokens.database.read(
            lambda tx: token_store.facts_of(tx, claims.user_id, wanted, claims.credential_id)
        )
        if wanted is not None:
            if facts.target is None:
                raise Unauthorized(REFUSED)
            claims = replace(claims, place=facts.target.place, place_epoch=facts.target.epoch)
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
