# SPDX-License-Identifier: Apache-2.0
"""A replica: follows one feed over a bus that may lose, repeat, delay, reorder and part.

It subscribes first and buffers, loads by snapshot, then applies step after step; a missing step is
asked for by `since`; what `since` no longer has comes by snapshot, as a difference.

Invariants:
1. Applied steps of an epoch are applied whole, in order, without holes; a snapshot is one step.
2. Digests are compared only at equal (epoch, n). A wrong one, or a later epoch, means a snapshot;
   an earlier epoch is ignored.
3. `Live` means: at most two heartbeats (and the grace) ago, a head of the feed was heard that our
   rows agree with, and which says that our tables are kept up to date. A step lost in silence is
   known with the next head.
4. One request is out at a time; each has a deadline; repeats back off, with jitter, up to a limit.
5. What is buffered is bounded; overflow drops and catches up.
"""

from collections.abc import Collection
from typing import assert_never

from transom.messaging.proto.feed.asking import Asking
from transom.messaging.proto.feed.buffer import Buffer
from transom.messaging.proto.feed.change import Change, ChangeSet, Head, Part
from transom.messaging.proto.feed.digest import MODULUS
from transom.messaging.proto.feed.events import (
    Apply,
    AskSince,
    AskSnapshot,
    Became,
    Caught,
    Effect,
    Event,
    Failed,
    Gap,
    Heard,
    Live,
    Loading,
    Paged,
    Stale,
    State,
    Subscribed,
    Tick,
)
from transom.messaging.proto.feed.ledger import Ledger, hashed
from transom.messaging.proto.feed.limits import Limits
from transom.messaging.proto.feed.staging import Staging

_FRUITLESS = 3


class Replica:
    """The machine. `tables`: which tables are wanted; empty: all of the feed."""

    def __init__(self, tables: Collection[str], limits: Limits) -> None:
        self._tables = frozenset(tables)
        self._limits = limits
        self._ledger = Ledger()
        self._buffer = Buffer(limits.buffer_changes)
        self._asking = Asking(limits)
        self._staging: Staging | None = None
        self._effects: list[Effect] = []
        self._subscribed = False
        self._epoch = -1  # the latest heard of
        self._known_n = -1  # the highest step of it heard of
        self._heard: tuple[Head, float] | None = None  # to be compared once we stand there
        self._resync = False  # only a snapshot helps
        self._recheck = False  # ask, though no hole is known
        self._trusted = False  # what we hold agreed with the last head compared
        self._idle = False  # the last head heard said that nobody keeps our tables up to date
        self._verified_s = 0.0
        self._heard_s = 0.0
        self._mismatches = 0  # digests found wrong since the last one found right
        self._told: type[State] = Loading

    def handle(self, event: Event, now_s: float, jitter: float) -> list[Effect]:
        """What to do about the event, in order. `jitter` is a draw from [0, 1)."""
        match event:
            case ChangeSet():
                self._receive(event.epoch, event.n, event.changes)
            case Part():
                self._receive_part(event)
            case Heard():
                self._hear(event.head, now_s)
                if now_s - self._heard_s > self._limits.live_s:
                    self._asking.anew()  # what is out was sent into the silence
                self._heard_s = now_s
            case Caught():
                self._caught(event, now_s)
            case Paged():
                self._paged(event, now_s)
            case Failed():
                if self._asking.take(event.request):
                    self._asking.failed()
            case Subscribed():
                self._subscribed = self._recheck = True
                self._asking.soon(now_s)
            case Gap():
                self._recheck = True
                self._asking.revive()
            case Tick():
                pass
            case _:
                assert_never(event)
        self._advance(now_s)
        self._compare()
        self._ask(now_s, jitter)
        self._tell(now_s)
        effects, self._effects = self._effects, []
        return effects

    def state(self, now_s: float) -> State:
        if self._ledger.n < 0:
            return Loading()
        if self._is_live(now_s):
            return Live(now_s - self._verified_s)
        return Stale(self._verified_s)

    def age_s(self, now_s: float) -> float | None:
        """How long ago the rows were verified; None before they were loaded."""
        return None if self._ledger.n < 0 else now_s - self._verified_s

    def position(self) -> tuple[int, int]:
        """(epoch, n) that has been applied; (-1, -1) before anything was."""
        return self._ledger.epoch, self._ledger.n

    def wake_s(self, now_s: float) -> float | None:
        """When a Tick is due at the latest, if nothing else happens."""
        asking_s = self._asking.wake_s()
        if not self._is_live(now_s):
            return asking_s
        lapse_s = self._verified_s + self._limits.live_s + 0.001
        return lapse_s if asking_s is None else min(asking_s, lapse_s)

    # what arrives

    def _heed(self, epoch: int) -> bool:
        """Whether the epoch is the latest; a later one than before starts anew."""
        if epoch > self._epoch:
            self._epoch = epoch
            self._known_n = -1
            self._heard = None
            self._staging = None
            self._asking.anew()
            self._buffer.clear()
        return epoch == self._epoch

    def _receive(self, epoch: int, n: int, changes: tuple[Change, ...]) -> None:
        if not self._heed(epoch):
            return
        self._known_n = max(self._known_n, n)
        if n > self._floor_n():
            self._buffer.put(n, self._wanted(changes))

    def _receive_part(self, part: Part) -> None:
        if not self._heed(part.epoch):
            return
        self._known_n = max(self._known_n, part.n)
        if part.n > self._floor_n():
            whole = self._buffer.put_part(part)
            if whole is not None:
                self._receive(part.epoch, part.n, whole)

    def _hear(self, head: Head, at_s: float) -> None:
        if not self._heed(head.epoch):
            return
        self._known_n = max(self._known_n, head.n)
        if self._heard is None or head.n >= self._heard[0].n:
            self._heard = (head, at_s)
        was_idle, self._idle = self._idle, self._is_idle(head)
        if was_idle and not self._idle:
            self._asking.revive()

    def _caught(self, answer: Caught, now_s: float) -> None:
        asked = self._asking.take(answer.request)
        if asked is None:
            return
        if not self._heed(answer.head.epoch):
            self._asking.failed()
            return
        self._hear(answer.head, asked.at_s)
        if self._floor_n() > asked.n:  # what was missing came by itself
            self._asking.settled()
            return
        if answer.change_sets is None:
            self._staging = None
            self._resync = True
            self._asking.failed()
            return
        self._recheck = False
        before_n = self._floor_n()
        for change_set in answer.change_sets:
            self._receive(change_set.epoch, change_set.n, change_set.changes)
            self._advance(now_s)
        if self._floor_n() > before_n:
            self._asking.soon(now_s)
        elif self._floor_n() == answer.head.n and not self._idle:
            self._asking.settled()
        else:
            self._asking.failed()
            if self._floor_n() != answer.head.n and self._asking.failures >= _FRUITLESS:
                self._staging = None
                self._resync = True

    def _paged(self, answer: Paged, now_s: float) -> None:
        asked = self._asking.take(answer.request)
        if asked is None:
            return
        chunk = answer.chunk
        if not self._heed(chunk.epoch) or answer.head.epoch != chunk.epoch:
            self._asking.failed()
            return
        if asked.first_page:
            self._staging = Staging(self._ledger, chunk)
        if self._staging is None or not self._staging.add(chunk, self._wanted(chunk.rows)):
            self._staging = None
            self._asking.failed()
            return
        # A feed that was set back within its epoch (it must not be) is believed here, and so heals.
        self._known_n = answer.head.n
        self._heard = (answer.head, asked.at_s)
        self._idle = self._is_idle(answer.head)
        self._asking.soon(now_s)

    # what follows

    def _advance(self, now_s: float) -> None:
        """Takes every step that can be taken."""
        staging = self._staging
        if staging is not None:
            if not staging.complete:
                return
            while (changes := self._buffer.pop(staging.n + 1)) is not None:
                staging.replay(staging.n + 1, changes)
            if staging.n >= staging.top:
                self._finish(staging, now_s)
        if self._staging is not None or self._needs_snapshot():
            return
        while (changes := self._buffer.pop(self._ledger.n + 1)) is not None:
            n = self._ledger.n + 1
            different = self._ledger.step(self._epoch, n, map(hashed, changes), now_s)
            if different:
                self._effects.append(Apply(ChangeSet(self._epoch, n, different)))

    def _finish(self, staging: Staging, now_s: float) -> None:
        if self._ledger.n < 0:
            self._verified_s = now_s
        different = self._ledger.step(staging.epoch, staging.n, staging.finish(), now_s)
        self._effects.append(Apply(ChangeSet(staging.epoch, staging.n, different)))
        self._staging = None
        self._resync = self._recheck = self._trusted = False
        self._buffer.drop_through(self._ledger.n)

    def _compare(self) -> None:
        """Compares the last head with what we hold, once we stand at it or have passed it."""
        if self._heard is None or self._staging is not None or self._needs_snapshot():
            return
        head, at_s = self._heard
        if head.n > self._ledger.n:
            return
        self._heard = None
        ours = self._ledger.digest_at(head.n)
        if ours is None or self._is_idle(head):
            return
        if self._expected(head, ours) == ours:
            # A head that we have passed was the feed's only until the next step was made.
            self._verified_s = max(self._verified_s, min(at_s, self._ledger.passed_s(head.n)))
            self._trusted = True
            self._mismatches = 0
        else:
            self._trusted = False
            self._resync = True
            self._mismatches += 1
            self._asking.settled(failures=self._mismatches)

    def _is_idle(self, head: Head) -> bool:
        return bool(head.idle & self._tables if self._tables else head.idle)

    def _expected(self, head: Head, ours: int) -> int:
        if not self._tables:
            return head.digest
        if head.tables is None:
            return ours
        return sum(head.tables.get(table, 0) for table in self._tables) % MODULUS

    def _ask(self, now_s: float, jitter: float) -> None:
        paging = self._staging is not None and not self._staging.complete
        paging = paging or (self._staging is None and self._needs_snapshot())
        needed = self._subscribed and (paging or self._needs_since(now_s))
        if not self._asking.ready(needed, now_s, jitter):
            return
        n = self._floor_n()
        request = self._asking.begin(now_s, n, first_page=paging and self._staging is None)
        if paging:
            after = self._staging.cursor if self._staging else None
            self._effects.append(AskSnapshot(request, after, self._limits.chunk_rows))
        else:
            self._effects.append(AskSince(request, self._epoch, n, self._limits.since_sets))

    def _tell(self, now_s: float) -> None:
        state = self.state(now_s)
        if type(state) is not self._told:
            self._told = type(state)
            self._effects.append(Became(state))

    # what holds

    def _needs_snapshot(self) -> bool:
        return self._resync or self._ledger.n < 0 or self._ledger.epoch != self._epoch

    def _needs_since(self, now_s: float) -> bool:
        """A hole is known, or there may be one: the link broke, or nothing vouches for us."""
        top = self._staging.top if self._staging else -1
        behind = self._floor_n() < max(self._known_n, top)
        return behind or self._recheck or not self._is_live(now_s)

    def _floor_n(self) -> int:
        """Up to which step nothing more is wanted."""
        if self._staging is not None:
            return self._staging.n
        return -1 if self._needs_snapshot() else self._ledger.n

    def _is_live(self, now_s: float) -> bool:
        held = self._trusted and self._ledger.epoch == self._epoch
        return held and now_s - self._verified_s <= self._limits.live_s

    def _wanted(self, changes: tuple[Change, ...]) -> tuple[Change, ...]:
        if not self._tables:
            return changes
        return tuple(change for change in changes if change.table in self._tables)
