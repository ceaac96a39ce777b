# SPDX-License-Identifier: Apache-2.0
"""The blocking face over RabbitMQ and zmq: many threads call another process's worth of servers,
and a forked child connects anew while its parent goes on.
"""

import asyncio
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from transom.errors import MessageUndeliverable
from transom.messaging import Target, blocking

from support.rabbit import fresh_vhost
from support.zmq_bus import zmq_bus

FORKED = """
import os, sys
from transom.messaging import Target, blocking
class Work:
    def who(self, context):
        return os.getpid()
url, here = sys.argv[1], Target(topic="forked", server="s")
with blocking.connect(url) as transport, blocking.Server(transport, here, [Work()]):
    client = blocking.Client(transport, Target(topic="forked"), timeout_s=20)
    assert client.call({}, "who") == os.getpid()
    child = os.fork()
    if child == 0:
        try:
            client.call({}, "who")
            os._exit(1)
        except blocking.Ended:
            pass
        with blocking.connect(url) as other:
            mine = blocking.Client(other, Target(topic="forked"), timeout_s=20)
            assert all(mine.call({}, "who") == os.getppid() for _ in range(50))
        os._exit(0)
    assert all(client.call({}, "who") == os.getpid() for _ in range(50))
    assert os.waitpid(child, 0)[1] == 0
    assert client.call({}, "who") == os.getpid()
"""


class Work:
    def echo(self, context: object, value: int) -> int:
        return value


def uses(url: str) -> None:
    with (
        blocking.connect(url) as here,
        blocking.connect(url) as there,
        blocking.Server(there, Target(topic="work", server="s"), [Work()]),
        blocking.Listener(there, [Target(topic="notifications")]) as listener,
    ):
        client = blocking.Client(here, Target(topic="work"), timeout_s=20)
        with ThreadPoolExecutor(16) as threads:
            found = list(threads.map(lambda n: client.call({}, "echo", value=n), range(200)))
        assert found == list(range(200))
        with pytest.raises(MessageUndeliverable):
            client.to(topic="nobody").call({}, "echo", value=1)
        blocking.Notifier(here, "pub").info({}, "made", {"n": 1}, confirm=True)
        message = next(listener)
        assert (message.event_type, message.payload) == ("made", {"n": 1})
        message.acknowledge()
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORKED, url], check=True, timeout=90)


def test_over_rabbit() -> None:
    with fresh_vhost() as broker:
        uses(broker.url)


async def test_over_zmq() -> None:
    async with zmq_bus(beat_s=1.0) as bus:
        await asyncio.to_thread(uses, f"zmq://{bus.folder}")
