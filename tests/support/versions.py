# SPDX-License-Identifier: Apache-2.0
"""Versions beside this one: their commands, and their roles one by one.

The previous version is a wheel in `tests/upgrade/previous`; a next one is ours with migrations
more. Unpacked and put before ours on the path, they run on our interpreter and dependencies.
"""

import re
import shutil
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from support.stack import ROOT, STOP_S, Stack

PREVIOUS = ROOT / "tests" / "upgrade" / "previous"


def unpack_previous(to: Path) -> Path:
    """What to set PYTHONPATH to."""
    (wheel,) = PREVIOUS.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(to)
    return to


def migrations_of(root: Path) -> set[str]:
    """`part/file` of each in the code below `root`."""
    found = (path.relative_to(root) for path in root.glob("transom/**/migrations/*.sql"))
    return {f"{path.parts[1]}/{path.stem}" for path in found if path.suffixes == [".sql"]}


def migrations_since(code: Path) -> tuple[set[str], set[str]]:
    """Those that the version unpacked there lacks: applied while it runs, and when nothing does."""
    lacking = migrations_of(ROOT / "src") - migrations_of(code)
    late = {name for name in lacking if "_after_" in name}
    return lacking - late, late


def applied_by(doors: "Doors") -> set[str]:
    """What `db upgrade` says that it has applied."""
    done = doors.transom("db", "upgrade", check=False)
    assert done.returncode == 0, done.stderr
    return set(re.findall(r"^applied (\S+) to", done.stdout, re.MULTILINE))


NEXT = {
    "node": "alter table lease add column since_ms integer not null default 0;\n",
    "identity/store": "create table next_person (name text not null primary key);\n"
    "create index if not exists next_person_name on next_person (name);\n",
    "queue/store": "create table next_parcel (name text not null primary key);\n",
}
"""What the next version needs before it starts, by the room that it is in."""


def make_next(to: Path) -> Path:
    """What to set PYTHONPATH to, for ours with the migrations `NEXT`."""
    left_out = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "src" / "transom", to / "transom", ignore=left_out)
    for room, script in NEXT.items():
        (to / "transom" / room / "migrations" / "9000_before_next.sql").write_text(script)
    return to


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Doors(Stack):
    """One version's commands on a data folder, whose doors have one port whoever opens them.

    `code`: where the version is unpacked; None: ours. `database`: its URL; empty: files.
    """

    def __init__(
        self, data: Path, port: int, code: Path | None = None, *, database: str = ""
    ) -> None:
        path = {} if code is None else {"PYTHONPATH": str(code)}
        where = {"TRANSOM_DATABASE__URL": database} if database else {}
        super().__init__(data, {"TRANSOM_API__PORT": str(port), **path, **where})
        self.port = port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def up(self) -> Self:
        self.start("--port", str(self.port))
        return self

    def role_process(self, name: str) -> "Role":
        return Role(self, name, "transom.cli", "run", name)

    def follower(self) -> "Role":
        """Further doors, which hand their writes to the owner of the queue's file."""
        return Role(self, "follower", "support.follower")


class Role:
    """`transom run`, or another module that runs one role, ready. `url`: of its doors, if any."""

    def __init__(self, stack: Stack, name: str, module: str, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments, "--data-dir", str(stack.data)],
            cwd=ROOT / "tests",
            env=stack.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        if not said.startswith(f"{name} is ready"):
            self._process.kill()
            raise AssertionError(f"{name}: {said}{self._process.communicate()[0]}{stack.logs()}")
        self.url = said.partition(" at ")[2].strip()

    @property
    def pid(self) -> int:
        return self._process.pid

    def pause(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> int:
        """Drains it; answers its exit status. Idempotent."""
        if self._process.returncode is None:
            self.go_on()
            self._process.terminate()
            self._process.communicate(timeout=STOP_S)
        return int(self._process.returncode)


def stop_all(roles: Sequence[Role]) -> None:
    for role in reversed(roles):
        role.stop()
