"""A disk that fails, fills or is read-only, and processes that are killed. Needs strace, root."""

import shutil
import signal
from collections import Counter
from pathlib import Path

import pytest

from transom.messaging.proto.feed import row_hash
from transom.node.lease import Lease
from transom.runtime.clock import SystemClock
from transom.runtime.db.migrate import upgrade

from support.db import answer, child, migrations, names, opened, put, things
from support.thingfeed import NODE_AND_THINGS, all_things, thing_feed

FAILING_SYNC = (
    "strace", "-f", "-qq", "-P", "{path}", "-e", "trace=fdatasync,fsync",
    "-e", "inject=fdatasync,fsync:error=EIO:when={when}", "-o", "{log}",
)  # fmt: skip
IN_A_SMALL_DISK = (
    "unshare",
    "-m",
    "sh",
    "-c",
    'mount -t tmpfs -o size={size} tmpfs "$0" && exec "$@"',
)
READ_ONLY = (
    "unshare", "-m", "sh", "-c",
    'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"',
)  # fmt: skip


def on(before: tuple[str, ...], folder: Path, **fields: object) -> tuple[str, ...]:
    return (*(part.format(**fields) if "{" in part else part for part in before), str(folder))


@pytest.mark.parametrize(
    ("name", "when"), [("test.db-wal", 1), ("test.db-wal", 2), ("test.db-wal", 5), ("test.db", 1)]
)
async def test_after_a_failed_sync_nothing_is_written_until_a_new_process(
    tmp_path: Path, name: str, when: int
) -> None:
    async with opened(tmp_path) as database:
        await database.write(put("before"))
    fields = {"path": tmp_path / name, "when": when, "log": tmp_path / "strace"}
    before = tuple(part.format(**fields) for part in FAILING_SYNC)
    said = answer(child("write_some", str(tmp_path), "8", before=before))
    assert "INJECTED" in (tmp_path / "strace").read_text()
    outcomes = list(said["outcomes"].values())
    failed = outcomes.index(next(filter(None, outcomes)))
    # A sync of the log fails under a group; one of the file, as the log is copied back, under none.
    first = "OutcomeUnknown" if name.endswith("-wal") else "StorageUnavailable"
    assert outcomes == [""] * failed + [first] + ["StorageUnavailable"] * (7 - failed)
    assert said["poisoned"]
    acknowledged = ["before"] + [name for name, error in said["outcomes"].items() if not error]
    assert said["read"] == acknowledged  # reads went on, and saw nothing that failed
    assert (tmp_path / "test.db.poisoned").exists()
    async with opened(tmp_path) as database:
        assert set(acknowledged) <= set(await database.read(names))
        await database.write(put("after"))
    assert not (tmp_path / "test.db.poisoned").exists()


def test_a_folder_whose_sync_fails_is_not_opened(tmp_path: Path) -> None:
    fields = {"path": tmp_path, "when": 1, "log": tmp_path / "strace"}
    before = tuple(part.format(**fields) for part in FAILING_SYNC)
    said = answer(child("open_it", str(tmp_path), before=before))
    assert said["error"] == "StorageUnavailable"
    assert "the disk failed" in said["text"]


async def test_a_write_that_fails_poisons_too(tmp_path: Path) -> None:
    said = answer(child("limited", str(tmp_path), "200"))
    outcomes = list(said["outcomes"].values())
    failed = outcomes.index("OutcomeUnknown")
    assert set(outcomes[failed + 1 :]) == {"StorageUnavailable"}
    assert len(said["read"]) == failed
    async with opened(tmp_path) as database:
        assert len(await database.read(names)) >= failed


