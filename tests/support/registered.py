# SPDX-License-Identifier: Apache-2.0
"""A whole Transom whose tokens a real Keystone validates, made as an operator would make it."""

import http.client
import io
import json
import os
import socket
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml

from transom.cli import main

from support.keystone import RealKeystone, port_of
from support.stack import Stack

CLIENT_ID = "3381af92-2b9e-11e3-b191-71861300734c"
QUEUES = "/queue/v2/queues"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def prepared(data: Path, environment: Mapping[str, str] | None = None) -> Stack:
    """A data folder with a port of its own, not started."""
    data.mkdir(mode=0o700, parents=True)
    (data / "transom.toml").write_text(f"# Ours.\n[api]\nport = {free_port()}\n")
    return Stack(data, environment)


@dataclass(frozen=True)
class Said:
    status: int
    out: str
    err: str


def here(stack: Stack, *arguments: str, variables: Mapping[str, str] | None = None) -> Said:
    """The command, in this process: the interpreter and the imports take longer than it does."""
    out, err = io.StringIO(), io.StringIO()
    with (
        patch.dict(os.environ, {**stack.environment, **(variables or {})}, clear=True),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        status = main([*arguments, "--data-dir", str(stack.data)])
    return Said(status, out.getvalue(), err.getvalue())


def register(stack: Stack, keystone: RealKeystone, *arguments: str, **variables: str) -> Said:
    """As the operator, whose `OS_*` may be given otherwise."""
    as_operator = keystone.variables(**variables)
    return here(stack, "keystone", "register", *arguments, variables=as_operator)


@contextmanager
def registered(
    data: Path, keystone: RealKeystone, environment: Mapping[str, str] | None = None
) -> Iterator[Stack]:
    stack = prepared(data, environment)
    said = register(stack, keystone)
    assert said.status == 0, said
    port = tomllib.loads((data / "transom.toml").read_text())["api"]["port"]
    try:
        yield stack.start("--port", str(port))
    finally:
        stack.stop()


class Person:
    """Somebody in Keystone: `name` with a role on the project of that name, in a domain."""

    def __init__(
        self, keystone: RealKeystone, name: str, project: str, domain: str = "default"
    ) -> None:
        self.keystone = keystone
        self.name, self.password, self.domain = name, f"of-{name}", domain
        self.scope = {"project": {"name": project, "domain": {"id": domain}}}
        self.project_id = keystone.make_one("projects", name=project, domain_id=domain)["id"]
        self.user_id = keystone.make_one(
            "users", name=name, domain_id=domain, password=self.password
        )["id"]
        keystone.grant("member", self.user_id, self.project_id)

    def token(self, scope: Any = None) -> str:
        wanted = self.scope if scope is None else scope
        return self.keystone.by_password(self.name, self.password, wanted, self.domain)

    def write_clouds(self, path: Path) -> None:
        """Names them `transom`, for the unmodified clients."""
        project = self.scope["project"]["name"]
        auth = {
            "auth_url": f"{self.keystone.url}/v3", "username": self.name,
            "password": self.password, "project_name": project,
            "user_domain_id": self.domain, "project_domain_id": self.domain,
        }  # fmt: skip
        cloud = {"auth": auth, "region_name": "RegionOne", "identity_api_version": 3}
        path.write_text(yaml.safe_dump({"clouds": {"transom": cloud}}))


def asked(
    stack: Stack, token: str, method: str = "GET", path: str = QUEUES, **headers: str
) -> tuple[int, Mapping[str, str], Any]:
    """(status, headers with lower-case names, JSON) of a request to the doors."""
    connection = http.client.HTTPConnection("127.0.0.1", port_of(stack.url), timeout=30)
    try:
        sent = {"X-Auth-Token": token, "Client-ID": CLIENT_ID}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers=sent)
        answer = connection.getresponse()
        data = answer.read()
        names = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, names, json.loads(data) if data else None
    finally:
        connection.close()
