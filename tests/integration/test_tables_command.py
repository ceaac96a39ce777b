# SPDX-License-Identifier: Apache-2.0
"""`transom tables`: whatever is on the bus can be listed, shown and watched, known here or not."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from transom import messaging
from transom.messaging.proto.feed import Change
from transom.messaging.schema import Audience, Column, ColumnKind, Table
from transom.messaging.tables import MemoryFeed, TablePublisher, _Served

from support.load import Session, login
from support.stack import Stack
from support.zmq_bus import zmq_bus

COLOURS = Table(
    "paint:colours",
    (
        Column("name", ColumnKind.TEXT, "Its name."),
        Column("tone", ColumnKind.JSON, "Its tone."),
        Column("price", ColumnKind.INTEGER, "What it costs."),
    ),
    ("name",),
    None,
    Audience.PUBLIC,
    version=3,
)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    made = Stack(tmp_path_factory.mktemp("tables") / "data")
    try:
        made.start()
        yield made
    finally:
        made.stop()


def test_all_tables_of_a_stack_are_listed_and_shown(stack: Stack) -> None:
    with closing(Session(stack.url, login(stack))) as session:
        for name in ("blue", "red"):
            assert session.ask("PUT", f"/queue/v2/queues/{name}", {"paint": name})[0] == 201
    rows = {row["table"]: row for row in json.loads(ask(stack, "list", "--json"))}
    assert {"identity:projects", "identity:users", "queue:queues"} <= rows.keys()
    queues = rows["queue:queues"]
    assert (queues["source"], queues["rows"], queues["version"]) == ("queue", 2, 1)
    assert queues["publisher"] == "api"
    assert 0 <= queues["age_s"] < 2.5
    assert ask(stack, "list").startswith("table ")
    shown = [json.loads(line) for line in ask(stack, "show", "queue:queues", "--json").splitlines()]
    assert [row["row"]["name"] for row in shown] == ["blue", "red"]
    heading, first, second = ask(stack, "show", "queue:queues").splitlines()
    assert heading.split() == ["project_id", "name", "metadata", "created"]
    assert '{"paint": "blue"}' in first
    assert '{"paint": "red"}' in second


def test_a_table_that_nobody_publishes_is_refused_by_its_name(stack: Stack) -> None:
    for verb in ("show", "watch"):
        done = run(stack, verb, "queue:nothings")
        assert done.returncode == 1
        assert "no table is called 'queue:nothings'; there are " in done.stderr
        assert "queue:queues" in done.stderr
    assert "no table is called 'nothing:at-all'" in run(stack, "show", "nothing:at-all").stderr


async def test_a_table_that_no_code_of_ours_knows_is_listed_shown_and_watched(
    tmp_path: Path,
) -> None:
    async with zmq_bus(beat_s=1.0) as bus:
        url = f"zmq://{bus.folder}"
        commands = Commands(tmp_path, url)
        waiting = await commands.start("watch", "paint:colours")
        feed = MemoryFeed(7, [COLOURS.name])
        feed.replace({COLOURS.name: {("red",): {"price": 3, "name": "red", "new": True}}})
        async with (
            messaging.connect(url) as owner,
            TablePublisher(owner, "paint", feed, schemas=[COLOURS], name="shop") as publisher,
        ):
            assert await line_of(waiting) == "+ name=red  tone=None  price=3  new=True"
            assert await line_of(waiting) == "(live)"
            (row,) = json.loads(await commands.ask("list", "--json"))
            assert row.pop("age_s") < 2.5
            assert row == {
                "table": "paint:colours",
                "source": "paint",
                "rows": 1,
                "position": "7/1",
                "state": "kept",
                "replicas": 1,
                "version": 3,
                "publisher": "shop",
            }
            shown = await commands.ask("show", "paint:colours")
            assert [line.split() for line in shown.splitlines()] == [
                ["name", "tone", "price", "new"],
                ["red", "-", "3", "true"],
            ]
            made = feed.change([Change(COLOURS.name, ("red",), None)])
            assert made is not None
            await publisher.send(made)
            assert await line_of(waiting) == "- red"
            waiting.terminate()
            assert await waiting.wait() == 0
            feed.rest([COLOURS.name])
            (row,) = json.loads(await commands.ask("list", "--json"))
            assert row["state"] == "idle"
        done = await commands.end(await commands.start("list"))
        assert done == (3, "", "nothing publishes a table on this bus\n")


async def test_a_publisher_of_an_older_version_is_listed_and_watched_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for method in ("want", "schemas", "describe"):
        monkeypatch.delattr(_Served, method)
    async with zmq_bus(beat_s=1.0) as bus:
        url = f"zmq://{bus.folder}"
        commands = Commands(tmp_path, url)
        feed = MemoryFeed(7, [COLOURS.name])
        feed.replace({COLOURS.name: {("red",): {"price": 3, "name": "red"}}})
        async with messaging.connect(url) as owner, TablePublisher(owner, "paint", feed):
            (row,) = json.loads(await commands.ask("list", "--json"))
            assert (row["table"], row["rows"], row["version"]) == ("paint:colours", None, None)
            shown = await commands.ask("show", "paint:colours")
            assert [line.split() for line in shown.splitlines()] == [
                ["price", "name"],
                ["3", "red"],
            ]


class Commands:
    """`transom tables` in processes of their own, on the bus at `url`."""

    def __init__(self, folder: Path, url: str) -> None:
        self._config = folder / "transom.toml"
        self._config.write_text(f'[bus]\nurl = "{url}"\n')
        self._data = folder / "data"

    async def start(self, *words: str) -> asyncio.subprocess.Process:
        place = ("--data-dir", str(self._data), "--config", str(self._config))
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "transom.cli", "tables", *words, *place,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    async def ask(self, *words: str) -> str:
        status, said, wrong = await self.end(await self.start(*words))
        assert (status, wrong) == (0, "")
        return said

    async def end(self, process: asyncio.subprocess.Process) -> tuple[int | None, str, str]:
        async with asyncio.timeout(30):
            said, wrong = await process.communicate()
        return process.returncode, said.decode(), wrong.decode()


async def line_of(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(20):
        return (await process.stdout.readline()).decode().rstrip("\n")


def run(stack: Stack, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "transom.cli", "tables", *words, "--data-dir", str(stack.data)],
        env=stack.environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def ask(stack: Stack, *words: str) -> Any:
    done = run(stack, *words)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout
