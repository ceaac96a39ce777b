# SPDX-License-Identifier: Apache-2.0
"""The life of one role's process, as a pure machine: from a life and an event to both anew.

    idle -> starting -> ready <-> silent        and, at a stop, any of them -> draining -> stopped
    a death: starting | ready | silent -> delayed -> starting, or failed

Time is counted in beats, which the shell sends `wake_s` after the last step, so a supervisor that
was itself suspended counts one beat and not an hour.

Invariants:
1. `TABLE` holds every transition; an event that it does not name for a state changes nothing.
2. Only deaths in a row before readiness count toward the breaker, which ends in `failed`.
3. A process that was ready for `steady_beats` is started again at once when it dies.
4. Every state in which a process lives has a bound in beats after which it is killed.
5. After a stop nothing is spawned.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum


class State(StrEnum):
    IDLE = "idle"  # its turn to start has not come
    STARTING = "starting"  # a process was asked for and has not said ready
    READY = "ready"
    SILENT = "silent"  # lives, was ready, leaves questions unanswered
    DELAYED = "delayed"  # waits to be started again
    DRAINING = "draining"  # was asked to end
    KILLED = "killed"  # was sent SIGKILL, has not ended yet
    FAILED = "failed"  # starting it again does not help
    STOPPED = "stopped"


class Kind(StrEnum):
    BEGIN = "begin"  # its turn has come
    SAID_READY = "said ready"
    ANSWERED = "answered"  # a question
    ENDED = "ended"  # the process is gone
    BEAT = "beat"  # `wake_s` have passed
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Event:
    """`problem`: why it ended, for people; `hopeless`: starting again cannot help."""

    kind: Kind
    problem: str = ""
    hopeless: bool = False


class Effect(StrEnum):
    SPAWN = "spawn"
    ASK = "ask"
    DRAIN = "drain"
    KILL = "kill"


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a role's life. A beat lasts `beat_s`; the other bounds are counted in beats."""

    beat_s: float = 1.0
    ready_beats: int = 60
    silent_beats: int = 3
    kill_beats: int = 20
    drain_beats: int = 15
    reap_beats: int = 10
    steady_beats: int = 5
    early_deaths_most: int = 7
    delay_first_s: float = 0.1
    delay_most_s: float = 5.0
    quick_delay_most_s: float = 0.5


@dataclass(frozen=True, slots=True)
class Life:
    """What is known of a role. `wake_s`: send a beat after this time; None: no beat is needed.

    `beats` are those in this state, `unanswered` those since the question that is out;
    `early` and `quick` count deaths in a row before, and soon after, readiness; `was_ready` is of
    the process that lives, or lived last.
    """

    state: State = State.IDLE
    wake_s: float | None = None
    beats: int = 0
    unanswered: int = 0
    restarts: int = 0
    early: int = 0
    quick: int = 0
    was_ready: bool = False
    stopping: bool = False
    problem: str = ""

    @property
    def ready(self) -> bool:
        return self.state is State.READY

    @property
    def settled(self) -> bool:
        """Nothing that others wait for is still to come: it has been ready once, or never will."""
        return self.state in _SETTLED

    @property
    def ended(self) -> bool:
        return self.state in (State.FAILED, State.STOPPED)


_SETTLED = frozenset(State) - {State.IDLE, State.STARTING, State.DELAYED}

Step = tuple[Life, tuple[Effect, ...]]
Verb = Callable[[Life, Event, Limits, float], Step]


def step(life: Life, event: Event, limits: Limits, jitter: float) -> Step:
    """The next life and what is to be done. `jitter`: a number from 0 to 1."""
    rule = TABLE.get((life.state, event.kind))
    if rule is None:
        return life, ()
    return rule.verb(life, event, limits, jitter)


def backoff_s(deaths: int, first_s: float, most_s: float, jitter: float) -> float:
    """The wait after so many deaths in a row: none after the first, then doubled, 50 to 100 %."""
    if deaths <= 1:
        return 0.0
    return float(min(most_s, first_s * 2.0 ** min(deaths - 2, 30)) * (0.5 + jitter / 2))


def _enter(life: Life, state: State, limits: Limits, *effects: Effect) -> Step:
    return replace(life, state=state, beats=0, wake_s=limits.beat_s), effects


def _spawn(life: Life, event: Event, limits: Limits, jitter: float) -> Step:
    return _enter(replace(life, was_ready=False), State.STARTING, limits, Effect.SPAWN)


def _respawn(life: Life, event: Event, limits: Limits, jitter: float) -> Step:
    return _spawn(replace(life, restarts=life.restarts + 1), event, limits, jitter)


def _kill(life: Life, limits: Limits, problem: str) -> Step:
    return _enter(replace(life, problem=problem), State.KILLED, limits, Effect.KILL)


def _count_start(life: Life, event: Event, limits: Limits, jitter: float) -> Step:
    if life.beats + 1 >= limits.ready_beats:
        bound_s = limits.ready_beats * limits.beat_s
        return _kill(life, limits, f"was not ready after {bound_s:g} s")
    return replace(life, beats=life.beats + 1), ()


def _become_ready(life: Life, event: Event, limits: Limits, jitter: float) -> Step:
    ready = replace(life, early=0, unanswered=1, was_ready=True, problem="")
    return _enter(ready, State.READY, limits, Effect.ASK)


