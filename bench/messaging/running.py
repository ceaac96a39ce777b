# SPDX-License-Identifier: Apache-2.0
"""Contenders as processes on a broker, and what the kernel says of them.

with broker() as place, Contender.start(OURS, place.url, ...) as it:
    it.client.ask("calls", topic="t", callers=64, seconds=1.0, x="x" * 100)
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(__file__).parent / "contenders"
sys.path.insert(0, str(ROOT / "tests"))

from support.rabbit import Broker, Node, fresh_vhost, private_node  # noqa: E402

__all__ = ["Broker", "Node", "broker", "private_node"]

broker = fresh_vhost
ARGUMENT = "x" * 100


@dataclass(frozen=True)
class Kind:
    """A contender: its program, the environment it runs in, what is put before its address."""

    name: str
    program: str
    python: Path
    package: str
    scheme: str = "rabbit"
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def version(self) -> str:
        words = f"from importlib.metadata import version; print(version({self.package!r}))"
        done = subprocess.run(
            [str(self.python), "-c", words], capture_output=True, text=True, check=True
        )
        return f"{self.package} {done.stdout.strip()}"

    def url(self, place: Broker) -> str:
        return place.url.replace("rabbit://", f"{self.scheme}://", 1)


def other(name: str) -> Path:
    return ROOT / ".cache" / name / "bin" / "python"


HERE = {"PYTHONPATH": str(ROOT / "src")}
OURS = Kind("transom", "transom_peer.py", Path(sys.executable), "transom", variables=HERE)
OURS_UVLOOP = Kind(
    "transom on uvloop", "transom_peer.py", Path(sys.executable), "transom",
    variables={**HERE, "TRANSOM_BENCH_UVLOOP": "1"},
)  # fmt: skip
OSLO = Kind("oslo.messaging 18", "oslo_peer.py", other("oslo"), "oslo.messaging")
OSLO_17 = Kind("oslo.messaging 17", "oslo_peer.py", other("oslo17"), "oslo.messaging")
AIO_PIKA = Kind("aio-pika", "aio_pika_peer.py", other("peers"), "aio-pika", scheme="amqp")
PLUGIN = Kind(
    "oslo.messaging 18 by transom", "oslo_peer.py", other("oslo"), "oslo.messaging",
    scheme="transom+rabbit", variables=HERE,
)  # fmt: skip

HAND = Kind("hand", "broker_hand.py", other("peers"), "aio-pika", scheme="amqp")


class Process:
    """One contender's process."""

    def __init__(self, kind: Kind, *words: str) -> None:
        bare = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [str(kind.python), "-W", "ignore", str(PROGRAMS / kind.program), *words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said,
            text=True, env={**bare, **kind.variables},
        )  # fmt: skip
        self.cpu_s = 0.0
        self._name = f"{kind.name} {words[0]}"
        self._hear()

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, do: str, **arguments: Any) -> Any:
        """The command's result; `cpu_s` is brought up to date. Raises: RuntimeError if it died."""
        self.begin(do, **arguments)
        return self.end()

    def begin(self, do: str, **arguments: Any) -> None:
        """The command runs while we do something else, until `end`."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self._process.stdin.flush()

    def end(self) -> Any:
        return self._hear()["result"]

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            ended = self._process.wait(10)
            self._said.seek(0)
            said = self._said.read()[-2000:]
            raise RuntimeError(f"{self._name} has ended with {ended}: {said}")
        told: dict[str, Any] = json.loads(line)
        self.cpu_s = told["cpu_s"]
        return told

    def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._said.close()


@dataclass
class Contender:
    """A client and servers of one kind, started."""

    kind: Kind
    client: Process
    servers: list[Process]
    topic: str

    @property
    def server(self) -> Process:
        return self.servers[0]

    def cpu_s(self) -> float:
        """Used by all of it so far, client and servers."""
        for server in self.servers:
            server.ask("told")
        return self.client.cpu_s + sum(server.cpu_s for server in self.servers)


@contextmanager
def contender(
    kind: Kind, place: Broker, *, servers: int = 1, topic: str = "bench"
) -> Iterator[Contender]:
    """Started; the client has had its first answer. Ended at the exit."""
    topic = f"{topic}-{kind.name.replace(' ', '-')}"
    running: list[Process] = []
    try:
        for at in range(servers):
            running.append(Process(kind, "serve", kind.url(place), topic, f"s{at}"))
        running.append(Process(kind, "call", kind.url(place)))
        it = Contender(kind, running[-1], running[:-1], topic)
        it.client.ask("calls", topic=topic, callers=1, seconds=0.01, x=ARGUMENT)
        yield it
    finally:
        for process in running:
            process.stop()


def threads(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/task"))


def resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def connections(pid: int, port: int) -> int:
    """Established TCP connections of the process to the port, as the kernel knows them."""
    inodes = set()
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]:
            columns = line.split()
            if columns[3] == "01" and int(columns[2].rpartition(":")[2], 16) == port:
                inodes.add(columns[9])
    links = (Path(f"/proc/{pid}/fd") / name for name in os.listdir(f"/proc/{pid}/fd"))
    found = {os.readlink(link)[8:-1] for link in links if link.is_symlink()}
    return len(inodes & found)
