# SPDX-License-Identifier: Apache-2.0
"""What callers do with application credentials: secrets of a user's own, for one project.

Invariants:
1. A credential has no role that the token that made it did not have, in the transaction that
   stores it; a token that ended, or lost a role, meanwhile makes none.
2. A token got by a credential makes and deletes none, unless that one is unrestricted.
3. A user's credentials are made by that user alone, whatever the rules say. The secret is shown
   once, and stored as passwords are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from transom.errors import BadRequest, Forbidden, Unauthorized
from transom.identity.app.passwords import Passwords
from transom.identity.app.tokens import Caller
from transom.identity.app.writes import Writes
from transom.identity.logic.token import InvalidToken
from transom.identity.logic.validity import judged
from transom.identity.model import ApplicationCredential, Role, ScopeKind, Token
from transom.identity.store import application_credentials, tokens
from transom.runtime.auth.context import Context
from transom.runtime.auth.rules import Rules
from transom.runtime.clock import Clock
from transom.runtime.db.transaction import Transaction
from transom.runtime.ids import Randomness, new_hex
from transom.runtime.secrets import new_password


@dataclass(frozen=True, slots=True)
class ApplicationCredentials:
    """Use cases of application credentials. All raise Forbidden; those of one NotFound."""

    writes: Writes
    rules: Rules
    passwords: Passwords
    clock: Clock
    random: Randomness

    async def listed(self, context: Context, user_id: str) -> list[ApplicationCredential]:
        self._enforce("identity:list_application_credentials", context, user_id)
        return await self.writes.database.read(
            lambda tx: application_credentials.of_user(tx, user_id)
        )

    async def get(
        self, context: Context, user_id: str, credential_id: str
    ) -> ApplicationCredential:
        self._enforce("identity:get_application_credential", context, user_id)
        return await self.writes.database.read(
            lambda tx: application_credentials.get(tx, user_id, credential_id)
        )

    async def create(
        self, caller: Caller, wanted: ApplicationCredential, secret: str | None
    ) -> tuple[ApplicationCredential, str]:
        """The credential and its secret, which is drawn if None is given.

        `wanted.id` and its project are given here. Its roles name each by id or by name; without
        any it gets all that the token has.

        Raises: BadRequest, Conflict, Forbidden, Unauthorized, Unavailable.
        """
        self._enforce("identity:create_application_credential", caller.context, wanted.user_id)
        if wanted.user_id != caller.token.user.id:
            raise Forbidden("Nobody makes application credentials for another user.")
        _check_unrestricted(caller)
        if 0 < wanted.expires_us <= self.clock.now_ms() * 1000:
            raise BadRequest("`expires_at` is in the past.")
        text = new_password(self.random).reveal() if secret is None else secret
        record = await self.passwords.hash(text, drawn=secret is None)
        wanted = replace(wanted, id=new_hex(self.random))

        async def insert(tx: Transaction) -> ApplicationCredential:
            made = _granted(wanted, await self._still(tx, caller))
            await application_credentials.insert(tx, made, record)
            return made

        return await self.writes.commit(insert), text

    async def delete(self, caller: Caller, user_id: str, credential_id: str) -> None:
        self._enforce("identity:delete_application_credential", caller.context, user_id)
        _check_unrestricted(caller)
        await self.writes.commit(
            lambda tx: application_credentials.delete(tx, user_id, credential_id)
        )

    async def _still(self, tx: Transaction, caller: Caller) -> Token:
        """The caller's token as it is in this transaction. Raises: Unauthorized."""
        claims = caller.token.claims
        try:
            return judged(claims, await tokens.facts(tx, claims), self.clock.now_ms())
        except InvalidToken:
            raise Unauthorized("The token is not valid any more; ask for a new one.") from None

    def _enforce(self, rule: str, context: Context, user_id: str) -> None:
        self.rules.enforce(rule, context, {"target.user.id": user_id})


def _check_unrestricted(caller: Caller) -> None:
    credential = caller.token.credential
    if credential is not None and not credential.unrestricted:
        raise Forbidden(
            "This token comes from an application credential that is not unrestricted; "
            "sign in with the password."
        )


def _granted(wanted: ApplicationCredential, token: Token) -> ApplicationCredential:
    """With the token's project and roles. Raises: BadRequest."""
    place = token.claims.place
    if place is None or place.kind is not ScopeKind.PROJECT:
        raise BadRequest("An application credential is for a project; use a token for one.")
    roles = _chosen(wanted.roles, token.roles) if wanted.roles else token.roles
    return replace(wanted, project_id=place.id, roles=roles)


def _chosen(named: Sequence[Role], held: Sequence[Role]) -> tuple[Role, ...]:
    """Those of `held` that are named. Raises: BadRequest if one is not among them."""
    by_id = {role.id: role for role in held}
    by_name = {role.name: role for role in held}
    chosen: dict[str, Role] = {}
    for wanted in named:
        role = by_id.get(wanted.id) if wanted.id else by_name.get(wanted.name)
        if role is None:
            raise BadRequest(
                f"The token has no role {wanted.name or wanted.id}; "
                "an application credential has no more than the token that makes it."
            )
        chosen[role.id] = role
    return tuple(chosen.values())
