# SPDX-License-Identifier: Apache-2.0
"""Pages are run: the ```console blocks of a document, typed into one shell, and what it answers.

In a block a line that begins with `$ ` is a command, one with `> ` its continuation, the rest is
what it prints. What differs from run to run (ids, times, sizes, ports) is compared by its form; a
line `...` stands for any lines. Whatever a `cat` or `sort` shows may come a little later.
"""

import os
import re
import select
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from support.stack import CLIENTS, ROOT

COMMAND_S = 90.0
LATER_S = 20.0
READING = ("cat ", "sort ")
USER_HOME = "/home/ada"

BLOCK = re.compile(r"^```console\n(.*?)^```$", re.S | re.M)
LOOSE = [
    (re.compile(r" +"), " "),
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "<uuid>"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "<id>"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "<signature>"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(\+0000|Z)?"), "<time>"),
    (re.compile(r"(?<=127\.0\.0\.1:)\d+"), "<port>"),
    (re.compile(r"\b\d+(\.\d+)?(?= (s|MiB)\b)"), "<number>"),
    (re.compile(r"(?<=pid )\d+"), "<pid>"),
    (re.compile(r"\b\d{13}\b"), "<ms>"),
    (re.compile(r"(?<=\| )\d+(?= \|)"), "<number>"),
    (re.compile(r"\b\d+\.\d(?= (kept|idle) )"), "<age>"),
    (re.compile(r"^(\w+ ready) \d+ \d+\.\d+ 0$"), r"\1"),
    (re.compile(r"gAAAA[\w=-]+"), "<token>"),
    (re.compile(r"-{3,}"), "--"),
]


@dataclass(frozen=True)
class Step:
    """A command, and the lines that the page says it prints."""

    command: str
    printed: tuple[str, ...]


def steps(page: str) -> list[Step]:
    found: list[Step] = []
    for block in BLOCK.findall(page):
        command, printed = "", []
        for line in [*block.splitlines(), "$ "]:
            if line.startswith("$ "):
                if command:
                    found.append(Step(command, tuple(printed)))
                command, printed = line[2:], []
            elif line.startswith("> ") and not printed:
                command += "\n" + line[2:]
            else:
                printed.append(line)
    return found


def same(page: tuple[str, ...], printed: list[str]) -> bool:
    pattern = "".join(
        r"(?:.*\n)*?" if line.strip() == "..." else re.escape(_form(line)) + r"\n" for line in page
    )
    return re.fullmatch(pattern, "".join(_form(line) + "\n" for line in printed)) is not None


def _form(line: str) -> str:
    line = line.rstrip()
    for pattern, form in LOOSE:
        line = pattern.sub(form, line)
    return line.strip()


class Shell:
    """A bash with a home of its own, `transom` and the real clients, in what looks like a clone."""

    def __init__(self, home: Path, environment: Mapping[str, str] | None = None) -> None:
        self._home = home
        self._clone = home / "clone"
        self._clone.mkdir()
        for name in ("examples", ".cache"):
            (self._clone / name).symlink_to(ROOT / name)
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("OS_", "TRANSOM_", "XDG_"))
        }
        self._environment = {
            **kept,
            "HOME": str(home),
            "PATH": f"{Path(sys.executable).parent}:{CLIENTS}:{kept['PATH']}",
            "TRANSOM_API__PORT": "0",
            "PYTHONWARNINGS": "ignore",
            "COLUMNS": "200",
            **(environment or {}),
        }

    def __enter__(self) -> Self:
        self._bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=self._clone, env=self._environment, start_new_session=True, bufsize=0,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Ends the shell with its jobs, then whatever runs in its home."""
        os.killpg(self._bash.pid, signal.SIGKILL)
        self._bash.communicate()
        for state in self._home.rglob("state.json"):
            subprocess.run(
                [sys.executable, "-m", "transom.cli", "down", "--data-dir", str(state.parent)],
                env=self._environment, capture_output=True, timeout=COMMAND_S, check=False,
            )  # fmt: skip

    def run(self, step: Step) -> None:
        """Raises: AssertionError if it does not print what the page says."""
        deadline_s = time.monotonic() + LATER_S
        while True:
            status, printed = self._type(step.command)
            if same(step.printed, printed) and (step.printed or status == 0):
                return
            if not step.command.startswith(READING) or time.monotonic() > deadline_s:
                says = "\n".join(step.printed)
                shown = "\n".join(printed)
                raise AssertionError(
                    f"$ {step.command}\n-- the page says\n{says}\n-- it printed ({status})\n{shown}"
                )
            time.sleep(0.1)

    def _type(self, command: str) -> tuple[int, list[str]]:
        assert self._bash.stdin is not None
        mark = uuid.uuid4().hex
        self._bash.stdin.write(f"{command}\nprintf '\\n%s %d\\n' {mark} $?\n".encode())
        text = self._read_until(mark, command)
        before, _, status = text.rpartition(f"{mark} ")
        before = before.replace(str(self._home), USER_HOME)
        return int(status), before.rstrip("\n").splitlines()

    def _read_until(self, mark: str, command: str) -> str:
        assert self._bash.stdout is not None
        ending = re.compile(rf"{mark} \d+\n$".encode())
        data = b""
        deadline_s = time.monotonic() + COMMAND_S
        while not ending.search(data):
            left_s = deadline_s - time.monotonic()
            ready = select.select([self._bash.stdout], [], [], max(left_s, 0))[0]
            part = os.read(self._bash.stdout.fileno(), 65536) if ready else b""
            if not part:
                raise AssertionError(f"$ {command}\n-- did not end; it printed\n{data.decode()}")
            data += part
        return data.decode()
