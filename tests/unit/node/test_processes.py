"""A role's process as its supervisor sees it, where word of its birth comes late or never."""

import asyncio
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from transom.node.channel import encode_line
from transom.node.processes import RoleProcess, Watcher


@dataclass
class Asked:
    """A process that was asked for, its end of the line, and what became known of it."""

    process: RoleProcess
    line: socket.socket
    heard: list[tuple[dict[str, Any], int | None]] = field(default_factory=list)
    ends: list[int | None] = field(default_factory=list)
    abandoned: int = 0

    def abandon(self) -> None:
        self.abandoned += 1


@pytest.fixture
async def asked() -> Iterator[Asked]:
    ours, line = socket.socketpair()
    watcher = Watcher(
        said=lambda message: asked.heard.append((message, asked.process.pid)),
        ended=lambda code: asked.ends.append(code),
    )
    asked = Asked(RoleProcess(ours, watcher, lambda: asked.abandon()), line)
    with line:
        yield asked
        asked.process.close()


async def all_read() -> None:
    """Returns when the loop has told the readers of all that could be read before the call."""
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    reader, writer = socket.socketpair()
    with reader, writer:
        loop.add_reader(reader, told.set)
        writer.send(b"x")
        await asyncio.wait_for(told.wait(), 10)
        loop.remove_reader(reader)


def be_born(process: RoleProcess) -> None:
    process.born(os.getpid(), os.pidfd_open(os.getpid()))


async def test_what_a_process_says_before_its_birth_is_known_is_heard_after_it(asked) -> None:
    asked.line.sendall(encode_line({"ready": {}}))
    await all_read()
    assert asked.heard == []
    be_born(asked.process)
    await all_read()
    assert asked.heard == [({"ready": {}}, os.getpid())]


async def test_nonsense_before_the_birth_is_known_costs_no_fork_server(asked) -> None:
    asked.line.sendall(b"nonsense\n")
    await all_read()
    assert asked.abandoned == 0


async def test_a_process_whose_birth_is_never_known_is_not_heard_and_its_line_ends(asked) -> None:
    asked.line.sendall(encode_line({"ready": {}}))
    asked.process.unborn("it was killed")
    problem = "could not be made: the fork server ended: it was killed"
    assert asked.heard == [({"problem": problem, "hopeless": False}, None)]
    assert asked.ends == [None]
    asked.line.settimeout(10)
    with pytest.raises(ConnectionResetError):  # ended, with words unread
        asked.line.recv(1)
