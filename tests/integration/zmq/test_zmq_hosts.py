"""The zmq bus between three hosts: links and registries that go down, partitions, keys."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from transom.messaging.drivers.zmq.key import make_bus_key

from support import table_process
from support.driver_peer import until
from support.hosts import HOSTS, Network, three_hosts
from support.zmq_bus import Process
from support.zmq_host import BEAT_S, TIMEOUT_S

PORT = 8730
SLACK_S = 1.0
SILENCE_S = 3.0


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with three_hosts() as made:
        yield made


class Bus:
    """A registry on some of the hosts, and what was started on any."""

    def __init__(self, network: Network, key_file: Path) -> None:
        self.network = network
        self.key_file = key_file
        self.registries: dict[str, Process] = {}
        self._started: list[Process | table_process.Process] = []

    def url(self, *hosts: str, key_file: Path | None = None) -> str:
        where = ",".join(self.network.address(host) for host in hosts or HOSTS)
        return f"zmq://{where}/?key_file={key_file or self.key_file}"

    async def start(self, host: str, *words: str, url: str = "") -> Process:
        process = await Process.start(
            url or self.url(), *words, module="support.zmq_host", host=self.network.host(host)
        )
        self._started.append(process)
        return process

    async def registry(self, host: str) -> None:
        where = f"{self.network.address(host)}:{PORT}"
        self.registries[host] = await self.start(host, "registry", where, str(self.key_file))

    async def table(self, host: str, *words: str) -> table_process.Process:
        process = await table_process.Process.start(
            self.url(),
            "table",
            *words,
            module="support.zmq_host",
            host=self.network.host(host),
        )
        self._started.append(process)
        return process

    async def stop(self) -> None:
        for process in reversed(self._started):
            await process.end()


@asynccontextmanager
async def bus(network: Network, folder: Path) -> AsyncIterator[Bus]:
    key_file = folder / "bus.key"
    make_bus_key(key_file)
    made = Bus(network, key_file)
    try:
        await asyncio.gather(*(made.registry(host) for host in HOSTS))
        yield made
    finally:
        await made.stop()


async def calls(caller: Process, topic: str, seconds: float) -> dict[str, Any]:
    """Each has ended in time, whatever became of it."""
    said = json.loads(await caller.ask(f"{topic} {seconds}"))
    assert said["longest_s"] < TIMEOUT_S + SLACK_S, said
    return said


async def all_answered(caller: Process, topic: str, seconds: float = 0.5) -> None:
    said = await calls(caller, topic, seconds)
    assert said["answered"] > 10, said
    assert not said["failed"], said


async def answered_again(caller: Process, topic: str) -> None:
    """Within ten seconds; and from then on all of them."""
    async with asyncio.timeout(10):
        while (await calls(caller, topic, 0.2))["failed"]:
            await asyncio.sleep(BEAT_S)
    await all_answered(caller, topic)


async def known_to_be_gone(caller: Process, topic: str) -> None:
    """Within ten seconds calls are told at once that nobody is there."""
    async with asyncio.timeout(10):
        while True:
            said = await calls(caller, topic, 0.2)
            assert not said["answered"], said
            if all("MessageUndeliverable" in text for text in said["failed"]):
                return


async def test_calls_go_between_hosts_and_end_when_a_link_goes_down_and_up(
    network: Network, tmp_path: Path
) -> None:
    async with bus(network, tmp_path) as made:
        near, far = await made.start("b", "serve", "near"), await made.start("c", "serve", "far")
        caller = await made.start("a", "call")
        await all_answered(caller, "near")
        await all_answered(caller, "far")
        network.down("b")
        try:
            cut_off = await calls(caller, "near", 4 * BEAT_S)
            assert cut_off["failed"]
            await all_answered(caller, "far")
            await until(
                lambda: any(line.startswith("Disconnected") for line in near.lines),
                "a half-open connection is found by the silence on it",
            )
            await known_to_be_gone(caller, "near")
        finally:
            network.up("b")
        await answered_again(caller, "near")
        assert not [line for line in (*near.lines, *far.lines) if line.startswith("late")]


async def test_any_registry_of_three_is_enough_and_one_that_restarts_is_found_again(
    network: Network, tmp_path: Path
) -> None:
    async with bus(network, tmp_path) as made:
        await made.start("b", "serve", "old")
        caller = await made.start("a", "call")
        await all_answered(caller, "old")
        for host in ("a", "b"):
            await made.registries[host].end()
        await made.start("c", "serve", "new")
        await all_answered(caller, "old")
        await all_answered(caller, "new")
        await made.registry("a")
        await asyncio.sleep(5 * BEAT_S)
        await made.registries["c"].end()
        await all_answered(caller, "new")
        late = await made.start("b", "call", url=made.url("a"))
        await all_answered(late, "old")
        await all_answered(late, "new")


async def test_without_registries_links_stay_and_calls_go_on(
    network: Network, tmp_path: Path
) -> None:
    async with bus(network, tmp_path) as made:
        await made.start("c", "serve", "work")
        caller = await made.start("a", "call")
        await all_answered(caller, "work")
        for registry in made.registries.values():
            await registry.end()
        await all_answered(caller, "work", seconds=6 * BEAT_S)
        network.down("c")
        try:
            assert (await calls(caller, "work", 4 * BEAT_S))["failed"]
        finally:
            network.up("c")
        await answered_again(caller, "work")
        for host in HOSTS:
            await made.registry(host)
        await asyncio.sleep(5 * BEAT_S)
        await all_answered(caller, "work")


async def test_a_server_that_sees_one_registry_is_found_by_who_sees_others_too(
    network: Network, tmp_path: Path
) -> None:
    async with bus(network, tmp_path) as made:
        caller = await made.start("a", "call")
        with network.cut("b", "a", PORT), network.cut("b", "c", PORT):
            await made.start("b", "serve", "hidden")
            await all_answered(caller, "hidden")
            await all_answered(caller, "hidden", seconds=6 * BEAT_S)
        await asyncio.sleep(6 * BEAT_S)
        await all_answered(caller, "hidden")


async def test_a_server_that_loses_all_registries_answers_what_it_has_begun_and_is_found_again(
    network: Network, tmp_path: Path
) -> None:
    async with bus(network, tmp_path) as made:
        server = await made.start("b", "serve", "alone")
        caller = await made.start("a", "call")
        await all_answered(caller, "alone")
        await until(lambda: "Connected registry" in server.lines, "it sees a settled one")
        await made.registries["b"].end()
        with network.cut("b", "a", PORT), network.cut("b", "c", PORT):
            begun = json.loads(await caller.ask(f"alone 0 {SILENCE_S + 3.0}"))
            assert begun["answered"] == 1, begun
            assert "Disconnected registry" in server.lines, "it sees none"
            await known_to_be_gone(caller, "alone")
        await answered_again(caller, "alone")


async def test_another_key_gets_an_answer_that_says_so_and_no_key_gets_nowhere(
    network: Network, tmp_path: Path
) -> None:
    async with bus(network, tmp_path) as made:
        await made.start("b", "serve", "work")
        other = tmp_path / "other.key"
        make_bus_key(other)
        for url, told in (
            (made.url(key_file=other), "its bus key is another"),
            (made.url().partition("?")[0], "make a bus key"),
        ):
            command = (sys.executable, "-m", "support.zmq_host", url, "call")
            turned_away = subprocess.run(
                ["ip", "netns", "exec", network.host("a"), *command],
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
                capture_output=True,
                text=True,
                timeout=10,
            )
            assert turned_away.returncode != 0
            assert told in turned_away.stderr
        caller = await made.start("a", "call")
        await all_answered(caller, "work")


async def test_a_replica_that_a_partition_cuts_off_is_stale_and_then_live_with_the_right_rows(
    network: Network, tmp_path: Path
) -> None:
    async with bus(network, tmp_path) as made:
        publisher = await made.table("a", "publish", "source", "1")
        near, far = (
            await made.table("a", "follow", "source"),
            await made.table("b", "follow", "source"),
        )
        await in_state(near, "Live")
        await in_state(far, "Live")
        network.down("b")
        try:
            await in_state(far, "Stale")
            await asyncio.sleep(SILENCE_S)
            assert (await near.ask("rows"))["state"] == "Live"
        finally:
            network.up("b")
        await in_state(far, "Live")
        rows = await publisher.ask("freeze")
        for follower in (near, far):
            await in_state(follower, "Live", rows)


async def in_state(
    follower: table_process.Process, state: str, rows: dict[str, int] | None = None
) -> None:
    """Soon, and with these rows."""
    async with asyncio.timeout(20):
        while True:
            said = await follower.ask("rows")
            if said["state"] == state and (rows is None or said["rows"] == rows):
                return
            await asyncio.sleep(0.05)
