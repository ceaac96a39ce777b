"""A network in memory that loses, repeats, delays and reorders messages, and parts.

It has no clock: whoever makes it says how to call something later (`loop.call_later` under
virtual time, or a simulation's own heap), and every draw comes from the `random.Random` given.
"""

import random
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

CallLater = Callable[[float, Callable[[], None]], object]
Receive = Callable[[Any], None]


@dataclass
class Faults:
    """How bad it is. Delays are drawn evenly from `least_s` to `most_s`, so messages overtake."""

    drop: float = 0.0
    duplicate: float = 0.0
    least_s: float = 0.001
    most_s: float = 0.005


class Network:
    """Named places; `send` is fire and forget."""

    def __init__(self, call_later: CallLater, draws: random.Random) -> None:
        self.faults = Faults()
        self._call_later = call_later
        self._draws = draws
        self._places: dict[Hashable, Receive] = {}
        self._cut: set[tuple[Hashable, Hashable]] = set()

    def join(self, place: Hashable, receive: Receive) -> None:
        """Messages to `place` go to `receive` from now on (also those on their way)."""
        self._places[place] = receive

    def leave(self, place: Hashable) -> None:
        self._places.pop(place, None)

    def cut(self, source: Hashable, destination: Hashable) -> None:
        """Loses what goes this one way, also what is on its way, until healed."""
        self._cut.add((source, destination))

    def heal(self) -> None:
        self._cut.clear()

    def send(self, source: Hashable, destination: Hashable, message: Any) -> None:
        copies = 1
        if self._draws.random() < self.faults.drop:
            copies = 0
        elif self._draws.random() < self.faults.duplicate:
            copies = 2
        for _ in range(copies):
            delay_s = self._draws.uniform(self.faults.least_s, self.faults.most_s)
            self._call_later(delay_s, lambda: self._arrive(source, destination, message))

    def _arrive(self, source: Hashable, destination: Hashable, message: Any) -> None:
        receive = self._places.get(destination)
        if receive is not None and (source, destination) not in self._cut:
            receive(message)
