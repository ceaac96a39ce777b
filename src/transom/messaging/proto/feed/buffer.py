# SPDX-License-Identifier: Apache-2.0
"""Change sets that came before their turn, and parts of big ones.

Invariant: at most `bound` changes are held, or one change set. What goes over it empties the
buffer but for the newcomer: what is lost here is asked for again.
"""

from transom.messaging.proto.feed.change import Change, Part


class Buffer:
    """Of one epoch."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._sets: dict[int, tuple[Change, ...]] = {}
        self._parts: dict[int, dict[int, Part]] = {}
        self._held = 0

    def put(self, n: int, changes: tuple[Change, ...]) -> None:
        if n in self._sets:
            return
        self._drop_parts(n)
        self._take(len(changes))
        self._sets[n] = changes

    def put_part(self, part: Part) -> tuple[Change, ...] | None:
        """The whole, once the last part is there."""
        if part.n in self._sets:
            return None
        parts = self._parts.get(part.n, {})
        if part.part in parts:
            return None
        if len(parts) + 1 < part.parts:
            self._take(len(part.changes))
            self._parts.setdefault(part.n, {})[part.part] = part
            return None
        self._drop_parts(part.n)
        parts[part.part] = part
        return tuple(change for number in sorted(parts) for change in parts[number].changes)

    def pop(self, n: int) -> tuple[Change, ...] | None:
        changes = self._sets.pop(n, None)
        if changes is not None:
            self._held -= len(changes) + 1
        return changes

    def drop_through(self, n: int) -> None:
        """Forgets steps up to and with n."""
        for old in [held for held in self._sets if held <= n]:
            self.pop(old)
        for old in [held for held in self._parts if held <= n]:
            self._drop_parts(old)

    def clear(self) -> None:
        self._sets.clear()
        self._parts.clear()
        self._held = 0

    def _take(self, changes: int) -> None:
        if self._held + changes + 1 > self._bound:
            self.clear()
        self._held += changes + 1

    def _drop_parts(self, n: int) -> None:
        for part in self._parts.pop(n, {}).values():
            self._held -= len(part.changes) + 1
