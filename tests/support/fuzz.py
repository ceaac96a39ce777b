# SPDX-License-Identifier: Apache-2.0
"""Requests drawn by schemathesis from a mount's OpenAPI document, sent to a running Transom.

Faults are: a 5xx, an answer whose status, type, headers or body the document does not describe, a
route that takes no token where it says that it needs one, a method that is not refused.
"""

import json
import urllib.error
import urllib.request
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import schemathesis
import yaml
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from schemathesis.hooks import GLOBAL_HOOK_DISPATCHER

from transom.queue.api.wire.queues import PATCH_TYPE

from support.identity import by_password, on_project
from support.stack import Stack

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "ignored_auth",
    "unsupported_method",
    "allow_header_conformance",
)
CLIENT = "3381af92-2b9e-11e3-b191-71861300734c"
PASSWORD = "a password of some length"
TOLD_LENGTH = 1200
WAIT_S = 1


@dataclass
class Found:
    """What came of it. `answers`: by status; `reached`: operations that succeeded at least once."""

    requests: int = 0
    answers: Counter[int] = field(default_factory=Counter)
    reached: set[str] = field(default_factory=set)
    operations: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)

    def add(self, other: "Found") -> None:
        self.requests += other.requests
        self.answers += other.answers
        self.reached |= other.reached
        self.operations |= other.operations
        self.faults += other.faults


schemathesis.serializer.alias(PATCH_TYPE, "application/json")


class Port:
    """A running Transom, its admin, and a member of another project."""

    def __init__(self, stack: Stack) -> None:
        cloud = yaml.safe_load((stack.data / "clouds.yaml").read_text())["clouds"]["transom"]
        self.url = stack.url
        self._stack = stack
        root = self._ask("GET", "/")[0]
        self.documents = [self._ask("GET", path)[0] for path in root["documents"]]
        self.admin = self._token("admin", cloud["auth"]["password"], "admin")
        self.spared = frozenset({*self._ids(), self.admin})
        self.member = self._member()
        # The doors sign in to identity while nobody guesses: wrong passwords slow down all those
        # of one address that have not signed in yet.
        assert (self._status(self.admin), self._status(self.member)) == (200, 200)

    def drawn(self, seed: int, time_s: int) -> Found:
        """Requests to all mounts by both users, for so long in all."""
        found = Found()
        tokens = (self.admin, self.member)
        share_s = max(1, round(time_s / len(tokens) / len(self.documents)))
        for document in self.documents:
            for token in tokens:
                found.add(
                    drawn(self.url, document, token, seed=seed, time_s=share_s, spared=self.spared)
                )
        found.faults += self._aftermath()
        return found

    def _aftermath(self) -> list[str]:
        """Of what was done, nothing keeps others from going on."""
        faults = [
            f"{called} is answered {status} in the end"
            for called, token in (("the admin", self.admin), ("the member", self.member))
            if (status := self._status(token)) != 200
        ]
        if not self._stack.status()["ready"]:
            faults.append("the stack is not ready in the end")
        return faults + [line for line in self._stack.logs().splitlines() if '"error"' in line]

    def _status(self, token: str) -> int:
        try:
            self._ask("GET", "/queue/v2/queues", None, token)
        except urllib.error.HTTPError as error:
            return error.code
        return 200

    def _member(self) -> str:
        made = {
            noun: self._ask("POST", f"/identity/v3/{noun}s", {noun: fields}, self.admin)[0][noun]
            for noun, fields in (
                ("user", {"name": "drawing", "password": PASSWORD}),
                ("project", {"name": "drawn"}),
            )
        }
        self.spared |= {made["user"]["id"], made["project"]["id"]}
        roles = self._ask("GET", "/identity/v3/roles?name=member", None, self.admin)[0]["roles"]
        users = f"/identity/v3/projects/{made['project']['id']}/users/{made['user']['id']}"
        self._ask("PUT", f"{users}/roles/{roles[0]['id']}", None, self.admin)
        token = self._token("drawing", PASSWORD, "drawn")
        self.spared |= {token}
        return token

    def _ids(self) -> Iterator[str]:
        for noun in ("users", "projects", "roles", "domains"):
            found = self._ask("GET", f"/identity/v3/{noun}", None, self.admin)[0][noun]
            yield from (one["id"] for one in found)

    def _token(self, name: str, password: str, project: str) -> str:
        body = by_password(name, password, on_project(project))
        return str(self._ask("POST", "/identity/v3/auth/tokens", body)[1]["x-subject-token"])

    def _ask(self, method: str, path: str, body: Any = None, token: str = "") -> tuple[Any, Any]:
        headers = {"content-type": "application/json", "client-id": CLIENT, "x-auth-token": token}
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, content, headers, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            read = answer.read()
            return json.loads(read) if read else None, answer.headers


