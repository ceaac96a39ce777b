# SPDX-License-Identifier: Apache-2.0
"""Events of a part that arrive at least once at pools of listeners.

    await append(transaction, "images", clock.now_ms(), "image.create", {"id": ...})

    log = EventLog(database, "images", clock=clock)
    shell = EventPublisher(transport, "images", log)
    publisher = DurablePublisher(log, shell, holder=node.holder, clock=clock)

    async with EventListener(transport, "images", pool="search") as listener:
        async for item in listener:         # Event | Lost
            await listener.acknowledge(item)

The two shells on the bus are in `transom.messaging.events`, which knows no database.
"""

from transom.node.events.log import EventLog, append

__all__ = ["EventLog", "append"]
