# SPDX-License-Identifier: Apache-2.0
"""What was coded once and is likely to come again: a dictionary that makes what it lacks.

Invariant: at most ENTRIES_MAX entries, of keys of at most KEY_BYTES_MAX.
"""

from collections.abc import Callable, Hashable
from typing import TypeVar

ENTRIES_MAX = 512
KEY_BYTES_MAX = 256

Key = TypeVar("Key", bound=Hashable)
Made = TypeVar("Made")


class Memory(dict[Key, Made]):
    """`memory[key]` is `make(key)`. When it is full it forgets everything: what is used is soon
    there again, and a look-up costs no more than a dictionary's."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[[Key], Made]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, key: Key) -> Made:
        made = self._make(key)
        if not isinstance(key, bytes) or len(key) <= KEY_BYTES_MAX:
            if len(self) >= ENTRIES_MAX:
                self.clear()
            self[key] = made
        return made
