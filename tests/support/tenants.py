# SPDX-License-Identifier: Apache-2.0
"""All mounts of the product on one port, with tenants of every kind and things of one of them.

Everything is real but the clocks: identity's can be moved, so that tokens end; the queue's stands
still, so that nothing ages between two requests.
"""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from prometheus_client import CollectorRegistry

from transom.identity.contract import SERVICE_PROJECT, SERVICE_USER
from transom.keys.config import KeysConfig
from transom.keys.service import build as build_keys
from transom.queue.config import QueueConfig
from transom.queue.service import build as build_queue
from transom.runtime.auth.context import Context
from transom.runtime.auth.keystone import Keystone, ServiceCredentials
from transom.runtime.auth.tokens import TokenValidator
from transom.runtime.http.app import make_app
from transom.runtime.http.listen import bind
from transom.runtime.http.openapi import document, documented
from transom.runtime.http.root import root_mount
from transom.runtime.http.route import Mount
from transom.runtime.http.server import HttpServer
from transom.runtime.lifecycle import Lifecycle
from transom.runtime.sealing import Sealer, sealer_of
from transom.runtime.secrets import Secret

from support.db import keys_database, queue_database
from support.http import Reply, connect, hang_up, read_reply, request_bytes
from support.identity import (
    Cloud,
    ShiftedClock,
    by_password,
    by_token,
    on_project,
    service_of,
    service_password,
)
from support.queues import MovedClock

NEW = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\b(?:[0-9a-f]{32}){1,2}\b"

CLIENT = "3381af92-2b9e-11e3-b191-71861300734c"
PASSWORD = "a password of some length"
MARK = "planted-secret"
"""In everything that the owner's things hold; a tenant abroad never reads it."""
HOME, ABROAD = "home", "abroad"
NOBODY = "nobody"
TOKEN = "x-auth-token"
Link = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Validate = Callable[[str], Awaitable[Context]]
TOKEN_TTL_S = 14_400


@dataclass(frozen=True)
class Tenant:
    """Who asks. `headers` go with each request; `context` is None where no token is valid.

    `honest`: the tenant whom the same token makes, without claims of another identity.
    """

    name: str
    headers: Mapping[str, str]
    context: Context | None = None
    honest: "Tenant | None" = None

    @property
    def is_owner(self) -> bool:
        """Of the project, with whatever role."""
        return self.name.startswith("own")


