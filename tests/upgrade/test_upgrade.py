# SPDX-License-Identifier: Apache-2.0
"""From the previous version to this one, with real processes of both, under load.

What the previous version acknowledged is there after the upgrade; who was signed in still is; and
while roles of both run side by side on one folder and bus, nobody notices which is which.
"""

import hashlib
import shutil
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from transom import __version__
from transom.cli.parts import STORES
from transom.runtime.clock import SystemClock
from transom.runtime.db.migrate import upgrade

from support.db import child
from support.fire import Fire, complaints
from support.load import Session, login
from support.stack import wait_for
from support.versions import PREVIOUS, Doors, Role, free_port, stop_all, unpack_previous

SEED = 1
KILL_POINTS = (1, 2, 5, 9, 13, 14)
"""Statements of `db upgrade`, counted over all databases, before which it is killed."""

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack_previous(tmp_path_factory.mktemp("previous"))


@pytest.fixture
def both(tmp_path: Path, code: Path) -> tuple[Doors, Doors]:
    """The previous version's commands, and ours, on one folder that is not there yet."""
    port = free_port()
    return Doors(tmp_path / "data", port, code), Doors(tmp_path / "data", port)


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


def post(session: Session, queue: str, count: int) -> None:
    bodies = [{"body": n, "ttl": 3600} for n in range(count)]
    status, _ = session.ask("POST", f"/queue/v2/queues/{queue}/messages", {"messages": bodies})
    assert status == 201


