# SPDX-License-Identifier: Apache-2.0
"""A hand in the broker, for faults: `broker_hand.py hand URL`. Requests by oslo's wire format."""

import asyncio
import json
import sys
import time
import uuid

import aio_pika
from lines import serve_async


def request(x):
    """A call of somebody who is gone: its reply queue has never been."""
    message = {
        "method": "echo",
        "args": {"x": x},
        "_msg_id": uuid.uuid4().hex,
        "_reply_q": f"reply_{uuid.uuid4().hex}",
        "_timeout": None,
        "_unique_id": uuid.uuid4().hex,
    }
    return json.dumps({"oslo.version": "2.0", "oslo.message": json.dumps(message)}).encode()


async def main():
    connection = await aio_pika.connect(sys.argv[2])
    channel = await connection.channel(publisher_confirms=True)

    async def dead_requests(topic, count, x):
        """Requests from so many callers that died; returns when the broker has them."""
        exchange = await channel.get_exchange("openstack", ensure=False)
        for _ in range(count):
            message = aio_pika.Message(
                request(x), content_type="application/json", content_encoding="utf-8"
            )
            await exchange.publish(message, routing_key=topic, mandatory=True)

    async def delete(queues):
        """When they were gone, on the machine's monotonic clock."""
        for name in queues:
            await channel.queue_delete(name)
        return time.monotonic()

    await serve_async({"dead_requests": dead_requests, "delete": delete})


asyncio.run(main())
