# SPDX-License-Identifier: Apache-2.0
"""What each caller of `powerload` must find after a power cut, by what it asked and was told.

A caller's state is what its finished steps made of it; with a step under way, it is as before that
step or as after it, and nothing between.
"""

import copy
import json
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

Step: TypeAlias = dict[str, Any]
Answer: TypeAlias = dict[str, Any]
Line: TypeAlias = dict[str, Any]
HELD_S = 3600
"""How long each claim holds; the clock of the load stands still."""
ANY = "?"
"""An id that was given out, and not told before the power went."""


@dataclass(slots=True)
class Held:
    """A message. `claim`: "" if none holds it; `deaths`: how often it was moved to dead letters.

    `hidden_s`: how long a claim or a delay hides it yet.
    """

    id: str
    body: str
    claim: str = ""
    hidden_s: int = 0
    deaths: int = 0

    def is_found(self, found: "Held") -> bool:
        return (
            (self.body, self.hidden_s, self.deaths) == (found.body, found.hidden_s, found.deaths)
            and self.id in (ANY, found.id)
            and (self.claim == found.claim or (self.claim == ANY and found.claim != ""))
        )


class Life(Protocol):
    def copy(self) -> "Life":
        """One that goes its own way."""

    def apply(self, step: Step, answer: Answer | None) -> None:
        """The step was made; `answer` None: nobody knows what it would have been told."""

    def missing(self, found: Any) -> str:
        """What is wrong with what was found; "" if nothing."""


@dataclass(slots=True)
class QueueFound:
    """One caller's share of a queue store. `queues`: value by name, of those but its own.

    `dead`: its dead letters; `keys`: the ids that its messages' keys stand for.
    """

    messages: list[Held]
    queues: dict[str, int]
    total: int
    dead: list[Held]
    keys: dict[str, str]


@dataclass(slots=True)
class QueueLife:
    """`last`: the highest number of a message that was told; `lettered`: it has dead letters."""

    name: str
    messages: list[Held] = field(default_factory=list)
    queues: dict[str, int] = field(default_factory=dict)
    last: str = ""
    dead: list[Held] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)
    there: bool = False
    lettered: bool = False

    def copy(self) -> "QueueLife":
        return copy.deepcopy(self)

    def claims(self) -> list[str]:
        return sorted({held.claim for held in self.messages if held.claim})

    def apply(self, step: Step, answer: Answer | None) -> None:
        match step["do"]:
            case "post":
                self.there = True
                ids = [ANY] * len(step["bodies"]) if answer is None else answer["ids"]
                for one, body, key in zip(ids, step["bodies"], step["keys"], strict=True):
                    if key in self.keys:
                        assert {one, self.keys[key]} & {ANY} or one == self.keys[key]
                        continue
                    self.messages.append(Held(one, body))
                    if key is not None:
                        self.keys[key] = one
            case "found":
                self.lettered = self.lettered or not self.there
                self.there = True
            case "claim":
                for held in self._first(step["limit"], answer):
                    held.claim = ANY if answer is None else answer["claim"]
                    held.hidden_s = HELD_S
            case "pop":
                popped = self._first(step["limit"], answer)
                self.messages = [held for held in self.messages if held not in popped]
            case "delete":
                self.messages = [held for held in self.messages if held.id != step["id"]]
            case "touch":
                self._one(step["id"]).hidden_s = step["ttl"]
            case "free":
                held = self._one(step["id"])
                held.claim, held.hidden_s = "", step["delay"]
            case "release":
                for held in self.messages:
                    if held.claim == step["claim"]:
                        held.claim, held.hidden_s = "", step["delay"]
            case "reject":
                held = self._one(step["id"])
                self.messages.remove(held)
                self.dead.append(Held(ANY, held.body, deaths=held.deaths + 1))
            case "redrive":
                back, self.dead = self.dead[: step["limit"]], self.dead[step["limit"] :]
                self.messages += [Held(ANY, held.body, deaths=held.deaths) for held in back]
                self.there = True
            case "empty":
                self.messages, self.keys = [], {}
                self.there = self.lettered = False
            case "purge":
                self.messages = []
            case "set":
                self.queues[step["name"]] = step["value"]
            case "drop":
                self.queues.pop(step["name"], None)
        self.last = max([self.last, *(answer or {}).get("ids", [])])

    def _one(self, message_id: str) -> Held:
        return next(held for held in self.messages if held.id == message_id)

    def _first(self, limit: int, answer: Answer | None) -> list[Held]:
        """The first that wait. One that was moved gets its id when it is told."""
        free = [held for held in self.messages if not held.claim and not held.hidden_s][:limit]
        if answer is not None:
            for held, one in zip(free, answer["ids"], strict=True):
                assert held.id in (ANY, one)
                held.id = one
        return free

    def missing(self, found: QueueFound) -> str:
        if found.total != len(found.messages):
            return f"{self.name} counts {found.total} of {len(found.messages)} messages"
        if len(found.messages) != len(self.messages):
            return f"{self.name} has {len(found.messages)} of {len(self.messages)} messages"
        for held, here in zip(self.messages, found.messages, strict=True):
            if not held.is_found(here):
                return f"{self.name} has {here}, not {held}"
        if len(found.dead) != len(self.dead) or not all(
            held.is_found(here) for held, here in zip(self.dead, found.dead, strict=True)
        ):
            return f"{self.name} has dead letters {found.dead}, not {self.dead}"
        if found.keys.keys() != self.keys.keys() or not all(
            one in (ANY, found.keys[key]) for key, one in self.keys.items()
        ):
            return f"{self.name} has keys {found.keys}, not {self.keys}"
        if found.queues != self.queues:
            return f"{self.name} has queues {found.queues}, not {self.queues}"
        return ""


