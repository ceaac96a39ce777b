# SPDX-License-Identifier: Apache-2.0
"""From the previous version to this one, with real processes of both, under load.

What the previous version acknowledged is there after the upgrade; who was signed in still is; and
while roles of both run side by side on one folder and bus, nobody notices which is which.

Between these two versions the queue's database has grown, so the way back is the copy of before.
What grows in the databases of others is held with a version that is ours and has more.
"""

import hashlib
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from transom import __version__
from transom.cli.parts import STORES

from support.before import (
    Accounts,
    Buried,
    Delayed,
    Held,
    Repeated,
    bodies,
    each_write,
    messages_of,
    post,
)
from support.db import answer, child
from support.fire import Fire, complaints
from support.load import Session, login
from support.postgres import fresh_database
from support.stack import ROOT, wait_for
from support.versions import (
    PREVIOUS,
    Doors,
    Role,
    applied_by,
    free_port,
    make_next,
    migrations_since,
    stop_all,
    unpack_previous,
)

SEED = 1
NOTHING = "nothing to do"
POSTED = 30
STATEMENTS_LEAST = 30
"""Of all migrations from the previous version to the next; before each an upgrade is killed."""
NEXT_ONES = {"identity/9000_before_next", "queue/9000_before_next", "node/9000_before_next"}

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack_previous(tmp_path_factory.mktemp("previous"))


@pytest.fixture(scope="module")
def next_code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_next(tmp_path_factory.mktemp("next"))


@pytest.fixture
def both(tmp_path: Path, code: Path) -> tuple[Doors, Doors]:
    """The previous version's commands, and ours, on one folder that is not there yet."""
    port = free_port()
    return Doors(tmp_path / "data", port, code), Doors(tmp_path / "data", port)


@pytest.fixture(params=["files", "postgres"])
def on_each_engine(
    request: pytest.FixtureRequest, tmp_path: Path, code: Path
) -> Iterator[tuple[Doors, Doors]]:
    """As `both`, with data in files, and in PostgreSQL."""
    data, port = tmp_path / "data", free_port()
    if request.param == "files":
        yield Doors(data, port, code), Doors(data, port)
        return
    with fresh_database() as empty:
        yield Doors(data, port, code, database=empty.url), Doors(data, port, database=empty.url)


@pytest.fixture(scope="module")
def old_folder(tmp_path_factory: pytest.TempPathFactory, code: Path) -> Path:
    """What the previous version left, with something in it. To be copied."""
    data = tmp_path_factory.mktemp("old") / "data"
    old = Doors(data, free_port(), code)
    try:
        old.up()
        with closing(Session(old.url, login(old))) as session:
            post(session, "kept", 3)
    finally:
        old.stop()
    return data


