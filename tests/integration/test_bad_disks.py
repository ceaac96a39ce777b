# SPDX-License-Identifier: Apache-2.0
"""A disk that is full, read-only or failing under a whole stack: writes are refused, reads go on.

Needs root, `unshare` and `strace`.
"""

import http.client
import json
import os
import signal
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from support.load import Session, login
from support.places import small_disk
from support.refusal import refused
from support.stack import Stack, get, running, wait_for

UP = ("up", "--port", "0")
QUEUE = "/queue/v2/queues/full"


def post(session: Session, size: int = 1000) -> tuple[int, Any]:
    body = {"messages": [{"body": "x" * size, "ttl": 300}]}
    return session.ask("POST", f"{QUEUE}/messages", body)


def readable(session: Session) -> set[int]:
    paths = (QUEUE, f"{QUEUE}/messages?echo=true&limit=1", "/queue/v2/queues", f"{QUEUE}/stats")
    return {session.ask("GET", path)[0] for path in paths}


def test_on_a_full_disk_writes_are_refused_and_reads_go_on_until_there_is_space(
    tmp_path: Path,
) -> None:
    with small_disk(tmp_path / "disk", "4m") as disk:
        stack = disk.stack()
        try:
            session = Session(stack.start().url, login(stack))
            assert session.ask("PUT", QUEUE, {})[0] == 201
            assert post(session)[0] == 201
            disk.fill()
            while (answer := post(session, 20_000))[0] == 201:
                pass
            assert answer[0] == 507
            assert answer[1]["description"] == (
                "No space is left for writes; free some and try again."
            )
            assert session.ask("PUT", QUEUE + "more", {})[0] == 507
            assert session.ask("POST", f"{QUEUE}/claims", {})[0] == 507
            assert readable(session) == {200}
            assert login(stack)
            found = stack.status()
            assert [role["restarts"] for role in found["roles"]] == [0, 0, 0, 0]
            disk.free()
            assert post(session)[0] == 201
            assert session.ask("POST", f"{QUEUE}/claims", {})[0] == 201
            session.close()
        finally:
            stack.stop()
        assert "Logging error" not in stack.logs()


def test_a_start_on_a_full_or_read_only_disk_is_told_and_works_again_afterwards(
    tmp_path: Path,
) -> None:
    with small_disk(tmp_path / "disk", "4m") as disk:
        stack = disk.stack()
        try:
            stack.start().stop()
            disk.fill()
            for name in ("data", "new"):
                assert refused(disk.stack(name), *UP) == (
                    f"{disk.path / name}: cannot be used: No space left on device; free some "
                    "space, or choose another folder with --data-dir"
                )
            assert not [path.name for path in stack.data.iterdir() if path.name.startswith(".")]
            disk.free()
            disk.mount("remount,ro")
            told = "cannot be used: Read-only file system; choose another folder with --data-dir"
            assert refused(disk.stack("new"), *UP) == f"{disk.path / 'new' / 'lock'}: {told}"
            assert refused(stack, *UP) == f"{disk.path / 'data' / 'lock'}: {told}"
            disk.mount("remount,rw")
            assert stack.start().status()["ready"]
        finally:
            stack.stop()


def test_logs_that_have_no_space_cost_nothing_but_lines(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "64k") as disk:
        stack = disk.stack()
        stack.place = tmp_path / "data"
        stack.data = tmp_path / "data"
        stack.data.mkdir(mode=0o700)
        (stack.data / "logs").symlink_to(disk.path)
        (stack.data / "version").write_text("1\n")
        stack.environment["TRANSOM_LOG__REQUESTS"] = "yes"
        disk.fill()
        (disk.seen / "filler").write_bytes(bytes(16384))
        try:
            session = Session(stack.start().url, login(stack))
            assert session.ask("PUT", QUEUE, {})[0] == 201
            (disk.seen / "filler").unlink()
            disk.fill()
            assert {post(session)[0] for _ in range(100)} == {201}
            assert readable(session) == {200}
            assert stack.status()["ready"]
            session.close()
        finally:
            stack.stop()


@contextmanager
def failing_syncs(pid: int, path: Path, log: Path) -> Iterator[None]:
    """While inside, no sync of the file at `path` by that process succeeds."""
    command = ["strace", "-f", "-p", str(pid), "-P", str(path), "-o", str(log), "-e",
               "trace=fdatasync,fsync", "-e", "inject=fdatasync,fsync:error=EIO"]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
        assert strace.stderr is not None
        try:
            assert "attached" in strace.stderr.readline()
            yield
        finally:
            strace.send_signal(signal.SIGINT)


def refusal_of(stack: Stack, token: str) -> tuple[int, str | None, str]:
    """Of a post: status, Retry-After and what it says."""
    link = http.client.HTTPConnection(urlsplit(stack.url).netloc, timeout=10)
    headers = {
        "X-Auth-Token": token, "Client-ID": str(uuid.uuid4()), "Content-Type": "application/json",
    }  # fmt: skip
    body = json.dumps({"messages": [{"body": "x", "ttl": 300}]})
    try:
        link.request("POST", f"{QUEUE}/messages", body, headers)
        answer = link.getresponse()
        said = json.loads(answer.read())
        return answer.status, answer.headers["Retry-After"], said.get("description", "")
    finally:
        link.close()


def test_after_a_failed_sync_writes_are_refused_until_the_role_is_started_anew(
    tmp_path: Path,
) -> None:
    with running(tmp_path / "data") as stack:
        token = login(stack)
        session = Session(stack.url, token)
        assert session.ask("PUT", QUEUE, {})[0] == 201
        assert post(session)[0] == 201
        api = stack.role("api")["pid"]
        unknown = "The write may or may not have been kept; look before you repeat it."
        with failing_syncs(api, stack.data / "queue.db-wal", tmp_path / "strace"):
            assert refusal_of(stack, token) == (503, "5", unknown)
        assert "INJECTED" in (tmp_path / "strace").read_text()
        told = (503, "5", "The store takes no writes now; reads go on.")
        assert refusal_of(stack, token) == told  # though the disk is well again
        assert readable(session) == {200}
        assert get(f"{stack.url}/healthz")[0] == 200
        assert get(f"{stack.url}/readyz") == (
            503, b'{"status":"not ready","checks":{"identity":true,"queue":false}}'
        )  # fmt: skip
        role = wait_for(lambda: (found := stack.role("api")).get("problem") and found)
        assert not role["ready"]
        assert role["problem"].startswith("takes no writes to queue.db, whose disk failed; ")
        shown = stack.transom("status", check=False)
        assert shown.returncode == 3
        assert role["problem"] in shown.stdout
        os.kill(api, signal.SIGTERM)
        wait_for(lambda: (found := stack.role("api"))["ready"] and found["pid"] != api, 30)
        session.close()
        assert post(session)[0] == 201
        assert not (stack.data / "queue.db.poisoned").exists()
        session.close()
