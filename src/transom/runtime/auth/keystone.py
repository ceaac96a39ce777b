# SPDX-License-Identifier: Apache-2.0
"""The few calls that validating tokens needs of a Keystone v3.

Invariants:
1. Every call ends within `DEADLINE_S`, waiting for a free connection included.
2. The service's own token is renewed before its end, and once when Keystone takes it no more; at
   most one renewal is under way, and after a failed one none is tried for `RENEWAL_PAUSE_S`.
3. No address but the configured one is asked: redirects are not followed.
"""

import asyncio
import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import aiohttp
import msgspec

from transom.errors import Unavailable
from transom.runtime.clock import Clock
from transom.runtime.secrets import Secret

log = logging.getLogger(__name__)

DEADLINE_S = 5.0
RENEWAL_PAUSE_S = 1.0
RENEW_BEFORE_S = 60.0
CONNECTIONS_MAX = 32
ANSWER_BYTES_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class ServiceCredentials:
    """Who this service is to Keystone. `auth_url`: with or without `/v3` at its end."""

    auth_url: str
    username: str
    password: Secret
    user_domain_id: str = "default"
    project_name: str = "service"
    project_domain_id: str = "default"


class Keystone:
    """A Keystone, asked as one service user. A `lifecycle.Service`."""

    def __init__(
        self, credentials: ServiceCredentials, clock: Clock, deadline_s: float = DEADLINE_S
    ) -> None:
        self._credentials = credentials
        self._clock = clock
        self._deadline_s = deadline_s
        self._url = credentials.auth_url.rstrip("/").removesuffix("/v3") + "/v3/auth/tokens"
        self._session: aiohttp.ClientSession | None = None
        self._renewal = asyncio.Lock()
        self._token = ""
        self._renew_at_ms = 0
        self._paused_until_s = 0.0

    async def start(self) -> None:
        """Opens nothing yet: Keystone may start later than its users."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX),
            timeout=aiohttp.ClientTimeout(total=self._deadline_s),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def stop(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def token_document(self, token: str) -> bytes | None:
        """Keystone's document on the token, or None if it is not valid.

        Raises: Unavailable.
        """
        try:
            async with asyncio.timeout(self._deadline_s):
                own = await self._own_token("")
                status, document, _ = await self._get(own, token)
                if status == 401:
                    own = await self._own_token(own)
                    status, document, _ = await self._get(own, token)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._unavailable(f"{type(error).__name__}: {error}") from None
        if status == 200:
            return document
        if status == 404:
            return None
        raise self._unavailable(f"status {status} on a validation")

    async def _own_token(self, refused: str) -> str:
        """Our token; a new one if it ends soon or is the one that was `refused`."""
        async with self._renewal:
            now_ms = self._clock.now_ms()
            if self._token and self._token != refused and now_ms < self._renew_at_ms:
                return self._token
            if self._clock.monotonic_s() < self._paused_until_s:
                raise self._unavailable("the service's own token could not be renewed just now")
            self._paused_until_s = self._clock.monotonic_s() + RENEWAL_PAUSE_S
            self._token = ""
            status, document, headers = await self._post(self._password_request())
            if status != 201:
                log.error("keystone refuses the service user", extra={"status": status})
                raise self._unavailable(f"status {status} on the service's authentication")
            expires_ms = _expires_ms(document)
            remaining_ms = expires_ms - now_ms
            self._renew_at_ms = expires_ms - min(round(RENEW_BEFORE_S * 1000), remaining_ms // 4)
            self._token = headers.get("X-Subject-Token", "")
            self._paused_until_s = 0.0
            return self._token

    async def _get(self, own: str, subject: str) -> tuple[int, bytes, Any]:
        headers = {"X-Auth-Token": own, "X-Subject-Token": subject, "Accept": "application/json"}
        return await self._request("GET", self._url + "?nocatalog", headers, None)

    async def _post(self, body: dict[str, Any]) -> tuple[int, bytes, Any]:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        url = self._url + "?nocatalog"
        return await self._request("POST", url, headers, msgspec.json.encode(body))

    async def _request(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None
    ) -> tuple[int, bytes, Any]:
        if self._session is None:
            raise self._unavailable("the client is not started")
        async with self._session.request(
            method, url, headers=headers, data=body, allow_redirects=False
        ) as response:
            content = b""
            while chunk := await response.content.read(1 << 16):
                content += chunk
                if len(content) > ANSWER_BYTES_MAX:
                    raise self._unavailable("an answer longer than any token's")
            return response.status, content, response.headers

    def _password_request(self) -> dict[str, Any]:
        own = self._credentials
        user = {
            "name": own.username,
            "domain": {"id": own.user_domain_id},
            "password": own.password.reveal(),
        }
        project = {"name": own.project_name, "domain": {"id": own.project_domain_id}}
        identity = {"methods": ["password"], "password": {"user": user}}
        return {"auth": {"identity": identity, "scope": {"project": project}}}

    def _unavailable(self, detail: str) -> Unavailable:
        return Unavailable("The identity service did not answer; try again.", detail=detail)


class _Expiring(msgspec.Struct):
    expires_at: str


class _Issued(msgspec.Struct):
    token: _Expiring


def _expires_ms(document: bytes) -> int:
    try:
        text = msgspec.json.decode(document, type=_Issued).token.expires_at
        return round(datetime.fromisoformat(text).timestamp() * 1000)
    except (msgspec.DecodeError, ValueError) as error:
        raise Unavailable(
            "The identity service's answer could not be understood; try again.", detail=str(error)
        ) from None
