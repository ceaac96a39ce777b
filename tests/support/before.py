# SPDX-License-Identifier: Apache-2.0
"""What somebody left with one version, and finds again with another; the queue's writes, one each.

Each is made while the one runs, and looked at while the other does.
"""

import uuid
from contextlib import closing
from typing import Any

from support.load import Session, read_messages
from support.versions import Doors

HOUR_S = 3600
DELAY_S = 900
TERMS = {"ttl": HOUR_S, "grace": 60}
PATCH = {"Content-Type": "application/openstack-messaging-v2.0-json-patch"}


def post(session: Session, queue: str, count: int, **options: int) -> list[str]:
    """Messages 0, 1, 2, ...; their addresses."""
    bodies = [{"body": n, "ttl": HOUR_S, **options} for n in range(count)]
    status, answer = session.ask("POST", messages_of(queue), {"messages": bodies})
    assert status == 201
    return list(answer["resources"])


def messages_of(queue: str) -> str:
    return f"/queue/v2/queues/{queue}/messages"


def claims_of(queue: str) -> str:
    return f"/queue/v2/queues/{queue}/claims"


def bodies(found: dict[str, Any]) -> list[Any]:
    return [message["body"] for message in found["messages"]]


class Held:
    """A claim, by somebody who works on."""

    def __init__(self, session: Session) -> None:
        self._session = session
        post(session, "held", 3)
        status, claim = session.ask("POST", claims_of("held") + "?limit=2", TERMS)
        assert status == 201
        self._messages = claim["messages"]
        self._claim = self._messages[0]["href"].partition("?claim_id=")[2]

    def lives(self) -> None:
        """Nobody else gets its messages; it is shown, renewed, and its messages deleted."""
        ask, path = self._session.ask, f"{claims_of('held')}/{self._claim}"
        status, claim = ask("GET", path)
        assert (status, bodies(claim)) == (200, [0, 1])
        assert ask("PATCH", path, TERMS)[0] == 204
        status, others = ask("POST", claims_of("held"), {"ttl": 60, "grace": 60})
        assert (status, bodies(others)) == (201, [2])
        for message in self._messages:
            assert ask("DELETE", "/queue" + message["href"])[0] == 204

    def is_touched(self) -> None:
        """One of its messages is held anew, one given back, though nobody knew that before."""
        ask, path = self._session.ask, f"{claims_of('held')}/{self._claim}"
        first, second = (href_id(message["href"]) for message in self._messages)
        status, touched = ask("POST", path + "/touch", {"ids": [first], **TERMS})
        assert (status, touched["lost"]) == (200, [])
        assert [(one["id"], one["fence"]) for one in touched["messages"]] == [(first, 1)]
        status, released = ask("POST", path + "/release", {"ids": [second], "delay": DELAY_S})
        assert (status, released) == (200, {"released": 1, "lost": []})
        assert bodies(ask("GET", path)[1]) == [0]
        assert ask("POST", path + "/touch", {"ids": [second], **TERMS})[1]["lost"] == [second]


class Delayed:
    """Messages that are hidden for a quarter of an hour, between two that are not."""

    def __init__(self, session: Session) -> None:
        self._session = session
        post(session, "delayed", 1)
        post(session, "delayed", 2, delay=DELAY_S)
        post(session, "delayed", 1)

    def stays(self) -> None:
        """Hidden from lists and claims, at their own places."""
        page = messages_of("delayed") + "?echo=true"
        assert bodies(self._session.ask("GET", page)[1]) == [0, 0]
        assert bodies(self._session.ask("GET", page + "&include_delayed=true")[1]) == [0, 0, 1, 0]
        status, claim = self._session.ask("POST", claims_of("delayed"), TERMS)
        assert (status, bodies(claim)) == (201, [0, 0])


class Buried:
    """Messages that were claimed too often, in a queue for dead letters."""

    def __init__(self, session: Session) -> None:
        self._session = session
        attributes = {"_max_claim_count": 1, "_dead_letter_queue": "dead"}
        assert session.ask("PUT", "/queue/v2/queues/dead", {})[0] == 201
        assert session.ask("PUT", "/queue/v2/queues/work", attributes)[0] == 201
        post(session, "work", 2)
        status, claim = session.ask("POST", claims_of("work"), TERMS)
        assert (status, bodies(claim)) == (201, [0, 1])
        self._ids = [href_id(message["href"]) for message in claim["messages"]]
        claim_id = claim["messages"][0]["href"].partition("?claim_id=")[2]
        assert session.ask("DELETE", f"{claims_of('work')}/{claim_id}")[0] == 204
        assert session.ask("POST", claims_of("work"), TERMS)[0] == 204
        assert self._dead() == [0, 1]

    def are_told_and_brought_back(self) -> None:
        """Nobody kept where they came from: they go where they are told to, and die again."""
        status, page = self._session.ask("GET", messages_of("dead") + "?echo=true&details=true")
        assert (status, bodies(page)) == (200, [0, 1])
        told = [message["dead_letter"] for message in page["messages"]]
        assert [(one["reason"], one["id"]) for one in told] == [
            ("claimed_too_often", before) for before in self._ids
        ]
        redrive = "/queue/v2/queues/dead/redrive"
        assert self._session.ask("POST", redrive, {})[1] == {"moved": 0, "left": 2}
        assert self._session.ask("POST", redrive, {"to": "work"})[1] == {"moved": 2, "left": 0}
        status, claim = self._session.ask("POST", claims_of("work"), TERMS)
        assert (status, bodies(claim)) == (201, [0, 1])

    def _dead(self) -> list[Any]:
        return bodies(self._session.ask("GET", messages_of("dead") + "?echo=true")[1])


