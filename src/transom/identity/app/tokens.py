# SPDX-License-Identifier: Apache-2.0
"""Tokens in use: who calls, what a token is worth now, its end before its time."""

from dataclasses import dataclass

from transom.errors import Forbidden, NotFound, Unauthorized
from transom.identity.app.writes import Writes
from transom.identity.logic.token import InvalidToken
from transom.identity.logic.validity import EXPIRED_WINDOW_S, judged
from transom.identity.model import SYSTEM, Token
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

    async def valid(self, text: str, *, grace_s: int = 0) -> Token:
        """`grace_s`: as if it ended so much later. Raises: InvalidToken."""
        claims = self.keys.open(text)
        facts = await self.database.read(lambda tx: tokens.facts(tx, claims))
        return judged(claims, facts, self.clock.now_ms(), grace_s=grace_s)

    async def caller(self, text: str, request_id: str) -> Caller:
        """Raises: Unauthorized."""
        if not text:
            raise Unauthorized
        try:
            token = await self.valid(text)
        except InvalidToken:
            raise Unauthorized("The token is not valid, or no longer; ask for a new one.") from None
        return Caller(context_of(token, request_id), token, text)

    async def shown(self, caller: Caller, subject: str, *, expired: bool) -> Token:
        """What the token `subject` is worth. `expired`: also if it ended a while ago, which only
        services may ask: they finish what began in time.

        Raises: NotFound if it is not valid; Forbidden, whether it is or not, to who may not know.
        """
        if expired:
            self.rules.enforce("identity:validate_expired_token", caller.context)
            return await self._subject(
                "identity:validate_token", caller, subject, grace_s=EXPIRED_WINDOW_S
            )
        return await self._subject("identity:validate_token", caller, subject)

    async def revoke(self, caller: Caller, subject: str) -> None:
        """Raises: NotFound, Forbidden, as `shown`."""
        token = await self._subject("identity:revoke_token", caller, subject)
        now_ms = self.clock.now_ms()
        await self.writes.commit(lambda tx: tokens.revoke(tx, token.claims, now_ms))

    async def _subject(self, rule: str, caller: Caller, subject: str, *, grace_s: int = 0) -> Token:
        if subject == caller.text:
            return caller.token
        try:
            token = await self.valid(subject, grace_s=grace_s)
        except InvalidToken:
            self.rules.enforce(rule, caller.context, {"target.token.user_id": self._whose(subject)})
            raise NotFound("Could not find the token in X-Subject-Token.") from None
        self.rules.enforce(rule, caller.context, {"target.token.user_id": token.user.id})
        return token

    def _whose(self, text: str) -> str:
        """The id of the user whose token the text is, or was; "" if it never was one."""
        try:
            return self.keys.open(text).user_id
        except InvalidToken:
            return ""


def require_scope(caller: Caller) -> None:
    """Raises: Forbidden for a token for nothing."""
    if caller.token.target is None:
        raise Forbidden("An unscoped token has no catalogue; ask for one with a scope.")


def context_of(token: Token, request_id: str) -> Context:
    """Who the token makes its bearer in this request."""
    target = token.target
    project = None if target is None else target.project
    domain = None if target is None or project is not None else target.domain
    return Context(
        request_id,
        user_id=token.user.id,
        user_name=token.user.name,
        user_domain_id=token.user.domain_id,
        project_id="" if project is None else project.id,
        project_name="" if project is None else project.name,
        project_domain_id="" if project is None else project.domain_id,
        domain_id="" if domain is None else domain.id,
        system=token.claims.place == SYSTEM,
        roles=frozenset(role.name.lower() for role in token.roles),
        expires_ms=token.claims.expires_ms,
        credential_id=token.claims.credential_id,
    )
