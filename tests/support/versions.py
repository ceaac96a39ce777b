# SPDX-License-Identifier: Apache-2.0
"""The previous version beside this one: its commands, and its roles one by one.

The previous version is a wheel in `tests/upgrade/previous`, unpacked and put before ours on the
path; it runs on our interpreter and dependencies.
"""

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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Doors(Stack):
    """One version's commands on a data folder, whose doors have one port whoever opens them.

    `code`: where the version is unpacked; None: ours.
    """

    def __init__(self, data: Path, port: int, code: Path | None = None) -> None:
        path = {} if code is None else {"PYTHONPATH": str(code)}
        super().__init__(data, {"TRANSOM_API__PORT": str(port), **path})
        self.port = port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def up(self) -> Self:
        self.start("--port", str(self.port))
        return self

    def role_process(self, name: str) -> "Role":
        return Role(self, name)


class Role:
    """`transom run`, ready."""

    def __init__(self, stack: Stack, name: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "transom.cli", "run", name, "--data-dir", str(stack.data)],
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
