# SPDX-License-Identifier: Apache-2.0
"""Notices as HTTP requests: signed, bounded, and never where a redirect leads.

Invariants:
1. One request a notice, with one answer, within the timeout; of the answer only its head counts,
   whatever becomes of the rest.
2. No cookie, no proxy of the environment, no credential is sent but what the subscription says.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import aiohttp
from aiohttp import hdrs

from transom import __version__
from transom.errors import Unavailable
from transom.queue.deliveries.guard import AddressRefused, Guard, Resolver
from transom.queue.deliveries.parcel import Parcel
from transom.queue.deliveries.trusts import TrustTokens
from transom.queue.logic import delivery, notification
from transom.queue.logic.addresses import Network
from transom.queue.logic.delivery import Outcome
from transom.queue.logic.subscriptions import TRUST_ID
from transom.runtime.clock import Clock

ANSWER_BYTES_MAX, ANSWER_S = 65_536, 1.0
"""What is read of an answer's body, and how long, so that the connection can serve again."""
TOKEN_HEADER = "X-Auth-Token"  # noqa: S105  the name of a header
KEPT_OPEN_S = 15.0


class WebhookCarrier:
    """Carries to http, https, trust+http and trust+https. `tokens`: of trusts, where there are."""

    def __init__(
        self,
        allowed: Sequence[Network],
        timeout_s: float,
        at_once: int,
        clock: Clock,
        tokens: TrustTokens | None,
    ) -> None:
        self._guard = Guard(allowed)
        self._timeout_s = timeout_s
        self._at_once = at_once
        self._clock = clock
        self._tokens = tokens
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        self._resolver = Resolver()
        connector = aiohttp.TCPConnector(
            limit=self._at_once,
            resolver=self._resolver,
            ttl_dns_cache=10,
            keepalive_timeout=KEPT_OPEN_S,
            socket_factory=self._guard.socket,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=self._timeout_s),
            auto_decompress=False,
            headers={hdrs.USER_AGENT: f"transom/{__version__}", hdrs.ACCEPT: "*/*"},
        )

    async def stop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()
            await self._resolver.close()

    async def carry(self, parcel: Parcel) -> Outcome:
        headers = notification.headers(parcel.options, parcel.marks)
        if parcel.destination.by_trust:
            try:
                headers[TOKEN_HEADER] = await self._token(parcel)
            except Unavailable as error:
                return delivery.failed("No token could be got by the trust: " + error.text)
        body = notification.filled(parcel.options, parcel.content)
        if parcel.secret is not None:
            timestamp = str(self._clock.now_ms() // 1000)
            headers[notification.TIMESTAMP_HEADER] = timestamp
            headers[notification.SIGNATURE_HEADER] = notification.signature(
                parcel.secret, timestamp, body
            )
        try:
            outcome = await self._post(parcel.destination.url, headers, body)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            return self._unsent(error)
        if outcome.result is not delivery.Result.DELIVERED and TOKEN_HEADER in headers:
            self._forget(parcel)  # it may be the token that was not taken
        return outcome

    async def _post(self, url: str, headers: dict[str, str], body: bytes) -> Outcome:
        if self._session is None:
            return delivery.failed("The server is stopping.")
        async with self._session.post(
            url, data=body, headers=headers, allow_redirects=False
        ) as response:
            retry_after = response.headers.get(hdrs.RETRY_AFTER, "")
            outcome = delivery.answered(response.status, retry_after, self._clock.now_ms())
            await _read_off(response)
            return outcome

    def _unsent(self, error: Exception) -> Outcome:
        refusal = _refusal(error)
        if refusal is not None:
            return delivery.refused(str(refusal))
        if isinstance(error, aiohttp.InvalidURL | ValueError):
            return delivery.refused("The subscriber's URL cannot be asked.")
        if isinstance(error, TimeoutError):
            return delivery.failed(f"There was no answer within {self._timeout_s:g} s.")
        if isinstance(error, aiohttp.ClientConnectorDNSError):
            return delivery.failed("The subscriber's host name was not found.")
        if isinstance(error, aiohttp.ClientSSLError):
            return delivery.failed("The subscriber's certificate was not accepted.")
        if isinstance(error, aiohttp.ClientConnectorError):
            return delivery.failed(f"There was no connection: {error.strerror or 'refused'}.")
        return delivery.failed(f"The connection broke ({type(error).__name__}).")

    async def _token(self, parcel: Parcel) -> str:
        """Raises: Unavailable."""
        if self._tokens is None:
            raise Unavailable("This server has no Keystone to ask.")
        return await self._tokens.token(str(parcel.options.get(TRUST_ID, "")))

    def _forget(self, parcel: Parcel) -> None:
        if self._tokens is not None:
            self._tokens.forget(str(parcel.options.get(TRUST_ID, "")))


async def _read_off(response: aiohttp.ClientResponse) -> None:
    """Reads what follows the head; a connection on which that is long, slow or broken is closed."""
    left = ANSWER_BYTES_MAX
    with suppress(aiohttp.ClientError, OSError, TimeoutError):
        async with asyncio.timeout(ANSWER_S):
            while left > 0 and (chunk := await response.content.read(left)):
                left -= len(chunk)
        if left > 0:
            return
    response.close()


def _refusal(error: BaseException | None) -> AddressRefused | None:
    """The refusal of an address that an error tells of."""
    while error is not None:
        if isinstance(error, AddressRefused):
            return error
        inner = getattr(error, "os_error", None)
        if isinstance(inner, AddressRefused):
            return inner
        error = inner or error.__cause__
    return None
