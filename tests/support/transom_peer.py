# SPDX-License-Identifier: Apache-2.0
"""Our client, server, notifier and listener behind the same commands as the programs of oslo.

So one claim can be asked of every pairing: `await peer.ask("call", target={...}, method="echo")`.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from transom import messaging
from transom.errors import NotFound, RemoteError
from transom.messaging import Target, expected_exceptions

from support.oslo_peer import Told

Json = dict[str, Any]


class Sold(Exception):
    """Known to a client of theirs that allows the module `oslo_errors`."""

    __module__ = "oslo_errors"


class Plain:
    """The endpoint without a target: no namespace, version 1.0."""

    def __init__(self, server: str, seen: list[Any]) -> None:
        self._server = server
        self._seen = seen

    async def echo(self, context: Mapping[str, Any], x: Any = None) -> Any:
        return x

    async def count(self, context: Mapping[str, Any], x: int) -> int:
        self._seen.append(x)
        return x

    async def nothing(self, context: Mapping[str, Any]) -> None:
        return None

    async def context(self, context: Mapping[str, Any]) -> Json:
        return dict(context)

    async def who(self, context: Mapping[str, Any]) -> str:
        return self._server

    async def sleep(self, context: Mapping[str, Any], seconds: float) -> str:
        await asyncio.sleep(seconds)
        return "slept"

    async def note(self, context: Mapping[str, Any], x: Any) -> None:
        self._seen.append([self._server, x])

    async def fail(self, context: Mapping[str, Any], text: str) -> None:
        raise ValueError(text)

    async def fail_known(self, context: Mapping[str, Any], **kwargs: Any) -> None:
        raise Sold(f"sold: {sorted(kwargs.items())}")

    @expected_exceptions(KeyError)
    async def fail_expected(self, context: Mapping[str, Any]) -> None:
        raise KeyError("absent")

    async def fail_as_transom(self, context: Mapping[str, Any]) -> None:
        raise NotFound("no such thing")


class Things:
    """An interface by namespace."""

    target = Target(namespace="things", version="1.7")

    async def size(self, context: Mapping[str, Any], x: str) -> list[Any]:
        return ["things", len(x)]


class OlderThings(Things):
    """The same by its older name."""

    target = Target(namespace="objects", version="1.7")


class Second:
    """A later version of the interface without a namespace."""

    target = Target(version="2.3.1")

    async def which(self, context: Mapping[str, Any]) -> str:
        return "second"


def told(error: Exception) -> Json:
    """An exception as the programs tell it."""
    answer: Json = {
        "class": type(error).__name__,
        "module": type(error).__module__,
        "kinds": [kind.__name__ for kind in type(error).__mro__],
        "text": str(error),
        "args": [str(argument) for argument in error.args],
        "kwargs": {},
    }
    if isinstance(error, RemoteError):
        answer["args"] = [error.exc_type, error.value]
    return answer


class Ours:
    """One transport, and what runs on it."""

    def __init__(self, transport: messaging.Transport) -> None:
        self.transport = transport
        self._running: dict[str, messaging.Server | asyncio.Task[None]] = {}
        self._seen: dict[str, list[Any]] = {}

    async def ask(self, do: str, **arguments: Any) -> Any:
        try:
            return await getattr(self, do)(**arguments)
        except Exception as error:
            raise Told(told(error)) from error

    def _client(
        self,
        target: Json,
        *,
        timeout: float = 60.0,
        mandatory: bool = True,
        version_cap: str | None = None,
        call_monitor_timeout: int | None = None,
        prepare: Json | None = None,
    ) -> messaging.Client:
        made = messaging.Client(
            self.transport,
            Target(**target),
            timeout_s=timeout,
            version_cap=version_cap,
            call_monitor_timeout_s=call_monitor_timeout,
        )
        return made.to(**prepare) if prepare else made

    async def call(
        self,
        target: Json,
        method: str,
        args: Json | None = None,
        context: Json | None = None,
        **options: Any,
    ) -> Json:
        started_s = time.monotonic()
        answer: Json
        try:
            client = self._client(target, **options)
            answer = {"result": await client.call(context or {}, method, **(args or {}))}
        except Exception as error:
            answer = {"error": told(error)}
        return {**answer, "ms": round((time.monotonic() - started_s) * 1000)}

    async def cast(
        self,
        target: Json,
        method: str,
        args: Json | None = None,
        context: Json | None = None,
        **options: Any,
    ) -> None:
        await self._client(target, **options).cast(context or {}, method, **(args or {}))

    async def can_send(self, target: Json, version: str | None, **options: Any) -> bool:
        return self._client(target, **options).can_send_version(version)

    async def load(
        self,
        target: Json,
        method: str,
        first: int,
        count: int,
        threads: int,
        timeout: float = 60.0,
    ) -> Json:
        client = self._client(target, timeout=timeout)
        numbers = iter(range(first, first + count))
        wrong: list[Any] = []
        errors: list[Json] = []

        async def run() -> None:
            for x in numbers:
                try:
                    answer = await client.call({}, method, x=x)
                except Exception as error:
                    errors.append(told(error))
                else:
                    if answer != x:
                        wrong.append([x, answer])

        async with asyncio.TaskGroup() as group:
            for _ in range(threads):
                group.create_task(run())
        return {"wrong": wrong, "errors": errors}

    async def notify(
        self,
        topics: list[str],
        priority: str,
        event_type: str,
        payload: Any,
        driver: str = "messagingv2",
        secret: bool = False,
        times: int = 1,
    ) -> None:
        notifier = messaging.Notifier(
            self.transport, "compute.there", topics=topics, bare=driver == "messaging"
        )
        context: Json = {}
        if secret:
            context = {
                "user_id": "u1",
                "project_id": "p1",
                "auth_token": "token-of-u1",
                "request_id": "req-7",
            }
        for _ in range(times):
            await notifier.notify(priority, context, event_type, payload, confirm=True)

    async def serve(self, name: str, target: Json) -> None:
        seen = self._seen[name] = []
        endpoints = [Plain(target["server"], seen), Things(), OlderThings(), Second()]
        server = messaging.Server(self.transport, Target(**target), endpoints)
        await server.start()
        self._running[name] = server

    async def listen(
        self,
        name: str,
        targets: list[Json],
        priorities: list[str],
        pool: str | None = None,
        batch: int | None = None,
        requeues: int = 0,
    ) -> None:
        seen = self._seen[name] = []
        listener = messaging.Listener(
            self.transport,
            [Target(**target) for target in targets],
            priorities=priorities,
            pool=pool or "",
            prefetch=batch or 64,
        )
        await listener.start()

        async def take() -> None:
            left = requeues
            async for message in listener:
                again = left > 0
                left -= again
                seen.append(_heard(message, requeued=again))
                await (message.requeue() if again else message.acknowledge())

        self._running[name] = asyncio.ensure_future(take())

    async def seen(self, name: str, at_least: int = 0, within_s: float = 20.0) -> list[Any]:
        until_s = time.monotonic() + within_s
        while len(self._seen[name]) < at_least and time.monotonic() < until_s:
            await asyncio.sleep(0.02)
        return list(self._seen[name])

    async def repeated(self, name: str) -> Json:
        counted = Counter(self._seen[name])
        return {"distinct": len(counted), "repeated": [x for x, n in counted.items() if n > 1]}

    async def stop(self, name: str) -> None:
        running = self._running.pop(name)
        if isinstance(running, messaging.Server):
            await running.stop()
        else:
            running.cancel()
            await asyncio.wait([running])

    async def end(self) -> None:
        for name in list(self._running):
            await self.stop(name)


def _heard(message: messaging.Incoming, *, requeued: bool) -> Json:
    return {
        "priority": message.priority,
        "context": dict(message.context),
        "publisher_id": message.publisher_id,
        "event_type": message.event_type,
        "payload": message.payload,
        "metadata": {"message_id": message.message_id, "timestamp": message.timestamp},
        "requeued": requeued,
    }


@asynccontextmanager
async def ours(url: str) -> AsyncIterator[Ours]:
    async with messaging.connect(url) as transport:
        peer = Ours(transport)
        try:
            yield peer
        finally:
            await peer.end()
