"""A whole Transom whose data are in PostgreSQL, and its main job."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from support.load import Producer, Session, check_kept, login, read_all
from support.postgres import Server, fresh_database
from support.stack import Stack, wait_for

PASSWORD = "pl4nted-s3cret"
SCHEMAS = "select nspname from pg_namespace where nspname like 'transom%' order by 1"
TABLES = "select count(*) from transom_queue.message"


def with_password(url: str) -> str:
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    netloc = f"{user.partition(':')[0]}:{PASSWORD}@{host}"
    return urlunsplit((parts.scheme, netloc, parts.path, parts.query, ""))


@pytest.fixture(scope="module")
def empty() -> Iterator[Server]:
    with fresh_database() as made:
        yield made


@pytest.fixture(scope="module")
def stack(empty: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    running = Stack(tmp_path_factory.mktemp("stack") / "data")
    done = running.transom(
        "up", "--detach", "--port", "0", "--database", with_password(empty.url), check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr + running.logs()
    assert done.stderr.count("TRANSOM_DATABASE__URL") == 1
    assert PASSWORD not in done.stdout + done.stderr
    assert f"database  {urlsplit(empty.url).netloc.rpartition('@')[2]}/" in done.stdout
    try:
        yield running
    finally:
        running.stop()


def asked(server: Server, sql: str) -> list[tuple[object, ...]]:
    return [tuple(row) for row in asyncio.run(server.ask(sql))]


def test_the_main_job(stack: Stack, empty: Server) -> None:
    session = Session(stack.url, login(stack))
    assert session.ask("PUT", "/queue/v2/queues/jobs", {})[0] == 201
    bodies = [{"body": {"n": n}, "ttl": 300} for n in range(20)]
    status, answer = session.ask("POST", "/queue/v2/queues/jobs/messages", {"messages": bodies})
    assert (status, len(answer["resources"])) == (201, 20)
    done = []
    while True:
        status, claim = session.ask(
            "POST", "/queue/v2/queues/jobs/claims?limit=7", {"ttl": 100, "grace": 60}
        )
        if status == 204:
            break
        assert status == 201
        for message in claim["messages"]:
            done.append(message["body"]["n"])
            assert session.ask("DELETE", "/queue" + message["href"])[0] == 204
    assert done == list(range(20))
    assert [row[0] for row in asked(empty, SCHEMAS)] == [
        "transom_identity", "transom_keys", "transom_queue",
    ]  # fmt: skip
    assert asked(empty, TABLES) == [(0,)]
    assert not list(stack.data.glob("*.db*")), "nothing is in files"
    session.close()


def test_a_nul_in_a_name_is_the_callers_fault(stack: Stack) -> None:
    session = Session(stack.url, login(stack))
    status, answer = session.ask("GET", "/identity/v3/users?name=a%00b")
    assert (status, "NUL" in str(answer)) == (400, True)
    session.close()


def test_a_table_can_be_watched(stack: Stack) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "transom.cli", "tables", "watch", "queue:queues",
         "--data-dir", str(stack.data)],
        env=stack.environment, stdout=subprocess.PIPE, text=True,
    ) as watching:  # fmt: skip
        assert watching.stdout is not None
        session = Session(stack.url, login(stack))
        assert session.ask("PUT", "/queue/v2/queues/watched", {})[0] == 201
        try:
            for line in watching.stdout:
                if "name=watched" in line:
                    break
            else:
                raise AssertionError("it never came")
        finally:
            watching.terminate()
            session.close()


def test_the_address_is_in_no_argument_of_a_child_and_in_no_log(
    stack: Stack, empty: Server
) -> None:
    pids = [role["pid"] for role in stack.status()["roles"]] + [stack.status()["pid"]]
    assert len(set(pids)) >= 3
    for pid in pids:
        for process in (pid, parent_of(pid)):
            if process > 1:
                line = Path(f"/proc/{process}/cmdline").read_bytes()
                assert PASSWORD.encode() not in line
                variables = Path(f"/proc/{process}/environ").read_bytes()
                assert PASSWORD.encode() not in variables
    assert PASSWORD not in stack.logs()
    remembered = stack.data / "database.url"
    assert PASSWORD in remembered.read_text()
    assert remembered.stat().st_mode & 0o777 == 0o600
    assert PASSWORD not in stack.transom("config", "show").stdout


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_later_commands_need_no_address_and_kills_lose_nothing(stack: Stack, empty: Server) -> None:
    assert stack.transom("db", "upgrade").stdout.endswith("nothing to do\n")
    token = login(stack)
    producers = [Producer(stack, token, "fire", name) for name in range(3)]
    for producer in producers:
        producer.start()
    wait_for(lambda: all(len(producer.acknowledged) > 20 for producer in producers), 20)
    os.kill(stack.role("api")["pid"], signal.SIGKILL)
    asked(empty, "select pg_terminate_backend(pid) from pg_stat_activity "
                 "where application_name like 'transom%'")  # fmt: skip
    counts = [len(producer.acknowledged) for producer in producers]
    wait_for(
        lambda: all(
            len(producer.acknowledged) > count + 20
            for producer, count in zip(producers, counts, strict=True)
        ),
        30,
    )
    for producer in producers:
        producer.stop()
    stack.stop()
    stack.environment["TRANSOM_API__WORKERS"] = "2"
    stack.start()
    session = Session(stack.url, login(stack))
    check_kept(producers, read_all(session, "fire"))
    session.close()
    both = [Producer(stack, login(stack), "both", name) for name in range(4)]
    for producer in both:
        producer.start()
    wait_for(lambda: all(len(producer.acknowledged) > 30 for producer in both), 30)
    for producer in both:
        producer.stop()
    session = Session(stack.url, login(stack))
    check_kept(both, read_all(session, "both"))
    session.close()


def test_a_folder_with_files_is_not_moved_to_a_server_unseen(empty: Server, tmp_path: Path) -> None:
    folder = Stack(tmp_path / "data")
    folder.data.mkdir()
    (folder.data / "version").write_text("1\n")
    (folder.data / "queue.db").touch()
    done = folder.transom("up", "--port", "0", "--database", empty.url, check=False)
    assert done.returncode == 1
    assert "this folder's data are in files" in done.stderr
    assert not (folder.data / "database.url").exists()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://u:pl4nted@h/x", "postgresql://"),
        ("postgresql://u:pl4nted@h:99x/x", "no number"),
        ("postgresql://u:pl4nted@h", "names no database"),
    ],
)
def test_an_address_that_cannot_be_used_is_told_without_its_password(
    tmp_path: Path, url: str, says: str
) -> None:
    folder = Stack(tmp_path / "data")
    done = folder.transom("up", "--detach", "--port", "0", "--database", url, check=False)
    assert done.returncode == 1
    assert says in done.stderr + done.stdout
    assert "pl4nted" not in done.stderr + done.stdout + folder.logs()


def test_two_addresses_are_refused(tmp_path: Path, empty: Server) -> None:
    folder = Stack(tmp_path / "data", {"TRANSOM_DATABASE__URL": "postgresql://u@h/other"})
    done = folder.transom("up", "--port", "0", "--database", empty.url, check=False)
    assert done.returncode == 1
    assert "leave one of them out" in done.stderr
