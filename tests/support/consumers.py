# SPDX-License-Identifier: Apache-2.0
"""Claiming, deleting and releasing under fire, and a ledger of what the answers promised.

Promises, each checked as soon as an answer could break it:
1. a message whose deletion was acknowledged is never handed out again;
2. a message under a live claim is handed to nobody else;
3. within a claim each producer's messages are in its order.
"""

import random
import threading
import time
from collections.abc import Sequence
from typing import Any

from support.load import Hand, Producer, Session, read_messages
from support.stack import Stack

CLAIM_TTL_S = 60
LIMIT = 5


class Ledger:
    """What all consumers of a queue were promised, and what of it was broken."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.claims = 0
        self._lock = threading.Lock()
        self._deleted: dict[str, float] = {}  # id -> when the deletion was acknowledged
        self._perhaps: set[str] = set()
        self._held: dict[str, float] = {}  # id -> until when its claim lives at least
        self._bodies: dict[str, tuple[int, int]] = {}

    @property
    def deletions(self) -> int:
        return len(self._deleted)

    def claimed(self, messages: Sequence[Any], asked_s: float, answered_s: float) -> None:
        with self._lock:
            self.claims += 1
            for message in messages:
                at = message["id"]
                if self._deleted.get(at, answered_s) < asked_s:
                    self.faults.append(f"deleted message {message['body']} was handed out")
                if self._held.get(at, 0.0) > answered_s:
                    self.faults.append(f"claimed message {message['body']} was handed out")
                self._held[at] = asked_s + CLAIM_TTL_S
                self._bodies[at] = tuple(message["body"])
            bodies = [tuple(message["body"]) for message in messages]
            for name in {name for name, _ in bodies}:
                numbers = [number for producer, number in bodies if producer == name]
                if numbers != sorted(numbers):
                    self.faults.append(f"a claim of producer {name} is out of order: {numbers}")

    def letting_go(self, ids: Sequence[str]) -> None:
        """Before a release is asked for: from now on others may get them."""
        with self._lock:
            for at in ids:
                self._held.pop(at, None)

    def deleting(self, ids: Sequence[str]) -> None:
        """Before a deletion is asked for: from now on they may be gone."""
        with self._lock:
            self._perhaps.update(ids)

    def deleted(self, ids: Sequence[str], answered_s: float) -> None:
        with self._lock:
            for at in ids:
                self._deleted[at] = answered_s

    def missing(self, session: Session, queue: str, producers: Sequence[Producer]) -> list[str]:
        """When all is quiet: faults of what lies in the queue, and of its statistics."""
        faults = list(self.faults)
        path = f"/queue/v2/queues/{queue}/stats"
        before = session.ask("GET", path)[1]["messages"]
        free = read_messages(session, queue, claimed=False)
        found = read_messages(session, queue)
        after = session.ask("GET", path)[1]["messages"]
        ids = [message["id"] for message in found]
        back = [message["body"] for message in found if message["id"] in self._deleted]
        if back:
            faults.append(f"{len(back)} deleted messages are back, first {back[0]}")
        if len(ids) != len(set(ids)):
            faults.append("a message is listed twice")
        if not before["total"] == after["total"] == len(found):
            faults.append(f"stats say {before['total']}, {after['total']} of {len(found)} messages")
        if not before["free"] <= len(free) <= after["free"]:  # claims end meanwhile
            faults.append(f"stats say {before['free']}, {after['free']} of {len(free)} free ones")
        for told in (before, after):
            if told["free"] + told["claimed"] != told["total"]:
                faults.append(f"stats do not add up: {told}")
        return faults + self._lost([tuple(message["body"]) for message in found], producers)

    def _lost(self, bodies: list[Any], producers: Sequence[Producer]) -> list[str]:
        faults = []
        gone = {self._bodies[at] for at in self._perhaps}
        for producer in producers:
            numbers = [number for name, number in bodies if name == producer.name]
            posted = {(producer.name, number) for number in producer.acknowledged}
            lost = posted - gone - set(bodies)
            if lost:
                faults.append(f"{len(lost)} of {len(posted)} posted are lost, first {min(lost)}")
            kept = set(producer.denied) & set(numbers)
            if kept:
                first = min(kept)
                why = producer.denied[first]
                faults.append(f"{len(kept)} refused posts are there, first {first}: {why}")
            if numbers != sorted(set(numbers)):
                faults.append(f"producer {producer.name}: doubled or out of order")
        return faults


class Consumer(Hand):
    """Claims a few; deletes most, releases some, forgets others until their claim has ended."""

    def __init__(self, stack: Stack, token: str, queue: str, ledger: Ledger, seed: str) -> None:
        super().__init__(stack, token)
        self._path = f"/queue/v2/queues/{queue}"
        self._ledger = ledger
        self._draw = random.Random(seed)

    def turn(self, session: Session) -> None:
        asked_s = time.monotonic()
        terms = {"ttl": CLAIM_TTL_S, "grace": 60}
        status, answer = session.ask("POST", f"{self._path}/claims?limit={LIMIT}", terms)
        if status != 201:
            self.refuse()
            return
        messages = answer["messages"]
        self._ledger.claimed(messages, asked_s, time.monotonic())
        claim = messages[0]["href"].rpartition("claim_id=")[2]
        choice = self._draw.random()
        if choice < 0.1:
            return
        if choice < 0.2:
            self._ledger.letting_go([message["id"] for message in messages])
            session.ask("DELETE", f"{self._path}/claims/{claim}")
        elif choice < 0.4:
            ids = [message["id"] for message in messages]
            self._delete(session, ids, f"?ids={','.join(ids)}&claim_ids={claim}")
        else:
            for message in messages:
                self._delete(session, [message["id"]], f"/{message['id']}?claim_id={claim}")

    def _delete(self, session: Session, ids: Sequence[str], how: str) -> None:
        self._ledger.deleting(ids)
        status, _ = session.ask("DELETE", f"{self._path}/messages{how}")
        if status == 204:
            self._ledger.deleted(ids, time.monotonic())
        else:
            self.refuse()
