# SPDX-License-Identifier: Apache-2.0
"""A walk: the same requests to each of two servers, the answers made plain so that they compare.

Plain: one flat mapping from a field (`status`, `header location`, `body.messages[0].ttl`) to a
value. Ids that the walk was given become `<message 1>`, `<claim 1>`, others `<1>`, `<2>` within
their answer; ages of a moment, times and signatures become their names; descriptions of errors only
say that they are there; the query of a link is as many fields, and every yes is `true`.
"""

import http.client
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

CLIENT = "3381af92-2b9e-11e3-b191-71861300734c"
OTHER = "4481af92-2b9e-11e3-b191-71861300734d"
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?$")
SIGNATURE = re.compile(r"^[0-9a-f]{64}$")
HEADERS = ("location", "content-type", "allow", "www-authenticate", "retry-after")
A_MOMENT_S = 10
ABSENT = "absent"
YES = frozenset({"True", "t", "yes", "y", "on"})


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


Plain = dict[str, str]
Headers = Callable[[str], Mapping[str, str]]
"""What a request of that project carries to say who asks."""


@dataclass
class Peer:
    """A server: its port, what goes before `/v2`, the headers that stand for a project; where it
    can keep the messages of a pool."""

    port: int
    prefix: str
    headers: Headers
    pool_uri: str = ""

    def send(
        self, method: str, path: str, body: bytes | Iterator[bytes] | None, headers: dict[str, str]
    ) -> Reply:
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            link.request(method, self.prefix + path, body, headers)
            answer = link.getresponse()
            named = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, named, answer.read())
        finally:
            link.close()


@dataclass
class Walk:
    """One scenario against one peer. `answers`: step -> the plain answer."""

    name: str
    peer: Peer
    answers: dict[str, Plain] = field(default_factory=dict)
    _ids: dict[str, str] = field(default_factory=dict)
    _met: dict[str, str] = field(default_factory=dict)

    def ask(
        self,
        step: str,
        method: str,
        path: str,
        body: Any = None,
        *,
        raw: bytes | Iterator[bytes] | None = None,
        project: str = "home",
        client: str | None = CLIENT,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Asks and remembers the answer as the one of the step. A header "" is not sent."""
        assert step not in self.answers, f"{self.name}: two steps are called {step!r}"
        reply = self.quiet(
            method, path, body, raw=raw, project=project, client=client, headers=headers
        )
        self.answers[step] = self._plain(reply)
        return reply

    def quiet(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        raw: bytes | Iterator[bytes] | None = None,
        project: str = "home",
        client: str | None = CLIENT,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Asks only: what prepares a step."""
        sent = {"Content-Type": "application/json", **self.peer.headers(f"{self.name} {project}")}
        if client is not None:
            sent["Client-ID"] = client
        sent.update(headers or {})
        content = raw if body is None else json.dumps(body).encode()
        if content is None and "Content-Type" not in (headers or {}):
            del sent["Content-Type"]
        return self.peer.send(
            method, path, content, {name: value for name, value in sent.items() if value}
        )

    def post(self, queue: str, *bodies: Any, client: str = CLIENT, **fields: Any) -> list[str]:
        """Messages with the bodies; their ids."""
        messages = [{"body": body, "ttl": 1000, **fields} for body in bodies]
        path = f"/v2/queues/{queue}/messages"
        reply = self.quiet("POST", path, {"messages": messages}, client=client)
        assert reply.status == 201, (self.name, reply)
        return [
            self._known("message", href.rpartition("/")[2]) for href in reply.json()["resources"]
        ]

    def claim(self, queue: str, limit: int = 10, **terms: int) -> tuple[str, list[str]]:
        """The claim's id and those of its messages."""
        path = f"/v2/queues/{queue}/claims?limit={limit}"
        reply = self.quiet("POST", path, {"ttl": 100, "grace": 60, **terms})
        assert reply.status == 201, (self.name, reply)
        messages = reply.json()["messages"]
        ids = [message["href"].partition("?")[0].rpartition("/")[2] for message in messages]
        return self._known("claim", reply.headers["location"].rpartition("/")[2]), ids

    def _known(self, kind: str, text: str) -> str:
        number = 1 + sum(name.startswith(f"<{kind}") for name in self._ids.values())
        self._ids[text] = f"<{kind} {number}>"
        return text

    def _plain(self, reply: Reply) -> Plain:
        self._met = {}
        plain = {"status": str(reply.status)}
        for name in HEADERS:
            if name in reply.headers:
                plain[f"header {name}"] = self._text(reply.headers[name])
        if "content-type" in reply.headers and not reply.body:
            del plain["header content-type"]
        if reply.body:
            try:
                found = json.loads(reply.body)
            except ValueError:
                plain["body"] = "no JSON"
            else:
                plain.update(self._flat("body", _in_order(found)))
        return plain

    def _flat(self, path: str, value: Any) -> Iterator[tuple[str, str]]:
        if isinstance(value, dict):
            if not value:
                yield path, "{}"
            for key in sorted(value):
                yield from self._flat(f"{path}.{key}", value[key])
        elif isinstance(value, list):
            if not value:
                yield path, "[]"
            for at, item in enumerate(value):
                yield from self._flat(f"{path}[{at}]", item)
        elif path == "body.project":
            yield path, "<the project>"
        elif path == "body.description":
            yield path, "<text>" if value else json.dumps(value)
        elif path.endswith(".age") and isinstance(value, int) and 0 <= value < A_MOMENT_S:
            yield path, "<a moment>"
        elif path.endswith(".seconds") and isinstance(value, float):
            yield path, "<a duration>"
        elif isinstance(value, str) and path.startswith("body.links") and "?" in value:
            link, _, query = value.partition("?")
            yield path, self._text(link)
            for name, given in parse_qsl(query, keep_blank_values=True):
                yield f"{path}?{name}", "true" if given in YES else self._text(given)
        elif isinstance(value, str):
            yield path, self._text(value)
        else:
            yield path, json.dumps(value)

    def _text(self, text: str) -> str:
        if self.peer.pool_uri and text == self.peer.pool_uri:
            return "<the pool's address>"
        if TIME.match(text):
            return "<a time>"
        if SIGNATURE.match(text):
            return "<a signature>"
        return UUID.sub(lambda found: self._named(found[0]), text)

    def _named(self, text: str) -> str:
        if text in self._ids:
            return self._ids[text]
        return self._met.setdefault(text, f"<{len(self._met) + 1}>")


def _in_order(found: Any) -> Any:
    """Subscriptions by their addresses: a Zaqar gives those of one second in any order."""
    if isinstance(found, dict) and isinstance(found.get("subscriptions"), list):
        several = sorted(found["subscriptions"], key=lambda one: str(one.get("subscriber")))
        return {**found, "subscriptions": several, "links": found.get("links") and ["some"]}
    return found


def differences(theirs: Plain, ours: Plain) -> Iterator[tuple[str, str, str]]:
    """(field, theirs, ours). Where the statuses differ, that is all that is said."""
    if theirs["status"] != ours["status"]:
        yield "status", theirs["status"], ours["status"]
        return
    for name in sorted({*theirs, *ours}):
        mine, other = ours.get(name, ABSENT), theirs.get(name, ABSENT)
        if mine != other:
            yield name, other, mine


Scenario = Callable[[Walk], None]
