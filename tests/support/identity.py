"""Identity on a data folder of its own, served on a free loopback port."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from transom.identity.config import IdentityConfig
from transom.identity.contract import SERVICE_PASSWORD_FILE, CatalogueService
from transom.identity.service import IdentityService, build
from transom.runtime.clock import SystemClock
from transom.runtime.http.app import make_app
from transom.runtime.http.listen import bind
from transom.runtime.http.server import HttpServer
from transom.runtime.ids import Randomness
from transom.runtime.sealing import sealer_of
from transom.runtime.secrets import Secret
from transom.runtime.telemetry.audit import AuditLog

from support.db import identity_database
from support.http import Reply, Tokens, ask

CONFIG = IdentityConfig(password_cost_log2=10)


class ShiftedClock(SystemClock):
    """The machine's clocks, and what a test moves them by."""

    def __init__(self) -> None:
        super().__init__()
        self._shift_s = 0.0

    def move_s(self, seconds: float) -> None:
        self._shift_s += seconds

    def now_ms(self) -> int:
        return super().now_ms() + round(self._shift_s * 1000)

    def monotonic_s(self) -> float:
        return super().monotonic_s() + self._shift_s


def password_of(data: Path) -> str:
    document = yaml.safe_load((data / "clouds.yaml").read_text())
    return str(document["clouds"]["transom"]["auth"]["password"])


def by_password(
    name: str, password: str, scope: Any = None, *, domain: str = "default"
) -> dict[str, Any]:
    """A body of `POST /v3/auth/tokens`."""
    user = {"name": name, "domain": {"id": domain}, "password": password}
    identity = {"methods": ["password"], "password": {"user": user}}
    return {"auth": {"identity": identity, **({} if scope is None else {"scope": scope})}}


def by_token(token: str, scope: Any = None) -> dict[str, Any]:
    identity = {"methods": ["token"], "token": {"id": token}}
    return {"auth": {"identity": identity, **({} if scope is None else {"scope": scope})}}


def by_credential(credential_id: str, secret: str) -> dict[str, Any]:
    given = {"id": credential_id, "secret": secret}
    identity = {"methods": ["application_credential"], "application_credential": given}
    return {"auth": {"identity": identity}}


def on_project(name: str) -> dict[str, Any]:
    return {"project": {"name": name, "domain": {"id": "default"}}}


@dataclass
class Cloud:
    """A served identity and how to ask it."""

    base_url: str
    service: IdentityService
    data: Path
    clock: ShiftedClock
    admin: str = ""

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        subject: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        """`path` is below `/identity`."""
        sent = dict(headers or {})
        if subject is not None:
            sent["x-subject-token"] = subject
        return await ask(
            self.base_url, method, "/identity" + path, sent, json_body=body, token=token
        )

    async def token(self, body: dict[str, Any]) -> str:
        reply = await self.ask("POST", "/v3/auth/tokens", body)
        assert reply.status == 201, reply.body
        return str(reply.headers["x-subject-token"])

    async def as_admin(self, method: str, path: str, body: Any = None) -> Reply:
        if not self.admin:
            password = password_of(self.data)
            self.admin = await self.token(by_password("admin", password, on_project("admin")))
        return await self.ask(method, path, body, token=self.admin)

    async def made(self, noun: str, **fields: Any) -> dict[str, Any]:
        """A new user or project."""
        reply = await self.as_admin("POST", f"/v3/{noun}s", {noun: fields})
        assert reply.status == 201, reply.body
        return dict(reply.json()[noun])

    async def role_id(self, name: str) -> str:
        reply = await self.as_admin("GET", f"/v3/roles?name={name}")
        return str(reply.json()["roles"][0]["id"])

    async def grant(self, user_id: str, project_id: str, role: str) -> str:
        """The grant's path."""
        role_id = await self.role_id(role)
        path = f"/v3/projects/{project_id}/users/{user_id}/roles/{role_id}"
        assert (await self.as_admin("PUT", path)).status == 204
        return path

    async def member(self, name: str, password: str, project: str) -> tuple[str, str, str]:
        """A new user with the role `member` on a new project: both ids, and a token for it."""
        user = await self.made("user", name=name, password=password)
        place = await self.made("project", name=project)
        await self.grant(user["id"], place["id"], "member")
        token = await self.token(by_password(name, password, on_project(project)))
        return user["id"], place["id"], token

    async def worth(self, token: str) -> int:
        """What validating the token as admin answers."""
        await self.as_admin("GET", "/v3/regions")
        reply = await self.ask("GET", "/v3/auth/tokens", token=self.admin, subject=token)
        return reply.status


def service_of(
    data: Path,
    public_url: str,
    clock: SystemClock,
    *,
    random: Randomness = os.urandom,
    config: IdentityConfig = CONFIG,
) -> IdentityService:
    return build(
        config,
        identity_database(data, clock),
        data=data,
        public_url=public_url,
        catalogue=[
            CatalogueService("identity", "identity", public_url + "/identity"),
            CatalogueService("messaging", "queue", public_url + "/queue"),
        ],
        clock=clock,
        random=random,
    )


def service_password(data: Path) -> str:
    """The doors' own password on the data folder."""
    sealer = sealer_of(data / "keys", Secret(""), os.urandom)
    return sealer.read(data / "keys" / SERVICE_PASSWORD_FILE).decode().strip()


@asynccontextmanager
async def cloud(
    data: Path, config: IdentityConfig = CONFIG, audit_log: AuditLog | None = None
) -> AsyncIterator[Cloud]:
    listening = bind("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    clock = ShiftedClock()
    service = service_of(data, url, clock, config=config)
    app = make_app([service.mount], authenticate=Tokens({}), random=os.urandom, audit_log=audit_log)
    server = HttpServer(app, [listening])
    try:
        await service.start()
    except BaseException:
        listening.close()
        raise
    try:
        await server.start()
        try:
            yield Cloud(url, service, data, clock)
        finally:
            await server.stop()
    finally:
        await service.stop()
        listening.close()