class Repeated:
    """Requests with keys, which are asked again as if their answers had been lost."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._keys = [str(uuid.uuid4()) for _ in range(2)]
        self._answers = self._asked()

    def have_their_answers(self) -> None:
        assert self._asked() == self._answers
        assert len(read_messages(self._session, "repeated")) == 2

    def _asked(self) -> list[tuple[int, Any]]:
        posted = {"messages": [{"body": n, "ttl": HOUR_S} for n in range(2)]}
        asked = ((messages_of("repeated"), posted), (claims_of("repeated") + "?limit=1", TERMS))
        answers = []
        for key, (path, body) in zip(self._keys, asked, strict=True):
            more = {"Idempotency-Key": key}
            status, answer = self._session.ask("POST", path, body, more=more)
            for message in answer.get("messages", ()):
                message.pop("age")
            answers.append((status, answer))
        return answers


class Accounts:
    """A user of a project of its own, made before; everybody signs in as before."""

    def __init__(self, session: Session) -> None:
        project = {"project": {"name": "shop", "domain_id": "default"}}
        made = session.ask("POST", "/identity/v3/projects", project)[1]["project"]["id"]
        user = {"name": "ada", "password": "of-before-1", "domain_id": "default"}
        user["default_project_id"] = made
        ada = session.ask("POST", "/identity/v3/users", {"user": user})[1]["user"]["id"]
        roles = session.ask("GET", "/identity/v3/roles")[1]["roles"]
        member = next(role["id"] for role in roles if role["name"] == "member")
        grant = f"/identity/v3/projects/{made}/users/{ada}/roles/{member}"
        assert session.ask("PUT", grant)[0] == 204
        self._project = made

    def work(self, doors: Doors) -> None:
        identity = {
            "methods": ["password"],
            "password": {
                "user": {"name": "ada", "domain": {"id": "default"}, "password": "of-before-1"}
            },
        }
        wanted = {"auth": {"identity": identity, "scope": {"project": {"id": self._project}}}}
        with closing(Session(doors.url, "")) as session:
            status, answer = session.ask("POST", "/identity/v3/auth/tokens", wanted)
            assert status == 201
            assert [role["name"] for role in answer["token"]["roles"]] == ["member"]


def each_write(session: Session, queue: str) -> None:
    """Every kind of write that both versions have, once, with its refusals."""
    ask, path = session.ask, f"/queue/v2/queues/{queue}"
    assert ask("PUT", path, {"colour": "red"})[0] == 201
    assert ask("PUT", path, {"colour": "red"})[0] == 204
    change = [{"op": "replace", "path": "/metadata/colour", "value": "blue"}]
    status, after = ask("PATCH", path, change, more=PATCH)
    assert (status, after["colour"]) == (200, "blue")
    refused = [{"op": "remove", "path": "/metadata/shape"}]
    assert ask("PATCH", path, refused, more=PATCH)[0] == 409
    hrefs = post(session, queue, 6)
    status, claim = ask("POST", f"{path}/claims?limit=2", TERMS)
    assert (status, bodies(claim)) == (201, [0, 1])
    claim_id = claim["messages"][0]["href"].partition("?claim_id=")[2]
    assert ask("PATCH", f"{path}/claims/{claim_id}", TERMS)[0] == 204
    assert ask("PATCH", f"{path}/claims/{uuid.uuid4()}", TERMS)[0] == 404
    assert ask("DELETE", "/queue" + hrefs[0])[0] == 403
    assert ask("DELETE", "/queue" + claim["messages"][0]["href"])[0] == 204
    assert ask("DELETE", f"{path}/claims/{claim_id}")[0] == 204
    assert ask("DELETE", "/queue" + claim["messages"][1]["href"])[0] == 400, "it came late"
    status, popped = ask("DELETE", f"{path}/messages?pop=1")
    assert (status, bodies(popped)) == (200, [1])
    assert ask("DELETE", f"{path}/messages?ids={href_id(hrefs[2])}")[0] == 204
    repeated = {"messages": [{"body": 6, "ttl": HOUR_S}]}
    once = {"Idempotency-Key": str(uuid.uuid4())}
    answers = [ask("POST", f"{path}/messages", repeated, more=once) for _ in range(2)]
    assert answers[0] == answers[1]
    assert [message["body"] for message in read_messages(session, queue)] == [3, 4, 5, 6]
    assert ask("POST", f"{path}/purge", {"resource_types": ["messages"]})[0] == 204
    assert read_messages(session, queue) == []
    assert ask("DELETE", path)[0] == 204
    assert ask("GET", f"{path}/stats")[1]["messages"]["total"] == 0


def href_id(href: str) -> str:
    """A message's id, from its address."""
    return href.partition("?")[0].rpartition("/")[2]
