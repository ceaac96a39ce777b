"""What is told after a verb has been written by the process that may."""

import os
from collections.abc import Awaitable, Callable
from typing import Any

from transom.queue.config import QueueConfig
from transom.queue.model import Place
from transom.queue.store.verbs.verb import LocalWriter, Tools, Verb
from transom.runtime.clock import SystemClock

PLACE = Place("p", "q")


class Moves(Verb, frozen=True, tag=True, array_like=True):
    """Moves three messages to the dead letters."""

    moves = True

    async def run(self, tx: Any, tools: Tools) -> None:
        assert tools.moved is not None
        tools.moved.places.append(Place("p", "dead"))
        tools.moved.buried += 3


class Twice:
    """A database that undoes each verb once, as a server does with what crossed another."""

    async def write(self, verb: Callable[[Any], Awaitable[Any]]) -> Any:
        await verb(None)
        return await verb(None)


async def test_a_verb_that_was_undone_and_run_again_is_counted_once() -> None:
    rung: list[Place] = []
    buried: list[int] = []
    tools = Tools(QueueConfig(), SystemClock(), os.urandom, rung.append, buried.append)
    await LocalWriter(Twice(), tools).write(Moves(PLACE))  # type: ignore[arg-type]
    assert rung == [Place("p", "dead")]
    assert buried == [3]
