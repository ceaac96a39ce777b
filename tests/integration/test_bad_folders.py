# SPDX-License-Identifier: Apache-2.0
"""A data folder that is not as it should be: one line that says what to do, and nothing damaged."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.load import Session, login
from support.refusal import listing, refused
from support.stack import Stack

UP = ("up", "--port", "0")
RANDOM = bytes(range(7, 251)) * 400


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that was in use, with a queue in it."""
    stack = Stack(tmp_path_factory.mktemp("used") / "data").start()
    session = Session(stack.url, login(stack))
    assert session.ask("PUT", "/queue/v2/queues/kept", {})[0] == 201
    session.close()
    stack.stop()
    return stack.data


@pytest.fixture
def stack(tmp_path: Path, used: Path) -> Iterator[Stack]:
    stack = Stack(tmp_path / "data")
    shutil.copytree(used, stack.data)
    yield stack
    stack.stop()


def serves(stack: Stack) -> bool:
    """Starts it; whether the queue is there and another one can be made."""
    session = Session(stack.start().url, login(stack))
    kept = session.ask("GET", "/queue/v2/queues/kept")[0] == 200
    made = session.ask("PUT", "/queue/v2/queues/more", {})[0] == 201
    session.close()
    return kept and made


def replaced(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda data: (data / name).write_bytes(content)


def garbled(name: str, at: int) -> Callable[[Path], object]:
    def garble(data: Path) -> None:
        with (data / name).open("r+b") as file:
            file.seek(at)
            file.write(RANDOM)

    return garble


def cut(name: str, size: int) -> Callable[[Path], object]:
    def cut_off(data: Path) -> None:
        with (data / name).open("r+b") as file:
            file.truncate(size)

    return cut_off


def in_the_way(name: str) -> Callable[[Path], object]:
    """A folder where a file should be, or a file where a folder should be."""

    def put(data: Path) -> None:
        path = data / name
        if path.is_dir():
            shutil.rmtree(path)
            path.write_bytes(b"")
        else:
            path.unlink(missing_ok=True)
            path.mkdir()

    return put


DAMAGED = (
    "{data}/{name}: the database is damaged; restore it from a backup, or move it and the files "
    "beside it away to begin anew"
)


@pytest.mark.parametrize(
    ("who", "name", "spoil"),
    [
        ("api, worker", "queue.db", replaced("queue.db", bytes(120_000))),
        ("api, worker", "identity.db", garbled("identity.db", 100)),
    ],
)
def test_a_damaged_database_is_told_and_left_as_it_is(
    stack: Stack, who: str, name: str, spoil: Callable[[Path], object]
) -> None:
    spoil(stack.data)
    (stack.data / f"{name}-wal").write_bytes(b"")
    before = (stack.data / name).read_bytes()
    assert refused(stack, *UP) == f"{who}: " + DAMAGED.format(data=stack.data, name=name)
    assert (stack.data / name).read_bytes() == before


def test_a_damaged_database_that_was_moved_away_is_begun_anew(stack: Stack) -> None:
    garbled("queue.db", 100)(stack.data)
    refused(stack, *UP)
    (stack.data / "queue.db").rename(stack.data / "queue.db.damaged")
    session = Session(stack.start("--single-process").url, login(stack))
    assert session.ask("GET", "/queue/v2/queues")[1]["queues"] == []
    session.close()


AWAY = "move it away, or choose another folder with --data-dir"
NO_FORMAT = "{data}/version: holds no format number; restore the folder from a backup"


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (cut("keys/token-1.key", 5), "{data}/keys/token-1.key: is no key of tokens; "),
        (in_the_way("identity.generation"), "{data}/identity.generation: cannot be used: Is a dir"),
        (in_the_way("clouds.yaml"), "{data}/clouds.yaml: is no file; move it away"),
        (replaced("clouds.yaml", b"{{{"), "clouds.yaml: not YAML (line 1); repair it, or delete "),
        (in_the_way("logs/supervisor.log"), "{data}/logs/supervisor.log: cannot be written: Is a "),
        (in_the_way("keys"), "{data}/keys: cannot be used: File exists; " + AWAY),
        (in_the_way("state.json"), "{data}/state.json: cannot be used: Is a directory; " + AWAY),
        (replaced("version", b"\xff\xfe"), NO_FORMAT),
        (replaced("version", "\u00b2\n".encode()), NO_FORMAT),
    ],
)
def test_what_is_in_the_way_is_named(
    stack: Stack, spoil: Callable[[Path], object], line: str
) -> None:
    spoil(stack.data)
    said = refused(stack, *UP, "--single-process")
    assert said.startswith(line.format(data=stack.data))