def drawn(
    base_url: str, document: Any, token: str, *, seed: int, time_s: int, spared: frozenset[str]
) -> Found:
    """Requests for so long, none of which waits long for messages.

    `spared`: ids and tokens that no request may change or delete, since without them nobody could
    go on; where one is drawn (from earlier answers), another is sent."""
    prefix = document["servers"][0]["url"].rstrip("/")
    config = SchemathesisConfig.from_dict(
        {
            "seed": seed,
            "max-time": time_s,
            "base-url": base_url + prefix,
            "headers": {"X-Auth-Token": token},
            "suppress-health-check": ["all"],
            "request-timeout": 20,
            "continue-on-failure": True,
            "checks": {"enabled": False} | {name: {"enabled": True} for name in CHECKS},
            "generation": {"max-examples": 10_000, "no-shrink": True, "database": "none"},
        }
    )
    schema = schemathesis.openapi.from_dict(document, config=config)

    found = Found(operations=set(_operations(document, prefix)))
    with _sparing(spared):
        for event in from_schema(schema).execute():
            _record(event, prefix, found)
    return found


@contextmanager
def _sparing(spared: frozenset[str]) -> Iterator[None]:
    def before_call(context: Any, case: Any, kwargs: Any) -> None:
        if str((case.query or {}).get("wait", "")).isdecimal():
            case.query["wait"] = min(int(case.query["wait"]), WAIT_S)
        if case.method not in ("PATCH", "DELETE"):
            return
        for part in (case.path_parameters or {}, case.headers or {}):
            for name, value in part.items():
                if value in spared and name.lower() != "x-auth-token":
                    part[name] = uuid.uuid4().hex

    schemathesis.hook(before_call)
    try:
        yield
    finally:
        GLOBAL_HOOK_DISPATCHER.unregister(before_call)


def _operations(document: Any, prefix: str) -> Iterator[str]:
    for path, methods in document["paths"].items():
        for method in methods:
            yield f"{method.upper()} {prefix}{path}"


def _record(event: Any, prefix: str, found: Found) -> None:
    if isinstance(event, events.NonFatalError | events.FatalError):
        error = event.value if isinstance(event, events.NonFatalError) else event.exception
        found.faults.append(f"schemathesis: {error!r}"[:TOLD_LENGTH])
    if not isinstance(event, events.ScenarioFinished):
        return
    recorder = event.recorder
    for case_id, interaction in recorder.interactions.items():
        found.requests += 1
        if interaction.response is None:
            found.faults.append(
                f"{interaction.request.method} {interaction.request.uri}: no answer"
            )
            continue
        status = interaction.response.status_code
        found.answers[status] += 1
        operation = recorder.cases[case_id].value.operation
        if status < 400:
            found.reached.add(f"{operation.method.upper()} {prefix}{operation.path}")
    for case_id, checks in recorder.checks.items():
        for check in checks:
            if check.failure_info is not None:
                found.faults.append(_told(check, recorder.interactions.get(case_id)))


def _told(check: Any, interaction: Any) -> str:
    failure = check.failure_info.failure
    told = f"{check.name}: {failure.title} {failure.message}"
    if interaction is not None:
        request = interaction.request
        told += f" [{request.method} {request.uri} {request.body!r}]"
        if interaction.response is not None:
            told += f" -> {interaction.response.status_code} {interaction.response.content!r}"
    return told[:TOLD_LENGTH]
