import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from transom.errors import ConfigError
from transom.identity.service import IdentityService

from support.db import identity_database
from support.identity import (
    ShiftedClock,
    by_password,
    cloud,
    on_project,
    password_of,
    service_of,
    service_password,
)

URL = "http://127.0.0.1:8720"


def entry(data: Path) -> dict[str, Any]:
    return dict(yaml.safe_load((data / "clouds.yaml").read_text())["clouds"]["transom"])


async def started(data: Path, url: str = URL) -> IdentityService:
    service = service_of(data, url, ShiftedClock())
    await service.start()
    return service


async def once(data: Path, url: str = URL) -> None:
    await (await started(data, url)).stop()


async def signs_in(data: Path, name: str, password: str, project: str) -> bool:
    async with cloud(data) as here:
        body = by_password(name, password, on_project(project))
        return (await here.ask("POST", "/v3/auth/tokens", body)).status == 201


async def test_a_fresh_folder_gets_files_that_only_the_owner_may_read(tmp_path: Path) -> None:
    await once(tmp_path)
    for name in ("clouds.yaml", "openrc", "identity.db", "keys/service.password"):
        assert (tmp_path / name).stat().st_mode & 0o077 == 0
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700
    auth = entry(tmp_path)["auth"]
    assert auth["auth_url"] == URL + "/identity"
    assert len(auth["password"]) >= 20
    assert auth["password"] in (tmp_path / "openrc").read_text()


async def test_a_changed_port_is_written_and_the_password_kept(tmp_path: Path) -> None:
    await once(tmp_path)
    password = password_of(tmp_path)
    await once(tmp_path, "http://localhost:1234")
    assert entry(tmp_path)["auth"]["auth_url"] == "http://localhost:1234/identity"
    assert "http://localhost:1234/identity" in (tmp_path / "openrc").read_text()
    assert password_of(tmp_path) == password
    assert await signs_in(tmp_path, "admin", password, "admin")


async def test_files_that_say_what_they_should_are_not_touched(tmp_path: Path) -> None:
    await once(tmp_path)
    with (tmp_path / "clouds.yaml").open("a") as file:
        file.write("# mine\n")
    before = {name: (tmp_path / name).stat().st_mtime_ns for name in ("clouds.yaml", "openrc")}
    await once(tmp_path)
    after = {name: (tmp_path / name).stat().st_mtime_ns for name in ("clouds.yaml", "openrc")}
    assert after == before


async def test_a_deleted_file_means_a_new_password_and_void_tokens(tmp_path: Path) -> None:
    async with cloud(tmp_path) as here:
        await here.as_admin("GET", "/v3/regions")
        token = here.admin
    old = password_of(tmp_path)
    (tmp_path / "clouds.yaml").unlink()
    async with cloud(tmp_path) as here:
        assert await here.worth(token) == 404
        refused = await here.ask("POST", "/v3/auth/tokens", by_password("admin", old))
        assert refused.status == 401
    new = password_of(tmp_path)
    assert new != old
    assert await signs_in(tmp_path, "admin", new, "admin")


async def test_the_password_can_be_reset_also_of_a_deleted_admin(tmp_path: Path) -> None:
    async with cloud(tmp_path) as here:
        users = (await here.as_admin("GET", "/v3/users?name=admin")).json()["users"]
        await here.as_admin("DELETE", f"/v3/users/{users[0]['id']}")
        old = password_of(tmp_path)
        await here.service.upkeep.reset_password("admin")
        assert password_of(tmp_path) != old
    assert await signs_in(tmp_path, "admin", password_of(tmp_path), "admin")


async def test_the_service_user_gets_its_password_anew_where_the_file_is_gone(
    tmp_path: Path,
) -> None:
    await once(tmp_path)
    (tmp_path / "keys" / "service.password").unlink()
    await once(tmp_path)
    secret = service_password(tmp_path)
    assert await signs_in(tmp_path, "transom", secret, "service")


async def test_a_lost_database_takes_the_passwords_of_the_files(tmp_path: Path) -> None:
    await once(tmp_path)
    password = password_of(tmp_path)
    for path in tmp_path.glob("identity.db*"):
        path.unlink()
    assert await signs_in(tmp_path, "admin", password, "admin")
    assert password_of(tmp_path) == password


async def test_what_an_admin_removed_does_not_come_back(tmp_path: Path) -> None:
    async with cloud(tmp_path) as here:
        projects = (await here.as_admin("GET", "/v3/projects?name=service")).json()["projects"]
        await here.as_admin("DELETE", f"/v3/projects/{projects[0]['id']}")
    async with cloud(tmp_path) as here:
        found = (await here.as_admin("GET", "/v3/projects")).json()["projects"]
        assert [project["name"] for project in found] == ["admin"]


async def test_services_that_start_at_once_agree(tmp_path: Path) -> None:
    services = [service_of(tmp_path, URL, ShiftedClock()) for _ in range(3)]
    await asyncio.gather(*(service.start() for service in services))
    for service in services:
        await service.stop()
    assert await signs_in(tmp_path, "admin", password_of(tmp_path), "admin")
    secret = service_password(tmp_path)
    assert await signs_in(tmp_path, "transom", secret, "service")


async def test_a_start_that_fails_after_its_commit_is_made_good_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("transom.identity.app.bootstrap.write_private", full)
    service = service_of(tmp_path, URL, ShiftedClock())
    with pytest.raises(OSError, match="No space"):
        await service.start()
    await service.stop()
    monkeypatch.undo()
    await once(tmp_path)
    assert await signs_in(tmp_path, "admin", password_of(tmp_path), "admin")


async def test_a_broken_clouds_file_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "clouds.yaml").write_text("clouds: [")
    (tmp_path / "clouds.yaml").chmod(0o600)
    service = service_of(tmp_path, URL, ShiftedClock())
    with pytest.raises(ConfigError, match=r"clouds\.yaml.*delete it"):
        await service.start()
    await service.stop()
    assert (tmp_path / "clouds.yaml").read_text() == "clouds: ["


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://192.0.2.1:8720", "127.0.0.1"),
        ("http://cloud.example:8720", "127.0.0.1"),
        ("http://127.0.0.1:8720", "0.0.0.0"),
        ("http://127.0.0.1:8720", "::"),
        ("not an address", "127.0.0.1"),
    ],
)
def test_off_loopback_it_is_not_built(tmp_path: Path, url: str, host: str) -> None:
    from transom.identity.config import IdentityConfig
    from transom.identity.service import build

    with pytest.raises(ConfigError, match="auth_url"):
        build(
            IdentityConfig(),
            identity_database(tmp_path),
            data=tmp_path,
            public_url=url,
            catalogue=[],
            clock=ShiftedClock(),
            random=os.urandom,
            bind_host=host,
        )


@pytest.mark.parametrize("url", ["http://localhost:1", "http://[::1]:1", "http://127.8.8.8:1"])
def test_on_loopback_it_is_built_and_nothing_is_made_yet(tmp_path: Path, url: str) -> None:
    service_of(tmp_path, url, ShiftedClock())
    assert list(tmp_path.iterdir()) == []