def _count_silence(life: Life, event: Event, limits: Limits, jitter: float) -> Step:
    """One question is out at a time: a process that reads none must not fill the pipe."""
    counted = replace(life, beats=life.beats + 1)
    if life.unanswered == 0:
        return replace(counted, unanswered=1), (Effect.ASK,)
    counted = replace(counted, unanswered=life.unanswered + 1)
    if counted.unanswered > limits.kill_beats:
        bound_s = limits.kill_beats * limits.beat_s
        return _kill(counted, limits, f"did not answer for {bound_s:g} s")
    if counted.unanswered > limits.silent_beats:
        return replace(counted, state=State.SILENT, problem="does not answer"), ()
    return counted, ()


def _answer(life: Life, event: Event, limits: Limits, jitter: float) -> Step:
    return replace(life, state=State.READY, unanswered=0, problem=""), ()


def _die(life: Life, event: Event, limits: Limits, jitter: float) -> Step:
    if life.stopping:
        return _end(life, event, limits, jitter)
    problem = life.problem if life.state is State.KILLED else event.problem
    dead = replace(life, problem=problem, beats=0)
    if life.was_ready:
        return _die_ready(life, dead, limits, jitter)
    return _die_early(replace(dead, early=life.early + 1), event, limits, jitter)


def _die_ready(life: Life, dead: Life, limits: Limits, jitter: float) -> Step:
    steady = life.state is State.KILLED or life.beats >= limits.steady_beats
    quick = 0 if steady else life.quick + 1
    wait_s = backoff_s(quick, limits.delay_first_s, limits.quick_delay_most_s, jitter)
    return replace(dead, state=State.DELAYED, quick=quick, wake_s=wait_s), ()


def _die_early(dead: Life, event: Event, limits: Limits, jitter: float) -> Step:
    if event.hopeless or dead.early >= limits.early_deaths_most:
        return replace(dead, state=State.FAILED, wake_s=None), ()
    wait_s = backoff_s(dead.early, limits.delay_first_s, limits.delay_most_s, jitter)
    return replace(dead, state=State.DELAYED, wake_s=wait_s), ()


def _count_reaping(life: Life, event: Event, limits: Limits, jitter: float) -> Step:
    """A killed process lives on only while the kernel cannot interrupt it (a dead disk)."""
    if life.stopping and life.beats + 1 >= limits.reap_beats:
        return replace(life, state=State.STOPPED, wake_s=None, problem="could not be killed"), ()
    return replace(life, beats=life.beats + 1), (Effect.KILL,)


def _drain(life: Life, event: Event, limits: Limits, jitter: float) -> Step:
    return _enter(replace(life, stopping=True), State.DRAINING, limits, Effect.DRAIN)


def _count_drain(life: Life, event: Event, limits: Limits, jitter: float) -> Step:
    if life.beats + 1 >= limits.drain_beats:
        bound_s = limits.drain_beats * limits.beat_s
        return _kill(life, limits, f"did not drain within {bound_s:g} s")
    return replace(life, beats=life.beats + 1), ()


def _stop_killed(life: Life, event: Event, limits: Limits, jitter: float) -> Step:
    return replace(life, stopping=True), ()


def _end(life: Life, event: Event, limits: Limits, jitter: float) -> Step:
    return replace(life, state=State.STOPPED, wake_s=None), ()


@dataclass(frozen=True, slots=True)
class Rule:
    """What an event does in a state, and the states that it may lead to."""

    verb: Verb
    leads_to: tuple[State, ...]


TABLE: Mapping[tuple[State, Kind], Rule] = {
    (State.IDLE, Kind.BEGIN): Rule(_spawn, (State.STARTING,)),
    (State.IDLE, Kind.STOP): Rule(_end, (State.STOPPED,)),
    (State.STARTING, Kind.SAID_READY): Rule(_become_ready, (State.READY,)),
    (State.STARTING, Kind.BEAT): Rule(_count_start, (State.STARTING, State.KILLED)),
    (State.STARTING, Kind.ENDED): Rule(_die, (State.DELAYED, State.FAILED)),
    (State.STARTING, Kind.STOP): Rule(_drain, (State.DRAINING,)),
    (State.READY, Kind.BEAT): Rule(_count_silence, (State.READY, State.SILENT, State.KILLED)),
    (State.READY, Kind.ANSWERED): Rule(_answer, (State.READY,)),
    (State.READY, Kind.ENDED): Rule(_die, (State.DELAYED,)),
    (State.READY, Kind.STOP): Rule(_drain, (State.DRAINING,)),
    (State.SILENT, Kind.BEAT): Rule(_count_silence, (State.SILENT, State.KILLED)),
    (State.SILENT, Kind.ANSWERED): Rule(_answer, (State.READY,)),
    (State.SILENT, Kind.ENDED): Rule(_die, (State.DELAYED,)),
    (State.SILENT, Kind.STOP): Rule(_drain, (State.DRAINING,)),
    (State.DELAYED, Kind.BEAT): Rule(_respawn, (State.STARTING,)),
    (State.DELAYED, Kind.STOP): Rule(_end, (State.STOPPED,)),
    (State.DRAINING, Kind.BEAT): Rule(_count_drain, (State.DRAINING, State.KILLED)),
    (State.DRAINING, Kind.ENDED): Rule(_end, (State.STOPPED,)),
    (State.KILLED, Kind.BEAT): Rule(_count_reaping, (State.KILLED, State.STOPPED)),
    (State.KILLED, Kind.ENDED): Rule(_die, (State.DELAYED, State.FAILED, State.STOPPED)),
    (State.KILLED, Kind.STOP): Rule(_stop_killed, (State.KILLED,)),
}
