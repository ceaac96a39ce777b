# SPDX-License-Identifier: Apache-2.0
"""A real Keystone: `transom keystone register` in it, the main job with unmodified clients through
its catalogue, and every kind of token that it issues.
"""

import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from transom.node.folder import DataFolder

from support.console import Shell, Step, steps
from support.keystone import ADMIN_PASSWORD, REGION, RealKeystone, real_keystone
from support.registered import (
    QUEUES,
    Person,
    asked,
    free_port,
    here,
    prepared,
    register,
    registered,
)
from support.stack import ROOT, Stack, get, wait_for

CACHE_S = 2
SYSTEM = {"system": {"all": True}}

pytestmark = pytest.mark.timeout(300)


@dataclass
class World:
    keystone: RealKeystone
    stack: Stack
    ada: Person


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, keystone: RealKeystone) -> Iterator[World]:
    data = tmp_path_factory.mktemp("registered") / "data"
    with registered(data, keystone, {"TRANSOM_KEYSTONE__CACHE_S": str(CACHE_S)}) as stack:
        ada = Person(keystone, "ada", "works")
        ada.write_clouds(data / "clouds.yaml")
        status, _, _ = asked(stack, ada.token(), "PUT", f"{QUEUES}/of-ada")
        assert status == 201
        yield World(keystone, stack, ada)


def names(stack: Stack, token: str, **headers: str) -> Any:
    """Those of the queues that the token shows; or the status of the refusal."""
    status, _, answer = asked(stack, token, **headers)
    return [queue["name"] for queue in answer["queues"]] if status == 200 else status


# The clients


def test_the_openstack_client_finds_the_queue_by_keystones_catalogue(world: World) -> None:
    stack = world.stack
    services = {row["Type"]: row for row in stack.openstack("catalog list -f json")}
    urls = {at["interface"]: at["url"] for at in services["messaging"]["Endpoints"]}
    assert urls == dict.fromkeys(("public", "internal", "admin"), f"{stack.url}/queue")
    client = str(uuid.uuid4())
    stack.openstack("messaging queue create life -f json")
    body = json.dumps([{"body": {"job": number}, "ttl": 300} for number in range(3)])
    stack.openstack(f"messaging message post life --client-id {client}", body)
    claimed = stack.openstack("messaging claim create life --limit 2 -f json")
    claim = claimed[0]["Claim_ID"]
    assert len(stack.openstack(f"messaging claim query life {claim} -f json")) == 2
    stack.openstack(f"messaging claim release life {claim}")
    listed = stack.openstack(f"messaging message list life --echo --client-id {client} -f json")
    assert len(listed) == 3
    stack.openstack("messaging queue delete life")
    assert [row["Name"] for row in stack.openstack("messaging queue list -f json")] == ["of-ada"]


def test_zaqarclient_and_the_sdk_do_the_main_job(world: World) -> None:
    printed = world.stack.python(
        """
import openstack
from zaqarclient.queues import client
cloud = openstack.connect(cloud="transom")
options = {"os_auth_token": cloud.auth_token, "os_auth_url": cloud.config.auth["auth_url"],
    "os_project_id": cloud.current_project_id}
url = cloud.session.get_endpoint(service_type="messaging")
zaqar = client.Client(url=url, version=2,
    conf={"auth_opts": {"backend": "keystone", "options": options}})
queue = zaqar.queue("zaqar")
queue.post([{"body": n, "ttl": 300} for n in range(5)])
claim = queue.claim(ttl=120, grace=60, limit=3)
messages = list(claim)
messages[0].delete()
claim.delete()
message = cloud.message
assert {q.name for q in message.queues()} == {"of-ada", "zaqar"}
left = list(message.messages("zaqar", echo=True))
assert [m.body for m in left] == [1, 2, 3, 4], left
message.delete_message("zaqar", left[0].id)
assert [m.body for m in queue.pop(count=2)] == [2, 3]
message.delete_queue("zaqar")
print("done")
"""
    )
    assert printed.strip() == "done"


# Tokens


def test_each_project_has_its_own_queues_also_under_one_name_in_another_domain(
    world: World,
) -> None:
    other = world.keystone.make_one("domains", name="other")["id"]
    namesake = Person(world.keystone, "ada", "works", other)
    assert names(world.stack, world.ada.token()) == ["of-ada"]
    assert names(world.stack, namesake.token()) == []
    assert names(world.stack, world.keystone.admin()) == []


