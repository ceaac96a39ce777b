"""A node on the bus: what it serves, and how others ask it."""

import asyncio
from contextlib import asynccontextmanager

from transom import messaging
from transom.node.node import Node


@asynccontextmanager
async def nodes(bus: str, *names: str):
    made = [Node(name, messaging.connect(f"memory://{bus}")) for name in names]
    try:
        for node in made:
            await node.start()
        yield made
    finally:
        for node in reversed(made):
            await node.stop()


async def test_a_node_answers_pings_by_name() -> None:
    async with nodes("pings", "api", "worker") as (api, _):
        target = messaging.Target(topic="node", namespace="transom", version="1.0", server="worker")
        answer = await messaging.Client(api.transport, target, timeout_s=5).call({}, "ping")
        assert answer == {"server": "worker"}


async def test_a_stop_drains_what_is_served() -> None:
    entered, finished = asyncio.Event(), []

    class Slow:
        async def work(self, context) -> str:
            entered.set()
            await asyncio.sleep(0.05)
            finished.append(True)
            return "done"

    async with nodes("drain", "api", "worker") as (api, worker):
        await worker.serve("work", [Slow()])
        client = messaging.Client(api.transport, messaging.Target(topic="work"), timeout_s=5)
        call = asyncio.create_task(client.call({}, "work"))
        await entered.wait()
        await worker.stop()
        assert finished == [True]
        assert await call == "done"
        await worker.stop()
