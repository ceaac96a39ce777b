# SPDX-License-Identifier: Apache-2.0
"""A notifier, and two pools of listeners that each get every notification once.

python examples/notifications.py [memory://bus | zmq:///folder]
"""

import asyncio
import sys

from transom.messaging import Listener, Notifier, Target, Transport, connect


async def hear(transport: Transport, pool: str, count: int, ready: asyncio.Event) -> list[str]:
    """The first `count` notifications of a pool; the first one is given back once."""
    heard = []
    given_back = False
    async with Listener(transport, [Target(topic="notifications")], pool=pool) as listener:
        ready.set()
        async for message in listener:
            if not given_back:
                given_back = True
                await message.requeue()  # not done: it comes again
                continue
            heard.append(f"{message.event_type} {message.payload['name']}")
            await message.acknowledge()
            if len(heard) == count:
                break
    return heard


async def main(url: str) -> None:
    async with connect(url) as transport:
        ready = [asyncio.Event(), asyncio.Event()]
        async with asyncio.TaskGroup() as tasks:
            audit = tasks.create_task(hear(transport, "audit", 2, ready[0]))
            billing = tasks.create_task(hear(transport, "billing", 2, ready[1]))
            for event in ready:
                await event.wait()
            notifier = Notifier(transport, publisher_id="images.host1")
            for name in ("cirros", "debian"):
                await notifier.info({"user_id": "ada"}, "image.create", {"name": name})
    print("audit:", ", ".join(sorted(audit.result())))
    print("billing:", ", ".join(sorted(billing.result())))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "memory://bus"))
