# SPDX-License-Identifier: Apache-2.0
"""The two servers that walks ask: a whole Transom, and a Zaqar; each walk has its own projects."""

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from compat.zaqar.walk import Peer
from support.load import login
from support.postgres import fresh_database
from support.stack import Stack
from support.zaqar import RealZaqar

ROLES = "admin,member,reader"
SIGNING_KEY = "the key of both"


class Projects:
    """Projects of our server, made when a walk first speaks of them, with tokens of theirs."""

    def __init__(self, stack: Stack) -> None:
        place = urlsplit(stack.url)
        assert place.port is not None
        self.port = place.port
        self._token = login(stack)
        asked = self._ask("GET", "/auth/tokens", subject=self._token)[0]["token"]
        self._user = asked["user"]["id"]
        self._roles = [role["id"] for role in asked["roles"]]
        self._tokens: dict[str, str] = {}

    def headers(self, name: str) -> Mapping[str, str]:
        if name not in self._tokens:
            self._tokens[name] = self._made(name)
        return {"X-Auth-Token": self._tokens[name]}

    def _made(self, name: str) -> str:
        asked = {"project": {"name": name, "domain_id": "default"}}
        project = self._ask("POST", "/projects", asked)[0]["project"]["id"]
        for role in self._roles:
            self._ask("PUT", f"/projects/{project}/users/{self._user}/roles/{role}")
        identity = {"methods": ["token"], "token": {"id": self._token}}
        auth = {"auth": {"identity": identity, "scope": {"project": {"id": project}}}}
        return self._ask("POST", "/auth/tokens", auth)[1]["x-subject-token"]

    def _ask(
        self, method: str, path: str, body: Any = None, subject: str = ""
    ) -> tuple[Any, Mapping[str, str]]:
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {"X-Auth-Token": self._token, "Content-Type": "application/json"}
        if subject:
            headers["X-Subject-Token"] = subject
        content = None if body is None else json.dumps(body)
        try:
            link.request(method, f"/identity/v3{path}", content, headers)
            answer = link.getresponse()
            read = answer.read()
            assert answer.status < 300, (method, path, answer.status, read)
            return json.loads(read) if read else None, {
                name.lower(): value for name, value in answer.getheaders()
            }
        finally:
            link.close()


@contextmanager
def our_peer(folder: Path) -> Iterator[Peer]:
    data = folder / "data"
    data.mkdir(mode=0o700, parents=True)
    (data / "transom.toml").write_text('[queue]\nwebhook_allow = ["127.0.0.0/8"]\n')
    stack = Stack(data)
    with fresh_database() as pool:
        try:
            projects = Projects(stack.start())
            yield Peer(projects.port, "/queue", projects.headers, pool.url)
        finally:
            stack.stop()


def _as_admin(name: str) -> Mapping[str, str]:
    return {"X-Project-Id": name.replace(" ", "-"), "X-Roles": ROLES}


@contextmanager
def their_peer(folder: Path, *, pooling: bool = False) -> Iterator[Peer]:
    zaqar = RealZaqar(folder, pooling=pooling, signing_key=SIGNING_KEY)
    try:
        zaqar.start()
        yield Peer(zaqar.port, "", _as_admin, f"redis:{zaqar.redis.socket}?dbid=1")
    finally:
        zaqar.stop()
