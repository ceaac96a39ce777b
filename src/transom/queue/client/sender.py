# SPDX-License-Identifier: Apache-2.0
"""Sends requests, again where that is safe and may help.

Invariants:
1. Every sending ends within `ANSWER_S`, and what the request itself waits for.
2. What may not be sent again is not, unless it surely was not carried out.
3. The tries of a request that changes something have one Idempotency-Key.
4. Between two tries is what the server asks for, or a doubled pause with jitter; the last try
   begins before the patience is over.
5. What is to be seen through (`see_through`) is waited for when the client is closed, `END_S` at
   most.
"""

import asyncio
import logging
import random
import uuid
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from transom.queue.client.errors import Ended, QueueError, Unavailable, refusal
from transom.queue.client.signing_in import Access
from transom.queue.client.values import content_of
from transom.queue.client.verbs import Reply, Request

if TYPE_CHECKING:
    import aiohttp

log = logging.getLogger(__name__)
T = TypeVar("T")

ANSWER_S = 30.0
CONNECT_S = 10.0
CONNECTIONS_MAX = 100
FIRST_PAUSE_S = 0.2
MOST_PAUSE_S = 5.0
MOST_ASKED_S = 60.0
"""A longer `Retry-After` is not believed."""
SILENT_S = 5.0
"""Whoever waits for longer than that is told for what, once."""
END_S = 10.0
QUICK_S = 0.5
"""A server that says sooner that there is nothing does not wait, and is not asked all the time."""
UNDER_WAY_TRIES = 3
"""How often a repeat is repeated that is told that the first one is under way (409)."""


class _Again(Exception):
    """Inside: it may be tried again. `after_s`: what the server asks for, or 0."""

    def __init__(self, error: QueueError, after_s: float = 0.0) -> None:
        super().__init__(str(error))
        self.error = error
        self.after_s = after_s


