# SPDX-License-Identifier: Apache-2.0
"""Posting under fire: producers that go on whatever breaks, and remember what was acknowledged."""

import http.client
import json
import threading
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import yaml

from support.stack import Stack

PAUSE_S = 0.05
UNKNOWN = "may or may not"
"""What an answer says whose effect nobody knows."""


class Session:
    """One keep-alive connection with a token; a connection that breaks is made anew."""

    def __init__(self, url: str, token: str, client_id: str = "") -> None:
        self._place = urlsplit(url).netloc
        self._token = token
        self._headers = {
            "Client-ID": client_id or str(uuid.uuid4()),
            "Content-Type": "application/json",
        }
        self._link: http.client.HTTPConnection | None = None
        self.unexcused: list[str] = []  # 5xx that did not say when to come again

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str = "",
        subject: str = "",
        more: Mapping[str, str] | None = None,
    ) -> tuple[int, Any]:
        """Answers (status, decoded body). Raises OSError or HTTPException if no answer came.

        `token`: another than the session's own; `subject`: the token that is asked about; `more`:
        headers, beside or instead of the session's.
        """
        headers = {**self._headers, "X-Auth-Token": token or self._token, **(more or {})}
        if subject:
            headers["X-Subject-Token"] = subject
        answer, read = self._exchange(method, path, body, headers)
        return answer.status, json.loads(read) if read else None

    def new_token(self, project: str = "admin") -> str | None:
        """Another token of the same user, or None if that is refused."""
        identity = {"methods": ["token"], "token": {"id": self._token}}
        scope = {"project": {"name": project, "domain": {"id": "default"}}}
        asked = {"auth": {"identity": identity, "scope": scope}}
        answer, _ = self._exchange("POST", "/identity/v3/auth/tokens", asked, self._headers)
        return answer.headers["X-Subject-Token"] if answer.status == 201 else None

    def revoke(self, text: str) -> int:
        return self.ask("DELETE", "/identity/v3/auth/tokens", subject=text)[0]

    def _exchange(
        self, method: str, path: str, body: Any, headers: dict[str, str]
    ) -> tuple[http.client.HTTPResponse, bytes]:
        if self._link is None:
            self._link = http.client.HTTPConnection(self._place, timeout=10)
        content = None if body is None else json.dumps(body).encode()
        try:
            self._link.request(method, path, content, headers)
            answer = self._link.getresponse()
            if answer.status >= 500 and answer.headers["Retry-After"] is None:
                self.unexcused.append(f"{method} {path}: {answer.status}")
            return answer, answer.read()
        except (OSError, http.client.HTTPException):
            self.close()
            raise

    def close(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None


def login(stack: Stack, user: str = "", password: str = "") -> str:
    """A token for the user of the written `clouds.yaml`."""
    cloud = yaml.safe_load((stack.data / "clouds.yaml").read_text())["clouds"]["transom"]["auth"]
    link = http.client.HTTPConnection(urlsplit(stack.url).netloc, timeout=10)
    identity = {
        "methods": ["password"],
        "password": {
            "user": {
                "name": user or cloud["username"],
                "domain": {"id": "default"},
                "password": password or cloud["password"],
            }
        },
    }
    scope = {"project": {"name": cloud["project_name"], "domain": {"id": "default"}}}
    try:
        body = json.dumps({"auth": {"identity": identity, "scope": scope}})
        headers = {"Content-Type": "application/json"}
        link.request("POST", "/identity/v3/auth/tokens", body, headers)
        answer = link.getresponse()
        answer.read()
        if answer.status != 201:
            raise AssertionError(f"no token: {answer.status}")
        return str(answer.headers["X-Subject-Token"])
    finally:
        link.close()


class Hand:
    """A thread that does one `turn` after the other until it is stopped, whatever breaks."""

    def __init__(self, stack: Stack, token: str) -> None:
        self.stack = stack
        self.token = token
        self.refused = 0
        self.broken = 0
        self.unexcused: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.failed: Exception | None = None  # what a turn raised that was not the peer's doing

    def turn(self, session: Session) -> None:
        """Asks for something once, and remembers what the answer promised."""
        raise NotImplementedError

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Raises: what a turn raised that was not the peer's doing."""
        self.give_up()
        if self._thread.is_alive():
            self._thread.join(60)
        if self.failed is not None:
            raise self.failed

    def give_up(self) -> None:
        """Stops after this turn, without a wait for it."""
        self._stop.set()

    def refuse(self) -> None:
        """The answer was a refusal: counted, and a pause, so that an outage is not a storm."""
        self.refused += 1
        self._stop.wait(PAUSE_S)

    def _run(self) -> None:
        session = Session(self.stack.url, self.token)
        session.unexcused = self.unexcused
        while not self._stop.is_set() and self.failed is None:
            try:
                self.turn(session)
            except (OSError, http.client.HTTPException):
                self.broken += 1
                self._stop.wait(PAUSE_S)
            except Exception as error:  # told by `stop`
                self.failed = error
        session.close()


class Producer(Hand):
    """Posts numbers 0, 1, 2, ... to a queue; each number is tried once."""

    def __init__(self, stack: Stack, token: str, queue: str, name: int) -> None:
        super().__init__(stack, token)
        self.queue = queue
        self.name = name
        self.acknowledged: list[int] = []
        self.denied: dict[int, str] = {}  # number -> an answer that it was not kept
        self._number = 0

    def turn(self, session: Session) -> None:
        number = self._number
        self._number += 1
        body = {"messages": [{"body": [self.name, number], "ttl": 3600}]}
        status, answer = session.ask("POST", f"/queue/v2/queues/{self.queue}/messages", body)
        if status == 201:
            self.acknowledged.append(number)
            return
        if UNKNOWN not in str(answer):
            self.denied[number] = f"{status} {answer}"
        self.refuse()


def read_all(session: Session, queue: str) -> list[Any]:
    """The bodies of all messages of the queue, in order, page by page."""
    return [message["body"] for message in read_messages(session, queue)]


def read_messages(session: Session, queue: str, *, claimed: bool = True) -> list[Any]:
    """All messages of the queue, in order; without those under live claims if wished."""
    path = f"/v2/queues/{queue}/messages?echo=true&include_claimed={str(claimed).lower()}"
    return read_pages(session, f"{path}&limit=20", "messages")


def read_pages(session: Session, path: str, kind: str) -> list[Any]:
    """The items of a listing of the queue's door, by its links."""
    items: list[Any] = []
    while True:
        status, page = session.ask("GET", "/queue" + path)
        if status != 200:
            raise AssertionError(f"{path}: {status} {page}")
        items += page[kind]
        onward = [link["href"] for link in page["links"] if link["rel"] == "next"]
        if not page[kind] or not onward:
            return items
        path = onward[0]


def check_kept(producers: list[Producer], bodies: list[Any]) -> None:
    """What was acknowledged is there once, what was refused is not; each one's are in order."""
    for producer in producers:
        found = [number for name, number in bodies if name == producer.name]
        lost = sorted(set(producer.acknowledged) - set(found))
        assert not lost, f"producer {producer.name}: {len(lost)} acknowledged lost, first {lost[0]}"
        assert len(found) == len(set(found)), f"producer {producer.name}: a message is there twice"
        kept = sorted(set(producer.denied) & set(found))
        texts = [f"{number}: {producer.denied[number]}" for number in kept]
        assert not kept, f"producer {producer.name}: {len(kept)} refused are there, {texts[:3]}"
        assert found == sorted(found), f"producer {producer.name}: out of order"