def test_tokens_for_no_project_are_refused_with_what_to_do(world: World) -> None:
    keystone, ada = world.keystone, world.ada
    admin = keystone.admin()
    member = keystone.ask("GET", "/roles?name=member", token=admin)[2]["roles"][0]["id"]
    path = f"/domains/default/users/{ada.user_id}/roles/{member}"
    assert keystone.ask("PUT", path, token=admin)[0] == 204
    tokens = {
        "system": keystone.by_password("admin", ADMIN_PASSWORD, SYSTEM),
        "domain": ada.token({"domain": {"id": "default"}}),
        "unscoped": ada.token("unscoped"),
    }
    for kind, token in tokens.items():
        status, _, answer = asked(world.stack, token)
        assert (status, "for no project; ask for one" in answer["description"]) == (400, True), kind


def test_an_application_credential_is_its_user_and_no_more(world: World) -> None:
    keystone, ada = world.keystone, world.ada

    def token(**more: Any) -> str:
        wanted = {"name": uuid.uuid4().hex, "secret": "s", **more}
        path = f"/users/{ada.user_id}/application_credentials"
        status, _, made = keystone.ask(
            "POST", path, {"application_credential": wanted}, ada.token()
        )
        assert status == 201, made
        credential = {"id": made["application_credential"]["id"], "secret": "s"}
        return keystone.sign_in({"application_credential": credential})

    assert names(world.stack, token()) == ["of-ada"]
    rule = {"service": "messaging", "method": "GET", "path": "/v2/queues"}
    assert names(world.stack, token(access_rules=[rule])) == 401


def test_a_trust_lets_somebody_into_the_trustors_project(world: World) -> None:
    keystone, ada = world.keystone, world.ada
    bob = Person(keystone, "bob", "works-of-bob")
    trust = {
        "trustor_user_id": ada.user_id, "trustee_user_id": bob.user_id, "impersonation": False,
        "project_id": ada.project_id, "roles": [{"name": "member"}],
    }  # fmt: skip
    status, _, made = keystone.ask("POST", "/OS-TRUST/trusts", {"trust": trust}, ada.token())
    assert status == 201, made
    assert names(world.stack, bob.token()) == []
    trusted = bob.token({"OS-TRUST:trust": {"id": made["trust"]["id"]}})
    assert names(world.stack, trusted) == ["of-ada"]


def test_an_expired_token_opens_only_to_a_service_that_shows_its_own(
    world: World, tmp_path: Path
) -> None:
    """A second Keystone on copies of the first one's keys issues what soon ends."""
    first = world.keystone
    short = {"token": "expiration = 1"}
    with real_keystone(tmp_path / "short", first.folder, short) as keystone:
        password = world.ada.password
        token = keystone.by_password("ada", password, world.ada.scope)
    wait_for(lambda: names(world.stack, token) == 401)
    service = _service_token(world)
    assert names(world.stack, token, X_Service_Token=service) == ["of-ada"]
    assert names(world.stack, token, X_Service_Token=world.ada.token()) == 401
    assert names(world.stack, world.ada.token(), X_Service_Token=service) == ["of-ada"]
    assert names(world.stack, token, X_Service_Token="none") == 401
    assert names(world.stack, token) == 401


def _service_token(world: World) -> str:
    """Another service's, with the role that Keystone's own setup makes."""
    nova = Person(world.keystone, f"nova-{uuid.uuid4().hex}", f"s-{uuid.uuid4().hex}")
    world.keystone.grant("service", nova.user_id, nova.project_id)
    return nova.token()


@pytest.mark.parametrize("by", ["revoking", "disabling the user", "disabling the project"])
def test_an_ended_token_is_refused_within_the_time_of_the_cache(world: World, by: str) -> None:
    keystone, stack = world.keystone, world.stack
    one = Person(keystone, uuid.uuid4().hex, uuid.uuid4().hex)
    token, admin = one.token(), keystone.admin()
    assert names(stack, token) == []
    if by == "revoking":
        headers = {"X-Subject-Token": token}
        assert keystone.ask("DELETE", "/auth/tokens", token=admin, **headers)[0] == 204
    elif by == "disabling the user":
        body = {"user": {"enabled": False}}
        assert keystone.ask("PATCH", f"/users/{one.user_id}", body, admin)[0] == 200
    else:
        body = {"project": {"enabled": False}}
        assert keystone.ask("PATCH", f"/projects/{one.project_id}", body, admin)[0] == 200
    wait_for(lambda: names(stack, token) == 401, within_s=CACHE_S + 8)
    assert names(stack, world.ada.token()) == ["of-ada"]


# Registering


