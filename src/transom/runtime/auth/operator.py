# SPDX-License-Identifier: Apache-2.0
"""Who a command or a client program is to a Keystone, as every OpenStack client reads it.

A cloud named by `--os-cloud` or `OS_CLOUD` is looked up in `clouds.yaml`, with what `secure.yaml`
adds to it; else the `OS_*` variables say it.

Source: https://docs.openstack.org/openstacksdk/latest/user/config/configuration.html
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from transom.errors import ConfigError

FOLDERS = ("~/.config/openstack", "/etc/openstack")
PREFIX = "OS_"


@dataclass(frozen=True, slots=True)
class Operator:
    """`auth`: the body of `POST /v3/auth/tokens`, which holds the secret; `name` is for texts."""

    auth_url: str
    auth: Mapping[str, Any] = field(repr=False)
    name: str
    ca_file: str = ""
    region: str = ""

    @classmethod
    def read(cls, cloud: str | None, environment: Mapping[str, str]) -> Self:
        """Raises: ConfigError."""
        cloud = cloud or environment.get("OS_CLOUD")
        if cloud:
            return cls._of(_cloud(cloud, environment), f"cloud {cloud!r}")
        given = {
            name.removeprefix(PREFIX).lower(): value
            for name, value in environment.items()
            if name.startswith(PREFIX) and value
        }
        if "auth_url" not in given:
            raise ConfigError(
                "nobody is named to sign in at Keystone; set OS_AUTH_URL, OS_USERNAME, OS_PASSWORD "
                "and OS_PROJECT_NAME (an openrc file does), or name a cloud of clouds.yaml with "
                "OS_CLOUD or --os-cloud"
            )
        if given.get("insecure", "").lower() in ("1", "true", "yes"):
            given["verify"] = "false"
        return cls._of(given, "the environment")

    @classmethod
    def _of(cls, given: Mapping[str, Any], where: str) -> Self:
        url = str(given.get("auth_url", "")).rstrip("/")
        if not url.startswith(("http://", "https://")):
            raise ConfigError(f"{where}: auth_url is {url!r}; write http://host:port/v3")
        if url.endswith(("/v2.0", "/v2")):
            raise ConfigError(
                f"{where}: {url} is version 2 of Keystone's API, which is gone; write "
                f"{url.rpartition('/')[0]}/v3"
            )
        if str(given.get("verify", True)).lower() == "false":
            raise ConfigError(
                f"{where}: certificates are always verified here; name the authority that signed "
                "Keystone's (OS_CACERT, or cacert in clouds.yaml) and leave insecure out"
            )
        identity, name = _identity(given, where)
        auth: dict[str, Any] = {"identity": identity}
        if scope := _scope(given):
            auth["scope"] = scope
        elif "application_credential" not in identity["methods"]:
            raise ConfigError(f"{where}: names no project; set project_name (OS_PROJECT_NAME)")
        region, ca_file = str(given.get("region_name") or ""), str(given.get("cacert") or "")
        return cls(url, {"auth": auth}, name, str(Path(ca_file).absolute()) * bool(ca_file), region)


def _identity(given: Mapping[str, Any], where: str) -> tuple[dict[str, Any], str]:
    """How to sign in, and as whom."""
    secret = given.get("application_credential_secret")
    if secret is not None:
        credential: dict[str, Any] = {"secret": str(secret)}
        name = given.get("application_credential_id") or given.get("application_credential_name")
        if "application_credential_id" in given:
            credential["id"] = name
        else:
            credential |= {"name": name, "user": _user(given)}
        kind = "application_credential"
        return {"methods": [kind], kind: credential}, f"application credential {name!r}"
    if token := given.get("token"):
        return {"methods": ["token"], "token": {"id": token}}, "the bearer of the token"
    user = _user(given)
    if "password" not in given or not (user.get("name") or user.get("id")):
        raise ConfigError(
            f"{where}: names no user with a password; set username (OS_USERNAME) and password "
            "(OS_PASSWORD), or an application credential"
        )
    user["password"] = str(given["password"])
    name = user.get("name") or user["id"]
    return {"methods": ["password"], "password": {"user": user}}, f"user {name!r}"


def _user(given: Mapping[str, Any]) -> dict[str, Any]:
    if user_id := given.get("user_id"):
        return {"id": user_id}
    return {"name": given.get("username"), "domain": _domain(given, "user")}


def _scope(given: Mapping[str, Any]) -> dict[str, Any] | None:
    if given.get("system_scope"):
        return {"system": {"all": True}}
    if project_id := given.get("project_id") or given.get("tenant_id"):
        return {"project": {"id": project_id}}
    if name := given.get("project_name") or given.get("tenant_name"):
        return {"project": {"name": name, "domain": _domain(given, "project")}}
    if given.get("domain_id"):
        return {"domain": {"id": given["domain_id"]}}
    return {"domain": {"name": given["domain_name"]}} if given.get("domain_name") else None


def _domain(given: Mapping[str, Any], of: str) -> dict[str, Any]:
    for prefix in (f"{of}_domain", "default_domain"):
        for key in ("id", "name"):
            if value := given.get(f"{prefix}_{key}"):
                return {key: value}
    return {"id": given.get("default_domain") or "default"}


def _cloud(name: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """What the files say of the cloud, its `auth` flattened."""
    home = environment.get("HOME", "")
    folders = [Path(), *(Path(folder.replace("~", home, 1)) for folder in FOLDERS)]
    found: dict[str, Any] = {}
    read: list[str] = []
    for kind, variable in (
        ("clouds", "OS_CLIENT_CONFIG_FILE"),
        ("secure", "OS_CLIENT_SECURE_FILE"),
    ):
        places = [folder / f"{kind}.{end}" for folder in folders for end in ("yaml", "yml")]
        if chosen := environment.get(variable):
            places.insert(0, Path(chosen))
        for path in places:
            if path.is_file():
                read.append(str(path))
                _merge(found, _clouds_of(path).get(name))
                break
    if not found:
        seen = ", ".join(read) or "no clouds.yaml is found; OS_CLIENT_CONFIG_FILE can name one"
        raise ConfigError(f"there is no cloud {name!r} ({seen})")
    return found


def _clouds_of(path: Path) -> Mapping[str, Any]:
    import yaml

    try:
        document = yaml.safe_load(path.read_text("utf-8"))
        clouds = document["clouds"]
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError):
        raise ConfigError(f"{path}: holds no clouds; it should begin with `clouds:`") from None
    return clouds if isinstance(clouds, dict) else {}


def _merge(found: dict[str, Any], more: Any) -> None:
    if isinstance(more, dict):
        found.update({key: value for key, value in more.items() if key != "auth"})
        found.update(more.get("auth") or {})
