"""The drill: a backup under load, a disaster, a restore, and what everybody sees after it."""

import io
import json
import os
import shutil
import sqlite3
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from support.load import Producer, Session, check_kept, login, read_all, read_messages
from support.stack import Stack, wait_for
from support.watching import Row, Watcher, queue_rows

QUEUES = ("a", "b")


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    stack = Stack(tmp_path / "data")
    try:
        yield stack.start()
    finally:
        stack.stop()


def rows_of(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def test_the_drill(stack: Stack, tmp_path: Path) -> None:
    token = login(stack)
    producers = [Producer(stack, token, queue, at) for at, queue in enumerate(QUEUES)]
    for producer in producers:
        producer.start()
    wait_for(lambda: all(len(producer.acknowledged) > 50 for producer in producers))
    acknowledged = [list(producer.acknowledged) for producer in producers]
    archive = tmp_path / "night.tar"
    said = stack.transom("backup", str(archive)).stdout
    assert "keep it safe" in said
    assert archive.stat().st_mode & 0o777 == 0o600

    # What comes after the backup will be lost, and must leave no confusion behind.
    with closing(Session(stack.url, token)) as session:
        assert session.ask("PUT", "/queue/v2/queues/late", {})[0] == 201
        session.ask("POST", "/queue/v2/queues/late/messages", {"messages": [{"body": 1}]})
        revoked = session.new_token()
        assert revoked
        assert session.revoke(revoked) == 204
        wait_for(lambda: all(len(it.acknowledged) > 200 for it in producers), 60)
        for producer in producers:
            producer.stop()
        last = {queue: read_messages(session, queue)[-1]["id"] for queue in (*QUEUES, "late")}
        watcher = Watcher(stack, "queue:queues")
        assert watcher.differs(by_key(session)) == []
    before = rows_of(stack.data / "queue.db", "select epoch, n from feed")

    stack.stop()  # the watcher stays, and waits
    stack.data.rename(tmp_path / "broken")
    assert "can be restored" in stack.transom("restore", "--check", str(archive)).stdout
    assert not stack.data.exists()
    assert "restored" in stack.transom("restore", str(archive)).stdout
    assert os.listdir(tmp_path / "data")
    assert not (tmp_path / ".data.restoring").exists()
    try:
        stack.start()
        with closing(Session(stack.url, login(stack))) as session:
            for old in (token, revoked):
                assert session.ask("GET", "/queue/v2/queues", token=old)[0] == 401
            for producer, kept, queue in zip(producers, acknowledged, QUEUES, strict=True):
                producer.acknowledged = kept
                check_kept([producer], read_all(session, queue))
            assert watcher.differs(by_key(session)) == []
            assert set(watcher.rows) == {key for key in watcher.rows if key[1] in QUEUES}
            for queue in (*QUEUES, "late"):  # no number twice, though "late" was never heard of
                body = {"messages": [{"body": "new"}]}
                session.ask("POST", f"/queue/v2/queues/{queue}/messages", body)
                assert read_messages(session, queue)[-1]["id"] > last[queue]
    finally:
        watcher.stop()
    assert rows_of(stack.data / "queue.db", "select epoch, n from feed") > before


def by_key(session: Session) -> dict[tuple[str, ...], Row]:
    """The rows of `queue:queues` as they should be."""
    projects = session.ask("GET", "/identity/v3/projects")[1]["projects"]
    own = next(project["id"] for project in projects if project["name"] == "admin")
    return {(own, name): row for name, row in queue_rows(session).items()}


def test_nothing_that_is_there_is_overwritten(stack: Stack, tmp_path: Path) -> None:
    archive = tmp_path / "b.tar"
    stack.transom("backup", str(archive))
    again = stack.transom("backup", str(archive), check=False)
    assert again.returncode == 1
    assert "is there already" in again.stderr
    nowhere = stack.transom("backup", str(tmp_path / "none" / "b.tar"), check=False)
    assert nowhere.stderr == (
        f"transom: {tmp_path}/none: is no folder; make it, or put the backup elsewhere\n"
    )
    over = stack.transom("restore", str(archive), check=False)
    assert over.returncode == 1
    assert "move the folder away" in over.stderr
    assert stack.status()["ready"]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("harm", ["cut", "changed", "other", "added", "missing"])
def test_a_backup_that_was_harmed_is_refused_and_leaves_nothing(
    tmp_path: Path, archive: Path, harm: str
) -> None:
    harmed = tmp_path / "harmed.tar"
    content = bytearray(archive.read_bytes())
    if harm == "cut":
        del content[len(content) // 2 :]
    elif harm == "changed":
        content[content.index(b"SQLite format 3") + 5000] ^= 1
    elif harm == "other":
        content[:] = b"not a tar"
    harmed.write_bytes(content)
    if harm in ("added", "missing"):
        repack(archive, harmed, harm)
    stack = Stack(tmp_path / "new")
    done = stack.transom("restore", str(harmed), check=False)
    assert done.returncode == 1
    assert str(harmed) in done.stderr
    assert "Traceback" not in done.stderr
    assert not stack.data.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["harmed.tar"]


def repack(archive: Path, to: Path, harm: str) -> None:
    """The archive with a path that leads out of the folder, or without one of its files."""
    with tarfile.open(archive) as source, tarfile.open(to, "w") as target:
        for member in source:
            content = source.extractfile(member)
            if harm == "missing" and member.name == "queue.db":
                continue
            assert content is not None
            data = content.read()
            if harm == "added" and member.name == "manifest.json":
                manifest = json.loads(data)
                manifest["files"] = {"../out": {"bytes": 0, "sha256": ""}, **manifest["files"]}
                data = json.dumps(manifest).encode()
                member.size = len(data)
            target.addfile(member, io.BytesIO(data))
            if harm == "added" and member.name == "manifest.json":
                target.addfile(tarfile.TarInfo("../out"), io.BytesIO(b""))


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("backup")
    stack = Stack(folder / "data")
    try:
        stack.start()
        stack.transom("backup", str(folder / "b.tar"))
    finally:
        stack.stop()
    yield folder / "b.tar"
    shutil.rmtree(folder)
