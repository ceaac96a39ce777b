"""A queue on a file of its own, with a clock that the test moves and seeded randomness."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from transom.queue.config import QueueConfig
from transom.queue.service import QueueService, build
from transom.runtime.auth.context import Context
from transom.runtime.http.app import make_app

from support.db import queue_database
from support.http import Reply, Tokens, ask, serve

CLIENT = "3381af92-2b9e-11e3-b191-71861300734c"
OTHER_CLIENT = "4481af922b9e11e3b19171861300734d"
# Sweeps run only when a test asks.
CONFIG = QueueConfig(sweep_interval_s=3600)
PROJECTS = {
    "token-a": Context("", user_id="ua", project_id="a", roles=frozenset({"member", "reader"})),
    "token-a-demoted": Context("", user_id="ua", project_id="a", roles=frozenset({"reader"})),
    "token-a-other": Context("", user_id="ua2", project_id="a", roles=frozenset({"member"})),
    "token-b": Context("", user_id="ub", project_id="b", roles=frozenset({"member"})),
    "token-reader": Context("", user_id="ur", project_id="a", roles=frozenset({"reader"})),
    "token-unscoped": Context("", user_id="uu", roles=frozenset()),
}


class MovedClock:
    """Stands still until it is moved."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        return self._now_ms

    def monotonic_s(self) -> float:
        return self._now_ms / 1000

    def move_s(self, seconds: float) -> None:
        self._now_ms += round(seconds * 1000)


class Door:
    """A served queue and how to ask it."""

    def __init__(self, base_url: str, service: QueueService, clock: MovedClock) -> None:
        self.base_url = base_url
        self.service = service
        self.clock = clock

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str = "token-a",
        client: str | None = CLIENT,
        raw: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        """`path` is below `/queue`."""
        sent = dict(headers or {})
        if client is not None:
            sent["client-id"] = client
        if raw is not None:
            sent.setdefault("content-type", "application/json")
        return await ask(
            self.base_url,
            method,
            "/queue" + path,
            sent,
            json_body=body,
            body=raw,
            token=token or None,
        )


@asynccontextmanager
async def open_service(
    folder: Path, clock: MovedClock, seed: int = 1, **config: Any
) -> AsyncIterator[QueueService]:
    service = build(
        replace(CONFIG, **config),
        queue_database(folder, clock),
        clock=clock,
        random=random.Random(seed).randbytes,
    )
    await service.start()
    try:
        yield service
    finally:
        await service.stop()


@asynccontextmanager
async def open_door(folder: Path, **config: Any) -> AsyncIterator[Door]:
    clock = MovedClock()
    async with open_service(folder, clock, **config) as service:
        app = make_app(
            [service.mount], authenticate=Tokens(PROJECTS), random=random.Random(2).randbytes
        )
        async with serve(app) as base_url:
            yield Door(base_url, service, clock)
