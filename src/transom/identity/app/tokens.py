# SPDX-License-Identifier: Apache-2.0
"""Tokens in use: who calls, what a token is worth now, its end before its time."""

from dataclasses import dataclass

from transom.errors import Forbidden, NotFound, Unauthorized
from transom.identity.app.writes import Writes
from transom.identity.logic.token import NONCE_BYTES, InvalidToken
from transom.identity.logic.validity import judged
from transom.identity.model import Claims, Token
from transom.identity.store import tokens
from transom.identity.store.keys import KeyRing
from transom.runtime.auth.context import Context
from transom.runtime.auth.rules import Rules
from transom.runtime.clock import Clock
from transom.runtime.db.transaction import Database
from transom.runtime.ids import Randomness


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, by a token that is valid now. `text` is the token's."""

    context: Context
    token: Token
    text: str


@dataclass(frozen=True, slots=True)
class Tokens:
    """Validates against the database every time; caching is the doors' business."""

    database: Database
    writes: Writes
    keys: KeyRing
    rules: Rules
    clock: Clock
    random: Randomness

    def sealed(self, claims: Claims) -> str:
        """The text of a new token."""
        return self.keys.codec.seal(claims, self.random(NONCE_BYTES))

    async def valid(self, text: str) -> Token:
        """Raises: InvalidToken."""
        claims = self.keys.codec.open(text)
        facts = await self.database.read(lambda tx: tokens.facts(tx, claims))
        return judged(claims, facts, self.clock.now_ms())

    async def caller(self, text: str, request_id: str) -> Caller:
        """Raises: Unauthorized."""
        if not text:
            raise Unauthorized
        try:
            token = await self.valid(text)
        except InvalidToken:
            raise Unauthorized("The token is not valid, or no longer; ask for a new one.") from None
        return Caller(_context(token, request_id), token, text)

    async def shown(self, caller: Caller, subject: str) -> Token:
        """What the token `subject` is worth.

        Raises: NotFound if it is not valid; Forbidden, whether it is or not, to who may not know.
        """
        return await self._subject("identity:validate_token", caller, subject)

    async def revoke(self, caller: Caller, subject: str) -> None:
        """Raises: NotFound, Forbidden, as `shown`."""
        token = await self._subject("identity:revoke_token", caller, subject)
        now_ms = self.clock.now_ms()
        await self.writes.commit(lambda tx: tokens.revoke(tx, token.claims, now_ms))

    async def _subject(self, rule: str, caller: Caller, subject: str) -> Token:
        if subject == caller.text:
            return caller.token
        try:
            token = await self.valid(subject)
        except InvalidToken:
            self.rules.enforce(rule, caller.context)
            raise NotFound("Could not find the token in X-Subject-Token.") from None
        self.rules.enforce(rule, caller.context, {"target.token.user_id": token.user.id})
        return token


def require_scope(caller: Caller) -> None:
    """Raises: Forbidden for a token for no project."""
    if caller.token.project is None:
        raise Forbidden("An unscoped token has no catalogue; ask for one for a project.")


def _context(token: Token, request_id: str) -> Context:
    project = token.project
    return Context(
        request_id,
        user_id=token.user.id,
        user_name=token.user.name,
        user_domain_id=token.user.domain_id,
        project_id="" if project is None else project.id,
        project_name="" if project is None else project.name,
        project_domain_id="" if project is None else project.domain_id,
        roles=frozenset(role.name for role in token.roles),
        expires_ms=token.claims.expires_ms,
    )