@dataclass(slots=True)
class IdentityFound:
    """`users`: whether enabled, by name; `projects`, `grants`: of whom, by the same name."""

    users: dict[str, bool]
    projects: set[str]
    grants: set[str]


@dataclass(slots=True)
class IdentityLife:
    users: dict[str, bool] = field(default_factory=dict)

    def copy(self) -> "IdentityLife":
        return IdentityLife(dict(self.users))

    def apply(self, step: Step, answer: Answer | None) -> None:
        match step["do"]:
            case "enrol":
                self.users[step["name"]] = True
            case "disable":
                self.users[step["name"]] = False
            case _:
                del self.users[step["name"]]

    def missing(self, found: IdentityFound) -> str:
        if found.users != self.users:
            return f"users are {found.users}, not {self.users}"
        if not found.projects == found.grants == set(self.users):
            return f"half of a user: {found}"
        return ""


@dataclass(slots=True)
class Told:
    """Everything that was asked and told so far."""

    lives: dict[str, Life]
    underway: dict[str, Step] = field(default_factory=dict)
    prints: dict[int, str] = field(default_factory=dict)
    generation: int = 0
    steps: int = 0

    def hear(self, text: bytes) -> None:
        line: Line = json.loads(text)
        who = line["who"]
        if who == "feed":
            told = line["told"]
            self.generation = max(self.generation, told.get("generation", 0))
            if "n" in told:
                self.prints[told["n"]] = told["print"]
                self.steps += 1
        elif "asks" in line:
            self.underway[who] = line["asks"]
        else:
            self.lives[who].apply(self.underway.pop(who), line["told"])
            self.steps += 1

    def missing(self, who: str, found: Any) -> str:
        """As before the step under way, or as after it."""
        life = self.lives[who]
        fault = life.missing(found)
        if fault and who in self.underway:
            after = life.copy()
            after.apply(self.underway[who], None)
            fault = fault and after.missing(found) and f"{fault} ({self.underway[who]['do']})"
        return fault