def test_what_can_be_made_anew_is(stack: Stack) -> None:
    """A password of the service that does not fit, an empty counter, marks of dead processes."""
    (stack.data / "keys" / "service.password").write_bytes(bytes(range(128, 228)))
    (stack.data / "identity.generation").write_bytes(b"")
    (stack.data / "state.json").write_text("{")
    (stack.data / "lock").write_text("banana")
    (stack.data / "queue.db.lock").write_text("9" * 40)
    (stack.data / "keys" / "token-1.key").unlink()
    (stack.data / "queue.db-wal").write_bytes(RANDOM)
    assert serves(stack)


@pytest.mark.parametrize("command", [UP, ("db", "upgrade")])
def test_a_newer_format_is_left_as_it_is(stack: Stack, command: tuple[str, ...]) -> None:
    (stack.data / "version").write_text("2\n")
    before = listing(stack.data)
    assert "has format 2, from a newer Transom" in refused(stack, *command)
    assert listing(stack.data) == before


def test_a_newer_schema_is_left_as_it_is(stack: Stack) -> None:
    path = stack.data / "queue.db"
    with sqlite3.connect(path) as database:
        database.execute("insert into schema_version values ('queue', 9000, '9000_before_x', 1)")
    database.close()
    before = path.read_bytes()
    told = "made by a newer Transom (queue/9000 is not known here); install that version, or "
    line = refused(stack, *UP, "--single-process")
    assert line == f"{path}: {told}choose another data folder or database"
    assert (
        refused(stack, "db", "upgrade") == f"{path}: {told}choose another data folder or database"
    )
    assert path.read_bytes() == before


def test_an_older_schema_is_told_and_healed_by_the_upgrade(stack: Stack) -> None:
    path = stack.data / "queue.db"
    with sqlite3.connect(path) as database:
        for table in ("pointer", "feed", "feed_digest", "feed_log", "feed_row"):
            database.execute(f"drop table {table}")
        database.execute("delete from schema_version where room = 'node' and number = 2")
    database.close()
    line = refused(stack, *UP)
    assert line == (
        f"api, worker: {path}: made by an older Transom (lacks node/0002_before_feed); "
        "run: transom db upgrade"
    )
    assert stack.transom("db", "upgrade").stdout == "applied node/0002_before_feed to queue\n"
    assert stack.transom("db", "upgrade").stdout == f"{stack.data}: nothing to do\n"
    assert serves(stack)


def test_a_folder_that_is_not_ours_is_left_as_it_is(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "thesis")
    stack.data.mkdir()
    (stack.data / "thesis.tex").write_text("x")
    before = listing(tmp_path)
    told = f"{stack.data}: is not empty and not a data folder (it holds 'thesis.tex'); "
    assert refused(stack, *UP) == f"{told}choose another folder with --data-dir"
    assert refused(stack, "run", "api").startswith(told)
    assert refused(stack, "db", "upgrade").startswith(told)
    assert listing(tmp_path) == before


def test_what_is_no_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("x")
    stack = Stack(tmp_path / "data")
    assert refused(stack, *UP) == (
        f"{stack.data / 'version'}: cannot be used: Not a directory; move it away, or choose "
        "another folder with --data-dir"
    )
    assert refused(Stack(tmp_path / "absent"), "db", "upgrade") == (
        f"{tmp_path / 'absent'}: is no data folder; name another with --data-dir"
    )
    assert not (tmp_path / "absent").exists()


def test_a_folder_whose_making_was_cut_short_is_made_whole(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "data")
    stack.data.mkdir(mode=0o755)
    for name in ("lock", ".version.4711"):
        (stack.data / name).write_text("")
    try:
        assert stack.start().status()["ready"]
    finally:
        stack.stop()
