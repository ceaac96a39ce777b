"""`transom doctor` finds each fault that is planted, says what to do, and changes nothing."""

import asyncio
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from support.load import Session, login
from support.postgres import fresh_database
from support.stack import Stack, wait_for

Findings = list[dict[str, str]]
WITHIN_S = 30.0


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


def examined(stack: Stack, *prefix: str, options: Sequence[str] = ()) -> tuple[int, Findings]:
    done = subprocess.run(
        [*prefix, sys.executable, "-m", "transom.cli", "doctor", "--json",
         "--data-dir", str(stack.data), *options],
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


def test_a_configuration_that_others_might_read_is_shut_in_by_the_folder(stack: Stack) -> None:
    file = stack.data / "transom.toml"
    file.write_text("[queue]\n")
    file.chmod(0o644)
    code, findings = examined(stack)
    assert (code, wrong(findings)) == (0, [])
    stack.data.chmod(0o755)
    assert wrong(examined(stack)[1]) == [f"{stack.data}: others may read it (mode 755)"]
    stack.data.chmod(0o700)
    outside = file.rename(stack.data.parent / "transom.toml")
    code, findings = examined(stack, options=["--config", str(outside)])
    assert (code, wrong(findings)) == (1, [f"{outside}: others may read it (mode 644)"])


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


def test_a_disk_that_takes_no_writes_is_found(stack: Stack) -> None:
    _, findings = examined(stack, "prlimit", "--fsize=0")
    (found,) = [found for found in findings if found["what"].startswith(f"{stack.data}: cannot")]
    assert (found["level"], found["what"].rpartition(": ")[2]) == ("wrong", "File too large")
    assert "free some space" in found["advice"]


def test_a_running_stack_is_asked_and_a_role_that_stands_still_is_found(stack: Stack) -> None:
    stack.start()

    def nothing_wrong() -> Findings | None:
        code, findings = examined(stack)
        return findings if (code, wrong(findings)) == (0, []) else None

    def told(text: str) -> bool:
        return any(text in found["what"] for found in examined(stack)[1])

    try:
        findings = wait_for(nothing_wrong, WITHIN_S)
        assert any("all roles are ready" in found["what"] for found in findings)
        victim = stack.role("worker")["pid"]
        os.kill(victim, signal.SIGKILL)
        wait_for(lambda: stack.role("worker")["pid"] not in (None, victim), WITHIN_S)
        stack.wait_ready()
        wait_for(lambda: told("worker was started again"), WITHIN_S)
        api = stack.role("api")["pid"]
        os.kill(api, signal.SIGSTOP)
        try:
            code, findings = examined(stack)
        finally:
            os.kill(api, signal.SIGCONT)
        assert code == 1
        assert any("does not answer" in what for what in wrong(findings)), findings
    finally:
        stack.stop()


def test_a_file_that_a_pool_left_is_named_until_it_is_removed(stack: Stack) -> None:
    stack.start()
    try:
        with closing(Session(stack.url, login(stack))) as session:
            for pool in ("used", "gone"):
                made, _ = session.ask(
                    "PUT", f"/queue/v2/pools/{pool}", {"uri": f"sqlite:{pool}", "weight": 1}
                )
                assert made == 201
            assert session.ask("DELETE", "/queue/v2/pools/gone")[0] == 204
    finally:
        stack.stop()
    file = stack.data / "pools" / "gone.db"
    code, findings = examined(stack)
    assert (code, wrong(findings)) == (0, [])
    named = [found for found in findings if "no pool is in it" in found["what"]]
    assert [found["what"].partition(":")[0] for found in named] == ["pools/gone.db"]
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("insert into departing values ('p', 'dead', 7, 2)")
        connection.execute(
            "insert into message (content_id, sequence, token, created_ms, expires_ms, ttl_s,"
            " deliveries, client_id, body) values (7, 1, 1, 1, 1, 60, 0, x'00', x'31')"
        )
    code, findings = examined(stack)
    assert code == 1
    assert "1 messages are, on their way" in wrong(findings)[0]
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("delete from departing")  # what is left is for the sweep
    assert examined(stack)[0] == 0
    subprocess.run(["/bin/sh", "-c", named[0]["advice"]], check=True)
    assert not file.exists()
    code, findings = examined(stack)
    assert (code, wrong(findings)) == (0, [])
    assert not any("gone.db" in found["what"] for found in findings)
    stack.start()
    stack.stop()


def test_a_shard_that_is_gone_or_was_emptied_is_named(stack: Stack) -> None:
    shutil.copy(stack.data / "queue.db", stack.data / "queue-1.db")
    with closing(sqlite3.connect(stack.data / "queue.db")) as connection, connection:
        connection.execute("insert into directory values ('queues', x'00', 'shard-1', x'00')")
    shard = stack.data / "queue-1.db"
    with closing(sqlite3.connect(shard)) as connection, connection:
        connection.execute("delete from member")
        connection.execute("insert into member (store, identity) values ('shard-1', '')")
    assert wrong(examined(stack)[1]) == []
    with closing(sqlite3.connect(shard)) as connection, connection:
        connection.execute("delete from member")
    told = ["queue-1.db: is gone, or new and empty, and there were queues in it"]
    assert wrong(examined(stack)[1]) == told
    shard.unlink()
    code, findings = examined(stack)
    assert (code, wrong(findings)) == (1, told)


def test_a_database_server_is_asked_and_what_warns_is_told(tmp_path: Path) -> None:
    with fresh_database() as server:
        stack = Stack(tmp_path / "data", {"TRANSOM_DATABASE__URL": server.url})
        try:
            stack.start()
            code, findings = examined(stack)
            assert (code, wrong(findings)) == (0, [])
            assert sum("MiB, of this version" in found["what"] for found in findings) == 3
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
