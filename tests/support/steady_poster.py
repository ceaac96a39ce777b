"""Posts numbers, in order, through any outage: each batch again until it is acknowledged.

Each message has a key, so one that was stored and not acknowledged is not stored twice.
"""

import http.client
import json
import random
import threading
import time
import urllib.request
import uuid
from pathlib import Path
from urllib.parse import urlsplit

import yaml


def token_of(data: Path) -> str:
    """Of the administrator, as `clouds.yaml` says."""
    cloud = yaml.safe_load((data / "clouds.yaml").read_text())["clouds"]["transom"]
    auth = cloud["auth"]
    user = {
        "name": auth["username"],
        "password": auth["password"],
        "domain": {"name": auth.get("user_domain_name", "Default")},
    }
    project = {
        "name": auth["project_name"],
        "domain": {"name": auth.get("project_domain_name", "Default")},
    }
    body = {
        "auth": {
            "identity": {"methods": ["password"], "password": {"user": user}},
            "scope": {"project": project},
        }
    }
    request = urllib.request.Request(
        auth["auth_url"].rstrip("/").removesuffix("/v3") + "/v3/auth/tokens",
        json.dumps(body).encode(),
        {"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return str(answer.headers["x-subject-token"])


class Asker:
    """One connection to the queue, made again whenever it breaks."""

    def __init__(self, url: str, token: str) -> None:
        self._netloc = urlsplit(url).netloc
        self._headers = {
            "x-auth-token": token,
            "client-id": str(uuid.uuid4()),
            "content-type": "application/json",
        }
        self._connection: http.client.HTTPConnection | None = None

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        """(0, what went wrong) if there was no answer."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self._netloc, timeout=20)
        try:
            data = None if body is None else json.dumps(body)
            self._connection.request(method, "/queue" + path, data, self._headers)
            answer = self._connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            return 0, repr(error).encode()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class SteadyPoster(threading.Thread):
    """`acknowledged`: all numbers below it are."""

    def __init__(self, asker: Asker, queue: str, seed: int) -> None:
        super().__init__(daemon=True)
        self.acknowledged = 0
        self.again = 0
        self._asker = asker
        self._queue = queue
        self._random = random.Random(seed)
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.is_set():
            size = self._random.randint(1, 10)
            numbers = range(self.acknowledged, self.acknowledged + size)
            messages = [{"body": number, "key": f"k{number}"} for number in numbers]
            path = f"/v2/queues/{self._queue}/messages"
            while self._asker.ask("POST", path, {"messages": messages})[0] != 201:
                self.again += 1
                time.sleep(0.02)
            self.acknowledged += size
            time.sleep(0.005)

    def end(self) -> None:
        self._over.set()
        self.join()
        self._asker.close()
