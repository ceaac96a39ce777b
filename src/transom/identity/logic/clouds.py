# SPDX-License-Identifier: Apache-2.0
"""What `clouds.yaml` and `openrc` say for one user of this cloud.

Invariant: clouds of other names in the file stay as they are.
"""

import shlex
from dataclasses import dataclass
from typing import Any

import yaml

from transom.errors import ConfigError

CLOUD = "transom"


@dataclass(frozen=True, slots=True)
class Access:
    """How somebody reaches this cloud. User and project lie in the domain `domain_id`.

    `ca_file`: what has to be trusted for https; empty: what the system trusts.
    """

    auth_url: str
    username: str
    project_name: str
    domain_id: str
    region: str
    ca_file: str = ""


def merged(text: str, access: Access, password: str) -> str:
    """The file's new text, with this cloud's entry set. Raises: ConfigError."""
    document = _document(text)
    clouds = document.setdefault("clouds", {}) or {}
    document["clouds"] = {**clouds, CLOUD: _entry(access, password)}
    # ASCII alone: written as it is, U+0085 would be read as a line break.
    return yaml.safe_dump(document, sort_keys=False)


def password_in(text: str) -> str:
    """The password in this cloud's entry, or "". Raises: ConfigError."""
    entry = (_document(text).get("clouds") or {}).get(CLOUD)
    auth = entry.get("auth") if isinstance(entry, dict) else None
    password = auth.get("password") if isinstance(auth, dict) else None
    return str(password) if password else ""


def is_current(text: str, access: Access, password: str) -> bool:
    """Whether the file's entry says just this. Raises: ConfigError."""
    return (_document(text).get("clouds") or {}).get(CLOUD) == _entry(access, password)


def openrc(access: Access, password: str) -> str:
    """Lines for a shell to source."""
    variables = {
        "OS_AUTH_URL": access.auth_url,
        "OS_USERNAME": access.username,
        "OS_PASSWORD": password,
        "OS_PROJECT_NAME": access.project_name,
        "OS_USER_DOMAIN_ID": access.domain_id,
        "OS_PROJECT_DOMAIN_ID": access.domain_id,
        "OS_REGION_NAME": access.region,
        "OS_INTERFACE": "public",
        "OS_IDENTITY_API_VERSION": "3",
        **({"OS_CACERT": access.ca_file} if access.ca_file else {}),
    }
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())


def _entry(access: Access, password: str) -> dict[str, Any]:
    return {
        "auth": {
            "auth_url": access.auth_url,
            "username": access.username,
            "password": password,
            "project_name": access.project_name,
            "user_domain_id": access.domain_id,
            "project_domain_id": access.domain_id,
        },
        "region_name": access.region,
        "interface": "public",
        "identity_api_version": "3",
        **({"cacert": access.ca_file} if access.ca_file else {}),
    }


def _document(text: str) -> dict[str, Any]:
    try:
        document = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"clouds.yaml: not YAML ({_first_line(error)}); {_REMEDY}") from None
    if not isinstance(document, dict) or not isinstance(document.get("clouds") or {}, dict):
        raise ConfigError(f"clouds.yaml: has no mapping `clouds`; {_REMEDY}")
    return document


_REMEDY = "repair it, or delete it to get a new one with a new password"


def _first_line(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    return f"line {mark.line + 1}" if mark is not None else "unreadable characters"
