"""A queue on a file of its own, with a clock that the test moves and seeded randomness."""

import os
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from transom.queue.app.subscriptions import Trusts
from transom.queue.bus.neighbours import Neighbours
from transom.queue.config import QueueConfig
from transom.queue.contract import DEFAULT_RULES, SOURCE
from transom.queue.service import QueueService, build
from transom.runtime.auth.context import Context
from transom.runtime.auth.policy_file import PolicyFile
from transom.runtime.http.app import make_app
from transom.runtime.http.limits import HttpLimits
from transom.runtime.sealing import Sealer

from support.db import queue_database
from support.http import Reply, Tokens, ask, serve
from support.postgres import engine_now, on_postgres, schema_of

MASTER_KEYS = (b"m" * 32,)
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
    "token-admin": Context("", user_id="admin", project_id="a", roles=frozenset({"admin"})),
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

    def __init__(
        self, base_url: str, service: QueueService, clock: MovedClock, tokens: Tokens
    ) -> None:
        self.base_url = base_url
        self.tokens = tokens
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


ADMIN = Context("", user_id="admin", project_id="admin", roles=frozenset({"admin"}))


async def add_pools(service: QueueService, folder: Path) -> None:
    """One on the server of the test run, one in a file; unless they are there."""
    server = on_postgres()
    assert server is not None
    # A pool's schema has its name, and all tests have one server.
    name = schema_of(folder / "one").rpartition("_")[2]
    if await service.app.pools.page(ADMIN, "", None):
        return
    await service.app.pools.create(ADMIN, f"server-{name}", server.url, 100, "", b"{}")
    await service.app.pools.create(ADMIN, "file", "sqlite:one", 100, "", b"{}")


def make_service(
    folder: Path,
    clock: MovedClock,
    seed: int = 1,
    master_keys: Sequence[bytes] = MASTER_KEYS,
    policy: Path | None = None,
    trusts: Trusts | None = None,
    **config: Any,
) -> QueueService:
    """Not started. `policy`: a file of access rules."""
    return build(
        replace(CONFIG, **config),
        queue_database(folder, clock),
        clock=clock,
        random=random.Random(seed).randbytes,
        sealer=Sealer(lambda: master_keys, os.urandom) if master_keys else None,
        policy=PolicyFile(SOURCE, policy, DEFAULT_RULES),
        trusts=trusts,
        neighbours=Neighbours(folder, clock, pool_max=4),
    )


@asynccontextmanager
async def open_service(
    folder: Path,
    clock: MovedClock,
    seed: int = 1,
    master_keys: Sequence[bytes] = MASTER_KEYS,
    **config: Any,
) -> AsyncIterator[QueueService]:
    """`config`: options of `[queue]`, and of `make_service`."""
    chosen = engine_now()
    if chosen == "shards":
        config = {"shards": 3} | config
    service = make_service(folder, clock, seed, master_keys, **config)
    await service.start()
    try:
        if chosen == "pools":
            await add_pools(service, folder)
        yield service
    finally:
        await service.stop()


@asynccontextmanager
async def open_door(
    folder: Path,
    clock: MovedClock | None = None,
    http: Mapping[str, Any] | None = None,
    **config: Any,
) -> AsyncIterator[Door]:
    """`config`: options of `[queue]`, and of `open_service`; `http`: of `[http]`."""
    limits = HttpLimits(**(http or {}))
    tokens = Tokens(PROJECTS)
    clock = clock or MovedClock()
    async with open_service(folder, clock, **config) as service:
        app = make_app(
            [service.mount],
            authenticate=tokens,
            random=random.Random(2).randbytes,
            limits=limits,
        )
        async with serve(app, limits) as base_url:
            yield Door(base_url, service, clock, tokens)
