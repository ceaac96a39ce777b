# SPDX-License-Identifier: Apache-2.0
"""A way to a server for each process that connects, so that one process can be cut off alone.

    with Ways(server.address, seed=1) as ways:
        connect to ways.address; ways.order(pid, swallow=True); ways.order(pid, reset=True) ...

All processes of a family have one configuration, so one address of the database. Whose a connection
is can be told on this host by the socket at its other end. The ways are served in a process of
their own (this module, run), which takes orders as JSON lines: the threads of a test's load would
let it wait.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fault_proxy import FaultProxy

TESTS = Path(__file__).parents[1]


class Ways:
    """Listens on a free port of the loopback while entered."""

    def __init__(self, target: tuple[str, int], seed: int) -> None:
        self._target = target
        self._seed = seed
        self.address = ("", 0)

    def order(
        self, pid: int, *, reset: bool = False, leave: bool = False, **faults: Any
    ) -> dict[str, Any]:
        """Answers the `Faults` of this process's way and how many `connections` it has, after all
        this at once: they are reset, these faults are set, and if it is left, it stays as it is for
        those that it has, and later ones have another.
        """
        assert self._child.stdin is not None
        order = {"pid": pid, "reset": reset, "leave": leave, "faults": faults}
        self._child.stdin.write(json.dumps(order) + "\n")
        self._child.stdin.flush()
        return self._answer()

    def __enter__(self) -> Self:
        self._child = subprocess.Popen(
            [sys.executable, "-m", "support.ways", *map(str, self._target), str(self._seed)],
            env={**os.environ, "PYTHONPATH": str(TESTS)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.address = ("127.0.0.1", self._answer()["port"])
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._child.communicate(timeout=30)  # the end of its orders ends it

    def _answer(self) -> dict[str, Any]:
        assert self._child.stdout is not None
        answer: dict[str, Any] = json.loads(self._child.stdout.readline())
        return answer


class _Crossing:
    """Where all connections arrive, and take the way of their process."""

    def __init__(self, target: tuple[str, int], seed: int) -> None:
        self._target = target
        self._seed = seed
        self._ways: dict[int, FaultProxy] = {}
        self._left: list[FaultProxy] = []
        self._port = 0

    async def run(self) -> None:
        """Until there are no more orders."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._port = server.sockets[0].getsockname()[1]
        _say({"port": self._port})
        orders = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(orders), sys.stdin
        )
        while line := await orders.readline():
            _say(self._obey(json.loads(line)))
        server.close()
        for way in [*self._ways.values(), *self._left]:
            await way.end_all()

    def _obey(self, order: dict[str, Any]) -> dict[str, Any]:
        way = self._of(order["pid"])
        if order["reset"]:
            way.reset_all()
        for name, value in order["faults"].items():
            setattr(way.faults, name, value)
        if order["leave"]:
            self._left.append(self._ways.pop(order["pid"]))
        return {**vars(way.faults), "connections": way.open_connections}

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pid = process_at(writer.get_extra_info("peername")[1], self._port, self._ways)
        if pid is None:  # it has left already
            writer.transport.abort()
            return
        await self._of(pid).serve(reader, writer)

    def _of(self, pid: int) -> FaultProxy:
        if pid not in self._ways:
            self._ways[pid] = FaultProxy(*self._target, seed=self._seed)
        return self._ways[pid]


def process_at(port: int, peer_port: int, likely: Iterable[int] = ()) -> int | None:
    """Whose connection from `port` to `peer_port` it is; those that are `likely` are asked first.

    Only processes of this user are found.
    """
    link = _link(port, peer_port)
    if not link:
        return None
    everybody = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
    for pids in (list(likely), everybody):
        for pid in pids:
            if link in _links(pid):
                return pid
    return None


def _link(port: int, peer_port: int) -> str:
    """How the descriptor of that socket reads in /proc; "" if there is none."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        own, peer = (int(address.rpartition(":")[2], 16) for address in fields[1:3])
        if (own, peer) == (port, peer_port):
            return f"socket:[{fields[9]}]"
    return ""


def _links(pid: int) -> set[str]:
    found = set()
    try:
        for path in Path(f"/proc/{pid}/fd").iterdir():
            found.add(str(path.readlink()))
    except OSError:
        pass  # it ends, or is another user's
    return found


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(_Crossing((sys.argv[1], int(sys.argv[2])), int(sys.argv[3])).run())
