"""A whole family in processes of its own: control, a second start, and a supervisor that dies."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from transom.errors import ConfigError, Unavailable
from transom.node import remote
from transom.node.folder import DataFolder, RuntimeFolder

from support.family import alive

TESTS = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path):
    folder = DataFolder(tmp_path / "data")
    yield folder
    RuntimeFolder(folder.path).remove()


@contextmanager
def family(folder: DataFolder, *roles: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A running family; its first status, with the `process` of its supervisor."""
    process = subprocess.Popen(
        [sys.executable, "-m", "support.family", str(folder.path), json.dumps(roles)],
        cwd=TESTS,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        yield {**json.loads(line), "process": process}
    finally:
        process.terminate()
        try:
            process.communicate(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
        wait(lambda: not folder.taken())


def wait(true, within_s: float = 15.0) -> float:
    begun_s = time.monotonic()
    while not true():
        assert time.monotonic() - begun_s < within_s, "not within its bound"
        time.sleep(0.005)
    return time.monotonic() - begun_s


def others(status: dict[str, Any]) -> list[int]:
    return [row["pid"] for row in status["roles"] if row["name"] != "supervisor"]


STEADY = [
    {"name": "worker", "entry": "steady", "order": 1},
    {"name": "api", "entry": "steady", "order": 2},
]


def test_status_and_stop_work_from_another_process(folder) -> None:
    with family(folder, *STEADY) as started:
        status = remote.status(folder)
        assert status["ready"]
        assert status["pid"] == started["process"].pid
        assert [row["name"] for row in status["roles"]] == [
            "supervisor",
            "forkserver",
            "worker",
            "api",
        ]
        runtime = Path(folder.read_state().runtime_folder)
        remote.stop(folder, timeout_s=10)
        assert not folder.taken()
        assert started["process"].wait(5) == 0
        assert not any(alive(pid) for pid in others(started))
        assert not runtime.exists()
    with pytest.raises(ConfigError, match="does not run on"):
        remote.status(folder)
    with pytest.raises(ConfigError, match="does not run on"):
        remote.stop(folder, timeout_s=1)


def test_a_second_start_on_a_folder_is_refused_with_pid_and_address(folder) -> None:
    with (
        family(folder, *STEADY) as started,
        pytest.raises(
            ConfigError, match=rf"already runs on .* \(pid {started['process'].pid}, http://"
        ),
    ):
        DataFolder(folder.path).take()


@pytest.mark.parametrize("attempt", range(3))
def test_when_the_supervisor_is_killed_every_role_drains_and_all_end(folder, attempt) -> None:
    log = folder.path.parent / "log"
    roles = [{**role, "log": str(log)} for role in STEADY]
    with family(folder, *roles) as started:
        started["process"].kill()
        wait(lambda: not any(alive(pid) for pid in others(started)))
        assert {"stopped api", "stopped worker"} <= set(log.read_text().splitlines())
        wait(lambda: not folder.taken(), 2)


def test_when_the_supervisor_is_killed_what_does_not_drain_is_killed_at_the_bound(folder) -> None:
    with family(
        folder,
        {"name": "deaf", "entry": "steady", "ignore_stop": True},
        {"name": "stuck", "entry": "stuck_at_stop", "order": 2},
        {"name": "frozen", "entry": "steady"},
    ) as started:
        frozen = next(row["pid"] for row in started["roles"] if row["name"] == "frozen")
        os.kill(frozen, signal.SIGSTOP)
        started["process"].kill()
        took_s = wait(lambda: not any(alive(pid) for pid in others(started)), 10)
        assert took_s < 5, "grace is one second; the rest is what a busy machine adds"


def test_when_supervisor_and_fork_server_are_killed_at_once_the_roles_still_end(folder) -> None:
    with family(
        folder,
        {"name": "api", "entry": "steady"},
        {"name": "deaf", "entry": "steady", "ignore_stop": True},
    ) as started:
        server = next(row["pid"] for row in started["roles"] if row["name"] == "forkserver")
        started["process"].kill()
        os.kill(server, signal.SIGKILL)
        wait(lambda: not any(alive(pid) for pid in others(started)), 5)


def test_a_start_right_after_a_kill_waits_for_the_old_roles(folder) -> None:
    slow = {"name": "slow", "entry": "steady", "drain_s": 0.5}
    with family(folder, slow) as killed:
        killed["process"].kill()
        with family(folder, slow) as started:
            assert started["ready"]
            assert not any(alive(pid) for pid in others(killed))


def test_ctrl_c_at_the_terminal_reaches_no_role(folder) -> None:
    """A terminal sends SIGINT to the supervisor's process group."""
    with family(folder, *STEADY) as started:
        group = os.getpgid(started["process"].pid)
        assert all(os.getpgid(pid) != group for pid in others(started))
        for pid in others(started):
            os.kill(pid, signal.SIGINT)
        assert [row["pid"] for row in remote.status(folder)["roles"][2:]] == others(started)[1:]


def ask(path: Path, data: bytes) -> bytes:
    """What the control socket answers to raw bytes, to its end."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(str(path))
        answer = b""
        with suppress(ConnectionError):
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            while part := sock.recv(65536):
                answer += part
        return answer


def test_garbage_on_the_control_socket_is_answered_or_cut_and_harms_nobody(folder) -> None:
    with family(folder, *STEADY):
        path = Path(folder.read_state().runtime_folder) / "control.sock"
        assert path.stat().st_mode & 0o777 == 0o600
        for line in (b"{}\n", b"\n", b"[1]\n", b"\xff\xfe\n", b'{"command": []}\n', b"7\n"):
            assert b"error" in ask(path, line), line
        assert b"error" in ask(path, b"[" * 4000 + b"\n")
        assert ask(path, b"x" * 1_000_000) == b""
        assert ask(path, b"no newline") == b""
        assert ask(path, b"") == b""
        assert ask(path, b'{"command": "status"}\n' * 3).count(b"\n") == 3
        assert remote.status(folder)["ready"]


def test_connections_over_the_bound_are_cut_and_idle_ones_do_not_hinder_a_stop(folder) -> None:
    with family(folder, *STEADY) as started:
        path = Path(folder.read_state().runtime_folder) / "control.sock"
        idle = [socket.socket(socket.AF_UNIX) for _ in range(16)]
        try:
            for sock in idle:
                sock.connect(str(path))
            with pytest.raises(Unavailable, match="does not answer"):
                remote.status(folder)
            idle.pop().close()
            wait(lambda: b"memory_mib" in ask(path, b'{"command": "status"}\n'))
            idle.pop().close()
            remote.stop(folder, timeout_s=10)
            assert started["process"].wait(5) == 0
        finally:
            for sock in idle:
                sock.close()


@pytest.mark.alone
def test_a_supervisor_that_does_not_answer_is_an_error_within_the_timeout(folder) -> None:
    with family(folder, *STEADY) as started:
        os.kill(started["process"].pid, signal.SIGSTOP)
        begun_s = time.monotonic()
        with pytest.raises(Unavailable, match="does not answer"):
            remote.status(folder, timeout_s=0.3)
        assert time.monotonic() - begun_s < 2
        os.kill(started["process"].pid, signal.SIGCONT)
        assert remote.status(folder)["ready"]


def test_a_supervisor_that_was_suspended_kills_no_role_when_it_goes_on(folder) -> None:
    with family(folder, *STEADY) as started:
        os.kill(started["process"].pid, signal.SIGSTOP)
        time.sleep(1.0)  # longer than a silent role of this family may live
        os.kill(started["process"].pid, signal.SIGCONT)
        status = remote.status(folder)
        assert others(status) == others(started)


def test_the_client_side_of_control_loads_no_asyncio() -> None:
    code = "import sys, transom.node.remote; sys.exit('asyncio' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