def of_the_folder(data: Path) -> dict[str, str]:
    """Path -> digest of everything that an upgrade could change."""
    return {
        str(path.relative_to(data)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(data.rglob("*"))
        if path.is_file() and not path.name.endswith("lock") and "logs" not in path.parts
    }


def content_of(path: Path) -> dict[str, Any]:
    """Table -> its definition and rows, all but when a migration was applied."""
    with closing(sqlite3.connect(path)) as connection:
        names = connection.execute("select name, sql from sqlite_schema where type = 'table'")
        found = {
            name: (sql, sorted(connection.execute(f"select * from {name}"), key=repr))
            for name, sql in names.fetchall()
        }
        versions = "select room, number, name from schema_version order by 1, 2"
        return {**found, "schema_version": connection.execute(versions).fetchall()}


class Held:
    """A claim of before, by somebody who works on."""

    def __init__(self, session: Session) -> None:
        self._session = session
        post(session, "held", 3)
        terms = {"ttl": 3600, "grace": 60}
        status, claim = session.ask("POST", "/queue/v2/queues/held/claims?limit=2", terms)
        assert status == 201
        self._messages = claim["messages"]
        self._path = "/queue" + self._messages[0]["href"].partition("?claim_id=")[0]
        self._claim = self._messages[0]["href"].partition("?claim_id=")[2]

    def lives(self) -> None:
        """Nobody else gets its messages; it is shown, renewed, and its messages deleted."""
        ask, path = self._session.ask, f"/queue/v2/queues/held/claims/{self._claim}"
        status, claim = ask("GET", path)
        assert (status, [it["body"] for it in claim["messages"]]) == (200, [0, 1])
        assert ask("PATCH", path, {"ttl": 3600, "grace": 60})[0] == 204
        terms = {"ttl": 60, "grace": 60}
        status, others = ask("POST", "/queue/v2/queues/held/claims", terms)
        assert (status, [it["body"] for it in others["messages"]]) == (201, [2])
        for message in self._messages:
            assert ask("DELETE", "/queue" + message["href"])[0] == 204


class Accounts:
    """A user of a project of its own, made before; everybody signs in as before."""

    def __init__(self, session: Session) -> None:
        project = {"project": {"name": "shop", "domain_id": "default"}}
        made = session.ask("POST", "/identity/v3/projects", project)[1]["project"]["id"]
        user = {"name": "ada", "password": "of-before-1", "domain_id": "default"}
        user["default_project_id"] = made
        ada = session.ask("POST", "/identity/v3/users", {"user": user})[1]["user"]["id"]
        roles = session.ask("GET", "/identity/v3/roles")[1]["roles"]
        member = next(role["id"] for role in roles if role["name"] == "member")
        grant = f"/identity/v3/projects/{made}/users/{ada}/roles/{member}"
        assert session.ask("PUT", grant)[0] == 204
        self._project = made

    def work(self, doors: Doors) -> None:
        identity = {
            "methods": ["password"],
            "password": {
                "user": {"name": "ada", "domain": {"id": "default"}, "password": "of-before-1"}
            },
        }
        wanted = {"auth": {"identity": identity, "scope": {"project": {"id": self._project}}}}
        with closing(Session(doors.url, "")) as session:
            status, answer = session.ask("POST", "/identity/v3/auth/tokens", wanted)
            assert status == 201
            assert [role["name"] for role in answer["token"]["roles"]] == ["member"]


def test_the_previous_version_is_another_one(code: Path) -> None:
    (wheel,) = PREVIOUS.glob("*.whl")
    previous = wheel.name.split("-")[1]
    assert previous != __version__
    said = Doors(code, 0, code).transom("--version", check=False).stdout
    assert previous in said


def test_an_upgrade_under_load_loses_nothing(both: tuple[Doors, Doors]) -> None:
    old, new = both
    try:
        old.up()
        with closing(Fire(old, SEED, watching=both)) as fire:
            fire.light()
            before = Session(old.url, login(old))  # its token, and connections, last
            held, accounts = Held(before), Accounts(before)
            applied = new.transom("db", "upgrade").stdout
            assert "applied identity/0002" in applied
            assert "nothing to do" in new.transom("db", "upgrade").stdout
            fire.goes_on()
            fire.news_spread("between")
            assert old.status()["ready"]
            accounts.work(old)
            assert fire.cut_off == 0, "the previous version serves on, on the new database"
            assert "nothing that was acknowledged is lost" in new.transom("down").stdout
            before.close()
            new.up()
            fire.goes_on()
            fire.news_spread("after")
            held.lives()
            accounts.work(new)
            before.close()
            assert fire.douse() == []
            assert fire.unexcused == []
        assert complaints(new.data) == []
        told = new.transom("doctor")
        assert "nothing is wrong" in told.stdout
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


def test_roles_of_both_versions_work_together(both: tuple[Doors, Doors]) -> None:
    old, new = both
    mixed = Mixed(old, new)
    try:
        mixed.start(old, "registry", "registry")
        mixed.start(old, "api", "api")
        mixed.start(old, "first", "worker")
        wait_for(lambda: mixed.publishes("first"))
        mixed.start(old, "second", "worker")
        with closing(Fire(old, SEED, watching=both)) as fire:
            fire.light()
            assert "applied" in new.transom("db", "upgrade").stdout

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


def test_a_start_without_the_upgrade_is_refused_and_changes_nothing(
    old_folder: Path, tmp_path: Path, code: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(old_folder, data)
    before = of_the_folder(data)
    new, old = Doors(data, free_port()), Doors(data, free_port(), code)
    done = new.transom("up", "--detach", check=False)
    assert done.returncode == 1
    assert "run: transom db upgrade" in done.stdout + done.stderr
    assert of_the_folder(data) == before
    try:
        old.up()  # the way back is open
        with closing(Session(old.url, login(old))) as session:
            status, found = session.ask("GET", "/queue/v2/queues/kept/messages?echo=true")
            assert (status, [it["body"] for it in found["messages"]]) == (200, [0, 1, 2])
    finally:
        old.stop()


def test_the_previous_version_refuses_an_upgraded_folder_and_changes_nothing(
    old_folder: Path, tmp_path: Path, code: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(old_folder, data)
    new, old = Doors(data, free_port()), Doors(data, free_port(), code)
    assert "applied" in new.transom("db", "upgrade").stdout
    before = of_the_folder(data)
    done = old.transom("up", "--detach", check=False)
    assert done.returncode == 1
    assert "made by a newer Transom" in done.stdout + done.stderr
    assert of_the_folder(data) == before


def test_an_upgrade_killed_anywhere_is_finished_by_another(
    old_folder: Path, tmp_path: Path
) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(old_folder, whole)
    for store in STORES.values():
        assert upgrade(whole / store.file_name, store.migrations, clock=SystemClock())
    for at in KILL_POINTS:
        data = tmp_path / f"at{at}"
        shutil.copytree(old_folder, data)
        process = child("folder_upgrade_killed", str(data), str(at))
        process.communicate(timeout=30)
        assert process.returncode == -signal.SIGKILL, f"there are no {at} statements"
        for store in STORES.values():
            upgrade(data / store.file_name, store.migrations, clock=SystemClock())
            assert content_of(data / store.file_name) == content_of(whole / store.file_name)
