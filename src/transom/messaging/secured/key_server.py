# SPDX-License-Identifier: Apache-2.0
"""The key server as a source of keys, by HTTP.

| purpose | request |
|---|---|
| ENROL | PUT /v1/certificates/{source} |
| TICKET, GROUP_TICKET | POST /v1/tickets |
| GROUP_KEY | POST /v1/groups |
| certificates | GET /v1/certificates?group=, or ?topic=&server= |

Bodies are `{"request": base64}` and `{"grant": base64}`. Requests and grants are sealed by
themselves; TLS hides besides who talks to whom. Statuses of 400 to 499 are lasting refusals, but
408 and 429; all else is tried again by who asks.
"""

import ssl
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import msgspec

from transom.errors import KeyUnavailable
from transom.messaging.security.tickets import Purpose

if TYPE_CHECKING:
    import aiohttp

ANSWER_BYTES_MAX = 8 * 1024 * 1024
TIMEOUT_S = 10.0
PASSING = frozenset({408, 429})
T = TypeVar("T")


class _Granted(msgspec.Struct):
    grant: bytes


class _Certified(msgspec.Struct):
    certificates: list[bytes]


class KeyServerSource:
    """A `KeySource`. `url`: of the key server's API, without /v1. `ca`: PEM, for https."""

    def __init__(self, url: str, *, ca: str = "") -> None:
        self._url = url.rstrip("/")
        self._ca = ca
        self._client: aiohttp.ClientSession | None = None

    async def grant(self, purpose: Purpose, source: str, request: bytes) -> bytes:
        body = msgspec.json.encode({"request": request})
        match purpose:
            case Purpose.ENROL:
                answer = await self._ask("PUT", f"/v1/certificates/{quote(source)}", data=body)
            case Purpose.GROUP_KEY:
                answer = await self._ask("POST", "/v1/groups", data=body)
            case _:
                answer = await self._ask("POST", "/v1/tickets", data=body)
        return _read(answer, _Granted).grant

    async def certificates(
        self, *, group: str = "", topic: str = "", server: str = ""
    ) -> list[bytes]:
        asked = {"group": group} if group else {"topic": topic, "server": server}
        answer = await self._ask("GET", "/v1/certificates", params=asked)
        return _read(answer, _Certified).certificates

    async def close(self) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()

    async def _ask(self, method: str, path: str, **given: Any) -> bytes:
        """Raises: KeyUnavailable."""
        import aiohttp

        if self._client is None:
            trust = ssl.create_default_context(cadata=self._ca) if self._ca else True
            self._client = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=trust, limit=8),
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
                headers={"content-type": "application/json"},
            )
        try:
            async with self._client.request(
                method, self._url + path, allow_redirects=False, **given
            ) as response:
                body = bytearray()
                async for chunk in response.content.iter_any():
                    body += chunk
                    if len(body) > ANSWER_BYTES_MAX:
                        raise KeyUnavailable("the key server's answer is too long")
                status = response.status
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise KeyUnavailable("the key server does not answer", detail=reason) from error
        if status != 200:
            detail = body[:200].decode(errors="replace")
            lasting = 400 <= status < 500 and status not in PASSING
            raise KeyUnavailable(f"the key server says {status}", lasting=lasting, detail=detail)
        return bytes(body)


def _read(answer: bytes, kind: type[T]) -> T:
    """Raises: KeyUnavailable."""
    try:
        return msgspec.json.decode(answer, type=kind)
    except (msgspec.MsgspecError, ValueError) as error:
        raise KeyUnavailable("the key server's answer is none", detail=str(error)) from error
