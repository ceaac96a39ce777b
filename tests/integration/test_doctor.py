"""`transom doctor` finds each fault that is planted, says what to do, and changes nothing."""

import asyncio
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from support.postgres import fresh_database
from support.stack import Stack, wait_for

Findings = list[dict[str, str]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder on which Transom ran and ended."""
    stack = Stack(tmp_path_factory.mktemp("doctor") / "data")
    try:
        stack.start()
    finally:
        stack.stop()
    yield stack.data
    shutil.rmtree(stack.data.parent)


@pytest.fixture
def stack(whole: Path, tmp_path: Path) -> Stack:
    shutil.copytree(whole, tmp_path / "data")
    return Stack(tmp_path / "data")


def examined(stack: Stack, *prefix: str) -> tuple[int, Findings]:
    done = subprocess.run(
        [*prefix, sys.executable, "-m", "transom.cli", "doctor", "--json",
         "--data-dir", str(stack.data)],
        env=stack.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout)


def wrong(findings: Findings) -> list[str]:
    return [found["what"] for found in findings if found["level"] == "wrong"]


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_whole_folder_is_well_and_stays_as_it_is(stack: Stack) -> None:
    before = content(stack.data)
    code, findings = examined(stack)
    assert (code, wrong(findings)) == (0, [])
    assert any("does not run" in found["what"] for found in findings)
    assert any("no backup" in found["what"] for found in findings)
    assert content(stack.data) == before
    assert "nothing is wrong" in stack.transom("doctor").stdout


def older(data: Path) -> None:
    with closing(sqlite3.connect(data / "queue.db")) as connection, connection:
        connection.execute("delete from schema_version where room = 'node'")


def damaged(data: Path) -> None:
    with (data / "identity.db").open("r+b") as file:
        file.seek(4096 * 2)
        file.write(os.urandom(4096 * 4))


FAULTS: dict[str, tuple[Callable[[Path], Any], str, str]] = {
    "open key": (
        lambda data: next((data / "keys").glob("token*")).chmod(0o644),
        "others may read it (mode 644)",
        "chmod go=",
    ),
    "poisoned": (lambda data: (data / "queue.db.poisoned").touch(), "its disk failed", "down"),
    "older": (older, "made by an older Transom", ""),
    "damaged": (damaged, "identity.db", ""),
    "configuration": (
        lambda data: (data / "transom.toml").write_text("[api]\nprot = 1\n"),
        "prot",
        "",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(stack: Stack, fault: str) -> None:
    plant, what, advice = FAULTS[fault]
    plant(stack.data)
    code, findings = examined(stack)
    assert code == 1
    found = [found for found in findings if found["level"] == "wrong"]
    assert len(found) == 1, found
    assert what in found[0]["what"]
    assert advice in found[0]["advice"]


def test_too_few_files_are_found(stack: Stack) -> None:
    code, findings = examined(stack, "prlimit", "--nofile=100")
    assert code == 1
    assert "100 files" in wrong(findings)[0]


def test_a_running_stack_is_asked_and_a_role_that_stands_still_is_found(stack: Stack) -> None:
    stack.start()
    try:
        code, findings = examined(stack)
        assert (code, wrong(findings)) == (0, [])
        assert any("all roles are ready" in found["what"] for found in findings)
        victim = stack.role("worker")["pid"]
        os.kill(victim, signal.SIGKILL)
        wait_for(lambda: stack.role("worker")["pid"] not in (None, victim), 30)
        stack.wait_ready()
        _, findings = examined(stack)
        assert any("started again 1 times" in found["what"] for found in findings)
        api = stack.role("api")["pid"]
        os.kill(api, signal.SIGSTOP)
        try:
            code, findings = examined(stack)
        finally:
            os.kill(api, signal.SIGCONT)
        assert code == 1
        assert any("does not answer" in what for what in wrong(findings))
    finally:
        stack.stop()


def test_a_database_server_is_asked_and_what_warns_is_told(tmp_path: Path) -> None:
    with fresh_database() as server:
        stack = Stack(tmp_path / "data", {"TRANSOM_DATABASE__URL": server.url})
        try:
            stack.start()
            code, findings = examined(stack)
            assert (code, wrong(findings)) == (0, [])
            assert sum("MiB, of this version" in found["what"] for found in findings) == 2
            policy = stack.data / "policy" / "queue.yaml"
            policy.parent.mkdir()
            policy.write_text("queues:create: rule:typo")
            wait_for(
                lambda: any("queue rules: " in found["what"] for found in examined(stack)[1]), 30
            )
        finally:
            stack.stop()
        asyncio.run(server.ask("delete from transom_queue.schema_version where room = 'node'"))
        code, findings = examined(stack)
        assert code == 1
        assert "made by an older Transom" in wrong(findings)[0]
        asyncio.run(server.ask("drop schema transom_queue cascade"))
        code, findings = examined(stack)
        assert code == 0
        assert any("is not made yet" in found["what"] for found in findings)
    code, findings = examined(stack)
    assert code == 1
    assert "PostgreSQL at" in wrong(findings)[0]
