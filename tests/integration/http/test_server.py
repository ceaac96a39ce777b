# SPDX-License-Identifier: Apache-2.0
"""Listening, stopping, and running out of file descriptors."""

import asyncio
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from transom.errors import ConfigError
from transom.runtime.http.limits import HttpLimits
from transom.runtime.http.listen import bind
from transom.runtime.http.server import HttpServer, within_descriptors

from support.door import Gate, small_door
from support.http import ask, connect, exchange, hang_up, read_reply, request_bytes, serve

GET = request_bytes("GET", "/queue/v2/open")


def test_a_port_in_use_says_what_to_do():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} is in use; choose another"):
            bind("127.0.0.1", port)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "", "256.1.1.1", "a" * 300])
def test_a_host_that_cannot_be_used_says_so(host):
    with pytest.raises(ConfigError, match=r"host|plain HTTP"):
        bind(host, 0)


def test_plain_http_off_loopback_is_refused_unless_forced():
    with pytest.raises(ConfigError, match="plain HTTP"):
        bind("0.0.0.0", 0)
    bind("0.0.0.0", 0, force_plain=True).close()
    bind("localhost", 0).close()


async def test_a_stop_answers_what_was_taken_and_leaves_nothing():
    gate = Gate()
    listening = bind("127.0.0.1", 0)
    server = HttpServer(small_door(gate), [listening], HttpLimits(drain_s=10))
    await server.start()
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    idle_reader, idle_writer = await connect(url)
    half_reader, half_writer = await connect(url)
    half_writer.write(GET[:20])
    waiting = [asyncio.ensure_future(ask(url, "GET", "/queue/v2/gate")) for _ in range(5)]
    await gate.reached_by(5)
    stopping = asyncio.ensure_future(server.stop())
    async with asyncio.timeout(5):
        assert await idle_reader.read() == b""  # an idle connection is closed at once
    half_writer.write(GET[20:])  # what had begun may be finished
    half = await read_reply(half_reader)
    assert not stopping.done()
    gate.open.set()
    replies = await asyncio.gather(*waiting)
    async with asyncio.timeout(5):
        await stopping
    assert [reply.status for reply in [half, *replies]] == [200] * 6
    assert {reply.headers["connection"] for reply in [half, *replies]} == {"close"}
    assert server.connections == 0
    await hang_up(idle_writer)
    await hang_up(half_writer)
    listening.close()


async def test_under_load_a_stop_makes_no_error_answers():
    listening = bind("127.0.0.1", 0)
    server = HttpServer(small_door(), [listening])
    await server.start()
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    statuses: list[int] = []
    partial: list[bytes] = []

    async def call_on():
        while True:
            try:
                reader, writer = await connect(url)
            except ConnectionError:
                return
            try:
                while True:
                    writer.write(GET)
                    statuses.append((await read_reply(reader)).status)
            except (ConnectionError, asyncio.IncompleteReadError) as end:
                partial.append(getattr(end, "partial", b""))
                if len(statuses) > 300:
                    return
            finally:
                await hang_up(writer)

    async def stop_soon():
        while len(statuses) < 300:
            await asyncio.sleep(0)
        await server.stop()
        listening.close()

    await asyncio.wait_for(asyncio.gather(stop_soon(), *(call_on() for _ in range(8))), 30)
    assert set(statuses) == {200}
    assert set(partial) <= {b""}  # closed between two requests, never within an answer


async def test_a_stop_does_not_wait_for_ever():
    gate = Gate()
    limits = HttpLimits(drain_s=0.2)
    async with serve(small_door(gate), limits) as url:
        waiting = asyncio.ensure_future(exchange(url, request_bytes("GET", "/queue/v2/gate")))
        await gate.reached_by(1)
    async with asyncio.timeout(5):
        with pytest.raises(ConnectionError):
            if await waiting == b"":
                raise ConnectionResetError


async def test_the_callers_sockets_stay_listening_so_what_is_queued_is_served_by_the_next():
    listening = bind("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    first = HttpServer(small_door(), [listening])
    await first.start()
    await first.stop()
    queued = asyncio.ensure_future(ask(url, "GET", "/healthz"))
    await asyncio.sleep(0)
    second = HttpServer(small_door(), [listening])
    await second.start()
    assert (await queued).status == 200
    await second.stop()
    await second.stop()  # idempotent
    listening.close()


def test_connections_are_bounded_by_file_descriptors(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (1024, 4096))
    assert within_descriptors(HttpLimits(connections_max=5000)).connections_max == 896
    assert within_descriptors(HttpLimits(connections_max=500)).connections_max == 500


CHILD = """
import asyncio, resource, sys
sys.path[:0] = {paths!r}
import uvloop
from support.door import small_door
from transom.runtime.http.listen import bind
from transom.runtime.http.server import HttpServer

async def main():
    listening = bind("127.0.0.1", 0)
    server = HttpServer(small_door(), [listening])
    await server.start()
    resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))  # after the server counted on more
    print(listening.getsockname()[1], flush=True)
    await asyncio.Event().wait()

uvloop.run(main())
"""


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def test_without_file_descriptors_the_door_neither_spins_nor_dies_and_recovers():
    paths = [path for path in sys.path if path]
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD.format(paths=paths)], stdout=subprocess.PIPE, text=True
    )
    try:
        url = f"http://127.0.0.1:{int(child.stdout.readline())}"
        held = [socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=5)
                for _ in range(80)]  # fmt: skip
        spent_s, began_s = cpu_s(child.pid), time.monotonic()
        await asyncio.sleep(1)
        busy = (cpu_s(child.pid) - spent_s) / (time.monotonic() - began_s)
        for connection in held:
            connection.close()
        async with asyncio.timeout(15):
            while True:
                try:
                    if (await ask(url, "GET", "/healthz")).status == 200:
                        break
                except (ConnectionError, asyncio.IncompleteReadError):
                    await asyncio.sleep(0.05)
        assert child.poll() is None
        assert busy < 0.5
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait(10)
        child.stdout.close()


def test_the_limits_are_a_configuration_section():
    from transom.runtime.config import load

    config = load({"http": HttpLimits}, None, {"TRANSOM_HTTP__HEADER_S": "2.5"})
    assert config.section(HttpLimits).header_s == 2.5
    with pytest.raises(ConfigError, match="connections_max"):
        load({"http": HttpLimits}, None, {"TRANSOM_HTTP__CONNECTIONS_MAX": "0"})
    assert all(shown.meta.meaning for shown in config.shown())
