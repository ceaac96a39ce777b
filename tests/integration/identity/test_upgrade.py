"""A data folder of the first version: what is in it works after the upgrade, and with both."""

import shutil
from pathlib import Path
from typing import Any

from transom.identity.app.upkeep import SUITE_ROLES
from transom.identity.logic.password import Cost, hashed
from transom.identity.service import MIGRATIONS
from transom.node.migrations import NODE
from transom.runtime.clock import SystemClock
from transom.runtime.db.migrate import Migrations, upgrade
from transom.runtime.db.sqlite import SqliteDatabase
from transom.runtime.db.transaction import Transaction

from support.identity import by_password, cloud, on_project, service_password

PASSWORD = "of-the-first-version"
CLOUDS = """
clouds:
  transom:
    auth: {password: of-the-first-version}
"""


async def as_the_first_version_wrote(tx: Transaction) -> None:
    record = hashed(PASSWORD, b"s" * 16, Cost(log2_n=10))
    for number, name in enumerate(("admin", "transom", "alice")):
        values = (f"{number:032x}", "default", name, 1, "", "", "", record, 7)
        await tx.execute(
            "insert into users (id, domain_id, name, enabled, description, email, "
            "default_project_id, password_hash, epoch) values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            values,
        )
    for number, name in enumerate(("admin", "service")):
        await tx.execute(
            "insert into projects (id, domain_id, name, enabled, description, epoch) "
            "values (?, 'default', ?, 1, '', 1)",
            (f"{number:032x}", name),
        )
    for number, name in enumerate(("admin", "member", "reader", "service")):
        await tx.execute("insert into roles (id, name) values (?, ?)", (f"{number:032x}", name))
    for user, project, role in [(0, 0, 0), (0, 0, 1), (0, 0, 2), (1, 1, 3), (2, 0, 1)]:
        await tx.execute(
            "insert into grants (user_id, project_id, role_id) values (?, ?, ?)",
            (f"{user:032x}", f"{project:032x}", f"{role:032x}"),
        )


async def test_a_folder_of_the_first_version_is_upgraded_and_loses_nothing(tmp_path: Path) -> None:
    first = tmp_path / "first"
    first.mkdir()
    source = MIGRATIONS[0].folder / "0001_before_identity.sql"
    shutil.copy(source, first)
    data = tmp_path / "data"
    data.mkdir()
    rooms = (Migrations("identity", first), NODE)
    old = SqliteDatabase(data / "identity.db", rooms, clock=SystemClock())
    await old.start()
    await old.write(as_the_first_version_wrote)
    await old.stop()
    (data / "clouds.yaml").write_text(CLOUDS)
    (data / "clouds.yaml").chmod(0o600)
    applied = upgrade(data / "identity.db", MIGRATIONS, clock=SystemClock())
    assert applied[0].startswith("identity/0002_before_")
    assert upgrade(data / "identity.db", MIGRATIONS, clock=SystemClock()) == []

    async def older_programs_insert(tx: Transaction) -> Any:
        await tx.execute("insert into roles (id, name) values (?, 'cook')", ("f" * 32,))

    async with cloud(data) as here:
        admin = by_password("admin", PASSWORD, on_project("admin"))
        reply = await here.ask("POST", "/v3/auth/tokens", admin)
        roles = {role["name"] for role in reply.json()["token"]["roles"]}
        assert roles == {"admin", *SUITE_ROLES}
        here.admin = reply.headers["x-subject-token"]
        shown = (await here.as_admin("GET", "/v3/users")).json()["users"]
        assert [user["name"] for user in shown] == ["admin", "alice", "transom"]
        assert await here.token(by_password("alice", PASSWORD, on_project("admin")))
        assert await here.token(by_password("admin", PASSWORD, {"system": {"all": True}}))
        home = (await here.as_admin("GET", "/v3/domains/default")).json()["domain"]
        assert (home["name"], home["enabled"]) == ("Default", True)
        alice = by_password("alice", PASSWORD, {"system": {"all": True}})
        assert (await here.ask("POST", "/v3/auth/tokens", alice)).status == 401
        await here.service.database.write(older_programs_insert)
        assert (await here.as_admin("GET", f"/v3/roles/{'f' * 32}")).status == 200
        secret = service_password(data)
        assert await here.token(by_password("transom", secret, on_project("service")))
