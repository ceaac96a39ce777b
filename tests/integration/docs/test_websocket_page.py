# SPDX-License-Identifier: Apache-2.0
"""The protocol's page of the WebSocket says what happens: its frames are sent, answers compared."""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from transom.queue.api.socket.actions import SPECS

from support.queues import Door, open_door
from support.sockets import PATH, socket
from support.stack import ROOT

PAGE = ROOT / "docs/protocol/queue-websocket.md"
ANYTHING = "…"
PRINTED = "seen: Ada\nseen: Grace\ndone: Ada\ndone: Grace\n"


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with open_door(tmp_path) as door:
        yield door


def matched(shown: Any, came: Any, known: dict[str, str]) -> bool:
    """Whether it is as the page has it. `<name>` is the same thing wherever it stands."""
    if shown == ANYTHING:
        return isinstance(came, str)
    if isinstance(shown, str) and re.fullmatch(r"<\w+>", shown):
        return known.setdefault(shown, came) == came
    if isinstance(shown, dict):
        return set(shown) == set(came) and all(
            matched(shown[name], came[name], known) for name in shown
        )
    if isinstance(shown, list):
        return len(shown) == len(came) and all(
            matched(one, other, known) for one, other in zip(shown, came, strict=True)
        )
    return bool(shown == came)


async def test_the_frames_of_the_page_are_answered_as_it_says(door: Door) -> None:
    known: dict[str, str] = {}
    blocks = re.findall(r"```frames\n(.*?)```", PAGE.read_text(), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    assert len(lines) >= 14
    async with socket(door.base_url, "token-a") as ws:
        for line in lines:
            text = line[2:]
            if line.startswith("> "):
                for name, value in known.items():
                    text = text.replace(name, value)
                await ws.connection.send(text)
            else:
                came = await ws.receive()
                assert matched(json.loads(text), came, known), (text, came)


def test_the_page_names_every_action() -> None:
    text = PAGE.read_text()
    assert [action for action in SPECS if f"`{action}`" not in text] == []


async def test_the_example_prints_what_it_should(door: Door) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(ROOT / "examples/queue_websocket.py"),
        door.base_url.replace("http", "ws", 1) + PATH,
        "token-a",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, err.decode()
    assert out.decode() == PRINTED
