# SPDX-License-Identifier: Apache-2.0
"""The few calls that validating tokens needs of a Keystone v3.

Invariants:
1. Every call ends within `DEADLINE_S`, waiting for a free connection included.
2. The service's own token is renewed before its end, and once when Keystone takes it no more; at
   most one renewal is under way, and after a failed one none is tried for `RENEWAL_PAUSE_S`.
3. No address but the configured one is asked: redirects are not followed.
4. Only Keystone's own words end a token: a 404 that is not in its form (a proxy's, a wrong
   address's) is an outage, as is everything else but 200.

Source: https://docs.openstack.org/api-ref/identity/v3/#validate-and-show-information-for-token
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import aiohttp
import msgspec

from transom.errors import ConfigError, Unavailable
from transom.runtime.auth.context import SERVICE_ROLE
from transom.runtime.clock import Clock
from transom.runtime.secrets import Secret

DEADLINE_S = 5.0
RENEWAL_PAUSE_S = 1.0
RENEW_BEFORE_S = 60.0
CONNECTIONS_MAX = 32
ANSWER_BYTES_MAX = 1 << 20
RETRY_AFTER_S_MAX = 30
VALIDATING_ROLES = frozenset({SERVICE_ROLE, "admin"})
"""Either is enough to validate other users' tokens, by Keystone's own default rules."""


@dataclass(frozen=True, slots=True)
class ServiceCredentials:
    """Who this service is to Keystone. `auth_url`: with or without `/v3` at its end; `ca_file`:
    authorities (PEM) that are believed beside the system's.
    """

    auth_url: str
    username: str
    password: Secret
    user_domain_id: str = "default"
    project_name: str = "service"
    project_domain_id: str = "default"
    ca_file: str = ""


def v3_url(auth_url: str) -> str:
    """The address of version 3, without a slash at its end."""
    return auth_url.rstrip("/").removesuffix("/v3") + "/v3"


def tls_context(url: str, ca_file: str) -> ssl.SSLContext | bool:
    """What aiohttp takes as `ssl`. Raises: ConfigError if the file cannot be used."""
    if not url.startswith("https:"):
        return True
    context = ssl.create_default_context()
    if ca_file:
        try:
            context.load_verify_locations(ca_file)
        except OSError as error:  # ssl.SSLError is one, too
            raise ConfigError(
                f"{ca_file}: holds no certificates that can be used: {error.strerror or error}"
            ) from None
    return context


def password_request(credentials: ServiceCredentials) -> dict[str, Any]:
    """The body that asks for the service user's token."""
    user = {
        "name": credentials.username,
        "domain": {"id": credentials.user_domain_id},
        "password": credentials.password.reveal(),
    }
    project = {
        "name": credentials.project_name,
        "domain": {"id": credentials.project_domain_id},
    }
    identity = {"methods": ["password"], "password": {"user": user}}
    return {"auth": {"identity": identity, "scope": {"project": project}}}


