"""`transom identity ...`: what an operator needs no password for, while the doors are open."""

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from support.identity import by_password, on_project, password_of
from support.stack import Stack, get, running


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running(tmp_path_factory.mktemp("data"), "--single-process") as started:
        yield started


def signed_in(stack: Stack, name: str, password: str, project: str) -> str:
    """A token, or "" if the password is refused."""
    body = json.dumps(by_password(name, password, on_project(project))).encode()
    address = f"{stack.url}/identity/v3/auth/tokens"
    wanted = urllib.request.Request(address, body, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(wanted, timeout=30) as answer:
            return str(answer.headers["x-subject-token"])
    except urllib.error.HTTPError as error:
        with error:
            return str(error.code).replace("401", "")


def queues(stack: Stack, token: str) -> int:
    wanted = urllib.request.Request(
        f"{stack.url}/queue/v2/queues", headers={"x-auth-token": token, "client-id": "0" * 32}
    )
    try:
        with urllib.request.urlopen(wanted, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return int(error.code)


def test_a_reset_password_is_in_the_files_and_the_old_one_and_its_tokens_are_void(
    stack: Stack,
) -> None:
    old = password_of(stack.data)
    token = signed_in(stack, "admin", old, "admin")
    assert queues(stack, token) == 200
    said = stack.transom("identity", "reset-password").stdout
    new = password_of(stack.data)
    assert str(stack.data / "clouds.yaml") in said
    assert new not in said
    assert (stack.data / "openrc").read_text().count(new) == 1
    assert queues(stack, token) == 401
    assert signed_in(stack, "admin", old, "admin") == ""
    assert signed_in(stack, "admin", new, "admin")
    assert yaml.safe_load((stack.data / "clouds.yaml").read_text())["clouds"]["transom"]["auth"][
        "auth_url"
    ].startswith(stack.url)


def test_accounts_are_made_and_made_anew_and_others_passwords_are_printed_once(
    stack: Stack,
) -> None:
    made = yaml.safe_load(stack.transom("identity", "accounts", "--count", "2").stdout)
    assert [entry["username"] for entry in made] == ["tempest-1", "tempest-2"]
    one = made[0]["username"]
    token = signed_in(stack, one, made[0]["password"], one)
    assert queues(stack, token) == 200
    again = yaml.safe_load(stack.transom("identity", "accounts", "--count", "1").stdout)
    assert signed_in(stack, one, made[0]["password"], one) == ""
    assert signed_in(stack, one, again[0]["password"], one)
    printed = stack.transom("identity", "reset-password", "--user", one).stdout.strip()
    assert signed_in(stack, one, printed, one)
    assert queues(stack, token) == 401
    for arguments, says in [
        (("reset-password", "--user", "nobody"), "there is no user 'nobody'"),
        (("accounts", "--count", "0"), "--count"),
    ]:
        refused = stack.transom("identity", *arguments, check=False)
        assert refused.returncode == 1
        assert says in refused.stderr.lower()
    for secret in (printed, again[0]["password"], made[1]["password"]):
        assert secret not in stack.logs()


def test_a_rotated_key_seals_at_once_and_tokens_of_the_old_one_go_on(stack: Stack) -> None:
    old = signed_in(stack, "admin", password_of(stack.data), "admin")
    said = stack.transom("identity", "rotate-keys").stdout
    assert said.startswith("key 2 seals tokens from now on")
    new = signed_in(stack, "admin", password_of(stack.data), "admin")
    assert (old[:6], new[:6]) == ("AQAAAA", "AQAAAA")
    assert old[:7] != new[:7]
    assert [queues(stack, token) for token in (old, new)] == [200, 200]


def test_with_a_real_keystone_it_says_that_it_is_done_there(tmp_path: Path) -> None:
    stack = Stack(
        tmp_path,
        {"TRANSOM_KEYSTONE__AUTH_URL": "http://keystone", "TRANSOM_KEYSTONE__PASSWORD": "x"},
    )
    refused = stack.transom("identity", "rotate-keys", check=False)
    assert (refused.returncode, "do it there" in refused.stderr) == (1, True)


def test_what_is_no_data_folder_is_left_alone(tmp_path: Path) -> None:
    refused = Stack(tmp_path / "none").transom("identity", "rotate-keys", check=False)
    assert (refused.returncode, "no data folder" in refused.stderr) == (1, True)
    assert not (tmp_path / "none").exists()


def test_the_openapi_document_names_what_identity_answers(stack: Stack) -> None:
    status, text = get(f"{stack.url}/identity/openapi.json")
    assert status == 200
    paths = json.loads(text)["paths"]
    for path, methods in paths.items():
        for method, operation in methods.items():
            answered = [code for code in operation["responses"] if code < "400"]
            assert answered, f"{method} {path} says nothing of what it answers"
