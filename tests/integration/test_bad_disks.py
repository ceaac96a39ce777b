# SPDX-License-Identifier: Apache-2.0
"""A disk that is full, read-only or failing under a whole stack: writes are refused, reads go on.

Needs root, `unshare` and `strace`.
"""

import http.client
import json
import os
import signal
import sqlite3
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from support.keyed import Keyed, KeyedSocket, Numbered
from support.load import Session, login
from support.parts import listing
from support.places import small_disk
from support.refusal import refused
from support.stack import Stack, get, running, wait_for
from support.strict_receiver import StrictReceiver, strict_receiver
from support.whole_fire import NEEDS, POLICY

UP = ("up", "--port", "0")
QUEUES = "/queue/v2/queues"
QUEUE = f"{QUEUES}/full"
MOST = 20


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


def test_a_disk_that_messages_have_filled_is_emptied_by_those_who_take_them(
    tmp_path: Path,
) -> None:
    with small_disk(tmp_path / "disk", "48m") as disk:
        stack = disk.stack()
        try:
            session = Session(stack.start().url, login(stack))
            posted = 0
            while (answer := post(session, 50_000))[0] == 201:
                posted += 1
            assert (answer[0], posted > 100) == (507, True)
            assert session.ask("PUT", QUEUE + "more", {})[0] == 507
            taken = 0
            while (claim := session.ask("POST", f"{QUEUE}/claims?limit=10", {}))[0] == 201:
                ids = [message["id"] for message in claim[1]["messages"]]
                assert session.ask("DELETE", f"{QUEUE}/messages?ids={','.join(ids)}")[0] == 204
                taken += len(ids)
            assert taken == posted
            wait_for(lambda: post(session)[0] == 201, 10)
            session.close()
        finally:
            stack.stop()


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
            503, b'{"status":"not ready","checks":{"identity":true,"queue":false,"keys":true}}'
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


def subscribe(session: Session, queue: str, receiver: StrictReceiver) -> None:
    wanted = {"subscriber": f"{receiver.url}/{queue}", "options": {"_retry_policy": POLICY}}
    assert session.ask("POST", f"{QUEUES}/{queue}/subscriptions", wanted)[0] == 201


def settled(session: Session, poster: Keyed, queue: str, receiver: StrictReceiver) -> None:
    """What was acknowledged is there once and in order, and the subscriber hears it so."""
    found = [Numbered.of(one["body"]) for one in listing(session, queue)]
    assert poster.missing(queue, found) == []
    path = f"/{queue}"
    wait_for(lambda: receiver.has(path, len(found)), 60)
    assert [Numbered.of(text) for text in receiver.first_times(path)] == found


def goes_on(poster: Keyed, queue: str) -> None:
    before = len(poster.posted[queue])
    wait_for(lambda: poster.failed or len(poster.posted[queue]) > before + MOST, 60)
    assert poster.failed is None, poster.failed


def test_when_a_disk_gets_full_under_load_nothing_is_lost_or_doubled_and_all_goes_on(
    tmp_path: Path,
) -> None:
    with small_disk(tmp_path / "disk", "48m") as disk, strict_receiver(1) as receiver:
        stack = disk.stack()
        stack.environment |= NEEDS
        try:
            token = login(stack.start())
            posters = [Keyed(stack, token, ["a"], "http"), KeyedSocket(stack, token, ["b"], "ws")]
            with closing(Session(stack.url, token)) as session:
                for queue in "ab":
                    assert session.ask("PUT", f"{QUEUES}/{queue}", {})[0] == 201
                    subscribe(session, queue, receiver)
                for poster in posters:
                    poster.start()
                for _ in range(2):
                    for poster, queue in zip(posters, "ab", strict=True):
                        goes_on(poster, queue)
                    before = [poster.refused for poster in posters]
                    disk.fill()
                    wait_for(
                        lambda before=before: all(
                            poster.refused > most + MOST
                            for poster, most in zip(posters, before, strict=True)
                        ),
                        60,
                    )
                    disk.free()
                for poster, queue in zip(posters, "ab", strict=True):
                    goes_on(poster, queue)
                    poster.stop()
                    settled(session, poster, queue, receiver)
            assert [role["restarts"] for role in stack.status()["roles"]] == [0, 0, 0, 0]
        finally:
            stack.stop()


def test_a_file_whose_disk_fails_keeps_no_other_file_from_being_written(tmp_path: Path) -> None:
    names = [f"q{number}" for number in range(40)]  # so many that each file has some
    stack = Stack(tmp_path / "data", NEEDS | {"TRANSOM_QUEUE__SHARDS": "3"})
    with strict_receiver(2) as receiver:
        try:
            token = login(stack.start())
            with closing(Session(stack.url, token)) as session:
                for name in names:
                    assert session.ask("PUT", f"{QUEUES}/{name}", {})[0] == 201
                of = placed(stack)
                sick, well = (
                    next(name for name in names if of[name] == store) for store in ("shard-1", "")
                )
                posters = {name: Keyed(stack, token, [name], f"of {name}") for name in (sick, well)}
                for name, poster in posters.items():
                    subscribe(session, name, receiver)
                    poster.start()
                for name, poster in posters.items():
                    goes_on(poster, name)
                api = stack.role("api")["pid"]
                with failing_syncs(api, stack.data / "queue-1.db-wal", tmp_path / "strace"):
                    wait_for(lambda: posters[sick].refused > MOST)
                kept = len(posters[sick].posted[sick])
                goes_on(posters[well], well)
                assert len(posters[sick].posted[sick]) == kept
                assert session.ask("GET", f"{QUEUES}/{sick}/messages?echo=true")[0] == 200
                role = wait_for(lambda: (found := stack.role("api")).get("problem") and found)
                assert "queue-1.db" in role["problem"]
                os.kill(api, signal.SIGTERM)
                session.close()
                for name, poster in posters.items():
                    goes_on(poster, name)
                    poster.stop()
                    settled(session, poster, name, receiver)
            assert stack.role("worker")["restarts"] == 0
        finally:
            stack.stop()


def placed(stack: Stack) -> dict[str, str]:
    """Name of a queue -> name of its store."""
    with closing(sqlite3.connect(f"file:{stack.data}/queue.db?mode=ro", uri=True)) as home:
        return dict(home.execute("select name, store from placed"))