def of_the_folder(data: Path) -> dict[str, str]:
    """Path -> digest of everything that an upgrade could change."""
    return {
        str(path.relative_to(data)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(data.rglob("*"))
        if path.is_file() and not path.name.endswith("lock") and "logs" not in path.parts
    }


def content_of(path: Path) -> dict[str, Any]:
    """Table -> its definition and rows; indexes; all but when a migration was applied."""
    with closing(sqlite3.connect(path)) as connection:
        schema = connection.execute("select name, sql, type from sqlite_schema").fetchall()
        found: dict[str, Any] = {
            name: (sql, sorted(connection.execute(f"select * from {name}"), key=repr))
            for name, sql, kind in schema
            if kind == "table"
        }
        found["indexes"] = {name: sql for name, sql, kind in schema if kind == "index"}
        versions = "select room, number, name from schema_version order by 1, 2"
        return {**found, "schema_version": connection.execute(versions).fetchall()}


def keys_are_given(doors: Doors, party: str) -> None:
    """A party is made, and the doors know it."""
    doors.transom("keys", "add", party, "--out", str(doors.data / f"{party}.key"))
    with closing(Session(doors.url, login(doors))) as session:
        status, found = session.ask("GET", f"/keys/v1/keys/{party}")
        assert (status, found["name"]) == (200, party)


class Found:
    """What is in the queue while the previous version runs; called, it is found by this one."""

    def __init__(self, session: Session) -> None:
        self._held = Held(session)
        self._delayed = Delayed(session)
        self._buried = Buried(session)
        self._repeated = Repeated(session)

    def __call__(self) -> None:
        self._held.lives()
        self._delayed.stays()
        self._buried.are_told_and_brought_back()
        self._repeated.have_their_answers()


def test_the_previous_version_is_another_one(code: Path) -> None:
    (wheel,) = PREVIOUS.glob("*.whl")
    previous = wheel.name.split("-")[1]
    assert previous != __version__
    said = Doors(code, 0, code).transom("--version", check=False).stdout
    assert previous in said


def test_an_upgrade_under_load_loses_nothing(
    on_each_engine: tuple[Doors, Doors], code: Path
) -> None:
    (old, new), (early, late) = on_each_engine, migrations_since(code)
    try:
        old.up()
        with closing(Fire(old, SEED, watching=on_each_engine)) as fire:
            fire.light()
            before = Session(old.url, login(old))  # its token, and connections, last
            accounts = Accounts(before)
            found_again = Found(before)
            assert applied_by(new) == early
            assert NOTHING in new.transom("db", "upgrade").stdout
            fire.goes_on()
            fire.news_spread("between")
            assert fire.cut_off == 0, "it serves on, on the new database"
            assert "nothing that was acknowledged is lost" in new.transom("down").stdout
            before.close()
            assert applied_by(new) == late
            new.up()
            fire.goes_on()
            fire.news_spread("after")
            found_again()
            accounts.work(new)
            keys_are_given(new, "api.host1")
            before.close()
            assert fire.douse() == []
            assert fire.unexcused == []
        assert complaints(new.data) == []
        told = new.transom("doctor", check=False).stdout
        assert "nothing is wrong" in told, told
    finally:
        new.stop()


class Mixed:
    """Roles of both versions on one folder, one set of doors, under load."""

    def __init__(self, old: Doors, new: Doors) -> None:
        self.old, self.new = old, new
        self.running: dict[str, Role] = {}

    def start(self, doors: Doors, name: str, kind: str) -> Role:
        self.running[name] = doors.role_process(kind)
        return self.running[name]

    def stop(self, name: str) -> None:
        assert self.running.pop(name).stop() == 0

    def publisher(self) -> str:
        """The process that holds the lease of identity's feed, as `worker-PID`."""
        with closing(sqlite3.connect(self.new.data / "identity.db")) as connection:
            rows = connection.execute("select holder from lease").fetchall()
        return str(rows[0][0]).partition("@")[0] if rows else ""

    def publishes(self, name: str) -> bool:
        return self.publisher() == f"worker-{self.running[name].pid}"


def test_roles_of_both_versions_work_together(both: tuple[Doors, Doors], code: Path) -> None:
    (old, new), (early, _) = both, migrations_since(code)
    mixed = Mixed(old, new)
    try:
        mixed.start(old, "registry", "registry")
        mixed.start(old, "api", "api")
        mixed.start(old, "first", "worker")
        wait_for(lambda: mixed.publishes("first"))
        mixed.start(old, "second", "worker")
        with closing(Fire(old, SEED, watching=both)) as fire:
            fire.light()
            assert applied_by(new) == early

            mixed.running["second"].pause()
            mixed.start(new, "worker", "worker")
            mixed.stop("first")
            wait_for(lambda: mixed.publishes("worker"))  # from a holder of before
            mixed.running["second"].go_on()
            fire.news_spread("registry-and-api-of-before")
            fire.goes_on()

            mixed.stop("api")
            mixed.start(new, "api", "api")
            fire.news_spread("registry-of-before")
            fire.goes_on()

            mixed.stop("registry")
            mixed.start(new, "registry", "registry")
            mixed.stop("worker")
            wait_for(lambda: mixed.publishes("second"))  # to a holder of before
            fire.news_spread("worker-of-before")
            fire.goes_on()

            mixed.start(new, "worker", "worker")
            mixed.stop("second")
            wait_for(lambda: mixed.publishes("worker"))
            fire.news_spread("all-of-now")
            fire.goes_on()
            assert fire.douse() == []
            assert fire.unexcused == []
        assert complaints(new.data) == []
    finally:
        stop_all(list(mixed.running.values()))


def test_writes_of_either_version_reach_the_owner_of_the_other(both: tuple[Doors, Doors]) -> None:
    roles: dict[str, Role] = {}
    old, new = both
    try:
        roles["registry"] = old.role_process("registry")
        roles["worker"] = old.role_process("worker")
        roles["owner"] = old.role_process("api")
        roles["follower"] = old.follower()
        new.transom("db", "upgrade")
        roles["next follower"] = new.follower()
        writes_arrive(roles["next follower"], login(old), "old-owner")
        assert roles.pop("owner").stop() == 0
        roles["owner"] = new.role_process("api")
        writes_arrive(roles["follower"], login(new), "new-owner")
        for role in reversed(roles.values()):
            assert role.stop() == 0
        assert complaints(new.data) == []
    finally:
        stop_all(list(roles.values()))


def writes_arrive(follower: Role, token: str, queue: str) -> None:
    """Through these doors, at whoever may write the file."""
    with closing(Session(follower.url, token)) as session:
        for _ in range(POSTED):
            post(session, queue, 3)
        status, found = session.ask("GET", f"/queue/v2/queues/{queue}/stats")
        assert (status, found["messages"]["total"]) == (200, 3 * POSTED)
        each_write(session, f"{queue}-each")


def test_the_way_back_is_the_copy_of_before(old_folder: Path, tmp_path: Path, code: Path) -> None:
    data, copy = tmp_path / "data", tmp_path / "copy"
    shutil.copytree(old_folder, data)
    shutil.copytree(data, copy)
    new, old = Doors(data, free_port()), Doors(data, free_port(), code)
    new.transom("db", "upgrade")
    has_its_messages(new.up())
    before = (data / "queue.db").read_bytes()
    done = old.transom("up", "--detach", check=False)
    assert done.returncode == 1
    assert "made by a newer Transom" in done.stdout + done.stderr
    assert (data / "queue.db").read_bytes() == before
    shutil.rmtree(data)
    copy.rename(data)
    has_its_messages(old.up())


def has_its_messages(doors: Doors) -> None:
    """What is in `old_folder`; then it is stopped."""
    try:
        with closing(Session(doors.url, login(doors))) as session:
            status, found = session.ask("GET", messages_of("kept") + "?echo=true")
            assert (status, bodies(found)) == (200, [0, 1, 2])
    finally:
        doors.stop()


def test_a_backup_of_the_previous_version_is_restored_by_this_one(
    old_folder: Path, tmp_path: Path, code: Path
) -> None:
    kept = tmp_path / "kept.tar"
    Doors(old_folder, 0, code).transom("backup", str(kept))
    new = Doors(tmp_path / "data", free_port())
    assert "restored" in new.transom("restore", str(kept)).stdout
    try:
        new.up()
        with closing(Session(new.url, login(new))) as session:
            status, found = session.ask("GET", messages_of("kept") + "?echo=true")
            assert (status, bodies(found)) == (200, [0, 1, 2])
            post(session, "kept", 3)
        keys_are_given(new, "api.host1")
    finally:
        new.stop()


def test_a_start_without_the_upgrade_is_refused_and_changes_nothing(
    old_folder: Path, tmp_path: Path, code: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(old_folder, data)
    before = of_the_folder(data)
    done = Doors(data, free_port()).transom("up", "--detach", check=False)
    assert done.returncode == 1
    assert "run: transom db upgrade" in done.stdout + done.stderr
    assert of_the_folder(data) == before
    has_its_messages(Doors(data, free_port(), code).up())  # the way back is open


def test_a_start_on_a_server_without_the_upgrade_is_refused_and_the_way_back_is_open(
    tmp_path: Path, code: Path
) -> None:
    data, port = tmp_path / "data", free_port()
    with fresh_database() as empty:
        old = Doors(data, port, code, database=empty.url)
        try:
            with closing(Session(old.up().url, login(old))) as session:
                post(session, "kept", 3)
        finally:
            old.stop()
        ours = Doors(data, port, database=empty.url).transom("up", "--detach", check=False)
        assert ours.returncode == 1
        assert "run: transom db upgrade" in ours.stdout + ours.stderr
        has_its_messages(old.up())


def test_migrations_disturb_no_version_that_runs_but_only_the_next_one_starts_on_them(
    both: tuple[Doors, Doors], next_code: Path
) -> None:
    old, later = both[0], Doors(both[0].data, both[0].port, next_code)
    try:
        old.up()
        with closing(Fire(old, SEED, watching=[old, later])) as fire:
            fire.light()
            assert applied_by(later) >= NEXT_ONES
            assert NOTHING in later.transom("db", "upgrade").stdout
            fire.goes_on()
            fire.news_spread("between")
            assert old.status()["ready"]
            assert fire.cut_off == 0, "it serves on, on the new database"
            assert "nothing that was acknowledged is lost" in later.transom("down").stdout
            before = of_the_folder(old.data)
            done = old.transom("up", "--detach", check=False)
            assert done.returncode == 1
            assert "made by a newer Transom" in done.stdout + done.stderr
            assert of_the_folder(old.data) == before
            later.up()
            fire.news_spread("after")
            assert fire.douse() == []
            assert fire.unexcused == []
        assert complaints(old.data) == []
    finally:
        later.stop()


def test_an_upgrade_killed_anywhere_is_finished_by_another(
    old_folder: Path, tmp_path: Path, next_code: Path
) -> None:
    path = f"PYTHONPATH={next_code}:{ROOT / 'tests'}"
    whole = tmp_path / "whole"
    shutil.copytree(old_folder, whole)
    assert "applied" in Doors(whole, 0, next_code).transom("db", "upgrade").stdout
    folder = tmp_path / "data"
    shutil.copytree(old_folder, folder)
    process = child("folder_upgrades_killed", str(folder), before=("env", path))
    statements = answer(process, timeout_s=180)["statements"]
    assert statements >= STATEMENTS_LEAST
    for at in range(1, statements + 1):
        for store in STORES.values():
            if (whole / store.file_name).exists():
                path_at = tmp_path / f"at{at}" / store.file_name
                assert content_of(path_at) == content_of(whole / store.file_name)
