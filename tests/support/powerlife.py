# SPDX-License-Identifier: Apache-2.0
"""What each caller of `powerload` must find after a power cut, by what it asked and was told.

A caller's state is what its finished steps made of it; with a step under way, it is as before that
step or as after it, and nothing between.
"""

import json
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

Step: TypeAlias = dict[str, Any]
Answer: TypeAlias = dict[str, Any]
Line: TypeAlias = dict[str, Any]
ANY = "?"
"""An id that was given out, and not told before the power went."""


@dataclass(slots=True)
class Held:
    """A message. `claim`: "" if none holds it."""

    id: str
    body: str
    claim: str = ""

    def is_found(self, found: "Held") -> bool:
        return (
            self.body == found.body
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
    """One caller's share of a queue store. `queues`: value by name, of those but its own."""

    messages: list[Held]
    queues: dict[str, int]
    total: int


@dataclass(slots=True)
class QueueLife:
    """`last`: the highest number of a message that was told."""

    name: str
    messages: list[Held] = field(default_factory=list)
    queues: dict[str, int] = field(default_factory=dict)
    last: str = ""

    def copy(self) -> "QueueLife":
        messages = [Held(held.id, held.body, held.claim) for held in self.messages]
        return QueueLife(self.name, messages, dict(self.queues), self.last)

    def claims(self) -> list[str]:
        return sorted({held.claim for held in self.messages if held.claim})

    def apply(self, step: Step, answer: Answer | None) -> None:
        match step["do"]:
            case "post":
                ids = [ANY] * len(step["bodies"]) if answer is None else answer["ids"]
                pairs = zip(ids, step["bodies"], strict=True)
                self.messages += [Held(one, body) for one, body in pairs]
            case "claim":
                taken = self._first(step["limit"], answer)
                for held in taken:
                    held.claim = ANY if answer is None else answer["claim"]
            case "pop":
                popped = self._first(step["limit"], answer)
                self.messages = [held for held in self.messages if held not in popped]
            case "delete":
                self.messages = [held for held in self.messages if held.id != step["id"]]
            case "release":
                for held in self.messages:
                    held.claim = "" if held.claim == step["claim"] else held.claim
            case "empty":
                self.messages = []
            case "set":
                self.queues[step["name"]] = step["value"]
            case "drop":
                self.queues.pop(step["name"], None)
        self.last = max([self.last, *(answer or {}).get("ids", [])])

    def _first(self, limit: int, answer: Answer | None) -> list[Held]:
        free = [held for held in self.messages if not held.claim][:limit]
        assert answer is None or [held.id for held in free] == answer["ids"]
        return free

    def missing(self, found: QueueFound) -> str:
        if found.total != len(found.messages):
            return f"{self.name} counts {found.total} of {len(found.messages)} messages"
        if len(found.messages) != len(self.messages):
            return f"{self.name} has {len(found.messages)} of {len(self.messages)} messages"
        for held, here in zip(self.messages, found.messages, strict=True):
            if not held.is_found(here):
                return f"{self.name} has {here}, not {held}"
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
