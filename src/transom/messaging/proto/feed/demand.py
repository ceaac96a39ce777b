# SPDX-License-Identifier: Apache-2.0
"""Which tables of a feed are wanted, and by how many.

A replica says what it wants, again and again; who falls silent is forgotten.

Invariants:
1. A replica's wish holds until `until_s` of its last renewal, or until it leaves.
2. At most `REPLICAS_MAX` wishes are held. One that finds no room is not noted; where that may
   have happened, every table counts as wanted.
"""

from collections.abc import Collection

REPLICAS_MAX = 4096


class Demand:
    """Of one publisher. `tables`: all that it has; what a replica wants of others is not noted."""

    def __init__(self, tables: Collection[str]) -> None:
        self._tables = frozenset(tables)
        self._wishes: dict[str, tuple[frozenset[str], float]] = {}
        self._crowded_until_s = 0.0

    def want(self, replica: str, tables: Collection[str], until_s: float, now_s: float) -> None:
        """`tables`: none means all. One whose `until_s` is past has left."""
        self.forget(now_s)
        if until_s <= now_s:
            self._wishes.pop(replica, None)
        elif replica in self._wishes or len(self._wishes) < REPLICAS_MAX:
            wanted = self._tables & frozenset(tables) if tables else self._tables
            self._wishes[replica] = (wanted, until_s)
        else:
            self._crowded_until_s = max(self._crowded_until_s, until_s)

    def forget(self, now_s: float) -> None:
        """Drops the wishes of those who fell silent."""
        self._wishes = {replica: wish for replica, wish in self._wishes.items() if wish[1] > now_s}
        if now_s >= self._crowded_until_s:
            self._crowded_until_s = 0.0

    def replicas(self) -> dict[str, int]:
        """How many replicas want each table, of those that are wanted."""
        counts: dict[str, int] = {}
        for wanted, _ in self._wishes.values():
            for table in wanted:
                counts[table] = counts.get(table, 0) + 1
        return counts

    def wanted(self, now_s: float) -> frozenset[str]:
        if now_s < self._crowded_until_s:
            return self._tables
        return frozenset(self.replicas())

    def wake_s(self) -> float | None:
        """When the next wish ends, if nothing else happens."""
        ends = [until_s for _, until_s in self._wishes.values()]
        if self._crowded_until_s:
            ends.append(self._crowded_until_s)
        return min(ends, default=None)
