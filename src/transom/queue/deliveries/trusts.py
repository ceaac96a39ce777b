# SPDX-License-Identifier: Apache-2.0
"""Trusts of a Keystone: made as their user subscribes, used as notices are sent.

Invariants:
1. A trust is made with the user's own token, for the roles of that token, and ends with the
   subscription's first life; nobody else's rights are used.
2. A token by a trust is kept until shortly before its end, or until it was not taken.

Source: https://docs.openstack.org/api-ref/identity/v3-ext/#os-trust-api
"""

import asyncio
from collections import OrderedDict
from datetime import UTC, datetime
from typing import Any

import aiohttp
import msgspec

from transom.errors import Unavailable
from transom.queue.model import InvalidSubscription
from transom.runtime.auth.keystone import (
    ANSWER_BYTES_MAX,
    DEADLINE_S,
    ServiceCredentials,
    password_request,
    tls_context,
    v3_url,
)
from transom.runtime.clock import Clock

KEPT_MOST = 10_000
RENEWED_BEFORE_MS = 60_000
LONGEST_LIFE_S = 100 * 366 * 86_400


class _Named(msgspec.Struct):
    id: str = ""


class _Token(msgspec.Struct):
    user: _Named
    expires_at: str
    project: _Named | None = None
    roles: list[_Named] = []


class _Document(msgspec.Struct):
    token: _Token


class _Trust(msgspec.Struct):
    trust: _Named


class Keystone:
    """The few calls of trusts: so few, that each opens a connection of its own."""

    def __init__(self, credentials: ServiceCredentials, clock: Clock) -> None:
        self._credentials = credentials
        self._clock = clock
        self._url = v3_url(credentials.auth_url)
        self._own_id = ""
        self._renewal = asyncio.Lock()

    async def trust(self, token: str, life_s: int) -> str:
        """A new trust's id. Raises: InvalidSubscription, Unavailable."""
        trustee = await self._own_user()
        headers = {"X-Auth-Token": token, "X-Subject-Token": token}
        status, content, _ = await self._ask("GET", "/auth/tokens?nocatalog", headers, None)
        if status != 200:
            raise InvalidSubscription("With this token no trust can be made; get a new one.")
        user = _decoded(content, _Document).token
        if user.project is None:
            raise InvalidSubscription("A trust needs a token that is for a project.")
        end_s = self._clock.now_ms() // 1000 + min(life_s, LONGEST_LIFE_S)
        body = {
            "trust": {
                "trustor_user_id": user.user.id,
                "trustee_user_id": trustee,
                "project_id": user.project.id,
                "impersonation": True,
                "allow_redelegation": False,
                "roles": [{"id": role.id} for role in user.roles],
                "expires_at": datetime.fromtimestamp(end_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.0Z"),
            }
        }
        status, content, _ = await self._ask(
            "POST", "/OS-TRUST/trusts", {"X-Auth-Token": token}, body
        )
        if status in (400, 403, 404, 409):
            raise InvalidSubscription(
                f"Keystone makes no trust with this token (it answers {status}); "
                "a token that was got by a trust or an application credential cannot make one."
            )
        if status != 201:
            raise _unavailable(f"status {status} on a trust")
        made: _Trust = _decoded(content, _Trust)
        return made.trust.id

    async def token_by(self, trust_id: str) -> tuple[str, int]:
        """A token by the trust, and its end in ms. Raises: Unavailable."""
        body = password_request(self._credentials)
        body["auth"]["scope"] = {"OS-TRUST:trust": {"id": trust_id}}
        status, content, token = await self._ask("POST", "/auth/tokens?nocatalog", {}, body)
        if status != 201:
            raise Unavailable(
                f"Keystone gives no token by the trust (it answers {status}).",
                detail=f"trust {trust_id}: status {status}",
            )
        return token, _end_ms(content)

    async def _own_user(self) -> str:
        """The id of our own user."""
        async with self._renewal:
            if not self._own_id:
                status, content, _ = await self._ask(
                    "POST", "/auth/tokens?nocatalog", {}, password_request(self._credentials)
                )
                if status != 201:
                    raise _unavailable(f"status {status} on our authentication")
                self._own_id = _decoded(content, _Document).token.user.id
            return self._own_id

    async def _ask(
        self, method: str, path: str, headers: dict[str, str], body: dict[str, Any] | None
    ) -> tuple[int, bytes, str]:
        """Status, body, and the token that the answer brings."""
        data = None if body is None else msgspec.json.encode(body)
        sent = {"Content-Type": "application/json", "Accept": "application/json", **headers}
        try:
            async with (
                self._session() as session,
                session.request(
                    method, self._url + path, headers=sent, data=data, allow_redirects=False
                ) as response,
            ):
                content = b""
                while chunk := await response.content.read(ANSWER_BYTES_MAX):
                    content += chunk
                    if len(content) > ANSWER_BYTES_MAX:
                        raise _unavailable("an answer longer than any token's")
                return response.status, content, response.headers.get("X-Subject-Token", "")
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _unavailable(f"{type(error).__name__}: {error}") from None

    def _session(self) -> aiohttp.ClientSession:
        context = tls_context(self._url, self._credentials.ca_file)
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context),
            timeout=aiohttp.ClientTimeout(total=DEADLINE_S),
            cookie_jar=aiohttp.DummyCookieJar(),
        )


class TrustTokens:
    """Tokens by trusts, kept while they last."""

    def __init__(self, keystone: Keystone, clock: Clock) -> None:
        self._keystone = keystone
        self._clock = clock
        self._kept: OrderedDict[str, tuple[str, int]] = OrderedDict()

    async def token(self, trust_id: str) -> str:
        """Raises: Unavailable."""
        token, end_ms = self._kept.get(trust_id, ("", 0))
        if end_ms - RENEWED_BEFORE_MS <= self._clock.now_ms():
            token, end_ms = await self._keystone.token_by(trust_id)
            self._kept[trust_id] = (token, end_ms)
            while len(self._kept) > KEPT_MOST:
                self._kept.popitem(last=False)
        return token

    def forget(self, trust_id: str) -> None:
        self._kept.pop(trust_id, None)


def _decoded(content: bytes, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.DecodeError as error:
        raise _unavailable(f"not the document that was asked for: {error}") from None


def _end_ms(content: bytes) -> int:
    text = _decoded(content, _Document).token.expires_at
    try:
        return round(datetime.fromisoformat(text).timestamp() * 1000)
    except ValueError as error:
        raise _unavailable(f"no time: {error}") from None


def _unavailable(detail: str) -> Unavailable:
    return Unavailable("The identity service did not answer; try again.", detail=detail)
