# SPDX-License-Identifier: Apache-2.0
"""A deployed Transom whose bus is encrypted: its key server is its own, served behind its doors."""

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from transom.messaging import Client, connect
from transom.node.node import DESCRIBED

from support.stack import Stack, get, running, wait_for

KEY_FILE = "keys/bus.key"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """With two workers of the doors, of which the second writes through the first."""
    data = tmp_path_factory.mktemp("secured") / "data"
    with running(data) as first:
        port = urlsplit(first.url).port
        first.transom("keys", "add", "node.here", "--out", str(data / KEY_FILE))
        for group in ("feed.*", "queue.*"):
            first.transom("keys", "group-add", group, "node.*")
    (data / "transom.toml").write_text(
        f'[bus]\nsecurity = "encrypt"\nsecurity_file = "{KEY_FILE}"\n[api]\nworkers = 2\n'
    )
    with running(data, "--port", str(port)) as secured:
        yield secured


def everybody(stack: Stack) -> set[str]:
    told = stack.transom("bus", "--json", check=False).stdout
    return {node["name"] for node in json.loads(told or "[]")}


def test_transom_bus_answers_on_a_secured_bus(stack: Stack) -> None:
    assert everybody(stack) == {"api", "api-2", "worker"}


def test_tables_are_read_on_a_secured_bus(stack: Stack) -> None:
    listed = json.loads(stack.transom("tables", "list", "--json").stdout)
    assert {"identity", "queue"} <= {table["source"] for table in listed}
    users = stack.transom("tables", "show", "identity:users", "--json").stdout
    assert "admin" in users


def test_a_worker_reaches_the_owner_of_the_queue_on_a_secured_bus(stack: Stack) -> None:
    for name in ("one", "two", "three", "four"):
        stack.client("openstack", "--os-cloud", "transom", "messaging", "queue", "create", name)
    found = {node["name"]: node for node in json.loads(stack.transom("bus", "--json").stdout)}
    outcomes = found["api-2"]["calls"]["queue.writes"]["outcomes"]
    assert set(outcomes) == {"answered"}
    assert found["api-2"]["refused"] == {}


def test_a_client_without_security_is_not_heard_and_counted(stack: Stack) -> None:
    state = json.loads((stack.data / "state.json").read_text())

    async def ask() -> list[object]:
        async with connect(f"zmq://{state['runtime_folder']}") as plain:
            return await Client(plain, DESCRIBED, timeout_s=2.0).survey({}, "describe")

    assert asyncio.run(ask()) == []

    def counted() -> bool:
        _, figures = get(f"{stack.url}/metrics")
        found = re.search(rb'transom_bus_refused_total\{.*reason="Downgraded".*\} (\d+)', figures)
        return found is not None and float(found[1]) >= 1

    assert wait_for(counted)
    assert "1 Downgraded" in stack.transom("bus").stdout


def test_a_key_file_that_is_not_there_is_told_before_anything_starts(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "data")
    stack.data.mkdir(mode=0o700)
    for text, said in (
        ('[bus]\nsecurity = "sign"\n', "security_file is not set"),
        ('[bus]\nsecurity = "sign"\nsecurity_file = "no.key"\n', "no.key is not there"),
    ):
        (stack.data / "transom.toml").write_text(text)
        done = stack.transom("up", "--detach", check=False)
        assert done.returncode != 0
        assert said in done.stderr + done.stdout