def test_a_second_run_changes_nothing_and_a_moved_door_changes_its_endpoints(world: World) -> None:
    stack, keystone = world.stack, world.keystone
    again = register(stack, keystone).out
    assert "nothing was changed" in again
    assert "has it all already" in again
    file = stack.data / "transom.toml"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text().startswith("# Ours.\n[api]\nport = ")
    moved = {"TRANSOM_API__PUBLIC_URL": "http://else:1"}
    dry = register(stack, keystone, "--dry-run", **moved).out
    assert dry.count("would change endpoint messaging ") == 3
    assert dry.count("would change endpoint messaging-websocket ") == 3
    register(stack, keystone, **moved)
    token = keystone.admin()
    found = keystone.ask("GET", "/endpoints", token=token)[2]["endpoints"]
    assert sum(at["url"] == "http://else:1/queue" for at in found) == 3
    assert register(stack, keystone).out.count("changed endpoint messaging ") == 3
    assert len(found) == len(keystone.ask("GET", "/endpoints", token=token)[2]["endpoints"])


def test_check_says_whether_keystone_takes_the_service_user(world: World) -> None:
    said = here(world.stack, "config", "check", "--online").out
    assert f"{world.keystone.url}/v3: answers, and takes the service user" in said
    wrong = {"TRANSOM_KEYSTONE__PASSWORD": "x"}
    refused = here(world.stack, "config", "check", "--online", variables=wrong)
    assert refused.status == 1
    assert "the password of 'transom'" in refused.err
    away = {"TRANSOM_KEYSTONE__AUTH_URL": "http://127.0.0.1:9"}
    refused = here(world.stack, "config", "check", "--online", variables=away)
    assert "[keystone] http://127.0.0.1:9 cannot be used: " in refused.err
    assert here(world.stack, "config", "check", variables=away).status == 0


def test_the_password_is_in_one_file_and_nowhere_else(world: World) -> None:
    stack = world.stack
    text = (stack.data / "transom.toml").read_text()
    password = text.partition('password = "')[2].partition('"')[0]
    assert len(password) == 24
    kept = [path for path in stack.data.rglob("*") if path.is_file()]
    holding = [path.name for path in kept if password.encode() in path.read_bytes()]
    assert holding == ["transom.toml"]


def test_who_lost_the_password_is_told_and_gets_another(world: World, tmp_path: Path) -> None:
    keystone = world.keystone
    lost = {"TRANSOM_KEYSTONE__USERNAME": "lost"}
    first, second = prepared(tmp_path / "first", lost), prepared(tmp_path / "second", lost)
    register(first, keystone, "--region", "lost")
    refused = register(second, keystone, "--region", "lost")
    assert "with --new-password" in refused.err
    assert "[keystone]" not in (second.data / "transom.toml").read_text()
    register(second, keystone, "--region", "lost", "--new-password")
    assert "takes the service user" in here(second, "config", "check", "--online").out
    again = register(first, keystone, "--region", "lost", "--new-password")
    assert again.status == 0, again
    told = again.out
    kept = first.data / "keys" / "keystone.plain"
    assert f"password = (the line in {kept})" in told
    assert kept.stat().st_mode & 0o777 == 0o600
    password = kept.read_text().strip()
    assert password not in told
    given = {"TRANSOM_KEYSTONE__PASSWORD": password}
    assert (
        "takes the service user" in here(first, "config", "check", "--online", variables=given).out
    )


def test_a_run_that_was_killed_after_it_made_the_user_goes_on(world: World, tmp_path: Path) -> None:
    """As if so: the user has the password that lies in the folder, and nothing else is there."""
    keystone = world.keystone
    stack = prepared(tmp_path / "data", {"TRANSOM_KEYSTONE__USERNAME": "halfway"})
    keystone.make_one("users", name="halfway", domain_id="default", password="kept-one")
    DataFolder(stack.data).prepare()
    keys = stack.data / "keys"
    (keys / "keystone.plain").touch(mode=0o600)
    (keys / "keystone.plain").write_text("kept-one\n")
    said = register(stack, keystone, "--region", "halfway")
    assert said.status == 0, said
    assert "made user" not in said.out
    assert 'password = "kept-one"' in (stack.data / "transom.toml").read_text()
    assert list(keys.iterdir()) == []


def test_somebody_elses_service_in_the_region_is_left_alone(world: World, tmp_path: Path) -> None:
    keystone = world.keystone
    keystone.make_one("regions", id="taken")
    zaqar = keystone.make_one("services", type="messaging", name="zaqar")["id"]
    keystone.make_one(
        "endpoints", service_id=zaqar, region_id="taken", interface="public", url="http://zaqar"
    )
    stack = prepared(tmp_path / "data", {"TRANSOM_KEYSTONE__USERNAME": "third"})
    try:
        refused = register(stack, keystone, "--region", "taken")
        assert "of service 'zaqar' (http://zaqar)" in refused.err
        users = keystone.ask("GET", "/users?name=third", token=keystone.admin())[2]["users"]
        assert users == []
        assert "name one of the regions" in register(stack, keystone).err
    finally:
        keystone.ask("DELETE", f"/services/{zaqar}", token=keystone.admin())


