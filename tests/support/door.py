"""A door with a few routes that show what reached the handler."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec

from transom.errors import (
    Conflict,
    Forbidden,
    OutcomeUnknown,
    StorageFull,
    StorageUnavailable,
    TooManyRequests,
    Unavailable,
)
from transom.runtime.auth.context import Context
from transom.runtime.http.app import make_app
from transom.runtime.http.limits import HttpLimits
from transom.runtime.http.route import Answer, Call, Mount, Route

from support.http import Tokens

TOKEN = "the-token-of-alice"
ALICE = Context("", user_id="u-alice", project_id="p-one", roles=frozenset(["member"]))
PLANTED = "planted-internal-detail"


class Posted(msgspec.Struct):
    ttl: int
    body: Any = None


async def show(call: Call[Any]) -> Answer:
    return Answer(
        200,
        {
            "context": call.context,
            "url_path": call.url_path,
            "path": dict(call.path),
            "query": dict(call.query),
            "headers": dict(call.headers),
            "body": len(call.body) if isinstance(call.body, bytes) else call.body,
        },
    )


@dataclass
class Gate:
    """A handler that waits until it is let go. `reached`: how many wait or have waited."""

    open: asyncio.Event = field(default_factory=asyncio.Event)
    reached: int = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def pass_through(self, call: Call[Any]) -> Answer:
        async with self.changed:
            self.reached += 1
            self.changed.notify_all()
        await asyncio.wait_for(self.open.wait(), 30)
        return Answer(200, {"passed": True})

    async def reached_by(self, count: int) -> None:
        async with asyncio.timeout(20), self.changed:
            await self.changed.wait_for(lambda: self.reached >= count)


def shaped(entry: Any, text: str, request_id: str) -> Any:
    return {"title": entry.code, "description": text, "id": request_id}


def raising(error: Exception) -> Any:
    async def handler(call: Call[Any]) -> Answer:
        raise error

    return handler


def small_door(
    gate: Gate | None = None,
    limits: HttpLimits | None = None,
    extra: Mapping[str, Any] | None = None,
    **options: Any,
) -> Any:
    """The application: mount `/queue` in a form of its own, mount `/plain` in the plain one."""
    large = b"x" * 30_000_000
    gate = gate or Gate()

    async def much(call: Call[Any]) -> Answer:
        return Answer(200, large, media_type="application/octet-stream")

    async def split(call: Call[Any]) -> Answer:
        return Answer(200, {}, {"location": "/x\r\nset-cookie: a=b"})

    failures = {
        "conflict": Conflict("Somebody was first."),
        "unavailable": Unavailable("Later.", retry_after_s=7),
        "full": StorageFull(),
        "poisoned": StorageUnavailable(PLANTED),
        "unknown": OutcomeUnknown(PLANTED),
        "bug": RuntimeError(PLANTED),
        "forbidden": Forbidden(detail=PLANTED),
        "too-many": TooManyRequests(),
    }
    routes = [
        Route("GET", "/v2/show/{name}", show),
        Route("PUT", "/v2/show/{name}", show, body=Posted),
        Route("POST", "/v2/show/{name}", show, body=Posted, body_optional=True),
        Route("POST", "/v2/bytes", show, body=bytes, body_types=("application/octet-stream",)),
        Route("GET", "/v2/open", show, public=True),
        Route("GET", "/v2/much", much, public=True, answer_types=("application/octet-stream",)),
        Route("GET", "/v2/split", split, public=True),
        Route("GET", "/v2/gate", gate.pass_through, public=True),
        Route("POST", "/v2/gate", gate.pass_through, public=True),
        *(Route("GET", f"/v2/fail/{name}", raising(error)) for name, error in failures.items()),
    ]
    mounts = [
        Mount("/queue", routes, shaped, {"x-hint": "ask the identity service"}),
        Mount("/plain", [Route("GET", "/x", show)]),
    ]
    return make_app(
        mounts,
        authenticate=options.pop("authenticate", Tokens({TOKEN: ALICE})),
        random=Random(1).randbytes,
        www_authenticate='Keystone uri="http://here/identity"',
        limits=limits,
        **options,
    )
