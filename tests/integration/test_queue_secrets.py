"""Encrypted queues in whole stacks: nothing plain on disk or in logs, and keys that change."""

import base64
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.load import Session, login
from support.postgres import fresh_database
from support.stack import Stack

WORD = "a-word-that-only-its-readers-may-see"
BODY = {"text": WORD}
MESSAGES = "/queue/v2/queues/sealed/messages"
PATIENT = {"TRANSOM_LOG__LEVEL": "DEBUG", "TRANSOM_LOG__REQUESTS": "true"}


def asked(session: Session, method: str, path: str, body: Any = None) -> Any:
    status, answer = session.ask(method, path, body)
    assert status < 300, (method, path, status, answer)
    return answer


def bodies(session: Session) -> list[Any]:
    return [one["body"] for one in asked(session, "GET", f"{MESSAGES}?echo=true")["messages"]]


def make_queue(session: Session) -> None:
    asked(session, "PUT", "/queue/v2/queues/sealed", {"_enable_encrypt_messages": True})


def post(session: Session) -> None:
    asked(session, "POST", MESSAGES, {"messages": [{"body": BODY}]})


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    stack = Stack(tmp_path / "data", PATIENT)
    try:
        yield stack.start()
    finally:
        stack.stop()


def data_keys(stack: Stack) -> list[bytes]:
    with sqlite3.connect(stack.data / "queue.db") as connection:
        return [row[0] for row in connection.execute("select sealed from project_key")]


def test_neither_bodies_nor_keys_are_found_in_files_or_logs(stack: Stack) -> None:
    session = Session(stack.url, login(stack))
    make_queue(session)
    for _ in range(20):
        post(session)
    assert bodies(session) == [BODY] * 10
    claimed = asked(session, "POST", "/queue/v2/queues/sealed/claims", {})
    assert claimed["messages"][0]["body"] == BODY
    master = base64.b64decode((stack.data / "keys" / "master.key").read_text().split()[0])
    session.close()

    def check() -> None:
        places = [path for path in stack.data.rglob("*") if path.is_file()]
        assert any(path.name == "queue.db" for path in places)
        for path in places:
            content = path.read_bytes()
            assert WORD.encode() not in content, path
            assert path.name == "master.key" or master not in content, path

    assert (stack.data / "queue.db-wal").stat().st_size > 0
    check()
    stack.stop()
    check()


def test_the_master_key_and_the_data_keys_are_changed_while_it_runs(stack: Stack) -> None:
    session = Session(stack.url, login(stack))
    make_queue(session)
    post(session)
    before = data_keys(stack)
    rotated = stack.transom("secrets", "rotate", check=False)
    assert "queue (1)" in rotated.stdout, rotated.stdout + rotated.stderr + stack.logs()
    assert data_keys(stack) != before
    post(session)
    assert stack.transom("queue", "rotate-keys", "nobody").stdout.startswith("nothing to do")
    assert "under key 2 now" in stack.transom("queue", "rotate-keys").stdout
    post(session)
    assert bodies(session) == [BODY] * 3
    stack.transom("secrets", "rotate")
    stack.transom("secrets", "rotate")  # the first master key is gone now
    session.close()
    stack.stop()
    assert "under key 3 now" in stack.transom("queue", "rotate-keys").stdout
    stack.transom("secrets", "rotate")
    stack.start()
    session = Session(stack.url, login(stack))
    assert bodies(session) == [BODY] * 3
    session.close()


def test_a_pool_that_is_away_is_named_and_the_others_are_done(stack: Stack) -> None:
    session = Session(stack.url, login(stack))
    make_queue(session)
    post(session)
    with fresh_database() as server:
        asked(session, "PUT", "/queue/v2/pools/east", {"uri": server.url, "weight": 1})
    session.close()

    def told(*command: str) -> str:
        done = stack.transom(*command, check=False)
        assert done.returncode == 1, done.stdout + done.stderr
        assert "not done in pool-east (" in done.stderr
        assert f"run `transom {' '.join(command[:2])}` again" in done.stderr
        assert "nothing to do" not in done.stdout
        return done.stdout

    for generation in (2, 3):
        assert f"under key {generation} now" in told("queue", "rotate-keys")
        before = (stack.data / "keys" / "master.key").read_text()
        told("secrets", "rotate")
        assert (stack.data / "keys" / "master.key").read_text() == before
        told("queue", "rotate-keys", "nobody")
        stack.stop()
    stack.start()
    session = Session(stack.url, login(stack))
    assert bodies(session) == [BODY]
    session.close()


def test_a_backup_brings_encrypted_queues_back(stack: Stack, tmp_path: Path) -> None:
    session = Session(stack.url, login(stack))
    make_queue(session)
    post(session)
    session.close()
    stack.transom("backup", str(tmp_path / "backup.tar"))
    stack.stop()
    restored = Stack(tmp_path / "restored")
    restored.transom("restore", str(tmp_path / "backup.tar"))
    try:
        restored.start()
        session = Session(restored.url, login(restored))
        assert bodies(session) == [BODY]
        post(session)
        session.close()
    finally:
        restored.stop()


def test_master_keys_that_the_running_ones_lack_are_told_and_nothing_is_lost(
    tmp_path: Path,
) -> None:
    first, second = (base64.b64encode(os.urandom(32)).decode() for _ in range(2))
    stack = Stack(tmp_path / "data", {"TRANSOM_SECRETS__MASTER_KEY": first})
    try:
        session = Session(stack.start().url, login(stack))
        make_queue(session)
        post(session)
        session.close()
        stack.environment["TRANSOM_SECRETS__MASTER_KEY"] = f"{second},{first}"
        done = stack.transom("secrets", "rotate", check=False)
        assert done.returncode == 1
        assert "start it anew" in done.stderr
        stack.stop()
        stack.start()
        assert "queue (1)" in stack.transom("secrets", "rotate").stdout
        stack.stop()
        stack.environment["TRANSOM_SECRETS__MASTER_KEY"] = second
        session = Session(stack.start().url, login(stack))
        assert bodies(session) == [BODY]
        session.close()
    finally:
        stack.stop()
