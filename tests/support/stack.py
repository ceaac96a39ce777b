# SPDX-License-Identifier: Apache-2.0
"""A whole Transom of the test's own, started and asked as a person would: by its commands."""

import json
import os
import shlex
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
CLIENTS = Path(os.environ.get("TRANSOM_CLIENTS", ROOT / ".cache" / "clients" / "bin"))
START_S = 60
STOP_S = 60


class Stack:
    """One data folder and what runs on it."""

    def __init__(self, data: Path, environment: Mapping[str, str] | None = None) -> None:
        self.data = data
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("OS_")},
            "XDG_RUNTIME_DIR": "",
            **(environment or {}),
        }

    def transom(
        self, *arguments: str, check: bool = True, timeout_s: float = START_S
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "transom.cli", *arguments, "--data-dir", str(self.data)],
            env=self.environment, capture_output=True, text=True, check=check, timeout=timeout_s,
        )  # fmt: skip

    def start(self, *arguments: str) -> "Stack":
        port = () if "--port" in arguments else ("--port", "0")
        done = self.transom("up", "--detach", *port, *arguments, check=False)
        if done.returncode:
            raise AssertionError(f"transom up failed\n{done.stdout}{done.stderr}{self.logs()}")
        return self

    def stop(self) -> None:
        self.transom("down", check=False, timeout_s=STOP_S)

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.transom("status", "--json").stdout)
        return found

    def role(self, name: str) -> dict[str, Any]:
        return next(role for role in self.status()["roles"] if role["name"] == name)

    def wait_ready(self, within_s: float = START_S) -> dict[str, Any]:
        return wait_for(lambda: (found := self.status())["ready"] and found, within_s)

    def logs(self) -> str:
        return "".join(path.read_text() for path in sorted(self.data.glob("logs/*")))

    @property
    def url(self) -> str:
        return str(json.loads((self.data / "state.json").read_text())["url"])

    def client(
        self, program: str, *arguments: str, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Runs a real client against the `clouds.yaml` that the product wrote."""
        done = subprocess.run(
            [str(CLIENTS / program), *arguments],
            env={**self.environment, "OS_CLIENT_CONFIG_FILE": str(self.data / "clouds.yaml")},
            capture_output=True, text=True, check=False, timeout=START_S,
        )  # fmt: skip
        if check and done.returncode:
            raise AssertionError(f"{shlex.join(done.args)}\n{done.stdout}{done.stderr}")
        return done

    def openstack(self, command: str, *arguments: str) -> Any:
        """`openstack ... -f json`: its rows, or None where it prints nothing."""
        words = [*shlex.split(command), *arguments]
        done = self.client("openstack", "--os-cloud", "transom", *words)
        return json.loads(done.stdout) if done.stdout.strip() else None

    def python(self, script: str) -> str:
        return self.client("python", "-W", "ignore", "-c", script).stdout


@contextmanager
def running(data: Path, *arguments: str) -> Iterator[Stack]:
    stack = Stack(data)
    try:
        yield stack.start(*arguments)
    finally:
        stack.stop()


def wait_for(probe: Any, within_s: float = 10.0) -> Any:
    """The first true answer of `probe`, asked again and again until the time is up."""
    end = time.monotonic() + within_s
    while True:
        if answer := probe():
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"not so within {within_s} s")
        time.sleep(0.02)


def get(url: str, timeout_s: float = 10.0) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