def test_a_full_disk_refuses_writes_until_there_is_space(tmp_path: Path) -> None:
    before = on(IN_A_SMALL_DISK, tmp_path, size="1536k")
    said = answer(child("fill", str(tmp_path), before=before))
    assert said["tried"]["error"] == "StorageFull", said
    assert {tried["error"] for tried in said["full"]} == {"StorageFull"}
    assert said["read"] == said["written"] > 5
    assert not said["poisoned"]
    assert said["after"]["error"] == ""
    assert said["kept"] == said["written"] + 1


def test_a_disk_that_is_full_from_the_start_says_so(tmp_path: Path) -> None:
    before = on(IN_A_SMALL_DISK, tmp_path, size="16k")
    said = answer(child("open_it", str(tmp_path), before=before))
    assert said["error"] == "StorageFull", said
    assert "no space is left" in said["text"]


async def test_a_read_only_folder_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    things(folder)
    for _ in range(2):  # first without a database, then with one
        said = answer(child("open_it", str(folder), before=on(READ_ONLY, folder)))
        assert said["error"] == "ConfigError", said
        assert "cannot be opened for writing" in said["text"]
        async with opened(folder) as database:
            await database.write(put("a"))


async def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    known: set[str] = set()
    for _ in range(5):
        process = child("write_on", str(tmp_path))
        assert process.stdout is not None
        said = [process.stdout.readline().strip() for _ in range(300)]
        process.send_signal(signal.SIGKILL)
        rest = process.communicate(timeout=30)[0]
        # The last line may be torn: then it was not said.
        known |= set(said) | set(rest[: rest.rfind("\n") + 1].split())
        async with opened(tmp_path) as database:
            assert known <= set(await database.read(names))


async def test_an_upgrade_killed_anywhere_can_be_run_again(tmp_path: Path) -> None:
    first = "create table if not exists thing (name text primary key, size integer);"
    more = [
        "create table one (x text);\ninsert into one values ('1');\ncreate index i on one (x);",
        "insert into one values ('2');\ncreate table two (x text);",
    ]
    (tmp_path / "old").mkdir()
    async with opened(tmp_path / "old", migrations(tmp_path / "m", first)):
        pass
    for at in range(1, 6):
        folder = tmp_path / f"at{at}"
        shutil.copytree(tmp_path / "old", folder)
        room = migrations(folder / "things", first, *more)
        process = child("upgrade_killed", str(folder), str(at))
        process.communicate(timeout=30)
        assert process.returncode == -signal.SIGKILL
        done = upgrade(folder / "test.db", [room], clock=SystemClock())
        assert done == [
            f"test/{number:04d}_before_step" for number in ((2, 3) if at <= 3 else (3,))
        ]
        async with opened(folder, room) as database:
            rows = await database.read(lambda tx: tx.fetch("select x from one order by x"))
            assert rows == [("1",), ("2",)]


async def test_a_publisher_killed_anywhere_loses_and_repeats_nothing(tmp_path: Path) -> None:
    latest: Counter[str] = Counter()
    for _ in range(4):
        process = child("publish_on", str(tmp_path))
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(200)]
        process.send_signal(signal.SIGKILL)
        rest = process.communicate(timeout=30)[0]
        for line in (*said, *rest[: rest.rfind("\n") + 1].splitlines()):
            name, size = line.split()
            latest[name] = int(size)
    async with opened(tmp_path, *NODE_AND_THINGS) as database:
        feed = thing_feed(database, keep_sets=1_000_000)
        lease = Lease(feed.lease_name, "last", 1000)
        now_ms = int(SystemClock().monotonic_s() * 1000)
        generation = await database.write(lambda tx: lease.acquire(tx, now_ms))
        assert generation == 5
        while await feed.waiting():
            await feed.publish_once(generation)
        wanted = await database.read(all_things)
        assert wanted.keys() >= {(name,) for name in latest}
        head = await feed.head()
        assert head.epoch == 1
        assert head.digest == sum(row_hash("things", *row) for row in wanted.items()) % 2**128
        chunk = await feed.snapshot([], None, 10_000)
        assert {change.key: change.row for change in chunk.rows} == wanted
