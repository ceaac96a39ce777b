# SPDX-License-Identifier: Apache-2.0
"""Calls, notifications and live tables for callers that are not on asyncio.

    with messaging.blocking.connect("zmq:///run/user/1000/lab") as transport:
        client = messaging.blocking.Client(transport, messaging.Target(topic="scheduler"))
        host = client.call({}, "select_host", flavor="m1.small")

Each class stands for the one of the same name in `transom.messaging`, with the same arguments and
the same errors; its methods block. All may be used from many threads at once.

Invariants:
1. Everything runs on one loop in one thread of the process (`loop_thread`); blocking endpoints run
   in threads of their server, never on the loop.
2. A wait ends with its answer, its timeout, or Ctrl-C, which leaves nothing running behind it.
3. In a child process after a fork every method raises `Ended`, which says to connect again.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial, partialmethod
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from transom.messaging import client as on_loop_client
from transom.messaging import notify as on_loop_notify
from transom.messaging import replica as on_loop_replica
from transom.messaging import server as on_loop_server
from transom.messaging import transport as on_loop_transport
from transom.messaging.drivers.base import TransportEvent
from transom.messaging.loop_thread import Ended, LoopThread, acquire, release
from transom.messaging.proto.feed import ChangeSet, Live, Stale, State
from transom.messaging.target import Target

__all__ = [
    "Client",
    "Ended",
    "Incoming",
    "Listener",
    "Notifier",
    "Server",
    "TableReplica",
    "Transport",
    "connect",
]

T = TypeVar("T")
LATE_S = 5.0
"""How much later than what it waits for a caller gives up: only if the loop itself hangs."""
START_S = 60.0
STOP_S = 60.0


def connect(url: str, **options: Any) -> "Transport":
    """A transport that connects when entered (`with`) or started. `options`: as `connect` has."""
    return Transport(url, **options)


class _Entered(ABC):
    """`with` starts and stops it."""

    @abstractmethod
    def start(self) -> None: ...

    @abstractmethod
    def stop(self) -> None: ...

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


class Transport(_Entered):
    """One place on one bus. `stop` also stops what runs on it."""

    def __init__(self, url: str, **options: Any) -> None:
        self._url = url
        self._options = options
        self._thread: LoopThread | None = None
        self._inner: on_loop_transport.Transport | None = None

    def start(self) -> None:
        """Returns when connected, or when the driver keeps trying in the background."""
        if self._thread is not None:
            return
        self._thread = acquire()
        try:
            self._inner = on_loop_transport.connect(self._url, **self._options)
            self._thread.run(self._inner.start, START_S)
        except BaseException:  # Safety: lets go of what it has, and goes on
            self._let_go()
            raise

    def stop(self) -> None:
        """Idempotent."""
        if self._thread is None or self._inner is None:
            return
        try:
            self._thread.run(self._inner.stop, STOP_S)
        except Ended:
            pass  # of another process, or ended with its loop
        finally:
            self._let_go()

    def _let_go(self) -> None:
        thread, self._thread, self._inner = self._thread, None, None
        if thread is not None:
            release(thread)

    def events(self) -> Iterator[TransportEvent]:
        """What happens to the links from now on; ends when the transport stops."""
        stream = self.run(_made(self.inner.events), START_S)
        return iter(_Iteration(self, stream.__anext__))

    @property
    def inner(self) -> on_loop_transport.Transport:
        """The one on the loop. Raises: Ended if it does not run."""
        if self._inner is None:
            raise Ended("the transport does not run; enter it with `with` before using it")
        return self._inner

    def run(self, begin: Callable[[], Awaitable[T]], timeout_s: float | None) -> T:
        """See `LoopThread.run`."""
        if self._thread is None:
            raise Ended("the transport does not run; enter it with `with` before using it")
        return self._thread.run(begin, timeout_s)


class _Iteration(Generic[T]):
    """Iterates, blocking, over what `following` gives on the loop."""

    def __init__(self, transport: Transport, following: Callable[[], Awaitable[T]]) -> None:
        self._transport = transport
        self._following = following

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        found = self.receive(None)
        if found is None:
            raise StopIteration
        return found

    def receive(self, timeout_s: float | None) -> T | None:
        """The next one; None when there will be none any more.

        Raises: MessagingTimeout when none came in time; nothing is lost by that.
        """
        try:
            return self._transport.run(self._next_or_none, timeout_s)
        except Ended:
            return None

    async def _next_or_none(self) -> T | None:
        try:
            return await self._following()
        except StopAsyncIteration:
            return None


class Client:
    """Immutable; `to` derives another one. See `messaging.Client`."""

    def __init__(
        self, transport: Transport, target: Target, *, timeout_s: float = 60.0, **options: Any
    ) -> None:
        self._transport = transport
        self._timeout_s = timeout_s
        self._inner = on_loop_client.Client(transport.inner, target, timeout_s=timeout_s, **options)

    @property
    def target(self) -> Target:
        return self._inner.target

    def to(self, **changes: Any) -> "Client":
        """A client that differs in what is given."""
        other = object.__new__(Client)
        other._transport = self._transport
        other._timeout_s = changes.get("timeout_s", self._timeout_s)
        other._inner = self._inner.to(**changes)
        return other

    def can_send_version(self, *version: str | None) -> bool:
        """Whether the cap allows the version (left out: the target's)."""
        return self._inner.can_send_version(*version)

    def call(self, context: Mapping[str, Any], method: str, /, **args: Any) -> Any:
        """The answer. Raises: as `messaging.Client.call`."""
        begin = partial(self._inner.call, context, method, **args)
        return self._transport.run(begin, self._timeout_s + LATE_S)

    def cast(self, context: Mapping[str, Any], method: str, /, **args: Any) -> None:
        """Returns once the bus has it. Raises: as `messaging.Client.cast`."""
        begin = partial(self._inner.cast, context, method, **args)
        self._transport.run(begin, self._timeout_s + LATE_S)


class Server(_Entered):
    """Serves blocking endpoints in `concurrency` threads. See `messaging.Server`."""

    def __init__(
        self,
        transport: Transport,
        target: Target,
        endpoints: Sequence[object],
        *,
        concurrency: int = 64,
        drain_s: float = 30.0,
    ) -> None:
        self._transport = transport
        self._stop_s = 3 * drain_s + LATE_S
        self._inner = on_loop_server.Server(
            transport.inner,
            target,
            endpoints,
            concurrency=concurrency,
            executor="thread",
            drain_s=drain_s,
        )

    def start(self) -> None:
        """Returns when served."""
        self._transport.run(self._inner.start, START_S)

    def stop(self) -> None:
        """Drains. Idempotent."""
        self._transport.run(self._inner.stop, self._stop_s)


class Notifier:
    """Publishes. See `messaging.Notifier`."""

    def __init__(
        self, transport: Transport, publisher_id: str, *, timeout_s: float = 10.0, **options: Any
    ) -> None:
        self._transport = transport
        self._inner = on_loop_notify.Notifier(
            transport.inner, publisher_id, timeout_s=timeout_s, **options
        )
        self._bound_s = timeout_s * max(1, len(options.get("topics", ()))) + LATE_S

    def notify(
        self,
        priority: str,
        context: Mapping[str, Any],
        event_type: str,
        payload: Any,
        *,
        confirm: bool = False,
    ) -> None:
        """Returns once the bus has it. Raises: with `confirm` only, what went wrong."""
        begin = partial(self._inner.notify, priority, context, event_type, payload, confirm=confirm)
        self._transport.run(begin, self._bound_s)

    audit = partialmethod(notify, "audit")
    debug = partialmethod(notify, "debug")
    info = partialmethod(notify, "info")
    warn = partialmethod(notify, "warn")
    error = partialmethod(notify, "error")
    critical = partialmethod(notify, "critical")
    sample = partialmethod(notify, "sample")


class Incoming:
    """A notification at a listener; exactly one of the two verbs ends it."""

    def __init__(self, transport: Transport, inner: on_loop_notify.Incoming) -> None:
        self._transport = transport
        self._inner = inner
        self.sender = inner.sender
        self.context = inner.context
        self.publisher_id = inner.publisher_id
        self.event_type = inner.event_type
        self.priority = inner.priority
        self.payload = inner.payload
        self.message_id = inner.message_id
        self.timestamp = inner.timestamp

    def acknowledge(self) -> None:
        """Done with."""
        self._transport.run(self._inner.acknowledge, LATE_S)

    def requeue(self) -> None:
        """Not done; some listener of the pool gets it again, where the bus can."""
        self._transport.run(self._inner.requeue, LATE_S)


class Listener(_Entered, _Iteration[Incoming]):
    """Iterate it for notifications; that starts it. See `messaging.Listener`."""

    def __init__(self, transport: Transport, targets: Sequence[Target], **options: Any) -> None:
        super().__init__(transport, self._incoming)
        self._inner = on_loop_notify.Listener(transport.inner, targets, **options)

    def start(self) -> None:
        """Returns when served."""
        self._transport.run(self._inner.start, START_S)

    def stop(self) -> None:
        """Ends the iteration, in whatever thread; what was not acknowledged goes back."""
        self._transport.run(self._inner.stop, STOP_S)

    def batches(self, size: int, wait_s: float) -> _Iteration[list[Incoming]]:
        """See `messaging.Listener.batches`."""
        batches = self._inner.batches(size, wait_s)

        async def following() -> list[Incoming]:
            return [Incoming(self._transport, inner) for inner in await anext(batches)]

        return _Iteration(self._transport, following)

    async def _incoming(self) -> Incoming:
        return Incoming(self._transport, await self._inner.__anext__())


class TableReplica(_Entered, _Iteration[ChangeSet | Live | Stale]):
    """Iterate it for change sets and changes of state. See `messaging.TableReplica`."""

    def __init__(
        self, transport: Transport, source: str, tables: Sequence[str] = (), **options: Any
    ) -> None:
        self._inner = on_loop_replica.TableReplica(transport.inner, source, tables, **options)
        super().__init__(transport, self._inner.__anext__)

    @property
    def state(self) -> State:
        """How the rows stand now."""
        return self._transport.run(_made(lambda: self._inner.state), LATE_S)

    def start(self) -> None:
        """Returns when subscribed."""
        self._transport.run(self._inner.start, START_S)

    def stop(self) -> None:
        """Ends the iteration, in whatever thread."""
        self._transport.run(self._inner.stop, STOP_S)


def _made(make: Callable[[], T]) -> Callable[[], Awaitable[T]]:
    """What `make` gives on the loop, for what is to be asked there and does not wait."""

    async def made() -> T:
        return make()

    return made
