# SPDX-License-Identifier: Apache-2.0
"""How the client comes by a token and by the queue's address.

Invariants:
1. A token is renewed before its end, and once when the server takes it no more; at most one renewal
   is under way.
2. What a program's own function or session raises becomes a QueueError: `Unavailable` where it may
   be otherwise later, so that a worker outlives a Keystone that is away.
"""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from transom.queue.client.errors import QueueError, Refused, Unavailable, refusal
from transom.runtime.auth.operator import Operator

if TYPE_CHECKING:
    import aiohttp

log = logging.getLogger(__name__)

SERVICE_TYPE = "messaging"
RENEW_BEFORE = timedelta(seconds=60)

Token = str | Callable[[], str | Awaitable[str]]
"""A token, or what gives one: a function that may block, or a coroutine function."""


class KeystoneSession(Protocol):
    """What is used of a `keystoneauth1.session.Session`, which blocks."""

    def get_token(self) -> str | None: ...

    def get_endpoint(self, **filters: Any) -> str | None: ...

    def invalidate(self) -> bool: ...


class Access(Protocol):
    """Who asks, and where."""

    ca_file: str

    async def endpoint(self, http: "aiohttp.ClientSession") -> str:
        """The queue's address. Raises: QueueError."""

    async def token(self, http: "aiohttp.ClientSession", refused: str = "") -> str:
        """One that is not `refused`, if there is another. Raises: QueueError."""


class Given:
    """An address and a token, or what gives one."""

    def __init__(self, url: str, token: Token, ca_file: str = "") -> None:
        self.ca_file = ca_file
        self._url = url
        self._token = token

    async def endpoint(self, http: "aiohttp.ClientSession") -> str:
        return self._url

    async def token(self, http: "aiohttp.ClientSession", refused: str = "") -> str:
        if isinstance(self._token, str):
            return self._token
        with _asked("what gives the token"):
            if inspect.iscoroutinefunction(self._token):
                return str(await self._token())
            found = await asyncio.to_thread(self._token)
            return str(await found if inspect.isawaitable(found) else found)


class OfSession:
    """A session of keystoneauth, such as `openstack.connect().session`."""

    def __init__(self, session: KeystoneSession, url: str = "", ca_file: str = "") -> None:
        self.ca_file = ca_file
        self._session = session
        self._url = url

    async def endpoint(self, http: "aiohttp.ClientSession") -> str:
        if self._url:
            return self._url
        find = partial(self._session.get_endpoint, service_type=SERVICE_TYPE, interface="public")
        with _asked("the session"):
            found = await asyncio.to_thread(find)
        if not found:
            raise QueueError(f"the catalogue of the session has no service {SERVICE_TYPE!r}")
        return found

    async def token(self, http: "aiohttp.ClientSession", refused: str = "") -> str:
        with _asked("the session"):
            if refused:
                await asyncio.to_thread(self._session.invalidate)
            return await asyncio.to_thread(self._session.get_token) or ""


@contextmanager
def _asked(whom: str) -> Iterator[None]:
    """Raises: Unavailable for what keystoneauth would try again, and for what Keystone could not
    answer; else Refused or QueueError."""
    try:
        yield
    except QueueError:
        raise
    except Exception as error:  # Safety: it may fail in any way; the caller is told by one of ours
        status = getattr(error, "http_status", 0)  # keystoneauth's
        why = f"{whom} fails: {error or type(error).__name__}"
        if 400 <= status < 500 and status != 429:
            raise refusal(status, why, "") from error
        kinds = {kind.__name__ for kind in type(error).__mro__}
        passes = isinstance(error, OSError) or "RetriableConnectionFailure" in kinds or status
        raise (Unavailable(why) if passes else QueueError(why)) from error


class OfKeystone:
    """Signs in at a Keystone, as clouds.yaml or the OS_* variables say; takes the address from the
    catalogue that comes with the token."""

    def __init__(self, operator: Operator, url: str = "") -> None:
        self.ca_file = operator.ca_file
        self._operator = operator
        self._url = url
        self._renewal = asyncio.Lock()
        self._token = ""
        self._renew_at = datetime.min.replace(tzinfo=UTC)

    async def endpoint(self, http: "aiohttp.ClientSession") -> str:
        await self.token(http)
        if not self._url:
            where = f" in the region {self._operator.region}" if self._operator.region else ""
            raise QueueError(
                f"the catalogue of {self._operator.auth_url} has no service of the type "
                f"{SERVICE_TYPE!r}{where}; name the address of the queue"
            )
        return self._url

    async def token(self, http: "aiohttp.ClientSession", refused: str = "") -> str:
        async with self._renewal:
            ended = datetime.now(UTC) >= self._renew_at
            if not self._token or ended or refused == self._token:
                await self._sign_in(http)
            return self._token

    async def _sign_in(self, http: "aiohttp.ClientSession") -> None:
        import aiohttp

        url = self._operator.auth_url.rstrip("/").removesuffix("/v3") + "/v3/auth/tokens"
        try:
            async with http.post(url, json=self._operator.auth, allow_redirects=False) as answer:
                document = await answer.json(content_type=None)
                status, headers = answer.status, answer.headers
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            why = str(error) or "no answer in time"
            raise Unavailable(f"{self._operator.auth_url} cannot be reached: {why}") from error
        if status >= 500 or status == 429:
            raise Unavailable(f"{self._operator.auth_url} answers {status} to a sign-in")
        token = headers.get("X-Subject-Token", "")
        if status != 201 or not token:
            raise self._refused(status, document)
        self._token = token
        self._read(document["token"])

    def _refused(self, status: int, document: Any) -> Refused:
        error = document.get("error") if isinstance(document, dict) else None
        said = error.get("message", "") if isinstance(error, dict) else ""
        return refusal(
            status, f"{self._operator.auth_url} refuses {self._operator.name}", str(said)
        )

    def _read(self, token: Mapping[str, Any]) -> None:
        ends = datetime.fromisoformat(str(token["expires_at"]))
        self._renew_at = ends - RENEW_BEFORE
        self._url = self._url or _address(token.get("catalog") or (), self._operator.region)


def _address(catalogue: Any, region: str) -> str:
    for service in catalogue:
        if service.get("type") != SERVICE_TYPE:
            continue
        for found in service.get("endpoints", ()):
            if found.get("interface") == "public" and region in ("", found.get("region_id")):
                return str(found["url"])
    return ""
