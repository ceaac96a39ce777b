# SPDX-License-Identifier: Apache-2.0
"""The client on asyncio: `Queues`, a `Queue` of it, and a `Claim`."""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Protocol, Self, TypeVar

from transom.errors import ConfigError
from transom.queue.client import claims, verbs
from transom.queue.client.claims import Held
from transom.queue.client.errors import NotFound, Refused
from transom.queue.client.sender import QUICK_S, Sender
from transom.queue.client.shapes import Claimed, Message, Page, QueueInfo, Subscription
from transom.queue.client.signing_in import (
    Access,
    Given,
    KeystoneSession,
    OfKeystone,
    OfSession,
    Token,
)
from transom.queue.client.taking import give_back, taken
from transom.queue.client.verbs import Request
from transom.queue.client.work import Handler, Terms, Work
from transom.runtime.auth.operator import Operator

P = ParamSpec("P")
T = TypeVar("T")


class _Identified(Protocol):
    @property
    def id(self) -> str: ...


class _Followed(Protocol):
    """A page, in whatever form."""

    @property
    def messages(self) -> Sequence[_Identified]: ...


F = TypeVar("F", bound=_Followed)

PATIENCE_S = 60.0
FOLLOW_WAIT_S = 20


def connect(
    cloud: str | None = None,
    *,
    config_file: str = "",
    url: str = "",
    token: Token | None = None,
    session: KeystoneSession | None = None,
    client_id: str = "",
    ca_file: str = "",
    patience_s: float = PATIENCE_S,
) -> "Queues":
    """Queues of the project that one signs in to; nothing is asked before they are entered.

    Who signs in: `session`, a session of keystoneauth; or `token`, a token or what gives one, for
    the queue at `url`; or a `cloud` of clouds.yaml, which is `config_file` or where the clients of
    OpenStack look for it; or as OS_CLOUD or the other OS_* variables say.
    `client_id`: a UUID, of which the queue's `echo` speaks (default: OS_MESSAGE_CLIENT_ID, or a new
    one). `patience_s`: how long a request is tried again while the server is away.

    Raises: ConfigError.
    """
    access: Access
    if session is not None:
        access = OfSession(session, url, ca_file)
    elif token is not None:
        if not url:
            raise ConfigError("a token alone does not say where the queue is; give its url, too")
        access = Given(url, token, ca_file)
    else:
        file = {"OS_CLIENT_CONFIG_FILE": config_file} if config_file else {}
        access = OfKeystone(Operator.read(cloud, {**os.environ, **file}), url)
    client_id = client_id or os.environ.get("OS_MESSAGE_CLIENT_ID") or str(uuid.uuid4())
    return Queues(Sender(access, client_id, patience_s))


def _of_all(make: Callable[P, Request[T]]) -> Callable[Concatenate["Queues", P], Awaitable[T]]:
    @wraps(make)
    async def ask(queues: "Queues", /, *args: P.args, **given: P.kwargs) -> T:
        return await queues.sender.send(make(*args, **given))

    return ask


def _of_one(
    make: Callable[Concatenate[str, P], Request[T]],
) -> Callable[Concatenate["Queue", P], Awaitable[T]]:
    @wraps(make)
    async def ask(queue: "Queue", /, *args: P.args, **given: P.kwargs) -> T:
        return await queue.sender.send(make(queue.name, *args, **given))

    return ask


def _of_held(
    make: Callable[Concatenate[Held, P], list[claims.Step]], settles: bool
) -> Callable[Concatenate["Claim", P], Awaitable[claims.Lost]]:
    @wraps(make)
    async def ask(claim: "Claim", /, *args: P.args, **given: P.kwargs) -> claims.Lost:
        lost: claims.Lost = []
        for ids, request in make(claim.held, *args, **given):
            lost.extend(await claim.sender.send(request))
            if settles:
                claim.held.settled(ids)
        return lost

    return ask


class Queues:
    """The queues of a project. Entered by `async with`, or started and stopped."""

    def __init__(self, sender: Sender) -> None:
        self.sender = sender

    def queue(self, name: str) -> "Queue":
        """Nothing is asked: whether it is there, its verbs find out."""
        return Queue(self.sender, name)

    async def list(self, *, detailed: bool = False, name: str = "") -> AsyncIterator[QueueInfo]:
        """All queues, by name; `name`: those that have it in theirs."""
        async for page in _pages(self.sender, verbs.queues(detailed, name)):
            for found in page.queues:
                yield found

    def claim(
        self, names: Sequence[str], limit: int | None = None, ttl: int | None = None,
        grace: int | None = None, wait: int = 0,
    ) -> "Claim":  # fmt: skip
        """See `Queue.claim`: of several queues, the first one's messages first."""
        return Claim(self.sender, verbs.claim_many(names, limit, ttl, grace, wait), "")

    async def work(
        self, names: Sequence[str], handler: Handler, *, stop: asyncio.Event | None = None,
        **terms: Any,
    ) -> int:  # fmt: skip
        """See `Queue.work`: messages of several queues, the first one's first."""
        return await Work(self.sender, names, handler, Terms(**terms)).run(stop)

    async def start(self) -> None:
        """Raises: ConfigError."""
        await self.sender.start()

    async def stop(self) -> None:
        """Idempotent."""
        await self.sender.stop()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()


