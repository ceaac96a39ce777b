# SPDX-License-Identifier: Apache-2.0
"""Claims over several queues under fire, whose messages go each its own way, and dead letters.

A message is known by its body, since one that was rejected and redriven gets a new id. Promises,
each checked as soon as an answer could break it:
1. what was deleted with 204 is never handed out again, in whatever queue;
2. what is held is handed to nobody else, and a touch of it never says that it is lost;
3. the fence of a message grows each time it is handed out;
4. of one queue, a claim brings what was never rejected in the order of its posting;
5. at the end each acknowledged message is in exactly one place, or was deleted.
"""

import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from support.keyed import Keyed, Numbered
from support.load import Hand, Session, read_pages
from support.stack import Stack, wait_for

QUEUES = ("parts", "more")
DEAD = "dead"
CLAIM_TTL_S = 60
SETTLED_S = 30.0


class PartsLedger:
    """What all who work on the queues were promised, and what of it was broken."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.counts: Counter[str] = Counter()
        self.done: dict[Numbered, float] = {}  # when the deletion was acknowledged
        self.perhaps: set[Numbered] = set()
        self._held: dict[Numbered, float] = {}  # until when its claim lives at least
        self._fences: dict[str, int] = {}
        self._lock = threading.Lock()

    def claimed(self, messages: Sequence[Any], asked_s: float) -> None:
        answered_s = time.monotonic()
        with self._lock:
            self.counts["claims of several"] += 1
            for message in messages:
                one = Numbered.of(message["body"])
                if self.done.get(one, answered_s) < asked_s:
                    self.faults.append(f"deleted {one} was handed out")
                if self._held.get(one, 0.0) > answered_s:
                    self.faults.append(f"{one} was handed out while it was held")
                if message["claim"]["fence"] <= self._fences.get(message["id"], 0):
                    self.faults.append(f"the fence of {one} did not grow")
                self._fences[message["id"]] = message["claim"]["fence"]
                self._held[one] = asked_s + CLAIM_TTL_S
        for queue, name in {(one["queue"], one["body"].partition(".")[0]) for one in messages}:
            new = [one for one in messages if one["queue"] == queue and "dead_letter" not in one]
            mine = [one for one in (Numbered.of(one["body"]) for one in new) if one.name == name]
            if mine != sorted(mine):
                self.faults.append(f"a claim of {queue} is out of order: {list(map(str, mine))}")

    def touched(self, one: Numbered, asked_s: float, *, lost: bool) -> None:
        with self._lock:
            self.counts["touches"] += 1
            if lost and self._held.get(one, 0.0) > time.monotonic():
                self.faults.append(f"{one} was lost while it was held")
            elif not lost:
                self._held[one] = max(self._held.get(one, 0.0), asked_s + CLAIM_TTL_S)

    def letting_go(self, bodies: Sequence[Numbered]) -> None:
        """Before it is asked for: from now on others may get them."""
        with self._lock:
            for one in bodies:
                self._held.pop(one, None)

    def deleted(self, one: Numbered) -> None:
        """Or gone, which says nothing unless it was held until the answer came."""
        now_s = time.monotonic()
        with self._lock:
            if self._held.get(one, 0.0) > now_s:
                self.done[one] = now_s


class PartsWorker(Hand):
    """Claims a few of all queues, and deletes, touches, releases, rejects or forgets each."""

    def __init__(self, stack: Stack, token: str, ledger: PartsLedger, seed: str) -> None:
        super().__init__(stack, token)
        self._ledger = ledger
        self._draw = random.Random(seed)

    def turn(self, session: Session) -> None:
        asked_s = time.monotonic()
        terms = {"queues": list(QUEUES), "ttl": CLAIM_TTL_S, "grace": 60}
        path = f"/queue/v2/claims?limit={self._draw.randint(1, 8)}&wait=1&details=true"
        status, answer = session.ask("POST", path, terms)
        if status != 201:
            if status != 204:
                self.refuse()
            return
        self._ledger.claimed(answer["messages"], asked_s)
        claim = answer["claim_id"]
        for message in answer["messages"]:
            self._deal_with(session, claim, message)
        if self._draw.random() < 0.2:
            self._ledger.letting_go([Numbered.of(one["body"]) for one in answer["messages"]])
            if session.ask("DELETE", f"/queue/v2/claims/{claim}")[0] >= 300:
                self.refuse()

    def _deal_with(self, session: Session, claim: str, message: Any) -> None:
        one, path = Numbered.of(message["body"]), f"/queue/v2/queues/{message['queue']}"
        match self._draw.choices(["delete", "touch", "release", "reject", ""], [6, 2, 1, 2, 1])[0]:
            case "delete":
                self._ledger.perhaps.add(one)
                at = f"{path}/messages/{message['id']}?claim_id={claim}"
                if session.ask("DELETE", at)[0] == 204:
                    self._ledger.deleted(one)
                else:
                    self.refuse()
            case "touch":
                asked_s = time.monotonic()
                wanted = {"ids": [message["id"]], "ttl": CLAIM_TTL_S}
                status, answer = session.ask("POST", f"{path}/claims/{claim}/touch", wanted)
                if status in (200, 404):
                    lost = status == 404 or bool(answer["lost"])
                    self._ledger.touched(one, asked_s, lost=lost)
                else:
                    self.refuse()
            case "release" | "reject" as verb:
                wanted = {"ids": [message["id"]]}
                wanted |= {"delay": self._draw.choice([0, 1])} if verb == "release" else {}
                self._ledger.letting_go([one])
                status, _ = session.ask("POST", f"{path}/claims/{claim}/{verb}", wanted)
                if status == 200:
                    self._ledger.counts[f"{verb}s"] += 1
                else:
                    self.refuse()


class Redriver(Hand):
    """Brings dead letters back, a few at a time."""

    def __init__(self, stack: Stack, token: str, ledger: PartsLedger) -> None:
        super().__init__(stack, token)
        self._ledger = ledger

    def turn(self, session: Session) -> None:
        path = f"/queue/v2/queues/{DEAD}/redrive"
        status, answer = session.ask("POST", path, {"limit": 5})
        if status != 200:
            self.refuse()
            return
        self._ledger.counts["redriven"] += answer["moved"]
        self._stop.wait(0.1)


def prepare(session: Session) -> None:
    for queue in QUEUES:
        made = session.ask("PUT", f"/queue/v2/queues/{queue}", {"_dead_letter_queue": DEAD})[0]
        assert made in (201, 204), made


def missing(session: Session, ledger: PartsLedger, posters: Sequence[Keyed]) -> list[str]:
    """When all is quiet: faults of what lies in the queues and among the dead letters.

    Between two stores a dead letter is under way for a moment.
    """
    faults: list[str] = []

    def none() -> bool:
        faults[:] = _faults(session, ledger, posters)
        return not faults

    with contextlib.suppress(AssertionError):
        wait_for(none, SETTLED_S)
    return [*ledger.faults, *faults]


def _faults(session: Session, ledger: PartsLedger, posters: Sequence[Keyed]) -> list[str]:
    faults = []
    listed = {queue: listing(session, queue) for queue in (*QUEUES, DEAD)}
    found = Counter(Numbered.of(one["body"]) for page in listed.values() for one in page)
    doubled = [str(one) for one, number in found.items() if number > 1]
    if doubled:
        faults.append(f"{len(doubled)} are there twice, first {doubled[0]}")
    back = sorted(set(found) & set(ledger.done))
    if back:
        faults.append(f"{len(back)} deleted ones are back, first {back[0]}")
    posted = {one for poster in posters for queue in QUEUES for one in poster.posted[queue]}
    lost = sorted(posted - set(found) - ledger.perhaps)
    if lost:
        faults.append(f"{len(lost)} of {len(posted)} posted are lost, first {lost[0]}")
    made_up = set(found) - posted - {one for poster in posters for one in poster.perhaps}
    if made_up:
        faults.append(f"{len(made_up)} were never posted")
    for queue in QUEUES:
        new = [Numbered.of(one["body"]) for one in listed[queue] if "dead_letter" not in one]
        for poster in posters:
            mine = [one for one in new if one.name == poster.name]
            if mine != sorted(mine):
                faults.append(f"{queue}: those of {poster.name} are out of order")
    return faults


def listing(session: Session, queue: str) -> list[Any]:
    """All messages of the queue with their details, in order."""
    wanted = "echo=true&include_claimed=true&include_delayed=true&details=true&limit=20"
    return read_pages(session, f"/v2/queues/{queue}/messages?{wanted}", "messages")
