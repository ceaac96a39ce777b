"""A served queue with its deliverer and a subscriber, in one process."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transom.queue.deliveries.deliverer import Deliverer
from transom.queue.deliveries.service import build as build_deliverer
from transom.queue.model import Place
from transom.runtime.clock import SystemClock
from transom.runtime.db.transaction import Database
from transom.runtime.sealing import Sealer

from support.queues import MASTER_KEYS, Door, open_door
from support.receiver import Receiver, receiving

EVERY, MESSAGES = "/v2/queues/q/subscriptions", "/v2/queues/q/messages"


@dataclass
class World:
    door: Door
    deliverer: Deliverer
    receiver: Receiver

    async def database(self) -> Database:
        """That of the queue."""
        return (await self.door.service.stores.of(Place("a", "q"))).database

    async def subscribe(self, path: str = "/", **more: Any) -> str:
        body = {"subscriber": self.receiver.url + path, **more}
        reply = await self.door.ask("POST", EVERY, body)
        assert reply.status == 201, reply.body
        return str(reply.json()["subscription_id"])

    async def post(self, *bodies: Any, **more: Any) -> None:
        messages = [{"body": body, **more} for body in bodies]
        reply = await self.door.ask("POST", MESSAGES, {"messages": messages})
        assert reply.status == 201, reply.body

    async def state(self, subscription: str) -> Any:
        return (await self.door.ask("GET", f"{EVERY}/{subscription}?details=true")).json()

    async def until_state(self, subscription: str, **wanted: Any) -> Any:
        async with asyncio.timeout(20):
            while True:
                found = await self.state(subscription)
                if all(found.get(name) == value for name, value in wanted.items()):
                    return found
                await asyncio.sleep(0.02)


@asynccontextmanager
async def delivering(folder: Path, **config: Any) -> AsyncIterator[World]:
    folder.mkdir(parents=True, exist_ok=True)
    config = {"webhook_allow": ("127.0.0.0/8",)} | config
    async with open_door(folder, SystemClock(), **config) as door, receiving() as receiver:
        deliverer = build_deliverer(
            door.service.app,
            Sealer(lambda: MASTER_KEYS, random.Random(3).randbytes),
            SystemClock(),
            keystone=None,
            endpoint=f"{door.base_url}/queue",
            websocket="ws://nowhere/queue/v2/websocket",
        )
        await deliverer.start()
        try:
            yield World(door, deliverer, receiver)
        finally:
            await deliverer.stop()
