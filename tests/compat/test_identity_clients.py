# SPDX-License-Identifier: Apache-2.0
"""Unmodified clients against identity alone, configured by the `clouds.yaml` that it wrote.

TRANSOM_CLIENTS names the folder of their programs; by default `.cache/clients/bin`.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from support.identity import Cloud, by_password, cloud, on_project

ROOT = Path(__file__).parents[2]
CLIENTS = Path(os.environ.get("TRANSOM_CLIENTS", ROOT / ".cache" / "clients" / "bin"))
PATIENCE_S = 100


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Cloud]:
    async with cloud(tmp_path) as served:
        yield served


async def run(
    here: Cloud, program: str, *arguments: str, os_variables: dict[str, str] | None = None
) -> tuple[int, str, str]:
    """Runs a client without this loop's waiting for it; it is this loop that serves it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
    chosen = os_variables or {"OS_CLIENT_CONFIG_FILE": str(here.data / "clouds.yaml")}
    process = await asyncio.create_subprocess_exec(
        *(str(CLIENTS / program), *arguments),
        env={**kept, "HOME": str(here.data), **chosen},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(PATIENCE_S):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def openstack(here: Cloud, *words: str) -> Any:
    """`openstack ...`: what it prints, from JSON if it was asked for."""
    code, out, err = await run(here, "openstack", "--os-cloud", "transom", *words)
    assert code == 0, err
    return json.loads(out) if "json" in words else out


async def python(here: Cloud, script: str) -> str:
    code, out, err = await run(here, "python", "-W", "ignore", "-c", script)
    assert code == 0, err
    return out


async def test_token_catalogue_and_lists_with_the_openstack_client(here: Cloud) -> None:
    token = await openstack(here, "token", "issue", "-f", "json")
    assert len(token["id"]) < 255
    catalogue = await openstack(here, "catalog", "list", "-f", "json")
    assert {row["Type"] for row in catalogue} == {"identity", "messaging"}
    projects = await openstack(here, "project", "list", "-f", "json")
    assert [row["Name"] for row in projects] == ["admin", "service"]
    assert token["project_id"] in {row["ID"] for row in projects}
    users = await openstack(here, "user", "list", "-f", "json")
    assert [row["Name"] for row in users] == ["admin", "transom"]


async def test_token_revoke_with_the_openstack_client(here: Cloud) -> None:
    token = (await openstack(here, "token", "issue", "-f", "json"))["id"]
    assert await here.worth(token) == 200
    await openstack(here, "token", "revoke", token)
    assert await here.worth(token) == 404
    code, _, err = await run(here, "openstack", "--os-cloud", "transom", "token", "revoke", token)
    assert (code, "404" in err) == (1, True)


async def test_a_second_user_in_a_second_project_with_the_openstack_client(here: Cloud) -> None:
    await openstack(here, "project", "create", "lab", "-f", "json")
    made = await openstack(
        here, "user", "create", "bob", "--password", "secret", "--project", "lab", "-f", "json"
    )
    await openstack(here, "role", "add", "--user", "bob", "--project", "lab", "member")
    rows = await openstack(here, "role", "assignment", "list", "--names", "-f", "json")
    assert {"Role": "member", "User": "bob@Default", "Project": "lab@Default"}.items() <= next(
        row for row in rows if row["User"].startswith("bob")
    ).items()
    token = await here.token(by_password("bob", "secret", on_project("lab")))
    await openstack(here, "user", "set", "bob", "--password", "other")
    assert await here.worth(token) == 404
    own = {
        "OS_AUTH_URL": here.base_url + "/identity/v3",
        "OS_USERNAME": "bob",
        "OS_PASSWORD": "other",
        "OS_PROJECT_NAME": "lab",
        "OS_USER_DOMAIN_NAME": "Default",
        "OS_PROJECT_DOMAIN_NAME": "Default",
        "OS_IDENTITY_API_VERSION": "3",
    }
    code, out, err = await run(here, "openstack", "project", "list", "-f", "json", os_variables=own)
    assert code == 0, err
    assert [row["Name"] for row in json.loads(out)] == ["lab"]
    await openstack(here, "role", "remove", "--user", "bob", "--project", "lab", "member")
    await openstack(here, "user", "delete", made["id"])
    await openstack(here, "project", "delete", "lab")


async def test_what_else_an_operator_looks_at_with_the_openstack_client(here: Cloud) -> None:
    endpoints = await openstack(here, "endpoint", "list", "-f", "json")
    assert len(endpoints) == 6
    assert {row["Service Name"] for row in endpoints} == {"identity", "queue"}
    assert len(await openstack(here, "service", "list", "-f", "json")) == 2
    assert (await openstack(here, "region", "list", "-f", "json"))[0]["Region"] == "RegionOne"
    assert (await openstack(here, "domain", "list", "-f", "json"))[0]["Name"] == "Default"
    roles = await openstack(here, "role", "list", "-f", "json")
    assert {row["Name"] for row in roles} == {"admin", "member", "reader", "service"}
    shown = await openstack(here, "user", "show", "admin", "-f", "json")
    assert shown["enabled"] is True


async def test_openrc_works_for_who_sources_it(here: Cloud) -> None:
    lines = (here.data / "openrc").read_text().splitlines()
    variables = dict(line.removeprefix("export ").split("=", 1) for line in lines)
    code, out, err = await run(
        here, "openstack", "token", "issue", "-f", "json", os_variables=variables
    )
    assert code == 0, err
    assert json.loads(out)["project_id"]


async def test_openstacksdk_connects_finds_and_rescopes(here: Cloud) -> None:
    printed = await python(
        here,
        """
import openstack
from keystoneauth1 import exceptions, session
from keystoneauth1.identity import v3
cloud = openstack.connect(cloud="transom")
print([project.name for project in cloud.identity.projects()])
assert cloud.identity.find_user("admin").id == cloud.current_user_id
assert cloud.identity.find_user("absent") is None
assert cloud.endpoint_for("messaging").endswith("/queue")
assert cloud.current_project.name == "admin"
auth_url = cloud.config.auth["auth_url"]
token = v3.Token(auth_url, cloud.auth_token, unscoped=True)
unscoped = session.Session(auth=token)
assert unscoped.get_project_id() is None
first, again = cloud.session.auth.get_access(cloud.session), token.get_access(unscoped)
assert abs((first.expires - again.expires).total_seconds()) < 0.001
assert first.has_service_catalog() and not again.has_service_catalog()
wrong = v3.Password(auth_url, username="admin", password="x", user_domain_id="default")
try:
    session.Session(auth=wrong).get_token()
except exceptions.Unauthorized as refused:
    print("refused", refused.http_status)
""",
    )
    assert printed.splitlines() == ["['admin', 'service']", "refused 401"]


async def test_domains_with_the_openstack_client(here: Cloud) -> None:
    made = await openstack(here, "domain", "create", "lab", "--description", "d", "-f", "json")
    assert (made["name"], made["enabled"]) == ("lab", True)
    await openstack(here, "domain", "set", "lab", "--name", "spot")
    await openstack(here, "project", "create", "p", "--domain", "spot", "--tag", "red")
    await openstack(here, "user", "create", "eve", "--domain", "spot", "--password", "secret")
    users = await openstack(here, "user", "list", "--domain", "spot", "-f", "json")
    assert [row["Name"] for row in users] == ["eve"]
    found = await openstack(here, "project", "list", "--tags", "red", "-f", "json")
    assert [row["Name"] for row in found] == ["p"]
    grant = ("--user", "eve", "--user-domain", "spot", "--domain", "spot", "reader")
    await openstack(here, "role", "add", *grant)
    rows = await openstack(
        here, "role", "assignment", "list", "--domain", "spot", "--names", "-f", "json"
    )
    assert [(row["User"], row["Domain"], row["Role"]) for row in rows] == [
        ("eve@spot", "spot", "reader")
    ]
    await openstack(here, "role", "remove", *grant)
    await openstack(here, "domain", "set", "spot", "--disable")
    await openstack(here, "domain", "delete", "spot")
    assert len(await openstack(here, "domain", "list", "-f", "json")) == 1


async def test_roles_and_the_system_with_the_openstack_client(here: Cloud) -> None:
    await openstack(here, "role", "create", "cook", "--description", "d")
    await openstack(here, "role", "set", "cook", "--name", "chef")
    await openstack(here, "user", "create", "bob", "--password", "secret", "--enable")
    await openstack(here, "role", "add", "--user", "bob", "--system", "all", "reader")
    rows = await openstack(
        here, "role", "assignment", "list", "--system", "all", "--names", "-f", "json"
    )
    assert ("reader", "bob@Default", "all") in {
        (row["Role"], row["User"], row["System"]) for row in rows
    }
    own = {
        "OS_AUTH_URL": here.base_url + "/identity/v3",
        "OS_USERNAME": "bob",
        "OS_PASSWORD": "secret",
        "OS_SYSTEM_SCOPE": "all",
        "OS_USER_DOMAIN_NAME": "Default",
        "OS_IDENTITY_API_VERSION": "3",
    }
    code, out, err = await run(here, "openstack", "user", "list", "-f", "json", os_variables=own)
    assert code == 0, err
    assert "bob" in {row["Name"] for row in json.loads(out)}
    await openstack(here, "role", "remove", "--user", "bob", "--system", "all", "reader")
    code, _, err = await run(here, "openstack", "user", "list", os_variables=own)
    assert (code, "401" in err) == (1, True)
    await openstack(here, "user", "set", "bob", "--disable", "--description", "gone")
    await openstack(here, "role", "delete", "chef")
    assert await openstack(here, "group", "list", "-f", "json") == []


async def test_application_credentials_with_the_openstack_client(here: Cloud) -> None:
    made = await openstack(
        here, "application", "credential", "create", "deploy", "--role", "reader",
        "--expiration", "2999-01-01T00:00:00", "-f", "json",
    )  # fmt: skip
    own = {
        "OS_AUTH_TYPE": "v3applicationcredential",
        "OS_AUTH_URL": here.base_url + "/identity/v3",
        "OS_APPLICATION_CREDENTIAL_ID": made["ID"],
        "OS_APPLICATION_CREDENTIAL_SECRET": made["Secret"],
    }
    code, out, err = await run(here, "openstack", "token", "issue", "-f", "json", os_variables=own)
    assert code == 0, err
    assert json.loads(out)["project_id"] == made["Project ID"]
    code, _, err = await run(
        here, "openstack", "application", "credential", "create", "more", os_variables=own
    )
    assert (code, "403" in err) == (1, True)
    words = ("application", "credential")
    (row,) = await openstack(here, *words, "list", "-f", "json")
    assert row["Name"] == "deploy"
    assert (await openstack(here, *words, "show", "deploy", "-f", "json"))["ID"] == made["ID"]
    await openstack(here, *words, "delete", "deploy")
    code, _, err = await run(here, "openstack", "token", "issue", os_variables=own)
    assert (code, "401" in err) == (1, True)


async def test_a_user_changes_their_own_password_with_the_openstack_client(here: Cloud) -> None:
    await here.member("alice", "secret", "place")
    own = {
        "OS_AUTH_URL": here.base_url + "/identity/v3",
        "OS_USERNAME": "alice",
        "OS_PASSWORD": "secret",
        "OS_PROJECT_NAME": "place",
        "OS_USER_DOMAIN_NAME": "Default",
        "OS_PROJECT_DOMAIN_NAME": "Default",
        "OS_IDENTITY_API_VERSION": "3",
    }
    words = ("user", "password", "set", "--password", "other", "--original-password", "secret")
    code, _, err = await run(here, "openstack", *words, os_variables=own)
    assert code == 0, err
    assert await here.token(by_password("alice", "other"))
