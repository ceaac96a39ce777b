# SPDX-License-Identifier: Apache-2.0
"""Parts served by processes of their own, beside each other on one bus and one data folder."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from support.load import Session, login
from support.stack import Stack, get, wait_for


@contextmanager
def role(stack: Stack, *words: str, **environment: str) -> Iterator[str]:
    """Runs one role; gives the address that it said when it was ready."""
    with subprocess.Popen(
        [sys.executable, "-m", "transom.cli", "run", *words, "--data-dir", str(stack.data)],
        env={**stack.environment, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[-1]
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0


def test_the_queue_is_served_beside_a_family_that_serves_identity_alone(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "data", {"TRANSOM_API__PARTS": "identity"})
    try:
        stack.start()
        assert get(stack.url + "/queue/v2/health")[0] == 404
        with role(stack, "api", "--only", "queue", "--port", "0") as url:
            assert get(url + "/identity/v3")[0] == 404
            assert get(url + "/readyz")[0] == 200
            with closing(Session(url, login(stack))) as session:
                path = "/queue/v2/queues/q/messages"
                assert session.ask("POST", path, {"messages": [{"body": 1}]})[0] == 201
                with closing(Session(stack.url, session._token)) as identity:
                    assert identity.revoke(session._token) == 204
                assert session.ask("GET", path)[0] == 401
            done = stack.transom("run", "api", "--only", "queue", "--port", "0", check=False)
            assert done.returncode == 1
            assert "queue.db: in use by process" in done.stderr
    finally:
        stack.stop()


def test_each_part_runs_by_itself_without_a_family(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "data")
    with (
        role(stack, "registry"),
        role(stack, "api", "--only", "identity", "--port", "0") as identity,
        role(stack, "worker"),
        role(stack, "api", "--only", "queue", "--port", "0", TRANSOM_API__PUBLIC_URL=identity),
    ):
        there = SimpleNamespace(data=stack.data, url=identity)
        token = login(there)  # type: ignore[arg-type]
        log = stack.data / "logs" / "api-queue.log"
        assert log.exists()
        assert token


@pytest.mark.parametrize(
    ("words", "environment", "said"),
    [
        (["up"], {"API__PARTS": "queue"}, "identity is not served here"),
        (["up"], {"API__PARTS": ""}, "[api] parts names none; there are identity, queue"),
        (["up"], {"API__PARTS": "queues"}, "'queues' is none of identity, queue"),
        (["up"], {"API__WORKERS": "0"}, "0 is below the least, 1"),
        (["up"], {"BUS__URL": "memory://"}, "a bus within one process"),
        (["up", "--single-process"], {"API__WORKERS": "2"}, "leave --single-process out"),
        (
            ["up"],
            {"API__WORKERS": "2", "QUEUE__MAX_MESSAGES_PER_CLAIM": "1000"},
            "with several [api] workers one claim may hold",
        ),
        (["run", "api"], {"BUS__URL": "memory://"}, "a bus within one process"),
        (["run", "api", "--only", "queues"], {}, "no part is called 'queues'"),
        (["run", "worker", "--only", "queue"], {}, "--only chooses the parts behind the doors"),
    ],
)
def test_what_cannot_be_is_refused_and_says_what_to_do(
    tmp_path: Path, words: list[str], environment: dict[str, str], said: str
) -> None:
    given = {f"TRANSOM_{name}": value for name, value in environment.items()}
    stack = Stack(tmp_path / "data", given)
    port = ("--port", "0") if words[0] == "up" else ()
    done = stack.transom(*words, *port, check=False)
    assert done.returncode == 1
    assert said in done.stderr


def test_one_process_is_a_family_on_a_bus_within_it(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "data", {"TRANSOM_BUS__URL": "memory://"})
    try:
        stack.start("--single-process")
        assert wait_for(lambda: stack.status()["ready"])
    finally:
        stack.stop()
