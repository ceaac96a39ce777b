# SPDX-License-Identifier: Apache-2.0
"""Who the operator is, from the variables and files that every OpenStack client reads."""

import json
from pathlib import Path
from typing import Any

import pytest

from transom.errors import ConfigError
from transom.runtime.auth.operator import Operator

ENVIRONMENT = {
    "OS_AUTH_URL": "http://keystone:5000/v3/",
    "OS_USERNAME": "admin",
    "OS_PASSWORD": "secret",
    "OS_PROJECT_NAME": "admin",
    "OS_USER_DOMAIN_NAME": "Default",
    "OS_PROJECT_DOMAIN_ID": "pd",
}


def read(cloud: str | None = None, **other: str) -> Operator:
    return Operator.read(cloud, {**ENVIRONMENT, **other})


def auth(operator: Operator) -> Any:
    return operator.auth["auth"]


def test_a_password_and_a_project_come_with_their_domains() -> None:
    operator = read(OS_REGION_NAME="north", OS_CACERT="/etc/ca.pem")
    assert (operator.auth_url, operator.region) == ("http://keystone:5000/v3", "north")
    assert operator.ca_file == "/etc/ca.pem"
    user = {"name": "admin", "domain": {"name": "Default"}, "password": "secret"}
    assert auth(operator)["identity"] == {"methods": ["password"], "password": {"user": user}}
    assert auth(operator)["scope"] == {"project": {"name": "admin", "domain": {"id": "pd"}}}
    assert "secret" not in repr(operator)


@pytest.mark.parametrize(
    ("given", "scope"),
    [
        ({"OS_SYSTEM_SCOPE": "all"}, {"system": {"all": True}}),
        ({"OS_PROJECT_ID": "p"}, {"project": {"id": "p"}}),
        ({"OS_PROJECT_NAME": "", "OS_TENANT_NAME": "t"},
         {"project": {"name": "t", "domain": {"id": "pd"}}}),
        ({"OS_PROJECT_NAME": "", "OS_DOMAIN_ID": "d"}, {"domain": {"id": "d"}}),
        ({"OS_PROJECT_NAME": "", "OS_DOMAIN_NAME": "d"}, {"domain": {"name": "d"}}),
    ],
)  # fmt: skip
def test_scopes_are_told_apart(given: dict[str, str], scope: dict[str, Any]) -> None:
    assert auth(read(**given))["scope"] == scope


def test_domains_are_the_default_ones_where_none_is_named() -> None:
    bare = {"OS_USER_DOMAIN_NAME": "", "OS_PROJECT_DOMAIN_ID": ""}
    for more, domain in (({}, {"id": "default"}), ({"OS_DEFAULT_DOMAIN_NAME": "D"}, {"name": "D"})):
        found = auth(read(**bare, **more))
        assert found["identity"]["password"]["user"]["domain"] == domain
        assert found["scope"]["project"]["domain"] == domain


def test_an_application_credential_and_a_token_sign_in_too() -> None:
    credential = {"OS_APPLICATION_CREDENTIAL_SECRET": "s"}
    by_id = auth(read(OS_PROJECT_NAME="", OS_APPLICATION_CREDENTIAL_ID="c", **credential))
    assert by_id["identity"]["application_credential"] == {"secret": "s", "id": "c"}
    assert "scope" not in by_id
    by_name = auth(read(OS_APPLICATION_CREDENTIAL_NAME="n", OS_USER_ID="u", **credential))
    wanted = {"secret": "s", "name": "n", "user": {"id": "u"}}
    assert by_name["identity"]["application_credential"] == wanted
    assert auth(read(OS_TOKEN="t"))["identity"] == {"methods": ["token"], "token": {"id": "t"}}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"OS_AUTH_URL": ""}, "nobody is named to sign in at Keystone; set OS_AUTH_URL"),
        ({"OS_AUTH_URL": "keystone:5000"}, "write http://host:port/v3"),
        ({"OS_AUTH_URL": "http://k:5000/v2.0/"}, "version 2 .* gone; write http://k:5000/v3"),
        ({"OS_PROJECT_NAME": ""}, "names no project; set project_name"),
        ({"OS_PASSWORD": ""}, "names no user with a password"),
        ({"OS_USERNAME": ""}, "names no user with a password"),
        ({"OS_INSECURE": "true"}, "certificates are always verified here; .*OS_CACERT"),
        ({"OS_CLOUD": "absent", "HOME": "/nowhere"}, "there is no cloud 'absent'"),
    ],
)
def test_what_cannot_sign_in_is_told_and_what_to_do(given: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        read(**given)


def test_a_cloud_is_looked_up_and_its_secret_may_lie_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / ".config" / "openstack"
    folder.mkdir(parents=True)
    cloud = {"auth": {"auth_url": "http://k", "username": "u", "project_id": "p"}}
    (folder / "clouds.yaml").write_text(json.dumps({"clouds": {"c": cloud}}))
    environment = {"HOME": str(tmp_path)}
    with pytest.raises(ConfigError, match="names no user with a password"):
        Operator.read("c", environment)
    secret = {"auth": {"password": "s"}, "cacert": "/ca.pem"}
    (folder / "secure.yaml").write_text(json.dumps({"clouds": {"c": secret}}))
    operator = Operator.read("c", environment)
    assert (operator.auth_url, operator.ca_file) == ("http://k", "/ca.pem")
    assert auth(operator)["identity"]["password"]["user"]["password"] == "s"
    with pytest.raises(ConfigError, match=f"no cloud 'd' .*{folder}/clouds.yaml"):
        Operator.read("d", environment)
    (folder / "clouds.yaml").write_text("nothing: [")
    with pytest.raises(ConfigError, match="holds no clouds"):
        Operator.read("c", environment)