@dataclass
class World:
    """A served port, its tenants, and how to make the owner's things."""

    cloud: Cloud
    mounts: Sequence[Mount]
    tenants: dict[str, Tenant] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    catalogue: dict[str, str] = field(default_factory=dict)
    _link: Link | None = None

    @property
    def documents(self) -> dict[str, Any]:
        return {mount.prefix: document(mount) for mount in self.mounts}

    async def ask(
        self,
        tenant: Tenant,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        sent = {"client-id": CLIENT, **(headers or {}), **tenant.headers}
        content = None if body is None else json.dumps(body).encode()
        if content is not None:
            sent.setdefault("content-type", "application/json")
        if self._link is None:
            self._link = await connect(self.cloud.base_url)
        reader, writer = self._link
        writer.write(request_bytes(method, path, sent, content))
        reply = await read_reply(reader, method)
        if reply.headers.get("connection") == "close":
            await self.hang_up()
        return reply

    async def hang_up(self) -> None:
        if self._link is not None:
            await hang_up(self._link[1])
            self._link = None

    async def must(self, tenant: Tenant, method: str, path: str, body: Any = None) -> Reply:
        reply = await self.ask(tenant, method, path, body)
        assert reply.status < 300, f"{method} {path}: {reply.status} {reply.body!r}"
        return reply

    async def accounts(self, name: str) -> dict[str, str]:
        """A new user, with a new role on a project, on a domain and on the system."""
        cloud = self.cloud
        user = await cloud.made("user", name=name, password=PASSWORD, description=MARK)
        role = await cloud.made("role", name=f"role-of-{name}", description=MARK)
        domain = await cloud.made("domain", name=f"of-{name}", enabled=False, description=MARK)
        project = await cloud.made("project", name=f"of-{name}", tags=["marked"], description=MARK)
        places = (f"projects/{project['id']}", f"domains/{domain['id']}", "system")
        for place in places:
            path = f"/v3/{place}/users/{user['id']}/roles/{role['id']}"
            assert (await cloud.as_admin("PUT", path)).status == 204
        subject = await cloud.token(by_password(name, PASSWORD, on_project(f"of-{name}")))
        made = await cloud.ask(
            "POST",
            f"/v3/users/{user['id']}/application_credentials",
            {"application_credential": {"name": name, "description": MARK}},
            token=subject,
        )
        assert made.status == 201, made.body
        return {
            "name": name,
            "user": user["id"],
            "project": project["id"],
            "role": role["id"],
            "domain": domain["id"],
            "tag": "marked",
            "credential": made.json()["application_credential"]["id"],
            "subject": subject,
            **self.catalogue,
        }


def seen(reply: Reply, fields: Mapping[str, str]) -> tuple[int, dict[str, str], str]:
    """What a caller can tell apart: all but the request's id, the date, names that it sent itself,
    and ids and signatures that are new each time. Names sent have one length, so that
    `content-length` counts."""

    def text_of(text: str) -> str:
        for name, value in fields.items():
            for spelling in {value, quote(value)}:
                text = text.replace(spelling, f"<{name}>")
        return re.sub(NEW, "<id>", text)

    headers = {
        name: text_of(value)
        for name, value in reply.headers.items()
        if name not in ("date", "x-openstack-request-id")
    }
    return reply.status, headers, text_of(reply.body.decode())


@asynccontextmanager
async def world(
    data: Path, plant: Callable[[Mount], Mount] = lambda mount: mount
) -> AsyncIterator[World]:
    """`plant` may change a mount before it is served."""
    clock = ShiftedClock()
    listening = bind("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    identity = service_of(data, url, clock)
    queue = build_queue(
        QueueConfig(sweep_interval_s=3600),
        queue_database(data, clock),
        clock=MovedClock(),
        random=os.urandom,
        sealer=Sealer(lambda: (b"m" * 32,), os.urandom),
    )
    keys = build_keys(
        KeysConfig(),
        keys_database(data, clock),
        sealer=sealer_of(data / "keys", Secret(""), os.urandom),
        clock=clock,
        random=os.urandom,
    )
    async with Lifecycle() as lifecycle:
        await lifecycle.start("identity", identity)
        await lifecycle.start("queue", queue)
        await lifecycle.start("keys", keys)
        password = service_password(data)
        credentials = ServiceCredentials(
            url + "/identity", SERVICE_USER, Secret(password), project_name=SERVICE_PROJECT
        )
        validator = TokenValidator(Keystone(credentials, clock), clock, identity.generation)
        await lifecycle.start("tokens", validator)
        parts = [plant(part.mount) for part in (identity, queue, keys)]
        app = make_app(parts, authenticate=validator, random=os.urandom)
        server = HttpServer(app, [listening], on_drain=validator.give_up)
        await lifecycle.start("doors", server)
        root = root_mount(parts, {}, CollectorRegistry())
        mounts = [documented(mount) for mount in (*parts, root)]
        made = World(Cloud(url, identity, data, clock), mounts)
        await _settle(made, validator.validate)
        yield made
        await made.hang_up()
    listening.close()


SCOPED = {
    "own-admin": (HOME, "admin"),
    "own-member": (HOME, "member"),
    "own-reader": (HOME, "reader"),
    "foreign-admin": (ABROAD, "admin"),
    "foreign-member": (ABROAD, "member"),
}


async def _settle(made: World, validate: Validate) -> None:
    """The tenants. Those whose tokens are void come first, so that the clock can be moved."""
    cloud = made.cloud
    for name, description in ((HOME, MARK), (ABROAD, "")):
        made.ids[name] = (await cloud.made("project", name=name, description=description))["id"]
    for user, (project, role) in SCOPED.items():
        made.ids[user] = (await cloud.made("user", name=user, password=PASSWORD))["id"]
        await cloud.grant(made.ids[user], made.ids[project], role)
    owner = by_password("own-admin", PASSWORD, on_project(HOME))
    expired = await cloud.token(owner)
    cloud.clock.move_s(TOKEN_TTL_S + 60)
    cloud.admin = ""
    revoked = await cloud.token(owner)
    gone = await cloud.ask("DELETE", "/v3/auth/tokens", token=revoked, subject=revoked)
    assert gone.status == 204
    tokens = {
        user: await cloud.token(by_password(user, PASSWORD, on_project(project)))
        for user, (project, _) in SCOPED.items()
    }
    of_system = f"/v3/system/users/{made.ids['own-reader']}/roles/{await cloud.role_id('reader')}"
    assert (await cloud.as_admin("PUT", of_system)).status == 204
    of_domain = f"/v3/domains/default/users/{made.ids['foreign-member']}/roles"
    of_domain = f"{of_domain}/{await cloud.role_id('member')}"
    assert (await cloud.as_admin("PUT", of_domain)).status == 204
    for name, user, scope in (
        ("system-reader", "own-reader", {"system": {"all": True}}),
        ("domain-member", "foreign-member", {"domain": {"id": "default"}}),
    ):
        tokens[name] = await cloud.token(by_password(user, PASSWORD, scope))
    tokens["unscoped"] = await cloud.token(by_token(tokens["foreign-admin"], "unscoped"))
    valid = [Tenant(name, {TOKEN: text}, await validate(text)) for name, text in tokens.items()]
    void = {"garbage": "no-token", "expired": expired, "revoked": revoked}
    known = {
        tenant.name: tenant
        for tenant in (
            *valid,
            *(Tenant(name, {TOKEN: text}) for name, text in void.items()),
            Tenant(NOBODY, {}),
        )
    }
    forged = _forged(made.ids)
    spoofed = {"X-Project-ID": made.ids[HOME]}
    for name, sent in (
        *((name, forged) for name in (NOBODY, "foreign-member", "own-reader", "unscoped")),
        ("foreign-member", spoofed),
    ):
        as_is = known[name]
        called = f"{name} with {len(sent)} claims"
        known[called] = Tenant(called, {**as_is.headers, **sent}, as_is.context, as_is)
    made.tenants.update(known)
    for noun in ("service", "endpoint", "region"):
        found = (await cloud.as_admin("GET", f"/v3/{noun}s")).json()[f"{noun}s"]
        made.catalogue[noun] = found[0]["id"]


def _forged(ids: Mapping[str, str]) -> dict[str, str]:
    """What keystonemiddleware would tell an application behind it, and other spellings of it."""
    claims = {
        "X-Identity-Status": "Confirmed",
        "X-Service-Identity-Status": "Confirmed",
        "X-Project-Id": ids[HOME],
        "X-Project-Name": HOME,
        "X-Tenant-Id": ids[HOME],
        "X-Tenant": HOME,
        "X-User-Id": ids["own-admin"],
        "X-User-Name": "own-admin",
        "X-User": "own-admin",
        "X-Roles": "admin,member",
        "X-Role": "admin",
        "X-Is-Admin-Project": "True",
        "OpenStack-System-Scope": "all",
    }
    return {**claims, **{name.replace("-", "_"): value for name, value in claims.items()}}
