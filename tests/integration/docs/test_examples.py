# SPDX-License-Identifier: Apache-2.0
"""Each example runs as its docstring says, in a process of its own, and prints what it should."""

import json
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.stack import CLIENTS, ROOT, Stack, running

EXAMPLES = ROOT / "examples"
RUN_S = 60

RPC = """\
call: host2
namespace: paused
cast: every server of the topic has refreshed
described: {'host': 'host1', 'asked_by': 'ada'}
not found: there is no host host9
remote: ZeroDivisionError
nobody serves host9
ping: {'server': 'host1'}
"""
NOTIFICATIONS = """\
audit: image.create cirros, image.create debian
billing: image.create cirros, image.create debian
"""
LIVE_TABLE = """\
step 1: host1 up, host2 up
step 2: host1 up, host2 down
step 3: host1 up
"""


def run(name: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        capture_output=True, text=True, timeout=RUN_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def registry() -> Iterator[str]:
    """The address of a zmq bus whose registry is the example's."""
    with tempfile.TemporaryDirectory(prefix="transom-") as folder:
        process = subprocess.Popen(
            [sys.executable, str(EXAMPLES / "zmq_registry.py"), folder],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield f"zmq://{folder}"
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 0
            process.stdout.close()


@pytest.mark.parametrize("bus", ["memory", "zmq"])
def test_calls_notifications_and_tables_over(bus: str) -> None:
    if bus == "memory":
        printed = [run(name) for name in ("rpc.py", "notifications.py", "live_table.py")]
    else:
        with registry() as url:
            printed = [run(name, url) for name in ("rpc.py", "notifications.py", "live_table.py")]
    printed[2] = "".join(line for line in printed[2].splitlines(True) if line.startswith("step"))
    assert printed == [RPC, NOTIFICATIONS, LIVE_TABLE]


def test_the_loopback_driver_passes_the_public_suite() -> None:
    assert run("loopback_driver.py") == "loopback:// does what drivers must do\n"


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with running(tmp_path / "data") as stack:
        yield stack


def test_two_workers_share_a_queue_that_a_replica_sees_come_and_go(stack: Stack) -> None:
    watch = subprocess.Popen(
        [sys.executable, str(EXAMPLES / "watch_queues.py"), str(stack.data), "jobs"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert watch.stdout is not None
        assert watch.stdout.readline() == "live\n"
        bodies = [{"body": f"photo {number}"} for number in range(7)]
        stack.openstack("messaging queue create jobs -f json")
        stack.openstack(
            f"messaging message post jobs --client-id {uuid.uuid4()}", json.dumps(bodies)
        )
        environment = {
            **stack.environment,
            "OS_CLIENT_CONFIG_FILE": str(stack.data / "clouds.yaml"),
            "PYTHONWARNINGS": "ignore",
        }
        workers = [
            subprocess.Popen(
                [str(CLIENTS / "python"), str(EXAMPLES / "queue_worker.py"), "jobs",
                 "--name", name],
                env=environment, stdout=subprocess.PIPE, text=True,
            )
            for name in ("ada", "bob")
        ]  # fmt: skip
        lines = [
            line for worker in workers for line in worker.communicate(timeout=RUN_S)[0].splitlines()
        ]
        assert [worker.returncode for worker in workers] == [0, 0]
        done = sorted(line.partition(" did ")[2] for line in lines)
        assert done == [f"photo {number}" for number in range(7)]
        stack.openstack("messaging queue delete jobs")
        assert watch.communicate(timeout=RUN_S)[0] == "+ jobs\n- jobs\n"
        assert watch.returncode == 0
    finally:
        watch.kill()
        watch.wait()


def test_every_example_is_run_here() -> None:
    in_this_file = {
        "live_table.py", "loopback_driver.py", "notifications.py", "queue_worker.py", "rpc.py",
        "watch_queues.py", "zmq_registry.py",
    }  # fmt: skip
    with_its_page = {"queue_websocket.py": "test_websocket_page.py"}
    assert {path.name for path in EXAMPLES.glob("*.py")} == in_this_file | set(with_its_page)
    for example, runs_it in with_its_page.items():
        assert f"examples/{example}" in Path(__file__).with_name(runs_it).read_text()
