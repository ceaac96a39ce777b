# SPDX-License-Identifier: Apache-2.0
"""Keys in order, in small sorted runs: adding and dropping cost a run, not the whole list.

Invariant: no run is empty, none is longer than twice `_RUN`, and each ends before the next begins.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator

from transom.messaging.proto.feed.change import Key

_RUN = 512


class SortedKeys:
    """A set of keys that can be walked from any place."""

    __slots__ = ("_last", "_runs")

    def __init__(self) -> None:
        self._runs: list[list[Key]] = []
        self._last: list[Key] = []

    def add(self, key: Key) -> None:
        """Adds a key that is not there."""
        if not self._runs:
            self._runs.append([key])
            self._last.append(key)
            return
        at = min(bisect_left(self._last, key), len(self._runs) - 1)
        run = self._runs[at]
        insort(run, key)
        if len(run) > 2 * _RUN:
            self._runs.insert(at, run[:_RUN])
            self._last.insert(at, run[_RUN - 1])
            del run[:_RUN]
            at += 1
        self._last[at] = run[-1]

    def discard(self, key: Key) -> None:
        """Drops a key that is there."""
        at = bisect_left(self._last, key)
        run = self._runs[at]
        del run[bisect_left(run, key)]
        if run:
            self._last[at] = run[-1]
        else:
            del self._runs[at], self._last[at]

    def after(self, key: Key | None) -> Iterator[Key]:
        """The keys behind `key` (None: all), in order. Not to be changed meanwhile."""
        if key is None:
            for run in self._runs:
                yield from run
            return
        first = bisect_right(self._last, key)
        for at in range(first, len(self._runs)):
            run = self._runs[at]
            start = bisect_right(run, key) if at == first else 0
            for index in range(start, len(run)):
                yield run[index]
