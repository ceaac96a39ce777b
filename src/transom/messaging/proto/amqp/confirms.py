# SPDX-License-Identifier: Apache-2.0
"""Publisher confirms of one channel: which tags are out, and which a confirm settles.

Invariants:
1. Each tag is settled once, whatever the broker repeats.
2. What is kept grows only with confirms that overtake an earlier publish's.
"""

from collections.abc import Sequence

from transom.messaging.proto.amqp.fault import Code, Fault


class Confirms:
    """`next_tag`: of the next publish. Tags below `_oldest` are settled, above it those in
    `_overtook`."""

    __slots__ = ("_oldest", "_overtook", "next_tag")

    def __init__(self) -> None:
        self.next_tag = 1
        self._oldest = 1
        self._overtook: set[int] = set()

    @property
    def unconfirmed(self) -> Sequence[int]:
        """In order."""
        return self._out_before(self.next_tag)

    def settle(self, tag: int, multiple: bool) -> Sequence[int]:
        """The tags that this settles, in order; 0 with `multiple` means all. Raises: Fault."""
        if tag >= self.next_tag or (not tag and not multiple):
            raise Fault(Code.COMMAND_INVALID, f"a confirm of {tag}, which was not published")
        if not multiple:
            if tag < self._oldest or tag in self._overtook:
                return ()
            if tag == self._oldest:
                self._oldest += 1
                self._advance()
            else:
                self._overtook.add(tag)
            return (tag,)
        behind = tag + 1 if tag else self.next_tag
        found = self._out_before(behind)
        self._overtook = {one for one in self._overtook if one >= behind}
        self._oldest = max(self._oldest, behind)
        self._advance()
        return found

    def _out_before(self, behind: int) -> Sequence[int]:
        every = range(self._oldest, behind)
        if not self._overtook:
            return every
        return tuple(tag for tag in every if tag not in self._overtook)

    def _advance(self) -> None:
        while self._oldest in self._overtook:
            self._overtook.remove(self._oldest)
            self._oldest += 1
