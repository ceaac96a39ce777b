# SPDX-License-Identifier: Apache-2.0
"""Starts and ends at the wrong moment: races, kills, signals, and readers that leave."""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.load import Session, login
from support.refusal import refused
from support.stack import START_S, Stack, wait_for

RACERS = 5
STOPPED = "stopped; nothing that was acknowledged is lost\n"


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    stack = Stack(tmp_path / "data")
    yield stack
    stack.stop()


def command(stack: Stack, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "transom.cli", *arguments, "--data-dir", str(stack.data)]


@contextmanager
def started(stack: Stack, *arguments: str, nohup: bool = False) -> Iterator[subprocess.Popen[str]]:
    """`transom up`, as from a terminal; its output is one stream."""
    with subprocess.Popen(
        command(stack, "up", "--port", "0", *arguments), env=stack.environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        preexec_fn=_under_nohup if nohup else _hear_signals,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def _hear_signals() -> None:
    """Who runs the tests in the background, or under nohup, hands down that these are ignored."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def _under_nohup() -> None:
    _hear_signals()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def until_ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("  stop "):
            return
    raise AssertionError("it ended")


def test_of_many_starts_at_once_one_wins_and_the_others_say_who(stack: Stack) -> None:
    racers = [
        subprocess.Popen(
            command(stack, "up", "--detach", "--port", "0"), env=stack.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        for _ in range(RACERS)
    ]  # fmt: skip
    said = [racer.communicate(timeout=START_S)[0] for racer in racers]
    statuses = [racer.returncode for racer in racers]
    assert sorted(statuses) == [0] + [1] * (RACERS - 1), said
    found = stack.status()
    assert found["ready"]
    for status, text in zip(statuses, said, strict=True):
        if status:
            assert text.startswith(f"transom: Transom already runs on {stack.data} (")
            assert text.endswith(f"); `transom down --data-dir {stack.data}` stops it\n")
            assert text.count("\n") == 1


def test_what_does_not_run_is_told(stack: Stack) -> None:
    for words in (
        ("down",),
        ("status",),
        ("status", "--json"),
        ("tables", "watch", "queue:queues"),
    ):
        line = refused(stack, *words)
        starts = f"`transom up --data-dir {stack.data}` starts it"
        assert line == f"Transom does not run on {stack.data}; {starts}"
    assert not stack.data.exists()


def test_right_after_its_supervisor_was_killed_it_starts_anew(stack: Stack) -> None:
    session = Session(stack.start().url, login(stack))
    assert session.ask("PUT", "/queue/v2/queues/kept", {})[0] == 201
    session.close()
    os.kill(stack.status()["pid"], signal.SIGKILL)
    began_s = time.monotonic()
    session = Session(stack.start().url, login(stack))
    assert time.monotonic() - began_s < 20
    assert session.ask("GET", "/queue/v2/queues/kept")[0] == 200
    session.close()


@pytest.mark.parametrize(
    "signals",
    [
        (signal.SIGINT,),
        (signal.SIGTERM, signal.SIGINT, signal.SIGINT),
        (signal.SIGHUP, signal.SIGHUP),
    ],
    ids=["ctrl-c", "impatient", "terminal gone"],
)
def test_signals_drain_it_and_more_of_them_change_nothing(
    stack: Stack, signals: tuple[signal.Signals, ...]
) -> None:
    with started(stack) as process:
        until_ready(process)
        for number in signals:
            process.send_signal(number)
            time.sleep(0.01)
        said, _ = process.communicate(timeout=30)
        assert process.returncode == 0
    assert said.endswith("  api is stopped\n" + STOPPED)
    assert not (stack.data / "state.json").exists()
    assert not (stack.data / "queue.db-wal").exists()  # closed, and copied back


def test_under_nohup_the_end_of_the_terminal_is_nothing(stack: Stack) -> None:
    with started(stack, "--single-process", nohup=True) as process:
        until_ready(process)
        process.send_signal(signal.SIGHUP)
        assert stack.status()["ready"]
        stack.stop()
        assert process.wait(30) == 0


@pytest.mark.parametrize("detached", [False, True])
def test_an_interrupted_start_leaves_nothing(stack: Stack, detached: bool) -> None:
    with started(stack, *(["--detach"] if detached else [])) as process:
        wait_for((stack.data / "state.json").exists, START_S)  # the roles have not begun
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=30)
    assert said == STOPPED
    assert process.returncode == (130 if detached else 0)
    assert "does not run" in refused(stack, "status")


def test_who_reads_only_the_first_line_of_a_detached_start_is_not_held_up(stack: Stack) -> None:
    done = subprocess.run(
        ["sh", "-c", '"$@" | head -1; echo done', "sh",
         *command(stack, "up", "--detach", "--port", "0")],
        env=stack.environment, capture_output=True, text=True, check=True, timeout=START_S,
    )  # fmt: skip
    assert done.stdout.startswith("Transom is ready in ")
    assert done.stdout.endswith("\ndone\n")
    assert done.stderr == ""
    assert stack.status()["ready"]


@pytest.mark.parametrize("closed", [">&- 2>&- <&-", ">/dev/full 2>&1"])
def test_without_anybody_to_tell_it_starts(stack: Stack, closed: str) -> None:
    subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh",
         *command(stack, "up", "--detach", "--port", "0", "--single-process")],
        env=stack.environment, check=True, timeout=START_S,
    )  # fmt: skip
    assert stack.status()["ready"]


@pytest.mark.parametrize("descriptors", [8, 12, 30, 255])
def test_too_few_descriptors_are_told_in_one_line(stack: Stack, descriptors: int) -> None:
    words = shlex.join(command(stack, "up", "--port", "0"))
    done = subprocess.run(
        ["/bin/sh", "-c", f"ulimit -n {descriptors}; exec {words}"],
        env=stack.environment, capture_output=True, text=True, check=False, timeout=START_S,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert f"open {descriptors} files here" in done.stderr or descriptors == 8
