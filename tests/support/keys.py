"""A served key server on a folder of its own, and parties that ask it as a real one would."""

import base64
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from transom.keys.app.enrolment import Enrolment, Place
from transom.keys.config import KeysConfig
from transom.keys.service import KeysService, build
from transom.messaging.security import tickets
from transom.messaging.security.certificates import Identity
from transom.messaging.security.keyfile import KeyFile
from transom.messaging.security.tickets import Grant, Purpose, Request
from transom.runtime.auth.context import Context
from transom.runtime.clock import Clock
from transom.runtime.http.app import make_app
from transom.runtime.sealing import sealer_of
from transom.runtime.secrets import Secret

from support.db import keys_database
from support.http import Reply, Tokens, ask, serve
from support.queues import MovedClock

PATHS = {
    Purpose.TICKET: ("POST", "/v1/tickets"),
    Purpose.GROUP_TICKET: ("POST", "/v1/tickets"),
    Purpose.GROUP_KEY: ("POST", "/v1/groups"),
}
CALLERS = {
    "token-admin": Context("", user_id="ua", project_id="a", roles=frozenset({"admin"})),
    "token-member": Context("", user_id="um", project_id="a", roles=frozenset({"member"})),
}


def text_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


@dataclass
class Asking:
    """A party with its long-term key, and keys of its own."""

    name: str
    key: bytes
    clock: Clock
    identity: Identity = field(default_factory=lambda: Identity.make(os.urandom))

    @classmethod
    def of(cls, file: KeyFile, clock: Clock) -> "Asking":
        return cls(file.name, file.keys[0], clock)

    def request(self, purpose: Purpose, destination: str = "", generation: int = 0) -> Request:
        return Request(
            purpose,
            self.name,
            destination,
            generation,
            self.clock.now_ms(),
            os.urandom(tickets.NONCE_BYTES),
            self.identity.signing_key,
            self.identity.agreement_key,
        )

    def signed(self, request: Request) -> bytes:
        return tickets.make_request(request, self.key)

    def opened(self, reply: Reply, request: Request) -> Grant:
        """Raises: AssertionError for a refusal."""
        assert reply.status == 200, (reply.status, reply.body)
        return tickets.open_grant(base64.b64decode(reply.json()["grant"]), self.key, request)


@dataclass
class Door:
    """A served key server and how to ask it. `path` of requests is below `/keys`."""

    base_url: str
    service: KeysService
    clock: MovedClock
    folder: Path

    @property
    def enrolment(self) -> Enrolment:
        return self.service.local.enrolment(Place(self.base_url + "/keys"))

    async def ask(
        self, method: str, path: str, body: Any = None, *, token: str = "token-admin"
    ) -> Reply:
        return await ask(self.base_url, method, "/keys" + path, json_body=body, token=token or None)

    async def party(self, name: str) -> Asking:
        """A new one."""
        return Asking.of(await self.enrolment.add(name), self.clock)

    async def send(self, data: bytes, method: str, path: str) -> Reply:
        return await self.ask(method, path, {"request": text_of(data)}, token="")

    async def asked(
        self, party: Asking, purpose: Purpose, destination: str = "", **more: Any
    ) -> Reply:
        """The reply to a request of the party's; `more`: fields that are otherwise."""
        request = replace_fields(party.request(purpose, destination), **more)
        return await self.send(party.signed(request), *path_of(purpose, party.name))

    async def granted(
        self, party: Asking, purpose: Purpose, destination: str = "", generation: int = 0
    ) -> Grant:
        request = party.request(purpose, destination, generation)
        reply = await self.send(party.signed(request), *path_of(purpose, party.name))
        return party.opened(reply, request)


def path_of(purpose: Purpose, name: str) -> tuple[str, str]:
    return PATHS.get(purpose, ("PUT", f"/v1/certificates/{name}"))


def replace_fields(request: Request, **more: Any) -> Request:
    from msgspec import structs

    return structs.replace(request, **more)


def service_of(folder: Path, clock: Clock, **config: Any) -> KeysService:
    """Not started."""
    return build(
        replace(KeysConfig(), **config),
        keys_database(folder, clock),
        sealer=sealer_of(folder / "keys", Secret(""), os.urandom),
        clock=clock,
        random=os.urandom,
    )


@asynccontextmanager
async def opened_service(
    folder: Path, clock: Clock | None = None, **config: Any
) -> AsyncIterator[KeysService]:
    service = service_of(folder, clock or MovedClock(), **config)
    await service.start()
    try:
        yield service
    finally:
        await service.stop()


@asynccontextmanager
async def opened_door(
    folder: Path, clock: MovedClock | None = None, **config: Any
) -> AsyncIterator[Door]:
    clock = clock or MovedClock()
    async with opened_service(folder, clock, **config) as service:
        app = make_app([service.mount], authenticate=Tokens(CALLERS), random=os.urandom)
        async with serve(app) as base_url:
            yield Door(base_url, service, clock, folder)