class Keystone:
    """A Keystone, asked as one service user. A `lifecycle.Service`.

    `problem`: why the last asking failed, for operators; "" if it did not. `asked_s`: when that
    was, on the monotonic clock. `own_roles`: those of the service user's token, when it has one.
    """

    def __init__(
        self,
        credentials: ServiceCredentials,
        clock: Clock,
        deadline_s: float = DEADLINE_S,
        trust: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        """`trust`: what is believed by the next connection, in place of `ca_file`."""
        self.problem = ""
        self.asked_s = float("-inf")
        self.own_roles: frozenset[str] = frozenset()
        self._credentials = credentials
        self._trust = trust
        self._clock = clock
        self._deadline_s = deadline_s
        self._url = v3_url(credentials.auth_url) + "/auth/tokens?nocatalog"
        self._session: aiohttp.ClientSession | None = None
        self._renewal = asyncio.Lock()
        self._token = ""
        self._renew_at_ms = 0
        self._paused_until_s = 0.0

    async def start(self) -> None:
        """Opens nothing yet: Keystone may start later than its users. Raises: ConfigError."""
        context = tls_context(self._url, self._credentials.ca_file)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX, ssl=context),
            timeout=aiohttp.ClientTimeout(total=self._deadline_s),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def stop(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def token_document(self, token: str, *, allow_expired: bool = False) -> bytes | None:
        """Keystone's document on the token, or None if it is not valid.

        `allow_expired`: also on one that has ended, within the time that Keystone sets for it.
        Raises: Unavailable.
        """
        return await self._noted(self._validated(token, "&allow_expired=1" * allow_expired))

    async def probe(self) -> None:
        """Asks about our own token, as about any other. Raises: Unavailable."""
        await self._noted(self._validated(None, ""))

    async def _noted(self, asking: Awaitable[bytes | None]) -> bytes | None:
        """The answer; that there was one, or why not, is kept in `problem`."""
        problem = "the asking was given up"
        try:
            async with asyncio.timeout(self._deadline_s):
                document = await asking
            problem = ""
            return document
        except Unavailable as error:
            problem = error.detail
            raise
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            problem = f"{type(error).__name__}: {error}".removesuffix(": ")
            raise _unavailable(problem) from None
        except asyncio.CancelledError:
            problem = self.problem  # who leaves has learnt nothing
            raise
        finally:
            self.problem = problem
            self.asked_s = self._clock.monotonic_s()

    async def _validated(self, subject: str | None, query: str) -> bytes | None:
        """`subject` None: our own token."""
        own = await self._own_token("")
        status, document, headers = await self._get(own, own if subject is None else subject, query)
        if status == 401:
            own = await self._own_token(own)
            status, document, headers = await self._get(
                own, own if subject is None else subject, query
            )
        if status == 200:
            return document
        if status == 404 and _is_refusal(document):
            return None
        if status == 403:
            raise _unavailable("status 403: the service user needs the role service or admin")
        raise _unanswered(status, headers, "a validation")

    async def _own_token(self, refused: str) -> str:
        """Our token; a new one if it ends soon or is the one that was `refused`."""
        async with self._renewal:
            now_ms = self._clock.now_ms()
            if self._token and self._token != refused and now_ms < self._renew_at_ms:
                return self._token
            if self._clock.monotonic_s() < self._paused_until_s:
                raise _unavailable(self.problem or "our own token could not be renewed just now")
            self._paused_until_s = self._clock.monotonic_s() + RENEWAL_PAUSE_S
            self._token = ""
            status, document, headers = await self._post(password_request(self._credentials))
            if status == 401:
                user = self._credentials.username
                raise _unavailable(
                    f"status 401: the password of {user!r}, or its project, is wrong"
                )
            if status != 201:
                raise _unanswered(status, headers, "our authentication")
            token = headers.get("X-Subject-Token", "")
            if not token:
                raise _unavailable("no X-Subject-Token on our authentication")
            issued = _issued(document)
            expires_ms = _milliseconds(issued.expires_at)
            remaining_ms = expires_ms - now_ms
            self._renew_at_ms = expires_ms - min(round(RENEW_BEFORE_S * 1000), remaining_ms // 4)
            self._token = token
            self.own_roles = frozenset(role.name.lower() for role in issued.roles)
            self._paused_until_s = 0.0
            return self._token

    async def _get(
        self, own: str, subject: str, query: str
    ) -> tuple[int, bytes, Mapping[str, str]]:
        headers = {"X-Auth-Token": own, "X-Subject-Token": subject, "Accept": "application/json"}
        return await self._request("GET", self._url + query, headers, None)

    async def _post(self, body: dict[str, Any]) -> tuple[int, bytes, Mapping[str, str]]:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        return await self._request("POST", self._url, headers, msgspec.json.encode(body))

    async def _request(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None
    ) -> tuple[int, bytes, Mapping[str, str]]:
        if self._session is None:
            raise _unavailable("the client is not started")
        trust: Any = True if self._trust is None else self._trust()
        async with self._session.request(
            method, url, headers=headers, data=body, allow_redirects=False, ssl=trust
        ) as response:
            content = b""
            while chunk := await response.content.read(1 << 16):
                content += chunk
                if len(content) > ANSWER_BYTES_MAX:
                    raise _unavailable("an answer longer than any token's")
            return response.status, content, response.headers


def _unavailable(detail: str, retry_after_s: int = 1) -> Unavailable:
    return Unavailable(
        "The identity service did not answer; try again.",
        detail=detail,
        retry_after_s=retry_after_s,
    )


def _unanswered(status: int, headers: Mapping[str, str], what: str) -> Unavailable:
    """For a status that says nothing of the token."""
    where = headers.get("Location", "")
    hint = f", to {where}: is that the right auth_url?" if where else ""
    asked = headers.get("Retry-After", "")
    retry_after_s = min(int(asked), RETRY_AFTER_S_MAX) if asked.isdecimal() else 1
    return _unavailable(f"status {status} on {what}{hint}", max(retry_after_s, 1))


class _Role(msgspec.Struct):
    name: str = ""


class _Issued(msgspec.Struct):
    expires_at: str
    roles: list[_Role] = []


class _Document(msgspec.Struct):
    token: _Issued


class _Fault(msgspec.Struct):
    code: int


class _Refusal(msgspec.Struct):
    error: _Fault


def _is_refusal(document: bytes) -> bool:
    try:
        return msgspec.json.decode(document, type=_Refusal).error.code == 404
    except msgspec.DecodeError:
        return False


def _issued(document: bytes) -> _Issued:
    try:
        return msgspec.json.decode(document, type=_Document).token
    except msgspec.DecodeError as error:
        raise _unavailable(f"no token document: {error}") from None


def _milliseconds(text: str) -> int:
    try:
        return round(datetime.fromisoformat(text).timestamp() * 1000)
    except ValueError as error:
        raise _unavailable(f"no time: {error}") from None
