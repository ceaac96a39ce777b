# SPDX-License-Identifier: Apache-2.0
"""The two servers that are compared."""

import asyncio
import json
import os
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import falcon.asgi
import msgspec
import uvicorn
import uvloop
from bench.http.load import TOKEN

from transom.runtime.auth.rules import Rules
from transom.runtime.auth.tokens import TokenValidator
from transom.runtime.clock import SystemClock
from transom.runtime.http.app import make_app
from transom.runtime.http.listen import bind
from transom.runtime.http.route import Answer, Call, Mount, Route
from transom.runtime.http.server import HttpServer
from transom.runtime.http.tls import Certificate
from transom.runtime.telemetry.audit import AuditLog

FIELDS = [
    *((f"text_{number:02}", str) for number in range(12)),
    *((f"count_{number:02}", int) for number in range(6)),
    ("flag", bool),
    ("tags", list[str]),
]
Posted = msgspec.defstruct("Posted", FIELDS)


class Resource:
    """The route as falcon's documentation would have it, with msgspec for its media."""

    def __init__(self) -> None:
        self.decode = msgspec.json.Decoder(Posted).decode
        self.encode = msgspec.json.Encoder().encode

    async def on_post(
        self, req: falcon.asgi.Request, resp: falcon.asgi.Response, queue: str
    ) -> None:
        posted = self.decode(await req.stream.read())
        resp.status = 201
        resp.content_type = "application/json"
        resp.data = self.encode(posted)


async def bare() -> None:
    app = falcon.asgi.App()
    app.add_route("/queue/v2/queues/{queue}/messages", Resource())
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, http="httptools", loop="uvloop", ws="none", lifespan="off",
        access_log=False, log_level="warning",
    )  # fmt: skip
    print(listening.getsockname()[1], flush=True)
    await uvicorn.Server(config).serve(sockets=[listening])


class OneToken:
    """Stands for Keystone; asked once, as the validator remembers."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def token_document(self, token: str, *, allow_expired: bool) -> bytes:
        expires = datetime.now(UTC) + timedelta(hours=1)
        document = {
            "token": {
                "user": {"id": "u", "name": "n", "domain": {"id": "default"}},
                "project": {"id": "p", "name": "m", "domain": {"id": "default"}},
                "roles": [{"id": "1", "name": "member"}, {"id": "2", "name": "reader"}],
                "expires_at": expires.isoformat(),
            }
        }
        return json.dumps(document).encode()


TlsContext = Callable[[], ssl.SSLContext]


async def door(audit_log: AuditLog | None = None, tls: TlsContext | None = None) -> None:
    rules = Rules({"post": "role:admin or (role:member and project_id:%(project_id)s)"})

    async def post(call: Call[Posted]) -> Answer:
        rules.enforce("post", call.context, {"project_id": call.context.project_id})
        return Answer(201, call.body)

    validator = TokenValidator(OneToken(), SystemClock(), lambda: 0)
    await validator.validate(TOKEN)
    route = Route("POST", "/v2/queues/{queue}/messages", post, body=Posted)
    mounts = [Mount("/queue", [route])]
    app = make_app(mounts, authenticate=validator, random=os.urandom, audit_log=audit_log)
    listening = bind("127.0.0.1", 0)
    server = HttpServer(app, [listening], tls=tls)
    await server.start()
    print(listening.getsockname()[1], flush=True)
    await asyncio.Event().wait()


async def audited() -> None:
    """The door, with an audit log as `transom up` has it."""
    path = Path(tempfile.mkdtemp()) / "audit.log"
    log = AuditLog(path, file_bytes=100 << 20, old_files=1)
    await log.start()
    await door(log)


async def secured() -> None:
    """The door, over TLS with a certificate of its own."""
    folder = Path(tempfile.mkdtemp())
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost"
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run(["openssl", *words.split(), *files], check=True, capture_output=True)
    pair = Certificate(folder / "cert.pem", folder / "key.pem", SystemClock())
    await door(tls=pair.current)


def run() -> None:
    """Prints the port and serves the kind that the command line names."""
    uvloop.run({"bare": bare, "door": door, "audited": audited, "secured": secured}[sys.argv[1]]())
