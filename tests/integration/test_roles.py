# SPDX-License-Identifier: Apache-2.0
"""Roles by themselves, and all in one process: the same doors."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.load import Producer, Session, check_kept, login, read_all
from support.stack import Stack, get, running, wait_for


@contextmanager
def role(stack: Stack, name: str, **environment: str) -> Iterator[str]:
    """Runs one role; gives the line that it said when it was ready."""
    with subprocess.Popen(
        [sys.executable, "-m", "transom.cli", "run", name, "--data-dir", str(stack.data)],
        env={**stack.environment, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline()
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0


def test_each_role_runs_by_itself_and_drains_at_sigterm(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "data")
    with (
        role(stack, "registry") as registry,
        role(stack, "api", TRANSOM_API__PORT="0") as api,
        role(stack, "worker") as worker,
    ):
        assert registry == "registry is ready\n"
        assert api.startswith("api is ready at http://127.0.0.1:")
        assert worker == "worker is ready\n"
        status, body = get(api.split()[-1] + "/readyz")
        assert (status, json.loads(body)["status"]) == (200, "ready")


def test_a_role_without_a_bus_says_what_to_start_first(tmp_path: Path) -> None:
    done = Stack(tmp_path / "data").transom("run", "worker", check=False)
    assert done.returncode == 1
    assert "transom run registry" in done.stderr


def test_an_unknown_role_is_told_which_there_are(tmp_path: Path) -> None:
    done = Stack(tmp_path / "data").transom("run", "wrker", check=False)
    assert done.returncode == 1
    assert "registry" in done.stderr


def test_a_second_owner_of_the_queues_file_is_refused(tmp_path: Path) -> None:
    with running(tmp_path / "data") as stack:
        stack.environment["TRANSOM_API__PORT"] = "0"
        done = stack.transom("run", "api", check=False)
        assert done.returncode == 1
        assert "queue.db" in done.stderr
        assert stack.status()["ready"]


def test_all_roles_in_one_process_keep_what_they_acknowledge(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "data")
    try:
        stack.start("--single-process")
        status = stack.status()
        assert status["ready"]
        assert {role["pid"] for role in status["roles"]} == {status["pid"]}
        producer = Producer(stack, login(stack), "single", 0)
        producer.start()
        wait_for(lambda: len(producer.acknowledged) > 50)
        producer.stop()
        stack.stop()
        stack.start("--single-process")
        session = Session(stack.url, login(stack))
        check_kept([producer], read_all(session, "single"))
        session.close()
    finally:
        stack.stop()


def test_commands_say_that_it_runs_role_by_role_and_a_watch_works(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "data")
    with (
        role(stack, "registry"),
        role(stack, "api", TRANSOM_API__PORT="0"),
        role(stack, "worker"),
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "transom.cli",
                "tables",
                "watch",
                "identity:projects",
                "--json",
                "--data-dir",
                str(stack.data),
            ],
            env=stack.environment,
            stdout=subprocess.PIPE,
            text=True,
        ) as watch,
    ):
        for command in ("status", "down"):
            done = stack.transom(command, check=False)
            assert done.returncode == 1
            assert "role by role" in done.stderr
        assert watch.stdout is not None
        lines = iter(watch.stdout.readline, "")
        assert any(json.loads(line).get("state") == "live" for line in lines)
        watch.send_signal(signal.SIGINT)
        assert watch.wait(20) == 0


def test_a_keystone_without_a_password_is_refused_at_once(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "data", {"TRANSOM_KEYSTONE__AUTH_URL": "http://127.0.0.1:1/v3"})
    done = stack.transom("config", "check", check=False)
    assert done.returncode == 1
    assert "password" in done.stderr