class Queue:
    """One queue. It comes to be with its first message, or by `create`."""

    def __init__(self, sender: Sender, name: str) -> None:
        self.sender = sender
        self.name = name

    create = _of_one(verbs.create)
    metadata = _of_one(verbs.metadata)
    update = _of_one(verbs.update)
    remove = _of_one(verbs.remove)
    purge = _of_one(verbs.purge)
    stats = _of_one(verbs.stats)
    redrive = _of_one(verbs.redrive)
    post = _of_one(verbs.post)
    post_many = _of_one(verbs.post_many)
    get = _of_one(verbs.get)
    delete = _of_one(verbs.delete)
    delete_many = _of_one(verbs.delete_many)
    pop = _of_one(verbs.pop)
    subscribe = _of_one(verbs.subscribe)
    resubscribe = _of_one(verbs.resubscribe)
    unsubscribe = _of_one(verbs.unsubscribe)

    async def messages(
        self,
        marker: str = "",
        *,
        limit: int | None = None,
        echo: bool = True,
        include_claimed: bool = False,
        include_delayed: bool = False,
    ) -> AsyncIterator[Message]:
        """What is there now, oldest first; `limit`: of a page, of which all are read."""
        first = verbs.messages(self.name, marker, limit, echo, include_claimed, include_delayed)
        async for page in _pages(self.sender, first):
            for message in page.messages:
                yield message

    async def follow(
        self, marker: str | None = None, *, wait: int = FOLLOW_WAIT_S
    ) -> AsyncIterator[Message]:
        """Each message once, as it is posted, without an end; held and delayed ones, too.

        `marker`: the id of the message after which to begin; "" for the first one there is, None
        for those that are posted from now on.
        """
        if marker is None:
            marker = await end_of(self.sender, self.name)
        async for page in followed(self.sender, self.name, marker, wait, Page):
            for message in page.messages:
                yield message

    async def exists(self) -> bool:
        """Whether it is there: one that is not shows and counts nothing, which is no error."""
        try:
            await self.sender.send(verbs.exists(self.name))
        except NotFound:
            return False
        except Refused as error:
            if error.status != 405:  # a Zaqar cannot be asked
                raise
        return True

    async def subscriptions(self) -> AsyncIterator[Subscription]:
        """In the order in which they were made."""
        async for page in _pages(self.sender, verbs.subscriptions(self.name)):
            for found in page.subscriptions:
                yield found

    def claim(
        self, limit: int | None = None, ttl: int | None = None, grace: int | None = None,
        wait: int = 0,
    ) -> "Claim":  # fmt: skip
        """Up to `limit` messages for `ttl` seconds, taken by `async with`, which waits for some.

        Those that are not deleted or rejected in the block are free again after it, as are those
        that it was about to be given when it was cancelled.
        """
        request = verbs.claim(self.name, limit, ttl, grace, wait)
        return Claim(self.sender, request, self.name)

    async def work(
        self, handler: Handler, *, stop: asyncio.Event | None = None, **terms: Any
    ) -> int:
        """Hands message after message to `handler`, until `stop` is set; see `work.Terms`.

        Each is deleted when the handler returns, and held as long as it runs; if it raises, the
        message comes again after a growing delay. Gives how many were handled.
        """
        return await Work(self.sender, [self.name], handler, Terms(**terms)).run(stop)


class Claim:
    """Messages that are held; `async with` takes them, and gives back what is left of them."""

    def __init__(self, sender: Sender, request: Request[Claimed | None], queue: str) -> None:
        self.sender = sender
        self._request = request
        self._queue = queue
        self.held = Held(None)

    delete = _of_held(claims.delete, settles=True)
    touch = _of_held(claims.touch, settles=False)
    release = _of_held(claims.release, settles=True)
    reject = _of_held(claims.reject, settles=True)

    @property
    def id(self) -> str:
        """Empty if there was nothing to take."""
        return self.held.id

    @property
    def messages(self) -> "list[Message]":
        """Those that are still to be dealt with."""
        return list(self.held.messages)

    async def __aenter__(self) -> Self:
        self.held = Held(await taken(self.sender, self._request), self._queue)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.held.messages:
            self.held.messages.clear()
            await give_back(self.sender, self._request, self.id)


async def end_of(sender: Sender, name: str) -> str:
    """A marker: what is posted from now on comes after it."""
    newest = (await sender.send(verbs.stats(name))).newest
    return "" if newest is None else newest.id


async def followed(
    sender: Sender, name: str, marker: str, wait: int, kind: type[F]
) -> AsyncIterator[F]:
    """What comes after `marker`, page by page, held and delayed messages too; without an end."""
    loop = asyncio.get_running_loop()
    while True:
        began_s = loop.time()
        asked = verbs.messages(name, marker, include_claimed=True, include_delayed=True, wait=wait)
        page = await sender.send(verbs.read_as(asked, verbs.decoded(kind)))
        yield page
        if page.messages:
            marker = page.messages[-1].id
        elif loop.time() - began_s < QUICK_S:
            await asyncio.sleep(1)


async def _pages(sender: Sender, first: Request[Page]) -> AsyncIterator[Page]:
    page = await sender.send(first)
    while page.messages or page.queues or page.subscriptions:
        yield page
        if not page.onward:
            return
        page = await sender.send(verbs.page(page.onward))