class Sender:
    """One client's connections. Entered and left by `start` and `stop`.

    `patience_s`: how long a request is tried again while the server is away.
    """

    def __init__(self, access: Access, client_id: str, patience_s: float) -> None:
        self._access = access
        self._client_id = client_id
        self._patience_s = patience_s
        self._http: aiohttp.ClientSession | None = None
        self._base = ""
        self._behind: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Connects to nothing yet. Raises: ConfigError for a file of authorities that is none."""
        import aiohttp

        from transom.runtime.auth.keystone import tls_context

        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=CONNECTIONS_MAX, ssl=tls_context("https:", self._access.ca_file)
            ),
            timeout=aiohttp.ClientTimeout(total=ANSWER_S, sock_connect=CONNECT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        # By itself it would send a DELETE again whose answer is lost: a `pop`, too.
        self._http._retry_connection = False

    async def stop(self) -> None:
        """Idempotent."""
        try:
            if self._behind:
                await asyncio.wait(self._behind, timeout=END_S)
        finally:
            for task in self._behind:
                task.cancel()
            http, self._http = self._http, None
            if http is not None:
                await http.close()

    def see_through(self, work: Coroutine[Any, Any, None]) -> None:
        """Carries it out behind the back of whoever asks."""
        task = asyncio.get_running_loop().create_task(work, name="queue-client")
        self._behind.add(task)
        task.add_done_callback(self._behind.discard)

    async def send(self, request: Request[T]) -> T:
        """What the verb gives. Raises: QueueError."""
        loop = asyncio.get_running_loop()
        key = uuid.uuid4().hex if request.keyed else ""
        end_s, tries = loop.time() + self._patience_s + request.wait_s, 0
        tell_s = loop.time() + SILENT_S
        while True:
            try:
                return request.read(await self._send_once(request, key, tries))
            except _Again as again:
                pause_s = again.after_s or _pause_s(tries)
                if loop.time() + pause_s > end_s:
                    raise again.error from again.error.__cause__
                level = logging.DEBUG
                if loop.time() >= tell_s:
                    level, tell_s = logging.WARNING, end_s
                rest_s = end_s - loop.time()
                log.log(level, "%s; asked again, for %.0f s at most", again.error.text, rest_s)
            except msgspec.MsgspecError as error:
                raise QueueError(f"the answer to {request.path} is not a queue's") from error
            tries += 1
            await asyncio.sleep(pause_s)

    async def _send_once(self, request: Request[Any], key: str, tries: int) -> Reply:
        """Raises: _Again, QueueError."""
        http = self._http
        if http is None:
            raise Ended("the client is not open; enter it with `async with` or `with`")
        token = await self._token(http)
        reply = await self._exchange(http, token, request, key)
        if reply.status == 401:
            token = await self._token(http, refused=token)
            reply = await self._exchange(http, token, request, key)
        if reply.status < 400:
            return reply
        refused = _refusal(reply)
        if reply.status == 429 or (reply.status == 503 and (request.again or request.keyed)):
            raise _Again(refused, _asked_s(reply))
        if reply.status in (502, 504) and (request.again or request.keyed):
            raise _Again(refused)
        if reply.status == 409 and key and 0 < tries <= UNDER_WAY_TRIES:
            raise _Again(refused)
        raise refused

    async def _token(self, http: "aiohttp.ClientSession", refused: str = "") -> str:
        """Of who asks; where to ask is known then, too. Raises: _Again, QueueError."""
        try:
            if not self._base:
                found = (await self._access.endpoint(http)).rstrip("/")
                self._base = found.removesuffix("/v2").removesuffix("/")
            return await self._access.token(http, refused)
        except Unavailable as error:
            raise _Again(error) from error

    async def _exchange(
        self, http: "aiohttp.ClientSession", token: str, request: Request[Any], key: str
    ) -> Reply:
        """Raises: _Again, Unavailable."""
        import aiohttp

        headers = {"X-Auth-Token": token, "Client-ID": self._client_id}
        body = None
        if request.body is not None:
            body = content_of(request.body)
            headers["Content-Type"] = request.content_type
        if key:
            headers["Idempotency-Key"] = key
        timeout = aiohttp.ClientTimeout(total=ANSWER_S + request.wait_s, sock_connect=CONNECT_S)
        try:
            async with http.request(
                request.method, self._base + request.path, params=request.query, data=body,
                headers=headers, timeout=timeout, allow_redirects=False,
            ) as answer:  # fmt: skip
                found = {name.lower(): value for name, value in answer.headers.items()}
                return Reply(answer.status, found, await answer.read())
        except aiohttp.ClientConnectorCertificateError as error:
            raise QueueError(
                f"{self._base}: its certificate is not trusted ({error}); name the authority that "
                "signed it in OS_CACERT, or as cacert in clouds.yaml"
            ) from error
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            failed = Unavailable(f"{self._base} cannot be reached: {error or 'no answer in time'}")
            unsent = isinstance(error, aiohttp.ClientConnectorError)
            if request.again or request.keyed or unsent:
                raise _Again(failed) from error
            raise failed from error


def _refusal(reply: Reply) -> QueueError:
    try:
        said = msgspec.json.decode(reply.body)
    except msgspec.MsgspecError:
        said = None
    said = said if isinstance(said, dict) else {}
    title = str(said.get("title") or f"the queue answers {reply.status}")
    request_id = reply.headers.get("x-openstack-request-id", "")
    if reply.status in (502, 503, 504):
        return Unavailable(f"{title}: {said.get('description') or 'no reason is given'}")
    return refusal(reply.status, title, str(said.get("description") or ""), request_id)


def _asked_s(reply: Reply) -> float:
    """What `Retry-After` says, with some jitter, so that not all come back at once."""
    text = reply.headers.get("retry-after", "")
    seconds = float(text) if text.isascii() and text.isdigit() else 0.0
    return min(seconds, MOST_ASKED_S) * random.uniform(1.0, 1.2)


def _pause_s(tries: int) -> float:
    return min(MOST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(tries, 10)) * random.uniform(0.5, 1.0)