def test_a_role_that_may_not_validate_is_found_out(world: World, tmp_path: Path) -> None:
    stack = prepared(tmp_path / "data", {"TRANSOM_KEYSTONE__USERNAME": "weak"})
    refused = register(stack, world.keystone, "--region", "weak", "--role", "member")
    assert "may not validate tokens in this Keystone; run it again with --role admin" in refused.err
    assert "[keystone]" not in (stack.data / "transom.toml").read_text()
    said = register(stack, world.keystone, "--region", "weak", "--role", "admin")
    assert said.status == 0, said
    assert "takes the service user" in here(stack, "config", "check", "--online").out


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"OS_PASSWORD": "wrong"}, "refuses user 'admin': the name, the password"),
        ({"OS_USERNAME": "ada", "OS_PASSWORD": "of-ada", "OS_PROJECT_NAME": "works"},
         "user 'ada' may not read .* the role admin is needed"),
        ({"OS_AUTH_URL": "http://127.0.0.1:9/v3"}, "cannot be reached"),
        ({"OS_AUTH_URL": "http://127.0.0.1:{port}/absent"}, "is no Keystone of version 3"),
    ],
)  # fmt: skip
def test_who_cannot_register_is_told_why_and_nothing_is_written(
    world: World, tmp_path: Path, variables: dict[str, str], says: str
) -> None:
    given = {name: at.replace("{port}", str(world.keystone.port)) for name, at in variables.items()}
    stack = prepared(tmp_path / "data")
    refused = register(stack, world.keystone, "--region", REGION, **given)
    assert refused.status == 1
    assert re.search(says, refused.err), refused.err
    assert "[keystone]" not in (stack.data / "transom.toml").read_text()


def test_a_cloud_of_clouds_yaml_signs_in_too(world: World, tmp_path: Path) -> None:
    stack = prepared(tmp_path / "data")
    auth = {
        "auth_url": world.keystone.url, "username": "admin", "project_name": "admin",
        "user_domain_name": "Default", "project_domain_name": "Default",
    }  # fmt: skip
    clouds, secure = tmp_path / "clouds.yaml", tmp_path / "secure.yaml"
    clouds.write_text(json.dumps({"clouds": {"c": {"auth": auth, "region_name": "by-cloud"}}}))
    secure.write_text(json.dumps({"clouds": {"c": {"auth": {"password": ADMIN_PASSWORD}}}}))
    files = {"OS_CLIENT_CONFIG_FILE": str(clouds), "OS_CLIENT_SECURE_FILE": str(secure)}
    command = ("keystone", "register", "--os-cloud", "c", "--dry-run", "--new-password")
    dry = here(stack, *command, variables=files).out
    assert "would make endpoint messaging public in by-cloud" in dry
    assert not (stack.data / "keys").exists()


@pytest.mark.parametrize("ending", ["", "/", "/v3", "/v3/"])
def test_the_address_may_end_as_it_is_written_elsewhere(world: World, ending: str) -> None:
    given = {"TRANSOM_KEYSTONE__AUTH_URL": world.keystone.url + ending}
    said = here(world.stack, "config", "check", "--online", variables=given)
    assert "takes the service user" in said.out, said


def test_the_page_about_it_says_what_happens(made_keystone: Path, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "howto" / "use-your-keystone.md").read_text()
    wanted = steps(page.replace("```console keystone\n", "```console\n"))
    assert len(wanted) == 8
    with real_keystone(tmp_path / "keystone", made_keystone) as own:
        lines = [f"export {name}={value}\n" for name, value in own.variables().items()]
        (tmp_path / "admin-openrc").write_text("".join(lines))
        with Shell(tmp_path, {"TRANSOM_API__PORT": str(free_port())}) as shell:
            for step in wanted:
                printed = [line.replace("http://keystone:5000", own.url) for line in step.printed]
                shell.run(Step(step.command, tuple(printed)))


def test_the_doors_say_that_they_are_ready_and_warn_of_nothing(world: World) -> None:
    status, body = get(f"{world.stack.url}/readyz")
    checks = {"queue": True, "keys": True}
    assert (status, json.loads(body)) == (200, {"status": "ready", "checks": checks})
